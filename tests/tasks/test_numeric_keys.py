"""Keys of numeric rows as a file holds them: floating-point numbers, NaN, separators."""

import math
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tasks.schema_rows import Write

from repro.errors import InputError
from repro.tasks import registry
from repro.tasks.grading import grade
from repro.tasks.own_file import numeric_key
from repro.tasks.rows import Row


def key(answer: object) -> str:
    return numeric_key(Row("rows.jsonl", 1, {"answer": answer}, "prompt, answer"), "answer")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (1e-05, "0.00001"),
        (2.5e-07, "0.00000025"),
        (1e16, "10000000000000000"),
        (1.2e17, "120000000000000000"),
        (0.5, "0.5"),
        (5.0, "5"),
        (-0.0, "0"),
        (-1.5, "-1.5"),
        (0.1 + 0.2, "0.3"),
        (2 / 3, "0.666666666666667"),
        (1e300, "1e+300"),
        (5e-324, "5e-324"),
        (Decimal("1.50"), "1.5"),
        (12345678901234567890, "12345678901234567890"),
        ("1,234", "1,234"),
        (" 3/4 ", "3/4"),
    ],
)
def test_keys(answer: object, expected: str) -> None:
    assert key(answer) == expected


@pytest.mark.parametrize("answer", [1e-05, 1e16, 1.1e17, 0.1 + 0.2, 1e300, 3.0, 0.00012, 123456.789])
def test_a_right_answer_equals_a_float(answer: float) -> None:
    written = format(Decimal(f"{answer:.15g}"), "f")
    scientific = f"{answer:.14e}"
    assert grade("numeric", rf"\boxed{{{scientific}}}", key(answer)).correct
    if len(written) <= 64:
        assert grade("numeric", rf"\boxed{{{written}}}", key(answer)).correct
    assert not grade("numeric", rf"\boxed{{{1.001 * answer:.6e}}}", key(answer)).correct


def test_a_computed_key_equals_the_fraction_that_it_rounds() -> None:
    assert grade("numeric", r"\boxed{\frac{2}{3}}", key(2 / 3)).correct
    assert grade("numeric", r"\boxed{0.666667}", key(2 / 3)).correct
    assert not grade("numeric", r"\boxed{0.66667}", key(2 / 3)).correct


@pytest.mark.parametrize("answer", [math.nan, math.inf, -math.inf, "NaN", "-inf", "Infinity", Decimal("NaN")])
def test_what_no_answer_equals_is_refused(answer: object) -> None:
    with pytest.raises(InputError, match=r"rows.jsonl, row 1: field 'answer' is .*, which no answer can match"):
        key(answer)


def test_nan_in_json_is_refused_with_its_row(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"prompt": "a", "answer": 1}\n{"prompt": "b", "answer": NaN}\n')
    with pytest.raises(InputError, match=r"row 2: field 'answer' is nan"):
        registry.get("file-numeric", data=file).items("test", None, 0)


def test_single_precision_of_parquet_is_read_as_written(tmp_path: Path) -> None:
    table = pa.table(
        {"prompt": [f"q{n}" for n in range(20)], "answer": pa.array([n / 10 for n in range(20)], pa.float32())}
    )
    pq.write_table(table, tmp_path / "rows.parquet")
    task = registry.get("file-numeric", data=tmp_path / "rows.parquet")
    keys = {item.key for split in ("train", "test") for item in task.items(split, None, 0)}  # type: ignore[arg-type]
    assert keys == {f"{n / 10:g}" for n in range(20)}


@pytest.mark.parametrize("written", ["1,234", "1 234", "1\u00a0234", "$1,234.00", "1{,}234", "1234.0", "1.234e3"])
def test_separators_in_keys(written: str, write: Write) -> None:
    file = write([{"prompt": f"q{n}", "answer": written} for n in range(20)])
    for item in registry.get("file-numeric", data=file).items("test", None, 0):
        assert grade("numeric", r"\boxed{1234}", item.key).correct
        assert not grade("numeric", r"\boxed{1.234}", item.key).correct


@pytest.mark.parametrize("answer", ["\u200b", "5 + 3 = 8\n#### 8", "#### 8", "The sum is\n8"])
def test_keys_that_no_boxed_answer_equals_are_refused(answer: str, write: Write) -> None:
    """A solution in the place of the final answer: every completion would be wrong without a word."""
    data = write([{"prompt": f"Question {n}?", "answer": answer if n else "1"} for n in range(2)])
    with pytest.raises(InputError, match=r"row 2: field 'answer' (is|has)"):
        registry.get("file-numeric", data=data).items("test", None, 0)
