"""Answers that keep a computer algebra system busy: bounded time, in any thread, in any process."""

import multiprocessing
import threading
import time
from collections.abc import Callable

import pytest

from repro.tasks import equality
from repro.tasks.equality import compare, is_too_costly
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


@pytest.fixture(autouse=True, scope="module")
def _started() -> None:
    """The child's start (an import of sympy) is paid once and is not what is timed here."""
    assert compare(r"\sqrt{4}", "2").same


def _timed(call: Callable[[], Grade], clock: Callable[[], float]) -> tuple[Grade, float]:
    start = clock()
    return call(), clock() - start


@pytest.mark.parametrize("answer", REFUSED)
def test_known_hazards_are_refused_at_once(answer: str) -> None:
    assert is_too_costly(answer)
    graded, seconds = _timed(lambda: grade("numeric", rf"\boxed{{{answer}}}", "5"), time.process_time)
    assert not graded.correct
    assert graded.answer is not None
    assert seconds < 0.1


@pytest.mark.parametrize("answer", STOPPED)
def test_others_are_stopped_and_grading_goes_on(answer: str) -> None:
    assert not is_too_costly(answer)
    graded, seconds = _timed(lambda: grade("numeric", rf"\boxed{{{answer}}}", "5"), time.monotonic)
    assert not graded.correct
    assert seconds < 15  # processor time is limited to about 1.2 s; the wall clock of a shared machine is not
    assert compare(rf"\sqrt{{{len(answer) ** 2}}}", str(len(answer))).same


@pytest.mark.parametrize("answer", [r"x^4 + x^3 + x^2 + x", r"x^{2^{n}}", r"2^{10}", r"\frac{1}{1+\frac{1}{2}}", "20!"])
def test_ordinary_expressions_are_not_refused(answer: str) -> None:
    assert not is_too_costly(answer)
    assert compare(answer, answer + " + 0").same


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


def test_a_child_that_was_ended_from_outside_is_replaced() -> None:
    process = equality._child._process
    assert process is not None
    process.kill()
    assert compare(r"\sqrt{144}", "12").same
    equality._child.stop()
    assert process.poll() is not None
    assert compare(r"\sqrt{169}", "13").same


def test_the_comparison_itself() -> None:
    assert compare_expressions(r"\frac{6}{4}", "1.5") == {"same": True, "form": "3/2"}
    assert compare_expressions(r"\sqrt{12}", "5") == {"same": False, "form": "2*sqrt(3)"}
    assert compare_expressions("", "5") == {"same": False, "form": None}


def _in_a_fork(answers: "multiprocessing.Queue[bool]") -> None:
    answers.put(equality._child._process is None and compare(r"\sqrt{81}", "9").same)


def test_a_forked_process_starts_its_own_child() -> None:
    context = multiprocessing.get_context("fork")
    answers: multiprocessing.Queue[bool] = context.Queue()
    process = context.Process(target=_in_a_fork, args=(answers,))
    process.start()
    assert answers.get(timeout=60)
    process.join(timeout=60)
    assert compare(r"\sqrt{100}", "10").same


def test_a_child_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(equality.sys, "executable", "/bin/true")
    with pytest.raises(RuntimeError, match="the grading process did not start"):
        equality._Child().ask("x", "y")


@pytest.mark.parametrize(
    "text",
    [
        r"\boxed{" * 30000,
        "{" * 100000,
        "\\" * 100001,
        "answer" + " " * 100000 + "B",
        "answer: " + "*" * 100000,
        "answer is the the the " * 10000,
        "\n" * 100000,
        "Answer: A or " * 10000,
    ],
    ids=lambda text: text[:12],
)
def test_extraction_is_linear_in_the_text(text: str) -> None:
    start = time.process_time()
    last_boxed(text)
    last_choice(text)
    assert time.process_time() - start < 2
