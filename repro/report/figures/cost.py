"""Cost of stages: shares of a pipeline against Table 5, and hours against FLOPs."""

from collections.abc import Mapping

from repro.report.figures.export import Plot
from repro.report.figures.style import PAGE, WIDTH, Palette, add_legend, drawing, panels, set_log_scale
from repro.report.merge import Part

SHARES = "Where the time goes here beside where the paper's went: shares can be compared, hours cannot."
COSTS = "Stages on one rising line cost what their arithmetic says; those above it wait for something else."


def cost_shares(measured: Mapping[str, float], printed: Mapping[str, float]) -> Plot:
    """Draw each kind of stage's share of a pipeline's time next to Table 5's. Each side may use any unit."""
    kinds = list(measured)
    shares = [[100 * values[kind] / sum(values[k] for k in kinds) for kind in kinds] for values in (measured, printed)]
    with drawing(PAGE):
        figure, (axes,) = panels(1, 1, WIDTH, 0.9 + 0.42 * len(kinds))
        for offset, label, widths, colour in zip((-0.19, 0.19), ("measured", "Table 5"), shares, PAGE.series):
            axes.barh([n + offset for n in range(len(kinds))], widths, height=0.36, color=colour, label=label)
        axes.set_yticks(range(len(kinds)), kinds)
        axes.set_ylim(len(kinds) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("share of the five stages' time, %")
        figure.legend(loc="outside upper left", ncols=2, fontsize=9)
    lines = [f"{kind}: {a:.0f} % here, {b:.0f} % in Table 5" for kind, a, b in zip(kinds, *shares)]
    return Plot("shares", "Cost of a stage of each kind against Table 5", f"{'; '.join(lines)}.", figure, note=SHARES)


def stage_costs(part: Part, palette: Palette) -> list[Plot]:
    """Draw every stage's hours against its FLOPs, by kind."""
    figures = []
    for n, source in enumerate(part.sources):
        costs = source.content.get("extras", {}).get("costs")
        if costs is None:
            continue
        lines = [line for line in costs["lines"] if line["flops"]]
        with drawing(palette):
            figure, (axes,) = panels(1, 1, WIDTH, 3.6)
            for colour, kind in zip(palette.series, dict.fromkeys(line["kind"] for line in lines)):
                flops = [line["flops"] or 0 for line in lines if line["kind"] == kind]
                hours = [line["hours"] for line in lines if line["kind"] == kind]
                axes.plot(flops, hours, linestyle="", marker="o", color=colour, label=kind)
            set_log_scale(axes, "x", ticks=(1, 2, 5))
            set_log_scale(axes, "y", ticks=(1, 2, 5))
            axes.set_xlabel("floating-point operations (DERIVED: 2 N D forwards, 6 N D in training)")
            axes.set_ylabel(costs["unit"])
            add_legend(figure, axes)
        unit = costs["unit"]
        alt = "; ".join(
            f"{line['label']}: {line['flops']:.2g} operations, {line['hours']:.2g} {unit}" for line in lines
        )
        title = "Cost of every stage against its arithmetic"
        rows = [dict(line) for line in costs["lines"]]
        figures.append(Plot(f"table5-costs-{n}", title, f"{alt}.", figure, rows, COSTS))
    return figures
