"""Every tested claim with the interval that decides it."""

from collections import Counter
from typing import Any

from repro.report.conclusions import count_in_words
from repro.report.figures.export import Plot
from repro.report.figures.style import PAGE, TONES, WIDTH, drawing, panels
from repro.tables.statistics.decision import VerdictValue
from repro.tables.verdicts.verdict_types import VerdictReport

_MARKERS: dict[VerdictValue, str] = {"reproduced": "o", "contradicted": "X", "inconclusive": "D"}


def forest(report: VerdictReport) -> Plot | None:
    """Draw each claim's estimate and interval, and the edge that it must clear; None if nothing was tested."""
    tested = [v for v in report.claims if v.estimate is not None and v.interval is not None]
    if not tested:
        return None
    edge_style: dict[str, Any] = {"linestyle": "", "marker": "|", "color": PAGE.ink}
    with drawing(PAGE):
        figure, (axes,) = panels(1, 1, WIDTH, 0.9 + 0.3 * len(tested))
        for n, v in enumerate(tested):
            assert v.interval is not None
            assert v.estimate is not None
            colour = TONES[v.value]
            axes.plot(v.interval, (n, n), color=colour, linewidth=2, solid_capstyle="butt")
            axes.plot([v.estimate], [n], marker=_MARKERS[v.value], color=colour, markersize=7)
            edges = [edge for edge in v.region if edge is not None]
            axes.plot(edges, [n] * len(edges), **edge_style, markersize=15, markeredgewidth=1.2, zorder=1)
        for value, marker in _MARKERS.items():
            axes.plot([], [], color=TONES[value], marker=marker, markersize=7, linewidth=2, label=value)
        axes.plot([], [], **edge_style, markersize=11, label="edge of what the claim allows")
        several = len(report.families) > 1
        axes.set_yticks(range(len(tested)), [f"{v.claim} ({v.family})" if several else v.claim for v in tested])
        axes.set_ylim(len(tested) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("difference or mean, with the interval that decides")
        figure.legend(loc="outside upper left", ncols=4, fontsize=9, handletextpad=0.4, columnspacing=1.2)
    counts = count_in_words(Counter(v.value for v in tested))
    alt = f"{counts}. The tables above have the numbers."
    return Plot("forest", "Claims with their intervals", alt, figure)
