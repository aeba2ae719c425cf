"""Stages that score and weigh completions, interrupted in the middle: the next run computes the missing batches alone, and
all of them if what they read has changed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from repro.distillation import weighing
from repro.distillation.config import WeighingConfig
from repro.generation import scores
from repro.models import padded_batches
from repro.pipeline.record import recorded_files
from repro.pipeline.run_stage import open_work, run_stage
from repro.planner.resources import Resources
from repro.recipes.catalog import plan
from repro.stages import Distill, Evaluate, Sample, Score, ScoreAnswers, Stage, Weigh

SETTINGS = [
    *("train_items=6", "test_items=6", "controls=false", "tasks=toy-bm4"),
    *("evaluation.completions_per_prompt=4", "teacher_sampling.completions_per_prompt=4"),
]
FINISHED = 3
"""Batches before the interruption."""


@pytest.fixture(scope="module")
def stages() -> dict[str, Stage]:
    """A stage of each kind, whose completions are sampled from models of the toy world."""
    study = plan("table2", scale="toy", seeds=1, families=("qwen3",), assignments=SETTINGS)
    kinds: dict[type[Stage], Any] = {}
    for stage in study.stages():
        kinds.setdefault(type(stage), stage)
    student, sampled = kinds[Distill].student, kinds[Sample]
    answers = next(
        row.stage for row in study.rows if isinstance(row.stage, Evaluate) and not row.stage.model.folder_name
    )
    config = WeighingConfig(strength=1.0, epsilon=1e-4, traces=8)
    return {
        "score": Score(completions=sampled, model=student, seed=0),
        "score-answers": ScoreAnswers(answers=answers, model=student, per_item=3, seed=0),
        "weigh": Weigh(completions=sampled, holdout=sampled, model=student, config=config, seed=0),
    }


@pytest.fixture(scope="module")
def cache(stages: dict[str, Stage], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The completions that they read."""
    folder = tmp_path_factory.mktemp("cache")
    for needed in {needed.fingerprint: needed for stage in stages.values() for needed in stage.inputs()}.values():
        assert run_stage(needed, folder, Resources()) == {"built": True}
    return folder


def interrupted_after(calls: int, compute: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function, which raises KeyboardInterrupt instead of a further call."""
    left = iter(range(calls))

    def call(*arguments: Any, **named: Any) -> Any:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return compute(*arguments, **named)

    return call


@pytest.mark.parametrize(
    ("kind", "module", "calls_per_batch"), [("score", scores, 1), ("score-answers", scores, 1), ("weigh", weighing, 2)]
)
def test_finished_batches_are_not_computed_again(
    stages: dict[str, Stage],
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    module: Any,
    calls_per_batch: int,
) -> None:
    stage, forward = stages[kind], module.token_log_probs
    artifact = cache / stage.folder_name
    monkeypatch.setattr(padded_batches, "FORWARD_TOKENS", 100)

    def run(forward: Callable[..., Any]) -> tuple[dict[str, Any], int]:
        """Run the stage; return hash and size of each of its files, and the number of forward passes."""
        calls: list[int] = []
        monkeypatch.setattr(module, "token_log_probs", lambda *a, **named: calls.append(1) or forward(*a, **named))
        assert run_stage(stage, cache, Resources()) == {"built": True}
        return recorded_files(artifact), len(calls)

    files, calls = run(forward)
    assert calls > (FINISHED + 1) * calls_per_batch
    shutil.rmtree(artifact)
    in_the_middle_of_a_batch = (FINISHED + 1) * calls_per_batch - 1
    with pytest.raises(KeyboardInterrupt):
        run(interrupted_after(in_the_middle_of_a_batch, forward))
    assert not artifact.exists()
    assert run(forward) == (files, calls - FINISHED * calls_per_batch)


def test_work_begun_with_an_input_that_was_rebuilt_is_not_continued(
    stages: dict[str, Stage], cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The completions were sampled again, with other random numbers, while a stage that reads them was not done."""
    stage = stages["score"]
    monkeypatch.setattr(padded_batches, "FORWARD_TOKENS", 100)
    (sampled,) = (needed for needed in stage.inputs() if isinstance(needed, Sample))
    resumed, afresh = tmp_path / "resumed", tmp_path / "afresh"
    shutil.copytree(cache, resumed)
    shutil.rmtree(resumed / stage.folder_name, ignore_errors=True)
    with monkeypatch.context() as patched:
        patched.setattr(scores, "token_log_probs", interrupted_after(FINISHED, scores.token_log_probs))
        with pytest.raises(KeyboardInterrupt):
            run_stage(stage, resumed, Resources())
    assert len(list((resumed / ".work" / stage.folder_name).glob("chunk-*"))) == FINISHED
    shutil.rmtree(resumed / sampled.folder_name)
    monkeypatch.setattr("repro.generation.sample._chunk_seed", lambda seed, number: 7 + number)
    run_stage(sampled, resumed, Resources())
    shutil.copytree(resumed, afresh, ignore=shutil.ignore_patterns(".work"))
    files = []
    for folder in (resumed, afresh):
        assert run_stage(stage, folder, Resources()) == {"built": True}
        files.append(recorded_files(folder / stage.folder_name))
    assert files[0] == files[1]


def test_work_is_kept_while_the_inputs_stay(stages: dict[str, Stage], cache: Path, tmp_path: Path) -> None:
    stage = stages["score"]
    folders = {needed.folder_name for needed in stage.inputs()}
    for name in folders:
        shutil.copytree(cache / name, tmp_path / name)
    finished = open_work(stage, tmp_path) / "chunk"
    finished.touch()
    assert open_work(stage, tmp_path) == finished.parent
    assert finished.exists()
    record = tmp_path / folders.pop() / "record.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"files": {}}))
    assert open_work(stage, tmp_path) == finished.parent
    assert not finished.exists()


def test_work_whose_list_of_inputs_is_damaged_is_not_continued(
    stages: dict[str, Stage], cache: Path, tmp_path: Path
) -> None:
    stage = stages["score"]
    for needed in stage.inputs():
        shutil.copytree(cache / needed.folder_name, tmp_path / needed.folder_name, dirs_exist_ok=True)
    work = open_work(stage, tmp_path)
    (work / "chunk").touch()
    (work / "inputs.json").write_bytes(b"\xff{")
    assert [path.name for path in open_work(stage, tmp_path).iterdir()] == ["inputs.json"]
