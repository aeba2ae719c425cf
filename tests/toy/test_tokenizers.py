"""Both tokenizers: round trip, and the tokens of prompt + completion are those of the prompt followed by the completion."""

import pytest
from transformers import PreTrainedTokenizerFast

from repro.tasks.toy import TASK_NAMES, get_task
from repro.toy.models import FAMILIES
from repro.toy.pretrain import prompt_text
from repro.toy.tokenizers import train_tokenizer


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, PreTrainedTokenizerFast]:
    return {family: train_tokenizer(family) for family in FAMILIES}


def _ids(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", TASK_NAMES)
@pytest.mark.parametrize("style", ["worked", "direct"])
def test_round_trip_and_prefix(tokenizers, family: str, name: str, style: str) -> None:
    tokenizer = tokenizers[family]
    for question in get_task(name).questions("train")[:25]:
        head, tail = prompt_text(tokenizer, question.prompt), question.completion(style)
        assert tokenizer.decode(_ids(tokenizer, tail)) == tail
        assert tokenizer.decode(_ids(tokenizer, question.prompt)) == question.prompt
        assert _ids(tokenizer, head + tail) == _ids(tokenizer, head) + _ids(tokenizer, tail)
        assert tokenizer.unk_token_id is None or tokenizer.unk_token_id not in _ids(tokenizer, head + tail)


@pytest.mark.parametrize("family", FAMILIES)
def test_training_again_gives_the_same_tokenizer(tokenizers, family: str) -> None:
    assert train_tokenizer(family).backend_tokenizer.to_str() == tokenizers[family].backend_tokenizer.to_str()


def test_the_families_split_text_differently(tokenizers) -> None:
    text = get_task("toy-bm5").questions("train")[0].completion("worked")
    pieces = [tokenizers[family].convert_ids_to_tokens(_ids(tokenizers[family], text)) for family in FAMILIES]
    assert len(pieces[0]) != len(pieces[1])
    assert tokenizers["qwen3"].get_vocab() != tokenizers["gemma3"].get_vocab()


def test_only_gemma3_begins_with_bos_and_only_once(tokenizers) -> None:
    gemma = tokenizers["gemma3"]
    ids = gemma.apply_chat_template(
        [{"role": "user", "content": "start 1 swap"}], add_generation_prompt=True, return_dict=False
    )
    assert ids.count(gemma.bos_token_id) == 1
    assert ids[0] == gemma.bos_token_id
    assert gemma("start 1")["input_ids"][0] == gemma.bos_token_id
    assert tokenizers["qwen3"].bos_token_id is None


@pytest.mark.parametrize("family", FAMILIES)
def test_an_assistant_turn_ends_with_the_end_token(tokenizers, family: str) -> None:
    tokenizer = tokenizers[family]
    turns = [{"role": "user", "content": "start 1 swap"}, {"role": "assistant", "content": "\\boxed{1}"}]
    ids = tokenizer.apply_chat_template(turns, return_dict=False)
    assert ids.count(tokenizer.eos_token_id) == 2
    assert tokenizer.decode(ids).rstrip("\n").endswith("\\boxed{1}" + tokenizer.eos_token)
