from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import gemma_tokenizer, naive, qwen_tokenizer

from repro.calibration import calibration_reward
from repro.calibration.reward import TargetScorer
from repro.errors import InputError
from repro.models.chat_tokens import end_of_turn_id, is_same_tokenizer

PROMPTS = ["2 + 3 = ?", "Say something long about 1 + 1, please", "7 + 0 = ?"]


def test_other_tokenizer_scores_text_with_its_own_template_and_end(stranger: Path) -> None:
    qwen, gemma = qwen_tokenizer(), gemma_tokenizer()
    scorer = TargetScorer(stranger, qwen)
    texts = ["2 + 3 = 5\nAnswer: 5", "3", "Answer: 7 and a much longer line"]
    sampled = [[*qwen(text)["input_ids"], qwen.eos_token_id] for text in texts]
    scores = scorer(PROMPTS, sampled, [qwen.eos_token_id])
    assert not scorer.has_shared_tokens
    for row, (prompt, text) in enumerate(zip(PROMPTS, texts)):
        # Written out by hand: BOS once (the tokenizer would add a second), markers, <end_of_turn> once.
        rendered = f"<bos><start_of_turn>user\n{prompt}<end_of_turn>\n<start_of_turn>model\n"
        prompt_ids = gemma(rendered, add_special_tokens=False)["input_ids"]
        assert prompt_ids.count(gemma.bos_token_id) == 1
        completion = gemma(text, add_special_tokens=False)["input_ids"]
        completion = [*completion, gemma.convert_tokens_to_ids("<end_of_turn>")]
        assert scores.tokens[row] == len(completion)
        assert scores.log_prob[row].item() == pytest.approx(naive(stranger, prompt_ids, completion), abs=2e-4)


def test_truncated_completion_has_no_end_on_either_side(stranger: Path) -> None:
    qwen, gemma = qwen_tokenizer(), gemma_tokenizer()
    scorer = TargetScorer(stranger, qwen)
    cut = qwen("Answer: 1")["input_ids"]
    assert scorer.encode(cut, [qwen.eos_token_id]) == gemma("Answer: 1", add_special_tokens=False)["input_ids"]
    assert scorer.encode([*cut, qwen.eos_token_id], [qwen.eos_token_id])[-1] == scorer.end_id
    both = scorer(PROMPTS[:1] * 2, [cut, [*cut, qwen.eos_token_id]], [qwen.eos_token_id])
    assert both.tokens[1] - both.tokens[0] == 1
    assert both.log_prob[1] < both.log_prob[0]


def test_empty_completions(stranger: Path) -> None:
    """Ended at once: only the end is scored. Nothing at all: log-probability 0 of 0 tokens, on both sides."""
    qwen, gemma = qwen_tokenizer(), gemma_tokenizer()
    scorer = TargetScorer(stranger, qwen)
    scores = scorer(PROMPTS[:2], [[qwen.eos_token_id], []], [qwen.eos_token_id])
    rendered = f"<bos><start_of_turn>user\n{PROMPTS[0]}<end_of_turn>\n<start_of_turn>model\n"
    alone = naive(stranger, gemma(rendered, add_special_tokens=False)["input_ids"], [scorer.end_id])
    assert scores.tokens.tolist() == [1, 0]
    assert scores.log_prob.tolist() == [pytest.approx(alone, abs=2e-5), 0.0]


def test_same_tokenizer_scores_the_sampled_ids(student: Path) -> None:
    """Ids that no encoder gives for their text are scored as they are."""
    qwen = qwen_tokenizer()
    scorer = TargetScorer(student, qwen)
    encoded = qwen("Answer")["input_ids"]
    letters = [token for letter in "Answer" for token in qwen(letter)["input_ids"]]
    assert letters != encoded
    assert qwen.decode(letters) == qwen.decode(encoded)
    prompt = qwen("<|im_start|>user\n2 + 3 = ?<|im_end|>\n<|im_start|>assistant\n")["input_ids"]
    scores = scorer(PROMPTS[:1] * 2, [encoded, letters], [qwen.eos_token_id])
    assert scorer.has_shared_tokens
    for score, ids in zip(scores.log_prob, (encoded, letters)):
        assert score.item() == pytest.approx(naive(student, prompt, ids), abs=2e-4)


def test_batching_changes_nothing(stranger: Path) -> None:
    qwen = qwen_tokenizer()
    sampled = [qwen("1 " * n)["input_ids"] for n in (9, 1, 14)]
    alone, together = (
        TargetScorer(stranger, qwen, most=most)(PROMPTS, sampled, [qwen.eos_token_id]).log_prob for most in (1, 32_768)
    )
    torch.testing.assert_close(alone, together, atol=1e-4, rtol=0)


def test_sampled_control_tokens_are_text_to_another_tokenizer(stranger: Path) -> None:
    """Neither "<eos>" as text nor a control token of the policy ends the target's turn."""
    qwen = qwen_tokenizer()
    scorer = TargetScorer(stranger, qwen)
    for text in ("<eos>", "<end_of_turn>", "<bos>"):
        ids = scorer.encode(qwen(text)["input_ids"], [qwen.eos_token_id])
        assert len(ids) > 1
        assert not {1, 2, scorer.end_id} & set(ids)
    start = qwen.convert_tokens_to_ids("<|im_start|>")
    assert len(scorer.encode([start], [qwen.eos_token_id])) == len("<|im_start|>")


def test_reward_is_the_difference_and_carries_no_gradient() -> None:
    policy = torch.tensor([-3.0, -1.0], requires_grad=True)
    reward = calibration_reward(torch.tensor([-5.0, -0.5]), policy)
    assert reward.tolist() == [-2.0, 0.5]
    assert not reward.requires_grad


def test_turns_end_where_the_template_ends_them() -> None:
    gemma = gemma_tokenizer()
    assert end_of_turn_id(gemma, [1, 5]) == gemma.convert_tokens_to_ids("<end_of_turn>")
    qwen = qwen_tokenizer()
    assert end_of_turn_id(qwen, None) == qwen.eos_token_id
    qwen.eos_token = None
    with pytest.raises(InputError, match="no end-of-sequence token"):
        end_of_turn_id(qwen, None)


def test_same_tokenizer() -> None:
    def cut(tokenizer: Any) -> Any:  # its last padding and truncation do not count
        tokenizer(["a", "b b b"], padding=True, truncation=True, max_length=2)
        return tokenizer

    assert is_same_tokenizer(qwen_tokenizer(), cut(qwen_tokenizer()))
    assert not is_same_tokenizer(qwen_tokenizer(), qwen_tokenizer(vocabulary=290))
    assert not is_same_tokenizer(qwen_tokenizer(), gemma_tokenizer())
