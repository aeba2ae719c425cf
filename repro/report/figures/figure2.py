"""Figure 2: each token's contribution to the KL against its frequency; and the variance of gradients."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from repro.diagnosis.files import CONTRIBUTIONS, TOKENS
from repro.recipes.study import Study
from repro.report.diagnoses import diagnoses
from repro.report.figures.export import Plot, save_figure
from repro.report.figures.style import FILE, MARKS, PHONE_WIDTH, Palette, drawing, panels, set_log_scale
from repro.report.merge import Part

_ESTIMATORS = {
    "sequence": "sequence KL",
    "token_with_future": "token KL\nand later states",
    "token": "token KL\n(fixed states)",
}

CORRELATIONS = (
    "Above 0, frequent tokens contribute more on average; below 0, less. In the paper's Figure 2 they contribute more as K nears"
    " V, and no more than others for small K."
    " Dashed: over the steps at which the token is outside the student's Top-K."
)


def correlations(part: Part, palette: Palette) -> list[Plot]:
    """Draw the rank correlation of frequency and contribution over K, a line per task, dashed for the tails, for each row."""
    return [correlation_plot(summary, title, n, palette) for n, (title, summary) in enumerate(diagnoses(part))]


def correlation_plot(summary: Mapping[str, Any], title: str, n: int, palette: Palette) -> Plot:
    """Draw the rank correlation of one diagnosis over K. n: its number on the page."""
    cells = [cell for cell in summary["frequency"] if isinstance(cell["correlation"], float)]
    ks = sorted({cell["k"] for cell in summary["frequency"]})
    with drawing(palette):
        figure, (axes,) = panels(1, 1, PHONE_WIDTH, 3.2)
        tasks = list(dict.fromkeys(cell["task"] for cell in cells))
        for number, (colour, (mark, _), task) in enumerate(zip(palette.series, MARKS, tasks)):
            shift = 0.07 * (number - (len(tasks) - 1) / 2)  # side by side, so that intervals do not overlap
            for beyond, line in ((False, "-"), (True, "--")):
                of_task = [c for c in cells if c["task"] == task and c.get("beyond", False) == beyond]
                xs = [ks.index(cell["k"]) + shift for cell in of_task]
                ys = [cell["correlation"] for cell in of_task]
                label = None if beyond else task
                axes.plot(xs, ys, color=colour, marker=mark, markersize=5, linestyle=line, label=label)
                axes.vlines(xs, [c["low"] for c in of_task], [c["high"] for c in of_task], color=colour)
        axes.axhline(0, color=palette.ink, linewidth=0.8)
        axes.set_xticks(range(len(ks)), [*map(str, ks[:-1]), f"V = {ks[-1]}"])
        axes.set_xlabel("K of the Top-K (tokens); V: the vocabulary")
        axes.set_ylabel("Spearman's rank correlation")
        figure.legend(loc="outside upper left", ncols=3, fontsize=9)
    alt = "; ".join(
        f"{cell['task']} {'beyond ' if cell.get('beyond') else ''}K={cell['k']}: {cell['correlation']:+.2f}"
        for cell in cells
    )
    return Plot(
        f"correlation-{n}", f"Correlation against K: {title}", f"{alt}.", figure, note=CORRELATIONS, fits_phone=True
    )


def export_figures(study: Study, part: Part, cache: Path, folder: Path) -> list[Path]:
    """Write the figures of every row's diagnosis under its first seed."""
    written = []
    for row in study.rows:
        if row.seed == study.seeds[0]:
            title = f"{row.family}, {row.method}, seed {row.seed}"
            written += write_diagnosis_figures(cache / row.stage.folder_name, folder, title)
    return written


def write_diagnosis_figures(artifact: Path, folder: Path, title: str) -> list[Path]:
    """Write Figure 2 and the gradient comparison of one diagnosis, with their data, below `folder`/figures."""
    summary = json.loads((artifact / "summary.json").read_text())
    stem = "-".join(title.replace("/", "-").replace(":", "-").replace(",", "").split())
    rows = contribution_table(artifact)
    written = save_figure(_contributions(rows, summary["frequency"], f"contributions-{stem}", title), folder)
    if summary["gradient_variance"]:
        written += save_figure(_gradients(summary["gradient_variance"], f"gradients-{stem}", title), folder)
    return written


