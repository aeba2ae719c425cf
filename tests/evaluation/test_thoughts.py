"""Thoughts are not rewarded, not shown to a judge, and recorded; a prompt may open them."""

from pathlib import Path

import pytest

from repro.evaluation.evaluate import evaluate
from repro.evaluation.failure_modes import mode_of
from repro.evaluation.judge import Case, ModelJudge, RuleJudge
from repro.evaluation.task_reward import TaskReward
from repro.evaluation.thoughts import opens_in_thought
from repro.generation.rollouts import Rollout, write_rollouts
from repro.models.loading import load_tokenizer, locate
from repro.tasks.task import Item

NUMERIC = Item("a", "toy-bm4", "start 3", "5")
OPEN = Item("d", "toy-dolly", "describe", None)


class Scorer:
    """Stands in for a reward model; keeps what it was shown."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def score(self, prompts: list[str], completions: list[str]) -> list[float]:
        assert len(prompts) == len(completions)
        self.shown += completions
        return [0.7] * len(completions)


@pytest.fixture
def scorer(monkeypatch: pytest.MonkeyPatch) -> Scorer:
    stand_in = Scorer()
    monkeypatch.setattr(TaskReward, "_reward_model", lambda self, task: stand_in)
    return stand_in


def test_thoughts_earn_no_reward(scorer: Scorer) -> None:
    texts = [r"<think>so \boxed{5}? No", r"<think>\boxed{4}</think>\boxed{5}", r"\boxed{4}</think>\boxed{5}"]
    assert TaskReward("model")([NUMERIC] * 3, texts) == [0.0, 1.0, 1.0]
    assert TaskReward("model", opens_in_thought=True)([NUMERIC], [r"so \boxed{5}? No, wait"]) == [0.0]
    assert scorer.shown == []


def test_the_reward_model_reads_what_follows_the_thought(scorer: Scorer) -> None:
    texts = ["<think>a secret</think>kind", "<think>a secret", "plain", "a secret</think>kind"]
    assert TaskReward("model")([OPEN] * 4, texts) == [0.7, 0.0, 0.7, 0.7]
    assert scorer.shown == ["kind", "plain", "kind"]
    assert TaskReward("model", opens_in_thought=True)([OPEN, NUMERIC], ["a secret", r"</think>\boxed{5}"]) == [0.0, 1.0]
    assert scorer.shown == ["kind", "plain", "kind"]


@pytest.mark.parametrize("opens", [False, True])
def test_an_evaluation_grades_no_thought(opens: bool, tmp_path: Path, scorer: Scorer) -> None:
    texts = {NUMERIC: r"so \boxed{5}? No, wait", OPEN: "a secret"}
    rollouts = [Rollout(i.id, i.task, i.prompt, 0, [1], [5], [-0.1], text, "length") for i, text in texts.items()]
    write_rollouts(tmp_path / "chunk", rollouts)
    outcomes = evaluate(list(texts), [tmp_path / "chunk"], "model", tmp_path / "graded", opens_in_thought=opens)
    assert [outcome.answer for outcome in outcomes] == [None if opens else "5", None]
    assert [outcome.score for outcome in outcomes] == ([0.0, 0.0] if opens else [1.0, 0.7])


def test_a_template_that_opens_the_thought_is_recognised(tmp_path: Path) -> None:
    model = locate("toy:qwen3-student")
    assert not opens_in_thought(model, reasoning=True)
    tokenizer = load_tokenizer(model)
    tokenizer.chat_template += (
        "{% if add_generation_prompt %}{% if enable_thinking %}<think>\n{% else %}<think></think>{% endif %}{% endif %}"
    )
    tokenizer.save_pretrained(tmp_path)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "x"}], tokenize=False, add_generation_prompt=True, enable_thinking=True
    )
    assert prompt.endswith("<think>\n")
    decoded = tokenizer.decode(tokenizer(prompt, add_special_tokens=False)["input_ids"])
    if "<think>" in decoded:  # the toy vocabulary may not spell it
        assert opens_in_thought(tmp_path, reasoning=True)
        assert not opens_in_thought(tmp_path, reasoning=False)
    else:
        pytest.fail(f"the tokenizer cannot spell the tag: {decoded!r}")


def test_a_model_judge_is_shown_no_thought() -> None:
    asked: list[str] = []

    def ask(questions: list[str]) -> list[str]:
        asked.extend(questions)
        return ["hallucination"] * len(questions)

    case = Case("How many?", r"\boxed{4}", "numeric", "5", "4", True, trace=r"<think>a secret</think>\boxed{4}")
    assert ModelJudge("judge", ask)([case]) == ["hallucination"]
    assert "secret" not in asked[0]


def test_rules_look_for_loops_and_rechecks_in_the_trace() -> None:
    trace = r"<think>It is 5. Wait, let me double-check. It is 4.</think>\boxed{4}"
    assert RuleJudge()([Case("?", r"\boxed{4}", "numeric", "5", "4", True, trace=trace)]) == ["self_correction"]
    assert mode_of(r"\boxed{4}", kind="numeric", key="5", answer="4", ended=True) == "hallucination"
