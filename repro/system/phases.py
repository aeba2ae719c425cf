"""Where a stage's time goes: wall-clock and CPU seconds per phase.

Time in a nested phase counts only for the inner one, so a stage's phases add up to at most the stage.
"""

import contextlib
import resource
import time
from collections.abc import Iterator

_Seconds = tuple[float, float]
_totals: dict[str, _Seconds] = {}
_inner: list[_Seconds] = []
"""For each open phase, outermost first: the seconds spent in phases nested within it."""


def _now() -> _Seconds:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic(), time.process_time() + ended.ru_utime + ended.ru_stime


@contextlib.contextmanager
def phase(name: str) -> Iterator[None]:
    """Attribute the time inside to the named phase. Only for a stage's main thread."""
    started = _now()
    _inner.append((0.0, 0.0))
    try:
        yield
    finally:
        ended = _now()
        taken = ended[0] - started[0], ended[1] - started[1]
        within = _inner.pop()
        _add(_totals, name, (taken[0] - within[0], taken[1] - within[1]))
        if _inner:
            _inner[-1] = (_inner[-1][0] + taken[0], _inner[-1][1] + taken[1])


def _add(totals: dict[str, _Seconds], name: str, seconds: _Seconds) -> None:
    before = totals.get(name, (0.0, 0.0))
    totals[name] = before[0] + seconds[0], before[1] + seconds[1]


def take_phases() -> dict[str, dict[str, float]]:
    """Return the seconds of each phase since the last call, as stored in records: wall clock, and CPU with children."""
    phases = {
        name: {"wall": round(max(wall, 0.0), 3), "processor": round(max(processor, 0.0), 3)}
        for name, (wall, processor) in _totals.items()
    }
    _totals.clear()
    return phases