def contribution_table(artifact: Path) -> list[dict[str, Any]]:
    """Return a row per task, K (or the tail of `tail_k`) and occurring token: frequency, mean contribution, steps.

    frequency: share of the student's tokens. realised_kl: mean token KL of the steps at which the token was sampled.
    """
    arrays, texts = load_file(artifact / CONTRIBUTIONS), json.loads((artifact / TOKENS).read_text())
    summary = json.loads((artifact / "summary.json").read_text())
    ks = summary["ks"]
    rows = []
    for task in dict.fromkeys(name.rpartition("/")[0] for name in arrays):
        ids, sums, counts, realised, kl = (
            arrays[f"{task}/{name}"] for name in ("ids", "sums", "counts", "realised", "realised_kl")
        )
        sampled_U, blocks_U = realised.sum(0), (realised > 0).sum(0)
        steps_JU, sums_JU = counts.sum(0), sums.sum(0)
        curves = [("V" if k == ks[-1] else k, steps_JU[j], sums_JU[j]) for j, k in enumerate(ks)]
        if summary["tail_k"] in ks[:-1]:
            j = ks.index(summary["tail_k"])
            curves.append((f"beyond {ks[j]}", steps_JU[-1] - steps_JU[j], sums_JU[-1] - sums_JU[j]))
        for k, steps_U, sum_U in curves:
            mean_U = sum_U / np.where(steps_U > 0, steps_U, np.nan)
            rows += [
                {
                    "task": task,
                    "K": k,
                    "token_id": int(token),
                    "token": texts[str(token)],
                    "frequency": float(sampled_U[u] / sampled_U.sum()),
                    "mean_contribution": float(mean_U[u]),
                    "steps": int(steps_U[u]),
                    "realised_kl": float(kl[:, u].sum() / sampled_U[u]),
                    "blocks": int(blocks_U[u]),
                }
                for u, token in enumerate(ids)
                if steps_U[u] > 0
            ]
    return rows


def _contributions(rows: Sequence[dict[str, Any]], frequency: Sequence[dict[str, Any]], name: str, title: str) -> Plot:
    """Draw a panel per task and K, with the correlation above; the three largest contributions are labelled."""
    correlation = {
        (c["task"], f"beyond {c['k']}" if c.get("beyond") else "V" if c["whole_vocabulary"] else c["k"]): _correlation(
            c
        )
        for c in frequency
    }
    tasks, ks = (list(dict.fromkeys(row[key] for row in rows)) for key in ("task", "K"))
    with drawing(FILE):
        figure, axes = panels(len(ks), len(tasks), 2.6, 2.5, sharex="row")
        for axis, (task, k) in zip(axes, [(task, k) for task in tasks for k in ks]):
            points = [row for row in rows if (row["task"], row["K"]) == (task, k)]
            xs, ys = [row["frequency"] for row in points], [row["mean_contribution"] for row in points]
            axis.scatter(xs, ys, s=8, alpha=0.6, color=FILE.series[0])
            set_log_scale(axis, "x", ticks=(1,))
            axis.axhline(0, linewidth=0.5, color=FILE.ink)
            axis.set_title("\n".join((f"{task}, K = {k}", correlation.get((task, k), ""))).strip(), fontsize=7)
            axis.tick_params(labelsize=6)
            for row in sorted(points, key=lambda row: -abs(row["mean_contribution"]))[:3]:
                text = row["token"].strip()[:12] or repr(row["token"])
                axis.annotate(text, (row["frequency"], row["mean_contribution"]), fontsize=6)
        for axis in axes[:: len(ks)]:
            axis.set_ylabel("mean contribution, nats", fontsize=7)
        figure.supxlabel("frequency of the token in the student's completions", fontsize=8)
        figure.suptitle(f"Who drives KL(student || teacher): {title}", fontsize=9)
    return Plot(name, title, title, figure, rows)


def _gradients(rows: Sequence[dict[str, Any]], name: str, title: str) -> Plot:
    """Draw the total between-rollout variance of each estimator's gradient, a point per prompt."""
    with drawing(FILE):
        figure, (axes,) = panels(1, 1, 5, 3.4)
        for x, (estimator, colour) in enumerate(zip(_ESTIMATORS, FILE.series)):
            values = [row[estimator] for row in rows if isinstance(row[estimator], float) and row[estimator] > 0]
            axes.scatter(x + np.linspace(-0.15, 0.15, len(values)), values, s=10, alpha=0.6, color=colour)
            if values:
                axes.hlines(float(np.median(values)), x - 0.25, x + 0.25, color=FILE.ink)
        set_log_scale(axes, "y", ticks=(1, 2, 5))
        axes.set_xticks(range(len(_ESTIMATORS)), list(_ESTIMATORS.values()))
        axes.tick_params(labelsize=7)
        axes.set_ylabel("variance of the gradient between rollouts", fontsize=7)
        axes.set_title(title, fontsize=8)
    return Plot(name, title, title, figure, rows)


def _correlation(cell: dict[str, Any]) -> str:
    if isinstance(cell["correlation"], str):
        return "too few tokens"
    return f"rho {cell['correlation']:+.2f} [{cell['low']:+.2f}, {cell['high']:+.2f}]"
