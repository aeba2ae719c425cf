"""Results that belong together are joined and judged together; others are refused in one line that names them."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from measured_world import build

from repro.errors import InputError
from repro.printed.load import load
from repro.report import merge
from repro.report.markdown import markdown
from repro.report.merge import Source, changed_rules, changed_verdicts, merge_sources, read_parts
from repro.report.rerun import rerun_command
from repro.report.result import FORMAT, read_result
from repro.report.sections.build import build_sections
from repro.tables import MeasuredTable, load_claims
from repro.tables.verdicts.verdict import verdict

from .conftest import make_result, write_result


def two_seeds():
    both = build(items=40, seeds=(0, 1))
    return both, [Source(f"seed-{n}", make_result(both.only_seed(n))) for n in (0, 1)]


def test_seeds_of_two_machines_are_judged_as_one_run_of_both():
    both, sources = two_seeds()
    (part,) = merge_sources(sources)
    assert part.report.seeds == (0, 1)
    assert part.report.claims == verdict(both, load("table2"), missing="inconclusive").claims


def test_the_order_of_the_results_does_not_matter():
    _, sources = two_seeds()
    assert merge_sources(sources)[0].report == merge_sources(sources[::-1])[0].report


def test_families_with_the_same_seeds_share_one_correction():
    qwen, gemma = make_result(build(items=40)), make_result(build(items=40, family="gemma3"))
    (part,) = merge_sources([Source("a", qwen), Source("b", gemma)])
    assert part.report.families == ("qwen3", "gemma3")
    assert set(part.settings["families"]) == {"qwen3", "gemma3"}
    other_seed = make_result(build(items=40, family="gemma3", seeds=(7,)))
    apart = merge_sources([Source("a", qwen), Source("b", other_seed)])
    assert [p.report.families for p in apart] == [("qwen3",), ("gemma3",)]
    assert [len(p.sources) for p in apart] == [1, 1]


def test_other_scales_and_studies_are_separate_parts():
    traps = MeasuredTable("table1", "toy", "qwen3", (0,))
    rng = np.random.default_rng(0)
    for row in ("Qwen3-8B", "Qwen3-14B"):
        traps.add(row, "BM4", "token_rkl", [f"i{n}" for n in range(20)], rng.gamma(2, 0.1, (1, 20)))
    sources = [make_result(), make_result(build(items=40, scale="small")), make_result(traps)]
    parts = merge_sources([Source(str(n), content) for n, content in enumerate(sources)])
    assert [p.name for p in parts] == ["Table 2 at toy scale", "Table 2 at small scale", "Table 1 at toy scale"]


def test_one_seed_given_twice_is_refused(result):
    with pytest.raises(InputError, match=r"^a and b do not belong together: both hold seed 0 of table2, qwen3"):
        merge_sources([Source("a", result), Source("b", result)])


def test_other_settings_are_refused():
    _, (first, second) = two_seeds()
    settings = {**second.content["settings"], "train_items": 20}
    other = replace(second, content={**second.content, "settings": settings})
    with pytest.raises(
        InputError, match=r"seed-0 and seed-1 do not belong together: setting train_items is 300 and 20"
    ):
        merge_sources([first, other])


def judged_by(source, judge):
    return replace(source, content={**source.content, "settings": {**source.content["settings"], "judge": judge}})


def test_a_served_judge_is_the_same_at_any_address():
    _, (first, second) = two_seeds()
    local, remote = (
        judged_by(first, "http://127.0.0.1:8000/v1#org/judge"),
        judged_by(second, "https://there/v1#org/judge"),
    )
    assert len(merge_sources([local, remote])) == 1
    with pytest.raises(InputError, match=r"setting judge is 'org/judge \(served\)' and 'org/judge'"):
        merge_sources([local, judged_by(second, "org/judge")])


def test_a_served_rewriter_is_the_same_at_any_address():
    _, sources = two_seeds()

    def guarded_by(source, model):
        settings = {
            **source.content["settings"],
            "matrix": {"guards": ["none", f"rewrite(model={model},style=summarise)"]},
        }
        return replace(source, content={**source.content, "settings": settings})

    first, second, other = map(
        guarded_by, (*sources, sources[1]), ("http://127.0.0.1:8000/v1#m", "https://there/v1#m", "https://there/v1#n")
    )
    assert len(merge_sources([first, second])) == 1
    with pytest.raises(InputError, match=r"setting matrix.guards is"):
        merge_sources([first, other])


def test_other_items_are_refused():
    _, (first, _) = two_seeds()
    other = Source("fewer", make_result(build(items=30, seeds=(1,))))
    with pytest.raises(InputError, match="seed-0 and fewer: results do not merge: items differs"):
        merge_sources([first, other])


def damaged(result, change):
    content = json.loads(json.dumps(result))
    change(content)
    return content


DAMAGE = {
    "no measured table": (lambda c: c.pop("measured"), "key measured: Field required"),
    "seconds are a word": (lambda c: c["stages"][0].update(seconds="long"), "key stages.0.seconds"),
    "seconds are not finite": (lambda c: c["stages"][0].update(seconds=math.inf), "key stages.0.seconds"),
    "a verdict without its margin": (
        lambda c: c["verdicts"]["claims"][2].pop("margin"),
        "key verdicts.claims.2.margin",
    ),
    "a score that is a text": (
        lambda c: c["examples"][0]["completions"][0].update(score="1.0"),
        "key examples.0.completions.0.score",
    ),
    "not a number": (
        lambda c: c["measured"][0]["cells"][0]["values"][0].__setitem__(3, math.nan),
        "row 'Teacher', task 'chain3', metric 'acc'.* item 'chain3-3' of seed 0 is nan",
    ),
    "a cell without values": (lambda c: c["measured"][0]["cells"][0].pop("values"), "KeyError at 'values'"),
    "items that are a list": (
        lambda c: c["measured"][0].update(items=[["chain3-0"]]),
        "not a measured table, TypeError",
    ),
    "head and table differ": (lambda c: c.update(scale="paper"), r"damaged: measured.0.scale is 'toy'"),
    "a family too few": (lambda c: c.update(families=[]), r"damaged: measured has families \['qwen3'\]"),
    "another study": (
        lambda c: (c.update(study="table9"), c["measured"][0].update(study="table9")),
        "no stored table 'table9'",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_result_is_a_one_line_error_with_file_and_key(name, result, tmp_path):
    change, message = DAMAGE[name]
    folder = write_result(tmp_path / "broken", damaged(result, change))
    with pytest.raises(InputError, match=message) as error:
        read_parts([folder])
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_truncated_and_a_missing_file_are_refused(tmp_path, result):
    folder = write_result(tmp_path / "half", result)
    file = folder / "results.json"
    file.write_text(file.read_text()[:1000])
    with pytest.raises(InputError, match=r"damaged results\.json"):
        read_result(folder)
    with pytest.raises(InputError, match="no such folder"):
        read_result(tmp_path / "nowhere")


def test_a_result_of_a_later_format_is_refused_and_one_without_a_format_read(tmp_path):
    assert "format" not in read_result(write_result(tmp_path / "older", make_result()))
    later = write_result(tmp_path / "later", make_result(format=FORMAT + 1, study=7))
    with pytest.raises(InputError, match=rf"results\.json: of format {FORMAT + 1}; this version of the kit reads"):
        read_result(later)


def test_a_changed_margin_is_reported(monkeypatch, result):
    moved = [c.model_copy(update={"margin": 0.3}) if c.kind == "noninferiority" else c for c in load_claims("table2")]
    monkeypatch.setattr(
        merge, "verdict", lambda tables, stored, claims, missing: verdict(tables, stored, moved, missing=missing)
    )
    part = merge_sources([Source("mine", {**result, "curves": []})])[0]
    changes = "; ".join(changed_rules(part))
    assert "distillable-retains-teacher (qwen3): the margin was 0.02 when mine was made and is 0.3 now" in changes
    assert changes in "; ".join(markdown([(part, "p", build_sections(part, "p"))]).replace("\n- ", "; ").splitlines())


def test_a_changed_stored_file_is_reported(result):
    then = {**result["stored_files"], "claims.toml": "0" * 64}
    part = merge_sources([Source("mine", {**result, "stored_files": then})])[0]
    assert changed_rules(part) == ["paper_tables/ has changed since mine was made: claims.toml"]


def test_nothing_is_reported_where_nothing_changed(part):
    assert changed_rules(part) == []
    assert changed_verdicts(part) == []


def test_verdicts_overturned_by_more_seeds_are_listed():
    _, sources = two_seeds()
    sources[0].content["verdicts"]["claims"][0]["value"] = "contradicted"
    changes = changed_verdicts(merge_sources(sources)[0])
    assert "student-under-teacher (qwen3): seed-0 alone said contradicted, this page says reproduced" in changes


def test_a_copy_under_another_seed_is_refused():
    rows = [{"family": "qwen3", "method": "Teacher", "seed": 0, "artifact": "evaluate-1"}]
    original, copy = (make_result(build(items=40, seeds=(seed,)), rows=rows) for seed in (0, 1))
    with pytest.raises(InputError, match="one is a copy of the other"):
        merge_sources([Source("a", original), Source("b", copy)])


def test_the_rerun_command_names_a_first_seed_above_zero():
    command = rerun_command(make_result(build(items=40, seeds=(3, 4))))
    assert "--seeds 2 --first-seed 3 --family qwen3 --set train_items=300" in command


def test_a_family_that_is_judged_on_another_part_is_not_called_removed():
    """One result has two families under seed 0, another the first of them under seed 1: two parts, each with its claims."""
    tables = [build(items=40, seeds=(0,), family=family) for family in ("qwen3", "gemma3")]
    report = verdict(tables, load("table2"), missing="inconclusive", resamples=500)
    both = make_result(tables[0], families=["qwen3", "gemma3"])
    both["measured"] = [table.to_dict() for table in tables]
    both["verdicts"] = json.loads(json.dumps(report.to_dict()))
    both["settings"]["families"] = {family: {"teacher": "toy:teacher"} for family in ("qwen3", "gemma3")}
    second = make_result(build(items=40, seeds=(1,), rng=1))
    parts = merge_sources([Source("both", both), Source("second", second)])
    assert [part.report.families for part in parts] == [("qwen3",), ("gemma3",)]
    assert [text for part in parts for text in changed_rules(part)] == []


def test_sources_are_in_the_order_of_their_seeds():
    """What is shown of one seed is shown of the first, whatever the order of the files."""
    sources = [Source(str(seed), make_result(build(items=40, seeds=(seed,), rng=seed))) for seed in (2, 0, 1)]
    assert [source.name for source in merge_sources(sources)[0].sources] == ["0", "1", "2"]
