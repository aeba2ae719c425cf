"""Figure 2 in short: the rank correlation of frequency and contribution against K, with its intervals."""

from repro.report.blocks import Chart
from repro.report.drawing import INK, SERIES, chart, drawing, panels
from repro.report.merge import Part
from repro.report.traps_section import diagnoses


def correlations(part: Part, key: str) -> list[Chart]:
    """One picture per row: a line per task over K. The scatter of every token lies in the result's folder `figures`."""
    charts = []
    for n, (title, summary) in enumerate(diagnoses(part)):
        shown = [one for one in summary["frequency"] if isinstance(one["correlation"], float)]
        tasks = list(dict.fromkeys(one["task"] for one in shown))
        ks = list(dict.fromkeys(one["k"] for one in summary["frequency"]))
        with drawing():
            figure, (axes,) = panels(1, 1, 7.6, 3.2)
            for colour, task in zip(SERIES, tasks):
                own = [one for one in shown if one["task"] == task]
                places = [ks.index(one["k"]) for one in own]
                axes.plot(places, [one["correlation"] for one in own], color=colour, marker="o", label=task)
                axes.vlines(places, [one["low"] for one in own], [one["high"] for one in own], color=colour)
            axes.axhline(0, color=INK, linewidth=0.8)
            axes.set_xticks(range(len(ks)), [*map(str, ks[:-1]), f"V = {ks[-1]}"])
            axes.set_xlabel("K")
            axes.set_ylabel("rank correlation")
            figure.legend(loc="outside upper left", ncols=3, fontsize=9)
        words = "; ".join(f"{one['task']} K={one['k']}: {one['correlation']:+.2f}" for one in shown)
        charts.append(chart(figure, f"{key}-correlation-{n}", f"Correlation against K: {title}", f"{words}."))
    return charts
