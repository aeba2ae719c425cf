"""A diagnosis from rollout files to its result files, and the inputs that it refuses."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from rich.console import Console
from safetensors.numpy import load_file
from tiny_models import naive

from repro.diagnosis import files
from repro.diagnosis.columns import read_measurements, select_columns
from repro.diagnosis.completions import Completions, check_completions
from repro.diagnosis.config import DiagnosisConfig
from repro.diagnosis.diagnose import diagnose
from repro.diagnosis.parts import DiagnosisInput
from repro.diagnosis.sequence_level import LEFT_OUT, sequence_scorer
from repro.errors import InputError
from repro.generation.rollouts import write_rollouts
from repro.progress import silent
from repro.report.figures.figure2 import contribution_table
from repro.report.panel import ADVICE, write_panel
from repro.report.reload import show_result
from repro.tasks import Item
from repro.traps import forking_share

CONFIG = DiagnosisConfig(
    ks=(1, 3), tail_k=3, contribution_blocks=2, fork_quantile=0.5, gradient_prompts=2, gradient_tokens=4, resamples=20
)
ITEMS = [Item(f"sum/{a}", "file-numeric", f"{a} + {a} = ?", str(2 * a)) for a in range(3)]


def run(student, teacher, rollouts, folder, **changes):
    paths = {}
    for policy in ("student", "teacher"):
        paths[policy] = folder / f"{policy}.parquet"
        write_rollouts(paths[policy], rollouts)
    folder.joinpath("out").mkdir()
    options = {"completions": paths, "across_tokenizers": False} | changes
    source = DiagnosisInput(student, teacher, items=ITEMS, temperature=1.0, **options)
    return diagnose(CONFIG, source, seed=0, out=folder / "out", work=folder / "work", progress=silent)


@pytest.fixture(scope="module")
def diagnosed(student, teacher, rollouts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("diagnosed")
    return run(student, teacher, rollouts, folder), folder / "out"


def test_the_summary_is_json_and_names_everything(diagnosed):
    summary, _ = diagnosed
    again = json.loads(json.dumps(summary, allow_nan=False))
    measures = {(row["policy"], row["measure"]) for row in again["panel"]}
    for name in ("token_rkl", "token_fkl_on_policy", "sequence_rkl", "wrong_trace", "fork_share", "top_k_rkl@1"):
        assert ("student", name) in measures
    for name in (
        "token_fkl",
        "is_rkl",
        "is_k3",
        "mean_weight",
        "effective_sample_size",
        "max_weight_share",
        "pareto_k",
    ):
        assert ("teacher", name) in measures
    assert again["ks"][:2] == [1, 3]
    assert len(again["frequency"]) == 2 * len(again["ks"]) - 1
    assert [row["beyond"] for row in again["frequency"]] == [False] * 3 + [True] * 2
    assert all(row["share_low"] <= row["share"] <= row["share_high"] for row in again["frequency"][3:])
    assert again["tail_k"] == 3
    assert len(again["gradient_variance"]) == 2
    assert again["left_out"] == []


def test_per_rollout_values_are_stored_and_add_up(diagnosed, rollouts):
    summary, out = diagnosed
    rows = read_measurements(out / files.MEASUREMENTS)
    assert len(rows) == 2 * len(rollouts)
    columns = select_columns(rows, "student", "file-numeric")
    panel = {row["measure"]: row for row in summary["panel"] if row["policy"] == "student"}
    assert panel["token_rkl"]["value"] == pytest.approx(columns["rkl"].sum() / columns["tokens"].sum())
    assert panel["token_rkl"]["low"] <= panel["token_rkl"]["value"] <= panel["token_rkl"]["high"]
    assert [row["tokens"] for row in rows[: len(rollouts)]] == [len(r.token_ids) for r in rollouts]
    assert {row["correct"] for row in rows} == {row["answered"] for row in rows} == {True, False}
    assert all(row["answered"] for row in rows if row["correct"])
    assert np.allclose(columns["fork_tokens"].sum() / columns["tokens"].sum(), 0.5, atol=0.1)


def test_eq3_and_its_k3_form_differ_by_the_mean_weight(diagnosed):
    panel = {row["measure"]: row["value"] for row in diagnosed[0]["panel"] if row["policy"] == "teacher"}
    assert panel["mean_weight"] == pytest.approx(1 + panel["is_rkl"] - panel["is_k3"])


def test_fork_shares_equal_forking_share(diagnosed, student, teacher, rollouts):
    from repro.diagnosis.hidden import HiddenStates
    from repro.diagnosis.token_level import Pair

    measured = Pair(HiddenStates(student, "s"), HiddenStates(teacher, "t"), CONFIG, 1.0).measure(rollouts)
    expected = forking_share(torch.cat([f.entropy_T for f in measured]), torch.cat([f.rkl_T for f in measured]), 0.5)
    panel = {row["measure"]: row["value"] for row in diagnosed[0]["panel"] if row["policy"] == "student"}
    assert panel["fork_share"] == pytest.approx(expected.kl_share, rel=1e-4)
    assert panel["fork_tokens"] == pytest.approx(expected.token_share)


def test_contributions_are_stored_per_block(diagnosed):
    summary, out = diagnosed
    arrays = load_file(out / files.CONTRIBUTIONS)
    sums = arrays["file-numeric/sums"]
    assert sums.shape[:2] == (2, 3)
    texts = json.loads((out / files.TOKENS).read_text())
    assert set(texts) == {str(i) for i in arrays["file-numeric/ids"]}
    blocks = pq.read_table(out / files.PER_BLOCK).to_pylist()
    tails = {"beyond K=1", "beyond K=3", "tail", "tail_share"}
    assert {row["metric"] for row in blocks} <= {"K=1", "K=3", "K=V"} | tails
    share = [(row["value"], row["weight"]) for row in blocks if row["metric"] == "tail_share"]
    panel = {row["measure"]: row["value"] for row in summary["panel"] if row["policy"] == "student"}
    beyond = 1 - panel["top_k_rkl@3"] / panel["token_rkl"]  # the same share, from the rollouts
    assert np.average([value for value, _ in share], weights=[weight for _, weight in share]) == pytest.approx(beyond)
    correlations = [row["value"] for row in blocks if row["metric"] == "K=V"]
    expected = next(row for row in summary["frequency"] if row["whole_vocabulary"])["correlation"]
    assert np.mean(correlations) == pytest.approx(expected)


@pytest.fixture
def artifact(diagnosed, tmp_path):
    """The folder as the pipeline writes it, with its summary."""
    folder = tmp_path / "diagnose-0"
    shutil.copytree(diagnosed[1], folder)
    (folder / "summary.json").write_text(json.dumps(diagnosed[0]))
    return folder


def test_the_page_json_and_figures_of_one_pair(artifact, tmp_path):
    content = write_panel(artifact, tmp_path / "page", teacher="org/T", student="org/S")
    assert json.loads((tmp_path / "page" / "panel.json").read_text()) == json.loads(json.dumps(content))
    kinds = sorted(name.rpartition(".")[2] for name in content["figures"])
    assert kinds == ["csv", "csv", "png", "png", "svg", "svg"]
    assert all((tmp_path / "page" / name).stat().st_size > 100 for name in content["figures"])
    page = (tmp_path / "page" / "panel.md").read_text()
    html = (tmp_path / "page" / "panel.html").read_text()
    for text in (
        "pareto_k",
        "never compared with",
        "K=V",
        "Noise of the gradients",
        "Tail noise: ",
        "Off-policy instability: ",
    ):
        assert text in page
        assert text in html
    assert ADVICE in " ".join(page.split())
    assert ADVICE in html
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert {"found", "thresholds", "panel", "frequency"} <= set(re.findall(r'href="#([^"]+)"', html)) <= set(ids)
    assert ".png" in page
    assert "Correlation against K: S under T" in html
    assert [line["trap"] for line in content["conclusions"]] == [
        "Tail noise",
        "Off-policy instability",
        "Teacher-student gap",
    ]
    console = Console(record=True, width=140)
    show_result(tmp_path / "page", console)
    text = console.export_text()
    assert "effective_sample_size" in text
    conclusions = " ".join(text.partition("What was found")[2].split())
    assert "Teacher-student gap: " in conclusions
    assert conclusions.index(ADVICE) < conclusions.index("Tail noise: ")


def test_the_figure_shows_the_accumulated_contributions(artifact, diagnosed):
    rows = contribution_table(artifact)
    arrays = load_file(artifact / files.CONTRIBUTIONS)
    full = {row["token_id"]: row for row in rows if row["K"] == "V"}
    assert sorted(full) == arrays["file-numeric/ids"].tolist()
    assert sum(row["frequency"] for row in full.values()) == pytest.approx(1)
    for u, token in enumerate(arrays["file-numeric/ids"]):
        mean = arrays["file-numeric/sums"][:, -1, u].sum() / arrays["file-numeric/counts"][:, -1, u].sum()
        assert full[token]["mean_contribution"] == pytest.approx(mean)
    assert {"V"} < {row["K"] for row in rows} <= {1, 3, "V", "beyond 3"}


def test_without_off_policy_completions_there_are_no_importance_weights(student, teacher, rollouts, tmp_path):
    write_rollouts(tmp_path / "student.parquet", rollouts)
    on_policy = {"student": tmp_path / "student.parquet"}
    summary = run(student, teacher, rollouts, tmp_path, completions=on_policy)
    assert {row["policy"] for row in summary["panel"]} == {"student"}


def test_across_tokenizers_texts_are_scored_and_the_rest_is_named_as_left_out(student, stranger, rollouts, tmp_path):
    shortened = [replace(r, token_ids=r.token_ids[:3], log_probs=r.log_probs[:3]) for r in rollouts]
    summary = run(
        student,
        stranger,
        shortened,
        tmp_path,
        across_tokenizers=True,
        completions={"student": tmp_path / "student.parquet"},
    )
    assert summary["left_out"] == list(LEFT_OUT)
    assert {row["measure"] for row in summary["panel"]} == {
        *("sequence_rkl", "mean_tokens"),
        *("wrong_trace", "wrong_trace_per_prompt", "wrong_trace_length_only", "wrong_trace_length_matched"),
        *("unanswered_trace", "unanswered_share"),
    }
    assert summary["frequency"] == summary["gradient_variance"] == []
    scores = sequence_scorer(student, student)(shortened)
    assert scores[0] == pytest.approx(naive(student, shortened[0].prompt_ids, shortened[0].token_ids), rel=1e-4)


@pytest.mark.parametrize("across_tokenizers", [False, True])
def test_completions_beyond_a_models_positions_are_refused(
    student, teacher, stranger, rollouts, tmp_path, across_tokenizers
):
    long = [replace(r, token_ids=[5] * 250, log_probs=[-1.0] * 250) if r.sample == 3 else r for r in rollouts]
    teacher = stranger if across_tokenizers else teacher
    completions = {"student": tmp_path / "student.parquet"}
    with pytest.raises(InputError, match=r"more than the 256 positions"):
        run(student, teacher, long, tmp_path, across_tokenizers=across_tokenizers, completions=completions)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (
            lambda rs: [replace(r, token_ids=[]) for r in rs],
            "student s: all 12 completions of task file-numeric are empty",
        ),
        (lambda rs: [r for r in rs if r.item_id == "sum/0"], "task file-numeric has one prompt"),
        (lambda rs: [r for r in rs if r.sample == 0], "one completion per prompt of task file-numeric"),
    ],
    ids=["empty", "one prompt", "one completion"],
)
def test_refusals(rollouts, harm, message, tmp_path):
    def check(completions):
        write_rollouts(tmp_path / "r.parquet", completions)
        check_completions(Completions.read(tmp_path / "r.parquet"), "student s")

    check(rollouts)
    with pytest.raises(InputError, match=message):
        check(harm(rollouts))
