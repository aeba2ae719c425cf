"""The record of known verdicts: any change is a difference, and paper scale is refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from repro.errors import InputError
from repro.printed.load import load
from repro.tables.verdicts.known_verdicts import compare_with_known, load_known_verdicts, write_known_verdicts
from repro.tables.verdicts.verdict import verdict
from repro.tables.verdicts.verdict_types import VerdictReport

from .conftest import Make

Reports = tuple[VerdictReport, list[VerdictReport]]


@pytest.fixture
def reports(make: Make) -> Reports:
    measured, stored = make(items=60), load("table2")
    single = [verdict(measured.only_seed(n), stored, resamples=500) for n in range(3)]
    return verdict(measured, stored, resamples=500), single


def write(path: Path, reports: Reports) -> None:
    write_known_verdicts(
        path,
        *reports,
        world="world3",
        development_worlds=["world0"],
        tasks=["toy-bm4"],
        date="2026-01-31",
        commit="0123abc",
    )


def turned(report: VerdictReport, claim: str, value: str) -> VerdictReport:
    changed = tuple(replace(v, value=value) if v.claim == claim else v for v in report.claims)  # type: ignore[arg-type]
    return replace(report, claims=changed)


def test_a_run_matches_the_record_made_from_it(tmp_path: Path, reports: Reports) -> None:
    path = tmp_path / "known" / "table2-toy.toml"
    write(path, reports)
    known = load_known_verdicts(path)
    assert (known.study, known.scale, known.seeds, known.commit) == ("table2", "toy", (0, 1, 2), "0123abc")
    assert compare_with_known(reports[0], known) == []
    for single in reports[1]:
        assert compare_with_known(single, known) == []
    assert [p.name for p in path.parent.iterdir()] == ["table2-toy.toml"]


@pytest.mark.parametrize("value", ["contradicted", "inconclusive"])
def test_a_verdict_that_gets_worse_is_a_difference(tmp_path: Path, reports: Reports, value: str) -> None:
    write(tmp_path / "k.toml", reports)
    (difference,) = compare_with_known(
        turned(reports[0], "improve-beats-sft", value), load_known_verdicts(tmp_path / "k.toml")
    )
    assert (difference.claim, difference.expected, difference.found) == (
        "improve-beats-sft",
        ("reproduced",),
        value,
    )
    assert difference.text == f"improve-beats-sft (qwen3): {value}, the record says reproduced"


def test_a_verdict_that_gets_better_is_a_difference_too(tmp_path: Path, reports: Reports) -> None:
    pooled = turned(reports[0], "improve-beats-sft", "contradicted")
    write(tmp_path / "k.toml", (pooled, reports[1]))
    (difference,) = compare_with_known(reports[0], load_known_verdicts(tmp_path / "k.toml"))
    assert (difference.expected, difference.found) == (("contradicted",), "reproduced")


def test_one_seed_is_compared_with_single_seeds(tmp_path: Path, reports: Reports) -> None:
    pooled, single = reports
    single = [turned(single[0], "sft-helps", "inconclusive"), *single[1:]]
    write(tmp_path / "k.toml", (pooled, single))
    known = load_known_verdicts(tmp_path / "k.toml")
    entry = next(k for k in known.claims if k.claim == "sft-helps")
    assert (entry.verdict, entry.one_seed) == ("reproduced", ("inconclusive", "reproduced"))
    assert compare_with_known(single[0], known) == []
    assert len(compare_with_known(turned(single[0], "sft-helps", "contradicted"), known)) == 1
    assert len(compare_with_known(turned(pooled, "sft-helps", "inconclusive"), known)) == 1


def test_claims_missing_on_either_side(tmp_path: Path, reports: Reports) -> None:
    pooled = reports[0]
    write(tmp_path / "k.toml", reports)
    known = load_known_verdicts(tmp_path / "k.toml")
    (gone,) = compare_with_known(replace(pooled, claims=pooled.claims[1:]), known)
    assert (gone.found, gone.text) == (
        None,
        "student-under-teacher (qwen3): in the record (reproduced), not in the run",
    )
    (new,) = compare_with_known(pooled, known.model_copy(update={"claims": known.claims[1:]}))
    assert new.text == "student-under-teacher (qwen3): reproduced, not in the record"


def test_a_claim_that_is_not_testable_is_recorded_and_compared_as_such(tmp_path: Path, reports: Reports) -> None:
    pooled, single = reports
    first, *rest = pooled.claims
    untestable = replace(pooled, claims=(replace(first, value="not testable", text="not testable: at chance"), *rest))
    write(tmp_path / "k.toml", (untestable, single))
    known = load_known_verdicts(tmp_path / "k.toml")
    assert known.claims[0].verdict == "not testable"
    assert not compare_with_known(untestable, known)
    (difference,) = compare_with_known(pooled, known)
    assert difference.text == f"{first.claim} (qwen3): {first.value}, the record says not testable"


def test_a_changed_margin_is_a_difference(tmp_path: Path, reports: Reports) -> None:
    write(tmp_path / "k.toml", reports)
    changed = tuple(replace(v, margin=0.05) if v.kind == "noninferiority" else v for v in reports[0].claims)
    differences = compare_with_known(replace(reports[0], claims=changed), load_known_verdicts(tmp_path / "k.toml"))
    assert [d.text for d in differences] == [
        f"{claim}-retains-teacher (qwen3): margin 0.05, the record was made with 0.02"
        for claim in ("distillable", "undistillable")
    ]


def test_a_rewritten_record_gives_the_reasons_of_the_new_run(tmp_path: Path, reports: Reports) -> None:
    path, (pooled, single) = tmp_path / "k.toml", reports
    write(path, (replace(pooled, claims=tuple(replace(v, text="of before") for v in pooled.claims)), single))
    write(path, reports)
    assert [k.reason for k in load_known_verdicts(path).claims] == [v.text for v in pooled.claims]


def test_never_at_paper_scale_nor_from_few_seeds(tmp_path: Path, reports: Reports) -> None:
    path, (pooled, single) = tmp_path / "k.toml", reports
    with pytest.raises(InputError, match="at paper scale a verdict is a finding"):
        write(path, (replace(pooled, scale="paper"), single))
    with pytest.raises(InputError, match="at least 3 seeds, this run has 2"):
        write(path, (replace(pooled, seeds=(0, 1)), single))
    with pytest.raises(InputError, match="one report per seed"):
        write(path, (pooled, single[:2]))
    assert not path.exists()


def test_other_study_or_malformed_record(tmp_path: Path, reports: Reports) -> None:
    path = tmp_path / "k.toml"
    with pytest.raises(InputError, match="no record of known verdicts"):
        load_known_verdicts(path)
    write(path, reports)
    with pytest.raises(InputError, match="table3 at toy scale cannot be compared with a record of table2"):
        compare_with_known(replace(reports[0], study="table3"), load_known_verdicts(path))
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('verdict = "reproduced"', 'verdict = "fine"', 1), encoding="utf-8")
    with pytest.raises(
        InputError, match=r"k.toml, line 23, key claims\[0\].verdict: must be 'reproduced', .* \(got 'fine'\)"
    ):
        load_known_verdicts(path)
    path.write_text(text.replace('commit = "0123abc"\n', "", 1), encoding="utf-8")
    with pytest.raises(InputError, match=r"k.toml, line 1, key commit: Field required"):
        load_known_verdicts(path)
    path.write_text("study :", encoding="utf-8")
    with pytest.raises(InputError, match="not TOML"):
        load_known_verdicts(path)


def test_an_unwritable_folder_is_an_input_error(tmp_path: Path, reports: Reports) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file: cannot be written to .*--into"):
        write(tmp_path / "file" / "table2-toy.toml", reports)
