"""The oracles find the known errata from the numbers, and notice when files and numbers disagree."""

import shutil
from pathlib import Path

import pytest

from repro.printed.files import paper_tables_folder
from repro.printed.load import load
from repro.tables import load_claims
from repro.tables.consistency.check import check_tables
from repro.tables.consistency.claim_evidence import counts, printed_comparisons
from repro.tables.consistency.oracles import (
    drifts,
    implied_lengths,
    impossible_rates,
    length_outliers,
    mean_weights,
    repeated_runs,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(paper_tables_folder(), tmp_path / "paper_tables"))


def without_errata(folder: Path) -> None:
    for name in ("table1", "table2"):
        text = (folder / f"{name}.toml").read_text(encoding="utf-8")
        (folder / f"{name}.toml").write_text(text[: text.index("[[errata]]")], encoding="utf-8")


def failing(folder: Path) -> list[str]:
    return [finding.text for finding in check_tables(folder) if not finding.ok]


def test_everything_passes() -> None:
    findings = check_tables()
    assert {finding.oracle for finding in findings} == {1, 2, 3, 4, 5, 6, 7}
    assert all(finding.ok for finding in findings)


def test_errata_are_found_from_the_numbers_alone(folder: Path) -> None:
    without_errata(folder)
    table = load("table1", folder)
    assert [(c.row["teacher"], c.column, c.value) for c in length_outliers(table)] == [
        ("Qwen3-32B", "Dolly", 431.1),
        ("Qwen3-32B", "Vicuna", 477.2),
    ]
    pairs = repeated_runs(table, "sequence_rkl")
    assert [(a.row["teacher"], b.row["teacher"], a.column) for a, b in pairs] == [
        ("Qwen3-14B", "Qwen3-32B", "Dolly"),
        ("Qwen3-14B", "Qwen3-32B", "Vicuna"),
    ]
    ((majority, passed),) = impossible_rates(load("table2", folder))
    assert (majority.row["method"], majority.column, majority.value, passed.value) == (
        "Misled",
        "CSQA",
        0.322,
        0.304,
    )
    texts = failing(folder)
    assert len(texts) == 5
    assert all("not recorded as an erratum" in text for text in texts)


def test_an_erratum_that_no_oracle_sees_is_reported(folder: Path) -> None:
    path = folder / "table1.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(
        text.replace(
            'columns = ["Dolly", "Vicuna"]\nmetrics = ["sequence_rkl"]\nprovenance',
            'columns = ["CSQA"]\nmetrics = ["token_rkl"]\nprovenance',
        ),
        encoding="utf-8",
    )
    assert any("CSQA, token_rkl" in t and "which no oracle finds" in t for t in failing(folder))


@pytest.mark.parametrize(
    ("column", "gemma", "qwen"),
    [
        ("BM4", 1155, 3914),
        ("BM5", 1382, 4630),
        ("CSQA", 169, 838),
        ("MMLU-Pro", 721, 2151),
        ("superGPQA", 811, 2474),
        ("Dolly", 510, 733),
        ("Vicuna", 587, 818),
    ],
)
def test_implied_lengths(column: str, gemma: int, qwen: int) -> None:
    lengths = implied_lengths(load("table1"))
    for family, tokens in (("gemma3", gemma), ("qwen3", qwen)):
        assert lengths[family, column][0].value == pytest.approx(tokens, abs=0.7)


def test_drift_of_the_re_measurement() -> None:
    moved = drifts(load("table1"), load("table4"))
    assert moved["gemma3", "Distillable", "BM4"] == pytest.approx(0.11, abs=0.005)
    assert moved["qwen3", "Distillable", "BM4"] == pytest.approx(-0.036, abs=0.001)
    assert moved["gemma3", "Original", "BM4"] == 0


def test_mean_weights_are_nowhere_near_one() -> None:
    by_hand = {
        ("gemma3", "BM4"): 0.135,
        ("gemma3", "BM5"): 0.105,
        ("gemma3", "CSQA"): 0.0114,
        ("qwen3", "BM5"): 121,
        ("qwen3", "Vicuna"): 3.3,
    }
    weights = {(cell.row["family"], cell.column): weight for cell, weight in mean_weights(load("table1"))}
    assert len(weights) == 14
    for key, weight in by_hand.items():
        assert weights[key] == pytest.approx(weight, rel=0.01)


@pytest.mark.parametrize(
    ("claim", "held", "of"),
    [
        ("distillable-reduces-token-rkl", 5, 8),
        ("undistillable-raises-token-rkl", 6, 8),
        ("undistillable-raises-wrong-trace", 7, 8),
        ("improve-beats-baselines-pass16", 5, 10),
        ("improve-beats-gkd-rkl", 14, 14),
        ("improve-helps", 12, 14),
        ("undistillable-ood-retains-teacher", 3, 6),
    ],
)
def test_claims_that_the_paper_does_not_bear_out(claim: str, held: int, of: int) -> None:
    stored = next(c for c in load_claims() if c.id == claim)
    assert counts(stored, printed_comparisons(stored, load)) == (held, of)
    assert (stored.paper.held, stored.paper.of) == (held, of)


def test_out_of_distribution_losses_by_hand() -> None:
    claim = next(c for c in load_claims() if c.id == "undistillable-ood-retains-teacher")
    lost = {c.label: c.left - c.right for c in printed_comparisons(claim, load) if not c.held}
    assert lost["table3 qwen3 / Qwen3-8B / Undistillable (OOD), MMLU-Pro, acc"] == pytest.approx(-0.173)
    assert lost["table3 qwen3 / Qwen3-8B / Undistillable (OOD), superGPQA, acc"] == pytest.approx(-0.126)


@pytest.mark.parametrize(
    ("file", "old", "new", "text"),
    [
        (
            "claims",
            "held = 5, of = 10",
            "held = 6, of = 10",
            "5 of 10 printed comparisons hold, claims.toml says 6 of 10",
        ),
        ("table4", '"0.117"', '"0.118"', "they should be one number"),
        ("table1", '"135.1 (22.8%)"', '"153.1 (22.8%)"', "disagree within rounding"),
        ("table5", '"141.5"', '"114.5"', "the prose quotes [141.5, 196.8], the table prints [114.5, 196.8]"),
        ("table2", '"0.523 [0.518, 0.763]"', '"0.523 [0.518, 0.463]"', "above pass@16 0.463; not recorded"),
    ],
)
def test_a_wrong_digit_is_noticed(folder: Path, file: str, old: str, new: str, text: str) -> None:
    path = folder / f"{file}.toml"
    content = path.read_text(encoding="utf-8")
    assert old in content
    path.write_text(content.replace(old, new, 1), encoding="utf-8")
    assert any(text in line for line in failing(folder))
