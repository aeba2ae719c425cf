"""The decoding loop samples what transformers' own loop samples, to the last bit, with fewer rows in its forwards."""

from typing import Any

import pytest
import torch
from transformers import LogitsProcessor, LogitsProcessorList

from repro.generation import decoding
from repro.generation.decoding import FEWEST_ROWS, Decoding, NonFiniteLogitsError
from repro.models.chat_tokens import prompt_token_ids
from repro.models.generation_settings import neutral_generation_config
from repro.models.loading import load_model, load_tokenizer, locate
from repro.tasks import registry

COPIES = 3


class _Record(LogitsProcessor):
    """Keeps the scores that transformers' loop draws from."""

    def __init__(self) -> None:
        self.scores: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.scores.append(scores)
        return scores


@pytest.fixture(scope="module", params=["toy:qwen3-student", "toy:gemma3-student"])
def model(request: pytest.FixtureRequest) -> Any:
    model = load_model(locate(request.param))
    model.generation_config = neutral_generation_config(model)
    return model


def padded_prompts(name: str, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and mask, [count, P], of prompts of different lengths, padded on the left."""
    tokenizer = load_tokenizer(locate(name))
    prompts = [prompt_token_ids(tokenizer, item.prompt) for item in registry.get("toy-bm4").items("test", count, 0)]
    prompts = [ids[n % 4 :] for n, ids in enumerate(prompts)]
    width = max(map(len, prompts))
    ids_BP = torch.tensor([[0] * (width - len(ids)) + ids for ids in prompts])
    mask_BP = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts])
    return ids_BP, mask_BP


def sample(model: Any, prompts: tuple[torch.Tensor, torch.Tensor], **how: Any) -> torch.Tensor:
    torch.manual_seed(5)
    with torch.no_grad():
        return model.generate(
            prompts[0],
            attention_mask=prompts[1],
            do_sample=True,
            top_k=0,
            num_return_sequences=COPIES,
            max_new_tokens=24,
            pad_token_id=0,
            **how,
        )


def rows_of_forwards(model: Any, prompts: tuple[torch.Tensor, torch.Tensor], **how: Any) -> list[int]:
    """Return the rows of each forward of a sampling."""
    rows: list[int] = []
    hook = model.get_input_embeddings().register_forward_hook(lambda _, inputs, __: rows.append(len(inputs[0])))
    try:
        sample(model, prompts, **how)
    finally:
        hook.remove()
    return rows


@pytest.mark.parametrize("count", [30, FEWEST_ROWS - 1, 1])
def test_tokens_and_log_probs_are_those_of_transformers_loop(model: Any, count: int) -> None:
    prompts = padded_prompts(model.name_or_path, count)
    record, decoding = _Record(), Decoding(records=True)
    expected = sample(model, prompts, logits_processor=LogitsProcessorList([record]))
    state = torch.get_rng_state()
    tokens = sample(model, prompts, custom_generate=decoding)
    assert tokens.equal(expected)
    assert torch.get_rng_state().equal(state)
    new_BT = expected[:, prompts[0].shape[1] :]
    log_prob_BT = torch.stack(record.scores, 1).log_softmax(-1).gather(2, new_BT[:, :, None])[:, :, 0]
    assert decoding.log_prob_BT is not None
    is_pad_BT = new_BT == 0
    assert decoding.log_prob_BT[~is_pad_BT].equal(log_prob_BT[~is_pad_BT])


def test_prompts_are_read_once_and_ended_sequences_are_left_out(model: Any) -> None:
    prompts = padded_prompts(model.name_or_path, 30)
    rows = rows_of_forwards(model, prompts, custom_generate=Decoding())
    assert rows[0] == 30
    assert rows[1] == 30 * COPIES
    assert rows == [30, *sorted(rows[1:], reverse=True)]
    assert FEWEST_ROWS <= rows[-1] < 30 * COPIES
    assert rows_of_forwards(model, prompts)[0] == 30 * COPIES  # transformers' own loop


def test_few_prompts_are_read_row_by_row(model: Any) -> None:
    prompts = padded_prompts(model.name_or_path, FEWEST_ROWS - 1)
    assert rows_of_forwards(model, prompts, custom_generate=Decoding())[0] == COPIES * (FEWEST_ROWS - 1)


def test_a_cache_whose_rows_cannot_be_taken_keeps_all_rows(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recurrent layers have no batch_select_indices."""
    monkeypatch.setattr("repro.generation.decoding._can_select", lambda kwargs: False)
    prompts = padded_prompts(model.name_or_path, 30)
    assert set(rows_of_forwards(model, prompts, custom_generate=Decoding())) == {30 * COPIES}
    assert sample(model, prompts, custom_generate=Decoding()).equal(sample(model, prompts))


def test_a_model_without_a_cache_reads_all_its_tokens(model: Any) -> None:
    prompts = padded_prompts(model.name_or_path, 20)
    expected = sample(model, prompts, use_cache=False)
    assert sample(model, prompts, use_cache=False, custom_generate=Decoding()).equal(expected)


def test_another_distribution_is_refused(model: Any) -> None:
    with pytest.raises(ValueError, match="samples from the model's distribution"):
        sample(model, padded_prompts(model.name_or_path, 2), repetition_penalty=1.2, custom_generate=Decoding())


def test_a_diverged_model_ends_with_the_words_that_advice_is_matched_by(model: Any) -> None:
    def spoil(module: Any, inputs: Any, output: Any) -> None:
        output.logits[0] = float("nan")

    hook = model.register_forward_hook(spoil)
    try:
        with pytest.raises(NonFiniteLogitsError, match=r"probability tensor contains .* at token 0"):
            sample(model, padded_prompts(model.name_or_path, 2), custom_generate=Decoding())
    finally:
        hook.remove()


@pytest.mark.parametrize("rows", [[0, 1, 2, 3, 4], [1, 4]])
def test_draws_are_those_of_multinomial_either_way(rows: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """By logarithms, where torch takes them too, and by its exponentials; the next random number is the same."""
    p_BV = torch.randn(5, 4000, generator=torch.Generator().manual_seed(0)).softmax(-1)
    torch.manual_seed(1)
    expected, after = torch.multinomial(p_BV, 1)[rows, 0], torch.rand(1)
    for are_logarithms in {False, decoding.exponentials_are_logarithms()}:
        monkeypatch.setattr(decoding, "exponentials_are_logarithms", lambda answer=are_logarithms: answer)
        torch.manual_seed(1)
        assert torch.equal(decoding.draw(p_BV[rows], torch.tensor(rows), 5), expected)
        assert torch.equal(torch.rand(1), after)
