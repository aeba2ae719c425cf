"""`repro show --completions`: the first prompts with what the model wrote and how it was graded."""

import pytest
from rich.console import Console

from repro.errors import InputError
from repro.evaluation.graded import Graded, write_graded
from repro.generation.rollouts import Rollout, write_rollouts
from repro.report.stored_completions import print_completions

from .conftest import store_evaluation


def text_of(folder, prompts):
    console = Console(record=True, width=60)
    print_completions(folder, prompts, console)
    return console.export_text()


def rollout(item, sample, text, stop="eos", task="file-numeric"):
    return Rollout(str(item), task, f"Question {item}", sample, [1], [5, 6, 7], [0.0] * 3, text, stop)


def test_the_first_prompts_with_their_grades(tmp_path):
    text = text_of(store_evaluation(tmp_path / "a", lambda item: item), 2)
    assert (
        text.index("file-numeric, item 0\n  Question 0\n  key: 0\n  1: wrong, answer wrong, 2 tokens\n     wrong\n")
        == 0
    )
    assert "file-numeric, item 1\n  Question 1\n  key: 1\n  1: right, answer 1, 2 tokens\n     1\n" in text
    assert "item 2" not in text


def test_grades_cuts_and_what_is_not_printed(tmp_path):
    graded = [
        Graded(rollout(0, 0, "\\boxed{4}"), "5", "4", 0.0),
        Graded(rollout(0, 1, "and so\non\x1b[31m", "length"), "5", None, 0.0),
        Graded(rollout(0, 2, "x"), "5", "x", 0.0, undecided=True),
        *(Graded(rollout(0, n, "5"), "5", "5", 1.0) for n in (3, 4)),
        Graded(rollout(0, 5, "6"), "5", "6", 0.0),
        *(Graded(rollout(0, n, "poem", task="dolly"), None, None, 0.25) for n in range(4)),
    ]
    write_graded(tmp_path / "rollouts.parquet", [graded])
    text = text_of(tmp_path, 1)
    assert "  1: wrong, answer 4, 3 tokens\n     \\boxed{4}\n" in text
    assert "  2: no answer, 3 tokens, cut at the token cap\n     and so\n     on\u27e8U+001B\u27e9[31m\n" in text
    assert "  3: undecided, answer x, 3 tokens" in text
    assert "  3 more: 2 right, 1 wrong\n" in text
    assert "  1: reward 0.250, 3 tokens\n     poem\n" in text
    assert "  1 more\n" in text


def test_a_sample_has_no_grades(tmp_path):
    write_rollouts(tmp_path / "rollouts.parquet", [rollout(0, 0, "hello"), rollout(1, 0, "other")])
    assert text_of(tmp_path, 1) == "file-numeric, item 0\n  Question 0\n  1: 3 tokens\n     hello\n\n"


def test_what_has_no_completions_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"has no completions\. Name an artifact of `repro evaluate`"):
        print_completions(tmp_path, 1, Console())
    with pytest.raises(InputError, match="--completions 0"):
        print_completions(tmp_path, 0, Console())
