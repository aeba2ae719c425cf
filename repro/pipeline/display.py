"""What a person sees while a study runs: live bars on a terminal, one line per stage in a log, nothing when quiet."""

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from repro.pipeline.engine import Running
from repro.pipeline.progress_file import progress_path, read_progress
from repro.stages import Stage


class Display:
    """Follows `run_stages` as its watcher."""

    def __init__(self, console: Console, cache: Path, *, quiet: bool) -> None:
        self._console = console
        self._cache = cache
        self._quiet = quiet
        self._live: Live | None = None
        self._told: set[str] = set()
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
            self._told |= {stage.fingerprint for stage in done}
            if not self._quiet:
                self._console.print(f"{total} stages, {len(done)} cached, {total - len(done)} to run")
        for one in running:
            self._started.setdefault(one.stage.fingerprint, one.since)
        for stage in done:
            self._tell(stage, len(done), total)
        if self._live is not None:
            self._live.update(self._bars(done, running, total))

    def _tell(self, stage: Stage, done: int, total: int) -> None:
        """One line when a stage has ended: the log's whole progress, and the terminal's history."""
        if stage.fingerprint in self._told:
            return
        self._told.add(stage.fingerprint)
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
        for one in running:
            told = read_progress(progress_path(self._cache, one.stage)) or {
                "done": 0,
                "total": 1,
                "unit": "",
                "note": "",
            }
            elapsed = max(time.monotonic() - one.since, 1e-3)
            rate = f"{told['done'] / elapsed:.1f} {told['unit']}/s" if told["done"] else "starting"
            left = (told["total"] - told["done"]) * elapsed / told["done"] if told["done"] else None
            rate += f", {left:.0f} s left" if left else ""
            label = f"{one.stage.label} (seed {one.stage.seed})"
            bars.add_task(label, total=told["total"], completed=told["done"], rate=rate, note=told["note"])
        whole = Progress(
            TextColumn("[bold]study"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("stages"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            auto_refresh=False,
        )
        whole.add_task("study", total=total, completed=len(done))
        return Group(*([bars] if running else [Text("waiting")]), whole)
