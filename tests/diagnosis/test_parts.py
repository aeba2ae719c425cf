"""A diagnosis that is shared out, killed and resumed: the files of one that ran by itself."""

import hashlib
from dataclasses import replace

import pytest

from repro.diagnosis import measure, parts, sequence_level
from repro.diagnosis.config import DiagnosisConfig
from repro.diagnosis.diagnose import diagnose
from repro.diagnosis.measure import measure_share
from repro.diagnosis.parts import DiagnosisInput, split_diagnosis
from repro.generation.rollouts import write_rollouts
from repro.progress import silent
from repro.tasks import Item

CONFIG = DiagnosisConfig(
    ks=(1, 3), tail_k=3, contribution_blocks=2, fork_quantile=0.5, gradient_prompts=2, gradient_tokens=4, resamples=20
)
ITEMS = [Item(f"sum/{a}", "file-numeric", f"{a} + {a} = ?", str(2 * a)) for a in range(3)]


@pytest.fixture(params=[False, True], ids=["one vocabulary", "across tokenizers"])
def source(request, student, teacher, stranger, rollouts, tmp_path, monkeypatch):
    """Both policies' completions; across tokenizers in parts of four."""
    monkeypatch.setattr(sequence_level, "BATCH_SEQUENCES", 4)
    monkeypatch.setattr(parts, "SEQUENCE_PART", 4)
    paths = {policy: tmp_path / f"{policy}.parquet" for policy in ("student", "teacher")}
    write_rollouts(paths["student"], rollouts)
    write_rollouts(paths["teacher"], [replace(r, token_ids=r.token_ids[::-1]) for r in rollouts])
    other = stranger if request.param else teacher
    return DiagnosisInput(student, other, paths, ITEMS, temperature=1.0, across_tokenizers=request.param)


def finish(source, folder):
    """Diagnose with the parts in `folder / "work"`; return the summary and the hash of each file."""
    (folder / "out").mkdir(parents=True)
    summary = diagnose(CONFIG, source, seed=0, out=folder / "out", work=folder / "work", progress=silent)
    return summary, {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in (folder / "out").iterdir()}


@pytest.fixture
def alone(source, tmp_path):
    """Summary and hashes of a diagnosis by a single process; they do not depend on the folder, so it runs once."""
    if source.across_tokenizers not in ALONE:
        ALONE[source.across_tokenizers] = finish(source, tmp_path / "alone")
    return ALONE[source.across_tokenizers]


ALONE = {}


def take(source, folder, share, progress=silent):
    return measure_share(CONFIG, source, work=folder / "work", progress=progress, share=share)


def refuse(*_):
    raise AssertionError("a model is loaded although no part is missing")


def no_models(monkeypatch):
    monkeypatch.setattr(measure, "HiddenStates", refuse)
    monkeypatch.setattr(measure, "sequence_scorer", refuse)


@pytest.mark.parametrize("count", [2, 3])
def test_shares_give_the_files_of_one_process(source, alone, count, tmp_path, monkeypatch):
    for index in reversed(range(count)):
        taken = take(source, tmp_path / "shared", (index, count))
    assert len(taken) >= 2 * count
    no_models(monkeypatch)
    assert finish(source, tmp_path / "shared") == alone


def test_a_killed_share_resumes_with_the_parts_that_it_finished(source, alone, tmp_path, monkeypatch):

    def die(done, total, unit, note=""):
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        take(source, tmp_path / "shared", (0, 2), die)
    take(source, tmp_path / "shared", (1, 2))
    stamps = {part.path: part.path.stat().st_mtime_ns for part in written(source, tmp_path) if part.path.exists()}
    assert 0 < len(stamps) < len(written(source, tmp_path))
    assert finish(source, tmp_path / "shared") == alone
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}


def written(source, tmp_path):
    return split_diagnosis(CONFIG, source, tmp_path / "shared" / "work")


def test_a_damaged_part_is_measured_again(source, alone, tmp_path):
    damaged, truncated, *_ = (part.path for part in take(source, tmp_path / "shared", (0, 1)))
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    truncated.write_bytes(truncated.read_bytes()[:-40])
    assert finish(source, tmp_path / "shared") == alone


def test_parts_hold_each_completion_once_and_do_not_depend_on_the_share(source, tmp_path):
    once = [part for part in written(source, tmp_path) if part.kind != "gradients"]
    for policy in source.completions:
        models = {part.scored_by for part in once}
        rows = [row for part in once if part.policy == policy for row in part.rows]
        assert sorted(rows) == sorted([*range(12)] * len(models))
