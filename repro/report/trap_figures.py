"""Figures and their data: contribution against frequency (Figure 2), and the variance of gradients."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from repro.diagnosis.files import CONTRIBUTIONS, TOKENS
from repro.system.atomic_write import atomic_write


def contribution_table(artifact: Path) -> list[dict[str, Any]]:
    """One row per task, K and token that occurs: frequency, mean contribution, the steps behind it.

    frequency: share of the student's tokens. realised_kl: mean token KL of the steps at which the token was drawn.
    """
    arrays, texts = load_file(artifact / CONTRIBUTIONS), json.loads((artifact / TOKENS).read_text())
    ks = json.loads((artifact / "summary.json").read_text())["ks"]
    rows = []
    for task in dict.fromkeys(name.rpartition("/")[0] for name in arrays):
        ids, sums, counts, realised, kl = (
            arrays[f"{task}/{name}"] for name in ("ids", "sums", "counts", "realised", "realised_kl")
        )
        drawn_U, blocks_U = realised.sum(0), (realised > 0).sum(0)
        for j, k in enumerate(ks):
            steps_U = counts[:, j].sum(0)
            mean_U = sums[:, j].sum(0) / np.where(steps_U > 0, steps_U, np.nan)
            for u, token in enumerate(ids):
                if steps_U[u] > 0:
                    rows.append(
                        {
                            "task": task,
                            "K": "V" if k == ks[-1] else k,
                            "token_id": int(token),
                            "token": texts[str(token)],
                            "frequency": float(drawn_U[u] / drawn_U.sum()),
                            "mean_contribution": float(mean_U[u]),
                            "steps": int(steps_U[u]),
                            "realised_kl": float(kl[:, u].sum() / drawn_U[u]),
                            "blocks": int(blocks_U[u]),
                        }
                    )
    return rows


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Write rows of one shape; whole or not at all."""
    with atomic_write(path) as aside, aside.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)
    return path


def draw_contributions(
    rows: Sequence[dict[str, Any]], correlations: Sequence[dict[str, Any]], stem: Path, title: str
) -> list[Path]:
    """A panel per task and K: each token's mean contribution against its frequency, the correlation above."""
    import matplotlib.pyplot as plt

    tasks = list(dict.fromkeys(row["task"] for row in rows))
    ks = list(dict.fromkeys(row["K"] for row in rows))
    figure, axes = plt.subplots(
        len(tasks), len(ks), figsize=(2.6 * len(ks), 2.4 * len(tasks) + 0.5), squeeze=False, sharex="row"
    )
    for line, task in enumerate(tasks):
        for column, k in enumerate(ks):
            axis = axes[line][column]
            own = [row for row in rows if (row["task"], row["K"]) == (task, k)]
            axis.scatter([r["frequency"] for r in own], [r["mean_contribution"] for r in own], s=8, alpha=0.6)
            axis.set_xscale("log")
            axis.axhline(0, linewidth=0.5, color="grey")
            found = [
                c for c in correlations if c["task"] == task and (c["k"] == k or (k == "V" and c["whole_vocabulary"]))
            ]
            axis.set_title(f"{task}, K = {k}\n{_correlation(found[0])}" if found else f"{task}, K = {k}", fontsize=7)
            axis.tick_params(labelsize=6)
            for row in sorted(own, key=lambda r: -abs(r["mean_contribution"]))[:3]:
                axis.annotate(
                    row["token"].strip()[:12].replace("$", r"\$") or repr(row["token"]),
                    (row["frequency"], row["mean_contribution"]),
                    fontsize=6,
                )
        axes[line][0].set_ylabel("mean contribution, nats", fontsize=7)
    figure.supxlabel("frequency of the token in the student's completions", fontsize=8)
    figure.suptitle(f"Who drives KL(student || teacher): {title}", fontsize=9)
    return _save(figure, stem)


def draw_gradients(rows: Sequence[dict[str, Any]], stem: Path, title: str) -> list[Path]:
    """Total variance of each estimator's gradient between rollouts, a point per prompt."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(5, 3.4))
    names = ("sequence", "token_with_future", "token")
    for place, name in enumerate(names):
        values = [row[name] for row in rows if isinstance(row[name], float) and row[name] > 0]
        axis.scatter(np.full(len(values), place) + np.linspace(-0.15, 0.15, len(values)), values, s=10, alpha=0.6)
        if values:
            axis.hlines(float(np.median(values)), place - 0.25, place + 0.25, color="black")
    axis.set_yscale("log")
    axis.set_xticks(
        range(len(names)), ["sequence KL", "token KL\nand later states", "token KL\n(fixed states)"], fontsize=7
    )
    axis.set_ylabel("variance of the gradient between rollouts", fontsize=7)
    axis.set_title(title, fontsize=8)
    return _save(figure, stem)


def _correlation(one: dict[str, Any]) -> str:
    if isinstance(one["correlation"], str):
        return "too few tokens"
    return f"rho {one['correlation']:+.2f} [{one['low']:+.2f}, {one['high']:+.2f}]"


def _save(figure: Any, stem: Path) -> list[Path]:
    import matplotlib.pyplot as plt

    figure.tight_layout()
    paths = []
    for suffix in ("png", "svg"):
        path = stem.with_name(f"{stem.name}.{suffix}")
        with atomic_write(path) as aside:
            figure.savefig(aside, format=suffix, dpi=130, metadata={"Date": None} if suffix == "svg" else None)
        paths.append(path)
    plt.close(figure)
    return paths
