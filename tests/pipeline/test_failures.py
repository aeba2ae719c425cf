"""What a failed stage stops, and what it does not."""

from types import SimpleNamespace

import pytest

from repro.errors import InputError, StageError
from repro.pipeline import engine
from repro.pipeline.cluster import Execution
from repro.planner.resources import Resources
from repro.recipes.catalog import plan


@pytest.fixture(scope="module")
def stages():
    return plan("table2", scale="toy", seeds=1).stages()


@pytest.fixture
def run(stages, tmp_path, monkeypatch):
    """Run the stages of Table 2 without computing anything; those with a label of `failing` end in an error."""

    def run(failing=(), workers=1, slow=(), find_error=None):
        started, ticks = [], []

        class Started:
            def __init__(self, *_):
                pass

            def prepare(self, stages):
                pass

            def submit(self, batch):
                started.extend(stage.label for stage, _ in batch)
                return [
                    SimpleNamespace(stage=s, gpus=gpus, job=SimpleNamespace(job_id="", has_ended=lambda s=s: ended(s)))
                    for s, gpus in batch
                ]

            def stop(self):
                pass

        def ended(stage):
            return stage.label not in slow or len(ticks) > 40

        def error_of(run, cache):
            return StageError(f"{run.stage.label}: a defect") if run.stage.label in failing else None

        monkeypatch.setattr(engine, "Submission", Started)
        monkeypatch.setattr(engine, "find_error", find_error or error_of)
        monkeypatch.setattr(engine, "_wait_for_an_end", lambda *_: None)
        failures = engine.run_stages(
            stages, tmp_path, execution=Execution(Resources(), workers=workers), on_tick=lambda *now: ticks.append(now)
        )
        return failures, started, ticks

    return run


def test_a_failure_stops_only_the_stages_that_need_its_result(run, stages):
    failing = next(stage for stage in stages if stage.label == "calibrate teacher, eta -1")
    needed_by = {
        stage.label for stage in stages if failing.fingerprint in {needed.fingerprint for needed in behind(stage)}
    }
    failures, started, ticks = run([failing.label])
    assert [failure.stage.label for failure in failures] == [failing.label]
    assert {stage.label for stage in failures[0].blocked} == needed_by
    assert len(needed_by) >= 3  # its evaluation, its student, and that one's
    assert set(started) == {stage.label for stage in stages} - needed_by
    done, running, waiting, seen = ticks[-1]
    assert len(done) + 1 + len(needed_by) == len(stages)
    assert (running, waiting, len(seen)) == ([], [], 1)


def behind(stage):
    return [needed for direct in stage.inputs() for needed in (direct, *behind(direct))]


def test_nothing_more_is_started_once_three_kinds_have_failed_in_a_row(run, stages):
    failures, started, _ = run({stage.label for stage in stages})
    assert len(failures) == len(started)
    kinds = [failure.stage.procedure for failure in failures]
    assert len(set(kinds)) == engine.MOST_FAILURES
    assert kinds[:-1].count(kinds[-1]) == 0
    assert max(map(kinds.count, kinds)) <= engine.MOST_FAILURES


def test_a_kind_that_fails_does_not_stop_the_others(run, stages, monkeypatch):
    evaluations = [stage for stage in stages if stage.procedure == "evaluate"]
    trained = next(stage for stage in stages if stage.procedure == "sft")
    left = {stage.fingerprint for stage in (*evaluations, trained)}
    monkeypatch.setattr(engine, "is_cached", lambda stage, cache: stage.fingerprint not in left)
    failures, started, _ = run({stage.label for stage in evaluations})
    assert started.index(trained.label) == engine.MOST_FAILURES
    assert len(failures) == 2 * engine.MOST_FAILURES < len(evaluations)


def test_a_run_that_resumes_tries_last_what_failed_before(run, stages, tmp_path, monkeypatch):
    """Those between them are cached, so that the failing ones would follow one another and end the run."""
    evaluations = [stage for stage in stages if stage.procedure == "evaluate"]
    failing, others = evaluations[: engine.MOST_FAILURES], evaluations[engine.MOST_FAILURES :]
    monkeypatch.setattr(engine, "is_cached", lambda stage, cache: stage not in evaluations)
    (tmp_path / ".logs").mkdir()
    for stage in failing:
        (tmp_path / ".logs" / f"{stage.folder_name}.log").write_text("a defect")
    failures, started, _ = run({stage.label for stage in failing})
    assert started == [stage.label for stage in (*others, *failing)]
    assert [failure.stage for failure in failures] == failing


def test_a_success_in_between_shows_that_the_failures_have_several_causes(run, stages):
    evaluations = [stage.label for stage in stages if stage.procedure == "evaluate"]
    failures, started, _ = run(set(evaluations))
    assert [failure.stage.label for failure in failures] == evaluations
    assert len(started) == len(stages)


def test_stages_that_run_beside_three_failures_are_waited_for_and_a_success_goes_on(run, stages):
    without_inputs = [stage.label for stage in stages if not list(stage.inputs())]
    *failing, slow = without_inputs[:4]
    assert len({*failing, slow}) == 4
    failures, started, ticks = run(set(failing), workers=4, slow={slow})
    assert {failure.stage.label for failure in failures} == set(failing)
    assert slow in {stage.label for stage in ticks[-1][0]}
    blocked = {stage.label for failure in failures for stage in failure.blocked}
    assert set(started) == {stage.label for stage in stages} - blocked
    assert started[:4] == without_inputs[:4]


def test_an_error_of_all_stages_is_not_taken_for_one_of_a_stage(run):
    def server_has_ended(run, cache):
        raise StageError("the server has ended")

    with pytest.raises(StageError, match="the server has ended"):
        run(find_error=server_has_ended)


def test_the_errors_of_several_stages_are_one_line(stages):
    first, second = (engine.Failure(stage, InputError(f"{stage.label}: wrong."), ()) for stage in stages[:2])
    assert str(engine.join_errors([first])) == f"{stages[0].label}: wrong."
    error = engine.join_errors([first, second])
    assert isinstance(error, InputError)
    assert str(error) == f"{stages[0].label}: wrong. Also failed: {stages[1].label} (seed 0)."
