"""Every tested claim with the interval that decides it."""

import textwrap
from collections import Counter
from typing import Any

from repro.report.conclusions import count_in_words
from repro.report.figures.export import Plot
from repro.report.figures.style import PAGE, PHONE_WIDTH, TONES, drawing, panels
from repro.tables.statistics.decision import VerdictValue
from repro.tables.verdicts.sentences import describe_estimate_along_eta
from repro.tables.verdicts.verdict_types import ClaimVerdict, VerdictReport

LABEL_LENGTH = 66
"""Characters of a statement that fit the figure; longer ones take two lines, and the longest a smaller font."""
_MARKERS: dict[VerdictValue, str] = {"reproduced": "o", "contradicted": "X", "inconclusive": "D"}


def in_order(report: VerdictReport) -> list[ClaimVerdict]:
    """Return the verdicts on claims, premises and controls, in the order of the page's tables."""
    return [v for role in ("claim", "premise", "control") for v in report.of_role(role)]


def forest(report: VerdictReport) -> Plot | None:
    """Draw each claim's estimate and interval, and the edge it must clear; None if nothing was tested."""
    tested = [v for v in in_order(report) if v.estimate is not None and v.interval is not None]
    if not tested:
        return None
    is_along_eta = any(describe_estimate_along_eta(v.kind, v.rival) for v in tested)
    edge_style: dict[str, Any] = {"linestyle": "", "marker": "|", "color": PAGE.ink}
    with drawing(PAGE):
        figure, (axes,) = panels(1, 1, PHONE_WIDTH, 1.1 + 0.42 * len(tested))
        for n, v in enumerate(tested):
            assert v.interval is not None
            assert v.estimate is not None
            colour = TONES[v.value]
            axes.plot(v.interval, (n, n), color=colour, linewidth=2, solid_capstyle="butt")
            axes.plot([v.estimate], [n], marker=_MARKERS[v.value], color=colour, markersize=7)
            edges = [edge for edge in v.region if edge is not None]
            axes.plot(edges, [n] * len(edges), **edge_style, markersize=11, markeredgewidth=1.2, zorder=1)
        for value, marker in _MARKERS.items():
            axes.plot([], [], color=TONES[value], marker=marker, markersize=7, linewidth=2, label=value)
        axes.plot([], [], **edge_style, markersize=11, label="edge of what the claim allows")
        several = len(report.families) > 1
        has_roles = len({v.role for v in tested}) > 1
        for n, v in enumerate(tested):  # above its interval, from the left edge: a statement is as wide as the figure
            role = f", {v.role}" if has_roles and v.role != "claim" else ""
            label = f"{v.statement}{f' ({v.family})' if several else ''}{role}"
            lines = textwrap.wrap(label, max(LABEL_LENGTH, len(label) // 2 + 8), break_on_hyphens=False)
            text = axes.annotate(
                "\n".join(lines),
                (0, n),
                (0, 7),
                xycoords=axes.get_yaxis_transform(),
                textcoords="offset points",
                fontsize=(9 if len(lines) == 1 else 8) * min(1, LABEL_LENGTH / max(map(len, lines))),
                linespacing=1,
                va="bottom",
            )
            text.set_in_layout(False)  # a long statement does not narrow the axes
        axes.set_yticks([])
        axes.set_ylim(len(tested) - 0.4, -0.8)
        estimates = "difference, slope, step or mean" if is_along_eta else "difference or mean"
        axes.set_xlabel(f"{estimates}, with the interval that decides")
        figure.legend(loc="outside upper left", ncols=2, fontsize=9, handletextpad=0.4, columnspacing=1.2)
    counts = count_in_words(Counter(v.value for v in tested))
    alt = f"{counts}. The tables above have the numbers."
    note = (
        "Upright strokes are the edges of what a statement allows: right of its one edge (left for a mean that must be below a"
        " number), or between its two. The symbol is the verdict."
    )
    if is_along_eta:
        note += (
            " A slope (per unit of eta) or step is positive in the direction of the claim. Each line is in the unit of its own metric:"
            " do not compare lengths with accuracies."
        )
    return Plot("forest", "Statements with their intervals", alt, figure, note=note, fits_phone=True)
