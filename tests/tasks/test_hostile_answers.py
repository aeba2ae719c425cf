"""Answers that keep a computer algebra system busy: bounded time, in any thread, in any process."""

import math
import multiprocessing
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from tasks.test_numeric_answers import RIGHT

from repro.tasks import equality, grading
from repro.tasks.equality import CPU_SECONDS, START_MULTIPLE, compare, is_too_costly
from repro.tasks.equality_child import compare_expressions
from repro.tasks.extraction import last_boxed, last_choice
from repro.tasks.grading import Grade, grade

REFUSED = [
    r"9^{9^{9^9}}",
    "(" * 300 + "1" + ")" * 300,
    r"\frac{1}{1+" * 40 + "1" + "}" * 40,
    "1+" * 400 + "1",
    "10^{1000000000}",
    "99999!",
    "9!!!",
]
STOPPED = [r"9^{9^{9}}", "(" * 19 + "1" + ")" * 19]
"""One long call in C, and many short steps of Python."""


@pytest.fixture
def use_child(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., equality._Child]]:
    """Grade by a new child with other limits; answers that were compared before are forgotten."""
    children = []

    def use(*limits: float) -> equality._Child:
        children.append(equality._Child(*limits))
        monkeypatch.setattr(equality, "_child", children[-1])
        _forget_answers()
        return children[-1]

    yield use
    for child in children:
        child.stop()
    _forget_answers()


def _forget_answers() -> None:
    compare.cache_clear()
    grading._grade_number.cache_clear()
    grading._extract_short.cache_clear()


