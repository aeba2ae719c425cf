"""Every stored number against lines of the paper's text (printed_lines.txt), read by other code."""

import re
from pathlib import Path

import pytest

from repro.errors import InputError
from repro.printed.load import load, table_names
from repro.printed.numbers import parse_cell
from repro.tables import load_claims
from repro.tables.measurements.trap_outcomes import CALIBRATED

LINES = (Path(__file__).parent / "printed_lines.txt").read_text(encoding="utf-8").splitlines()


def section(number: int) -> list[list[str]]:
    """Return the cells of each data line of one table."""
    start = LINES.index(f"# Table {number}") + 2
    end = next((n for n in range(start, len(LINES)) if LINES[n].startswith("#")), len(LINES))
    rows = [[cell.strip() for cell in line.split("|") if cell.strip()] for line in LINES[start:end]]
    return [row for row in rows if len(row) > 1]


def is_number(cell: str) -> bool:
    return re.match(r"-?\d", cell) is not None and not cell.startswith("4B")


@pytest.mark.parametrize("number", range(1, 8))
def test_every_number_in_printed_order(number: int) -> None:
    printed = [
        token
        for row in section(number)
        for cell in row
        if is_number(cell)
        for token in re.split(r"[\s\[\](),%]+", cell)
        if token
    ]
    stored = [cell.printed.text.rstrip("%") for cell in load(f"table{number}").cells]
    assert stored == printed


@pytest.mark.parametrize("number", range(1, 8))
def test_every_row_under_its_names(number: int) -> None:
    table = load(f"table{number}")
    rows = list({(c.block, *c.row.values()): c.row for c in table.cells}.values())
    lines = section(number)
    assert len(rows) == len(lines)
    for row, line in zip(rows, lines, strict=True):
        names = [name.replace("27b", "27B") for name in line if not is_number(name)]
        labels = [value for key, value in row.items() if key != "family"]
        assert names[-len(labels) :] == labels


def test_counts_of_numbers() -> None:
    assert {name: len(load(name).cells) for name in table_names()} == {
        "table1": 123,
        "table2": 306,
        "table3": 18,
        "table4": 72,
        "table5": 5,
        "table6": 32,
        "table7": 18,
        "figures": 2,
    }


@pytest.mark.parametrize(
    ("column", "metric", "row", "value"),
    [
        ("BM4", "acc", {"family": "gemma3", "method": "Improve"}, 0.523),
        ("BM5", "maj16", {"family": "gemma3", "method": "Improve"}, 0.274),
        ("superGPQA", "pass16", {"family": "gemma3", "method": "Misled"}, 0.401),
        ("Vicuna", "reward", {"family": "gemma3", "method": "Student"}, 0.991),
        ("CSQA", "acc", {"family": "qwen3", "method": "Undistillable"}, 0.839),
        ("MMLU-Pro", "maj16", {"family": "qwen3", "method": "GKD-RKL"}, 0.476),
        ("Dolly", "reward", {"family": "qwen3", "base": "Qwen3-1.7B", "method": "Misled"}, 0.215),
    ],
)
def test_table2_by_hand(column: str, metric: str, row: dict[str, str], value: float) -> None:
    cell = load("table2").cell(column, metric, **row)
    assert cell.value == value
    assert cell.printed.half_unit == pytest.approx(0.0005)
    assert (cell.provenance, cell.items_provenance) == ("PAPER", "ASSUMED")


def test_units_and_rounding_of_print() -> None:
    table = load("table1")
    share = table.cell("superGPQA", "wrong_trace", teacher="Qwen3-32B")
    assert (share.value, share.printed.half_unit) == (0.656, pytest.approx(0.0005))
    weighted = table.cell("Vicuna", "is_rkl", family="gemma3")
    assert (weighted.value, weighted.printed.half_unit) == (9.96e10, pytest.approx(5e7))
    assert table.cell("BM4", "is_rkl", family="qwen3").value == -1.14e-40
    assert load("table5").cell("pipeline", "gpu_hours", process="Student SFT").value == 9.8
    low, high = load("figures").cells
    assert (low.value, high.value, low.printed.half_unit) == (0.89, 0.95, pytest.approx(0.005))


@pytest.mark.parametrize("text", ["0.6x9", "", "n/a", "0.5 of 0.7", "1.2.3"])
def test_other_text_is_no_number(text: str) -> None:
    with pytest.raises(ValueError, match="not a printed number"):
        parse_cell(text)


def test_a_cell_needs_exactly_one_match() -> None:
    with pytest.raises(InputError, match=r"table2.toml: 2 cells match .*'SFT'.*exactly one must"):
        load("table2").cell("BM4", "acc", method="SFT")
    with pytest.raises(InputError, match="0 cells match"):
        load("table2").cell("BM6", "acc", family="qwen3", method="SFT")
    with pytest.raises(InputError, match="no stored table 'table9'"):
        load("table9")


def test_claims_of_table2() -> None:
    claims = {claim.id: claim for claim in load_claims("table2")}
    assert {c.role for c in claims.values()} == {"premise", "claim", "control"}
    assert all((c.role == "control") == (c.provenance == "ASSUMED") for c in claims.values())
    pass16 = claims["improve-beats-baselines-pass16"].paper
    assert (pass16.bears_out, pass16.held, pass16.of) == ("partly", 5, 10)
    assert claims["undistillable-retains-teacher"].margin == 0.02
    assert not claims["student-under-teacher"].training
    assert claims["improve-beats-gkd-rkl"].training
    with pytest.raises(InputError, match="no claim of study 'table9'"):
        load_claims("table9")


def test_claims_with_the_same_reason_have_the_same_margin() -> None:
    margins: dict[str, set[float]] = {}
    for claim in load_claims():
        margins.setdefault(claim.margin_reason, set()).add(claim.margin)
    two_points = next(values for reason, values in margins.items() if reason.startswith("2 points"))
    assert two_points == {0.02}
    assert all(len(values) == 1 for reason, values in margins.items() if reason)


def test_claims_name_rows_that_are_stored() -> None:
    for claim in load_claims():
        if not claim.study.startswith("table") or claim.role == "control":
            continue
        for ref in (claim.left, *claim.right):
            table = load(ref.table or claim.study)
            if ref.row == CALIBRATED:  # measured over all calibrated teachers: a row that no table prints
                continue
            assert ref.row == "*" or ref.row in {table.label(cell) for cell in table.cells}, claim.id
            assert set(ref.columns or ()) <= set(table.columns), claim.id
