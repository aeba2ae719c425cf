"""Display of a running study: live bars on a terminal, one line per stage in a log, nothing when quiet."""

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from repro.pipeline.progress_file import progress_path, read_progress
from repro.pipeline.submission import Running
from repro.stages import Stage


class Display:
    """Progress display, updated as the `on_tick` of `run_stages`."""

    def __init__(self, console: Console, cache: Path, *, quiet: bool) -> None:
        self._console = console
        self._cache = cache
        self._quiet = quiet
        self._live: Live | None = None
        self._reported: set[str] = set()
        self._started: dict[str, float] = {}
        self._cached: int | None = None

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

    def __call__(self, done: Sequence[Stage], running: Sequence[Running], waiting: Sequence[Stage]) -> None:
        total = len(done) + len(running) + len(waiting)
        if self._cached is None:
            self._cached = len(done)
            self._reported |= {stage.fingerprint for stage in done}
            if not self._quiet:
                self._console.print(f"{total} stages, {len(done)} cached, {total - len(done)} to run")
        for run in running:
            self._started.setdefault(run.stage.fingerprint, run.started)
        for stage in done:
            self._report(stage, len(done), total)
        if self._live is not None:
            self._live.update(self._bars(done, running, total))

    def _report(self, stage: Stage, done: int, total: int) -> None:
        """Print one line when a stage has ended: all that a log gets, and the history on a terminal."""
        if stage.fingerprint in self._reported:
            return
        self._reported.add(stage.fingerprint)
        seconds = time.monotonic() - self._started.get(stage.fingerprint, time.monotonic())
        if not self._quiet:
            self._console.print(f"[{done:>3}/{total}] {stage.label} (seed {stage.seed}): {seconds:.0f} s", markup=False)

    def _bars(self, done: Sequence[Stage], running: Sequence[Running], total: int) -> Group:
        bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            auto_refresh=False,
        )
        for run in running:
            report = read_progress(progress_path(self._cache, run.stage)) or {}
            done_units, total_units = report.get("done", 0), report.get("total", 1)
            rate = "starting"
            if done_units:
                elapsed = max(time.monotonic() - run.started, 1e-3)
                left = (total_units - done_units) * elapsed / done_units
                rate = f"{done_units / elapsed:.1f} {report['unit']}/s" + (f", {left:.0f} s left" if left else "")
            label = f"{run.stage.label} (seed {run.stage.seed})"
            bars.add_task(label, total=total_units, completed=done_units, rate=rate, note=report.get("note", ""))
        study = Progress(
            TextColumn("[bold]study"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("stages"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            auto_refresh=False,
        )
        study.add_task("study", total=total, completed=len(done))
        return Group(*([bars] if running else [Text("waiting")]), study)