@pytest.mark.parametrize("answer", REFUSED)
def test_known_hazards_are_refused_without_a_try(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(equality, "_child", None)
    assert is_too_costly(answer)
    graded = grade("numeric", rf"\boxed{{{answer}}}", "5")
    assert graded.answer is not None
    assert not graded.correct
    assert graded.is_undecided


@pytest.mark.parametrize("answer", STOPPED)
@pytest.mark.load_sensitive
def test_others_are_stopped_at_the_limit_and_undecided(
    answer: str, use_child: Callable[..., equality._Child], caplog: pytest.LogCaptureFixture
) -> None:
    child = use_child(0.5, 0.0)
    assert not is_too_costly(answer)
    assert compare(r"\sqrt{4}", "2").is_equal
    before = _processor_seconds(child)
    assert grade("numeric", rf"\boxed{{{answer}}}", "5") == Grade(answer, False, is_undecided=True)
    assert f"not decided within 0.5 s of processor time: '{answer[:80]}'" in caplog.text
    # The kernel's limit is 1.2 times the timer's, in whole seconds rounded up, and takes a moment to act.
    assert _processor_seconds(child) - before < 1.2 * child.cpu_limit + 1.5
    assert compare(r"\sqrt{81}", "9").is_equal


def _processor_seconds(child: equality._Child) -> float:
    """Return those of the child and of all children that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    running = psutil.Process(child._process.pid).cpu_times()[:2] if child._process is not None else ()
    return ended.ru_utime + ended.ru_stime + sum(running)


def test_an_honest_answer_takes_less_than_a_twentieth_of_the_limit(
    use_child: Callable[..., equality._Child],
) -> None:
    """As on a machine twenty times slower, with the limits that are set on this one."""
    use_child(CPU_SECONDS / 20, START_MULTIPLE / 20)
    for text, key in RIGHT:
        assert grade("numeric", text, key) == Grade(key, True), text


SLOW = """
import sys
def burn(frame, event, argument):
    for _ in range({loops}):
        pass
sys.setprofile(burn)
"""


@pytest.mark.slow
def test_a_slow_child_decides_what_a_fast_one_decides(
    use_child: Callable[..., equality._Child], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = use_child(0.0, 5.0)
    assert compare(r"\sqrt{4}", "2").is_equal
    (tmp_path / "sitecustomize.py").write_text(SLOW.format(loops=500))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    slow = use_child(0.0, 5.0)
    answer, key = r"\sum_{k=1}^{\infty}\frac{1}{k^2}", r"\frac{\pi^2}{6}"
    assert compare(answer, key).is_equal
    assert slow.cpu_limit > 20 * fast.cpu_limit


@pytest.mark.parametrize("answer", [r"x^4 + x^3 + x^2 + x", r"x^{2^{n}}", r"2^{10}", r"\frac{1}{1+\frac{1}{2}}", "20!"])
def test_ordinary_expressions_are_not_refused(answer: str) -> None:
    assert not is_too_costly(answer)
    assert compare(answer, answer + " + 0").is_equal


def test_works_outside_the_main_thread() -> None:
    grades: dict[str, Grade] = {}

    def work(key: str) -> None:
        grades[key] = grade("numeric", rf"\boxed{{\sqrt{{{int(key) ** 2}}}}}", key)

    threads = [threading.Thread(target=work, args=(str(n),)) for n in range(30, 38)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert grades == {str(n): Grade(str(n), True) for n in range(30, 38)}


def test_a_child_that_was_killed_from_outside_is_replaced() -> None:
    assert compare(r"\sqrt{121}", "11").is_equal
    process = equality._child._process
    assert process is not None
    process.kill()
    assert compare(r"\sqrt{144}", "12").is_equal
    equality._child.stop()
    assert process.poll() is not None
    assert compare(r"\sqrt{169}", "13").is_equal


def test_a_question_whose_child_is_killed_twice_is_undecided(
    use_child: Callable[..., equality._Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    child = use_child()
    exchange = child._exchange

    def kill_before_asking(request: str | None, seconds: float) -> dict | None:
        if request is not None:
            assert child._process is not None
            child._process.kill()
        return exchange(request, seconds)

    monkeypatch.setattr(child, "_exchange", kill_before_asking)
    assert grade("numeric", r"\boxed{\sqrt{196}}", "14") == Grade(r"\sqrt{196}", False, is_undecided=True)


def test_a_suspended_child_is_ended_by_the_wall_clock(
    use_child: Callable[..., equality._Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    child = use_child()
    assert compare(r"\sqrt{225}", "15").is_equal
    assert child._process is not None
    child._process.send_signal(signal.SIGSTOP)
    with monkeypatch.context() as patient:
        patient.setattr(equality, "WALL_MULTIPLE", 0.1)
        assert compare(r"\sqrt{256}", "16").is_equal is None
    assert compare(r"\sqrt{289}", "17").is_equal


def test_the_comparison_itself() -> None:
    assert compare_expressions(r"\frac{6}{4}", "1.5") == {"is_equal": True, "form": "3/2"}
    assert compare_expressions(r"\sqrt{12}", "5") == {"is_equal": False, "form": "2*sqrt(3)"}
    assert compare_expressions("", "5") == {"is_equal": False, "form": None}


def _in_a_fork(answers: "multiprocessing.Queue[bool]") -> None:
    answers.put(equality._child._process is None and compare(r"\sqrt{81}", "9").is_equal is True)


def test_a_forked_process_starts_its_own_child() -> None:
    _forget_answers()
    context = multiprocessing.get_context("fork")
    answers: multiprocessing.Queue[bool] = context.Queue()
    process = context.Process(target=_in_a_fork, args=(answers,))
    process.start()
    assert answers.get()
    process.join()
    assert compare(r"\sqrt{100}", "10").is_equal


def test_a_child_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(equality.sys, "executable", "/bin/true")
    with pytest.raises(RuntimeError, match="the grading process did not start"):
        equality._Child().ask("x", "y")


@pytest.mark.parametrize(
    "text",
    [
        lambda n: r"\boxed{" * (n // 7),
        lambda n: "{" * n,
        lambda n: "\\" * (n + 1),
        lambda n: "answer" + " " * n + "B",
        lambda n: "answer: " + "*" * n,
        lambda n: "answer is" + " the" * (n // 4),
        lambda n: "\n" * n,
        lambda n: "Answer: A or " * (n // 13),
    ],
)
@pytest.mark.load_sensitive
def test_extraction_is_linear_in_the_text(text: Callable[[int], str]) -> None:
    """Four times the text takes at most 2.5 times 2.5 as long; a quadratic search would take sixteen times."""
    texts = [text(100_000), text(400_000)]  # both larger than the fastest cache
    best = [math.inf, math.inf]
    for _ in range(7):  # turn by turn: other work on the machine slows both
        for number, completion in enumerate(texts):
            start = time.process_time()
            last_boxed(completion)
            last_choice(completion)
            best[number] = min(best[number], time.process_time() - start)
    assert best[1] / best[0] < 2.5**2
