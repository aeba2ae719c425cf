"""Display of a running study: live bars on a terminal, one line per stage in a log, nothing when quiet."""

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Column
from rich.text import Text

from repro.pipeline.engine import Failure
from repro.pipeline.progress_file import progress_path, read_progress, resumed_at
from repro.pipeline.remaining import RemainingTime, RunningStage, SteadyCountdown
from repro.pipeline.submission import Running
from repro.pipeline.watch import StageWatch
from repro.stages import Stage
from repro.stages.readable_label import describe_stage, with_seed

WIDE, NARROW = 100, 60
"""Terminal widths in columns: from WIDE, bars are long and have notes; below NARROW, there are no bars."""
ESTIMATE_S = 1.0
"""Minimum seconds between two estimates of the remaining time."""
SILENT_S = (30.0, 600.0)
"""Seconds between progress lines in a log (initial, maximum); the interval doubles after each line."""
MOST_ESTIMATING = 0.02
"""Maximum share of the driver's time spent on estimates: with a thousand stages, one takes a while."""


class Display:
    """Progress display, updated as the `on_tick` of `run_stages`.

    Args:
        remaining: estimates how many seconds the study will still take.
        clock: a monotonic clock in seconds, the same as for `Running.started`.
    """

    def __init__(
        self,
        console: Console,
        cache: Path,
        remaining: RemainingTime,
        *,
        quiet: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._cache = cache
        self._quiet = quiet
        self._live: Live | None = None
        self._reported: set[str] = set()
        self._started: dict[str, float] = {}
        self._cached: int | None = None
        self._begun = clock()
        self._remaining, self._clock = remaining, clock
        self._watch, self._countdown = StageWatch(), SteadyCountdown()
        self._left = ""
        self._next_estimate = 0.0
        self._standing_still: set[str] = set()
        self._resumed: set[str] = set()
        self._spoke, self._silence = clock(), SILENT_S[0]
        self._labels: dict[str, str] = {}

    def __enter__(self) -> "Display":
        if self._console.is_terminal and not self._quiet:
            self._live = Live(console=self._console, refresh_per_second=4, transient=True)
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    def __call__(
        self,
        done: Sequence[Stage],
        running: Sequence[Running],
        waiting: Sequence[Stage],
        failures: Sequence[Failure] = (),
    ) -> None:
        given_up = sum(1 + len(failure.blocked) for failure in failures)
        total = len(done) + len(running) + len(waiting) + given_up
        if self._cached is None:
            self._cached = len(done)
            self._reported |= {stage.fingerprint for stage in done}
            if not self._quiet:
                noun = "stage" if total == 1 else "stages"
                self._console.print(f"{total} {noun}, {len(done)} cached, {total - len(done)} to run")
        if self._quiet:
            return
        for run in running:
            self._started.setdefault(run.stage.fingerprint, run.started)
        ended = [stage for stage in done if stage.fingerprint not in self._reported]
        for stage in ended:
            name = stage.fingerprint
            self._remaining.finish(name, self._clock() - self._started.get(name, self._clock()))
        failed = [failure for failure in failures if failure.stage.fingerprint not in self._reported]
        for failure in failed:
            self._report_failure(failure, is_last=not (running or waiting))
        self._estimate(running, at_once=bool(ended or failed))
        for n, stage in enumerate(ended, start=len(done) - len(ended) + 1):
            self._report(stage, n, total)
        if self._live is not None:
            self._live.update(self._bars(done, running, total))
        elif ended:
            self._spoke, self._silence = self._clock(), SILENT_S[0]
        elif running and self._clock() - self._spoke >= self._silence:
            self._spoke, self._silence = self._clock(), min(2 * self._silence, SILENT_S[1])
            self._say_how_far(running)

    def _say_how_far(self, running: Sequence[Running]) -> None:
        """In a log where nothing has finished for a while, print a line per running stage."""
        for run in running:
            report = read_progress(progress_path(self._cache, run.stage)) or {}
            steps = f"{report['done']} of {report['total']} {report['unit']}" if report.get("done") else "starting"
            self._console.print(f"{self._label(run.stage)}: {steps}", markup=False, highlight=False, soft_wrap=True)
        if self._left:
            self._console.print(f"all stages: {self._left}", highlight=False)

    def _estimate(self, running: Sequence[Running], *, at_once: bool) -> None:
        """Update the remaining time; report which stages resumed training and which have stalled."""
        now = self._clock()
        if now < self._next_estimate and not at_once:
            return
        observed = [self._observe(run, now) for run in running]
        self._left = self._countdown.update(now, self._remaining.seconds(observed))
        took = self._clock() - now
        self._next_estimate = now + max(ESTIMATE_S, took / MOST_ESTIMATING)
        for run in running:
            still = self._still(run, now)
            if still and run.stage.fingerprint not in self._standing_still:
                self._console.print(f"{self._label(run.stage)}: {still}", markup=False, highlight=False, soft_wrap=True)
            (self._standing_still.add if still else self._standing_still.discard)(run.stage.fingerprint)

    def _observe(self, run: Running, now: float) -> RunningStage:
        report = read_progress(progress_path(self._cache, run.stage))
        step = resumed_at(report)
        if report and step is not None and run.stage.fingerprint not in self._resumed:
            self._resumed.add(run.stage.fingerprint)
            text = f"{self._label(run.stage)}: resuming at step {step} of {report['total']}"
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        return self._watch.observe(run.stage.fingerprint, now - run.started, report)

    def _still(self, run: Running, now: float) -> str:
        """Describe how long a stage has been stalled; "" if it is making progress."""
        seconds = self._watch.standing_still(run.stage.fingerprint, now - run.started)
        return f"no progress for {seconds / 60:.0f} min" if seconds else ""

    def _report(self, stage: Stage, done: int, total: int) -> None:
        """Print one line when a stage finishes: the only output in a log, and the history on a terminal."""
        self._reported.add(stage.fingerprint)
        seconds = self._clock() - self._started.get(stage.fingerprint, self._clock())
        left = f", {self._left}" if done < total else ""
        self._console.print(
            f"[{done:>3}/{total}] {self._label(stage)}: {seconds:.0f} s{left}", markup=False, soft_wrap=True
        )

    def _report_failure(self, failure: Failure, *, is_last: bool) -> None:
        """Print a line when a stage fails; drop it and its dependents from the remaining time.

        Args:
            is_last: nothing is running or waiting any more, so the command exits with this error.
        """
        self._reported.add(failure.stage.fingerprint)
        for stage in (failure.stage, *failure.blocked):
            self._remaining.drop(stage.fingerprint)
        if is_last:
            return
        lost = f" Not run because they depend on it: {len(failure.blocked)} more." if failure.blocked else ""
        text = f"failed: {self._label(failure.stage)}: {failure.error}{lost}"
        self._console.print(text, style="red", markup=False, highlight=False, soft_wrap=True)

    def _label(self, stage: Stage) -> str:
        name = stage.fingerprint
        if name not in self._labels:
            self._labels[name] = with_seed(describe_stage(stage, self._cache), stage.seed)
        return self._labels[name]

    def _bars(self, done: Sequence[Stage], running: Sequence[Running], total: int) -> Group:
        """Lay out a line per running stage and one for the study; narrow terminals get numbers, no bars or notes."""
        width = self._console.width
        bar = [BarColumn(bar_width=24 if width >= WIDE else 10)] if width >= NARROW else []
        note = [TextColumn("{task.fields[note]}")] if width >= WIDE else []
        bars = Progress(
            TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            *bar,
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[rate]}", table_column=Column(no_wrap=True)),
            *note,
            console=self._console,
            auto_refresh=False,
            expand=width < WIDE,
        )
        for run in running:
            report = read_progress(progress_path(self._cache, run.stage)) or {}
            done_units, total_units = report.get("done", 0), report.get("total", 1)
            rate = "starting"
            if done_units:
                now = self._clock()
                rate = self._still(run, now) or describe_rate(self._watch.speed(run.stage.fingerprint), report["unit"])
            bars.add_task(
                self._label(run.stage), total=total_units, completed=done_units, rate=rate, note=report.get("note", "")
            )
        study = Progress(
            TextColumn("[bold]study"),
            *bar,
            MofNCompleteColumn(),
            *([TextColumn("stages"), TextColumn("{task.fields[elapsed]}")] if bar else []),
            TextColumn("{task.fields[left]}"),
            console=self._console,
            auto_refresh=False,
        )
        so_far = str(timedelta(seconds=round(self._clock() - self._begun)))
        study.add_task("study", total=total, completed=len(done), elapsed=so_far, left=self._left)
        return Group(*([bars] if running else [Text("waiting")]), study)


def describe_rate(per_second: float, unit: str) -> str:
    """Format a rate as "2.5 steps/s", or "12 s/step" below 0.1 per second; empty while unknown."""
    if not per_second:
        return ""
    return f"{per_second:.1f} {unit}/s" if per_second >= 0.1 else f"{1 / per_second:,.0f} s/{unit.removesuffix('s')}"
