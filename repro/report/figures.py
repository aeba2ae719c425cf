"""Which pictures a part has; those of the verdicts with their intervals and of the cost against Table 5."""

from collections.abc import Callable, Iterable, Mapping

from repro.report import further_figures, pictures
from repro.report.bars import bars
from repro.report.blocks import Chart
from repro.report.correlations import correlations
from repro.report.drawing import INK, SERIES, TONES, chart, drawing, panels
from repro.report.knob_section import knob_figures
from repro.report.merge import Part
from repro.report.training_curves import learning_curves
from repro.tables.verdicts.verdict_types import VerdictReport

Draw = Callable[[Part, str], list[Chart]]
_MARKS = {"reproduced": "o", "contradicted": "X", "inconclusive": "D"}


def study_figures(part: Part, key: str) -> list[Chart]:
    """Bars and learning curves, then what the study has of its own."""
    draws = (*EVERY_STUDY, *STUDY_FIGURES.get(part.report.study, ()))
    return [figure for draw in draws for figure in draw(part, key)]


def forest(report: VerdictReport, key: str) -> Chart | None:
    """Every tested claim's estimate and interval, and the edge that it must clear."""
    tested = [v for v in report.claims if v.estimate is not None and v.interval is not None]
    if not tested:
        return None
    several = len(report.families) > 1
    with drawing():
        figure, (axes,) = panels(1, 1, 7.6, 0.9 + 0.3 * len(tested))
        for n, v in enumerate(tested):
            assert v.interval is not None
            assert v.estimate is not None
            colour = TONES[v.value]
            axes.plot(v.interval, (n, n), color=colour, linewidth=2, solid_capstyle="butt")
            axes.plot([v.estimate], [n], marker=_MARKS[v.value], color=colour, markersize=7)
            edges = [edge for edge in v.region if edge is not None]
            axes.plot(
                edges,
                [n] * len(edges),
                linestyle="",
                marker="|",
                color=INK,
                markersize=15,
                markeredgewidth=1.2,
                zorder=1,
            )
        for value, mark in _MARKS.items():
            axes.plot([], [], color=TONES[value], marker=mark, markersize=7, linewidth=2, label=value)
        axes.plot([], [], linestyle="", marker="|", color=INK, markersize=11, label="edge of what the claim allows")
        axes.set_yticks(range(len(tested)), [f"{v.claim} ({v.family})" if several else v.claim for v in tested])
        axes.set_ylim(len(tested) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("difference or mean, with the interval that decides")
        figure.legend(loc="outside upper left", ncols=4, fontsize=9, handletextpad=0.4, columnspacing=1.2)
    counts = ", ".join(f"{report.count(value)} {value}" for value in ("reproduced", "contradicted", "inconclusive"))
    return chart(figure, f"{key}-forest", "Claims with their intervals", f"{counts}. The table beside has the numbers.")


def cost_shares(measured: Mapping[str, float], printed: Mapping[str, float], key: str) -> Chart:
    """Shares of a pipeline's time, one stage of each kind: ours beside Table 5's. Values in any one unit each."""
    names = list(measured)
    with drawing():
        figure, (axes,) = panels(1, 1, 7.6, 0.9 + 0.42 * len(names))
        for offset, label, values, colour in (
            (-0.19, "measured", measured, SERIES[0]),
            (0.19, "Table 5", printed, SERIES[1]),
        ):
            total = sum(values[name] for name in names)
            shares = [100 * values[name] / total for name in names]
            axes.barh([n + offset for n in range(len(names))], shares, height=0.36, color=colour, label=label)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("share of the five stages' time, %")
        figure.legend(loc="outside upper left", ncols=2, fontsize=9)
    return chart(
        figure, f"{key}-shares", "Cost of a stage of each kind against Table 5", _share_words(measured, printed)
    )


def _share_words(measured: Mapping[str, float], printed: Mapping[str, float]) -> str:
    def share(values: Mapping[str, float], name: str, names: Iterable[str]) -> float:
        return 100 * values[name] / sum(values[n] for n in names)

    return (
        "; ".join(
            f"{n}: {share(measured, n, measured):.0f} % here, {share(printed, n, measured):.0f} % in Table 5"
            for n in measured
        )
        + "."
    )


EVERY_STUDY: tuple[Draw, ...] = (bars, learning_curves)
PICTURES: dict[str, pictures.Draw] = {
    "table5": further_figures.table5,
    "figure1a": further_figures.figure1a,
    "figure3": further_figures.figure3,
    "figure4": further_figures.figure4,
    "failure-modes": further_figures.failure_modes,
}
"""Figures that are written beside the result too."""
STUDY_FIGURES: dict[str, tuple[Draw, ...]] = {
    "figure2": (correlations,),
    "eta-sweep": (knob_figures,),
    **{study: (pictures.on_page(draw),) for study, draw in PICTURES.items()},
}
"""Study -> what draws the figures that it alone has; they come after those of every study."""
