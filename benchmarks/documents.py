"""Write what documents say of results: answers in README.md, docs/results.md, the picture and the example report.

    python benchmarks/documents.py              everything, from the committed records
    python benchmarks/documents.py RESULT       first replace the example by this result (a folder of table2 at toy scale)

`nox -s documents` does the same. A test compares the files with what this would write. No figure of a result is written by hand.
"""

import argparse
import inspect
import json
import re
from collections.abc import Iterable
from pathlib import Path

from answers import answers_table, headline, results_page
from notebooks import run_notebook, text_of

from repro import api
from repro.planner.hours import study_hours
from repro.planner.scales import REQUIREMENTS
from repro.recipes.catalog import plan
from repro.recipes.shared_stages import cache_revisions
from repro.recipes.studies import SCALES, STUDIES
from repro.report.figures.export import Plot
from repro.report.figures.overview import overview
from repro.report.figures.style import FILE, WIDTH, drawing, panels
from repro.report.merge import Source, merge_sources
from repro.report.result import RESULTS_FILE, read_result
from repro.report.write import write_report
from repro.system.atomic_write import atomic_write
from repro.tables.statistics.decision import VERDICT_VALUES, Region, decide, interval, p_value
from repro.tables.statistics.resampling import Estimate

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = Path("examples") / "table2-toy"
NOTEBOOK = Path("examples") / "library.ipynb"
MARKS = ("<!-- written by nox -s documents -->", "<!-- end -->")


def api_tables() -> str:
    """Return a table for each group of public names: the name, and the first sentence of its docstring."""
    lines = []
    for group, names in api.GROUPS.items():
        lines += [f"**{group}**", "", "| name | |", "|---|---|"]
        lines += [f"| `{name}` | {_first_line(name)} |" for name in names]
        lines.append("")
    return "\n".join(lines).rstrip()


def reference_page() -> str:
    """Return docs/reference.md, whose entries mkdocstrings fills in from the docstrings."""
    lines = [
        "# API reference",
        "",
        "Written by `nox -s documents`; signatures and docstrings are filled in on the site (`nox -s docs`). As a plain file, read"
        " [api](api.md). Import every name from `repro.api`.",
    ]
    for group, names in api.GROUPS.items():
        lines += ["", f"## {group}"]
        for name, home in names.items():
            lines += ["", f"::: repro.{_defined_in(name, home)}"]
    return "\n".join(lines) + "\n"


def _first_line(name: str) -> str:
    lines = (inspect.getdoc(getattr(api, name)) or "").split("\n\n")[0].splitlines()
    return " ".join(lines).replace("|", "\\|")


def _defined_in(name: str, home: str) -> str:
    """Return where a name is defined: packages only pass theirs on."""
    value = getattr(api, name)
    return (
        f"{value.__module__.removeprefix('repro.')}.{value.__qualname__}"
        if hasattr(value, "__qualname__")
        else home.replace(":", ".")
    )


def default_hours() -> str:
    """Return the hours of every study at each scale, as `repro list` reads them."""
    lines = ["# Written by `nox -s documents`: hours of `repro.planner.hours.study_hours`, default settings."]
    with cache_revisions():
        for name in STUDIES:
            lines += ["", f"[{name}]"]
            for scale in SCALES:
                hours = study_hours(plan(name, scale=scale), REQUIREMENTS[scale].workers)
                lines.append(f"{scale} = {float(f'{hours:.5g}')!r}")
    return "\n".join(lines) + "\n"


def rule_of_verdicts() -> Plot:
    """Draw intervals beside the region of a claim with a margin of 0.02; `decide` names the verdict on each."""
    region = Region(low=-0.02)
    examples = [
        (0.010, 0.006, 3),
        (-0.008, 0.003, 3),
        (-0.008, 0.012, 3),
        (-0.06, 0.010, 3),
        (0.018, 0.009, 1),
        (0.06, 0.009, 1),
    ]
    with drawing(FILE):
        figure, (axes,) = panels(1, 1, WIDTH, 0.7 + 0.34 * len(examples))
        axes.axvspan(region.low, 0.1, color=FILE.series[2], alpha=0.12, linewidth=0)
        axes.axvline(region.low, color=FILE.ink, linewidth=1.2)
        axes.axvline(0, color=FILE.rule, linewidth=1.2)
        labels = []
        for n, (value, se, seeds) in enumerate(examples):
            var_seeds = 0.0 if seeds == 1 else se**2 / 20
            estimate = Estimate(value, se, se**2 - var_seeds, var_seeds, items=300, seeds=seeds, tasks=3)
            verdict = decide(estimate, region, p_value(estimate, region), 0.05, training=True)
            colour = FILE.series[VERDICT_VALUES.index(verdict)]
            axes.plot(interval(estimate, 0.05), (n, n), color=colour, linewidth=2.5, solid_capstyle="butt")
            axes.plot([value], [n], marker="o", color=colour, markersize=7)
            labels.append(f"{verdict}{' (one seed)' if seeds == 1 else ''}")
        axes.set_yticks(range(len(examples)), labels)
        axes.set_ylim(len(examples) - 0.4, -0.6)
        axes.set_xlim(-0.1, 0.1)
        axes.grid(visible=False)
        axes.set_xlabel("undistillable less original teacher; shaded: what the claim allows (margin 0.02)")
    return Plot("verdicts", "Intervals and verdicts", "; ".join(labels), figure)


def with_generated(text: str, parts: Iterable[str]) -> str:
    """Return a text whose marked parts are replaced, in order.

    Raises:
        ValueError: it has another number of marked parts.
    """
    parts = iter(parts)
    start, end = map(re.escape, MARKS)
    replaced = re.sub(rf"{start}.*?{end}", lambda _: f"{MARKS[0]}\n{next(parts)}\n{MARKS[1]}", text, flags=re.DOTALL)
    if next(parts, None) is not None:
        raise ValueError("fewer marked parts than texts for them")
    return replaced


def write_documents(root: Path) -> None:
    """Write what is generated (pages, pictures, the example report, the hours of `repro list`) below `root`."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    api_page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    texts = {
        "README.md": with_generated(readme, (headline(), answers_table())),
        "docs/results.md": results_page(),
        "docs/api.md": with_generated(api_page, (api_tables(),)),
        "docs/reference.md": reference_page(),
        "repro/planner/default_hours.toml": default_hours(),
        NOTEBOOK.as_posix(): text_of(run_notebook(ROOT / NOTEBOOK, ROOT / NOTEBOOK.parent)),
    }
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(root / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    parts = merge_sources([Source(EXAMPLE.name, read_result(ROOT / EXAMPLE))])  # pages name it, on every machine alike
    write_report(parts, root / EXAMPLE / "report.html")
    save_svg(overview(parts[0], FILE), root / EXAMPLE / "overview.svg")
    save_svg(rule_of_verdicts(), root / "docs" / "pictures" / "verdicts.svg")


def save_svg(plot: Plot, file: Path) -> None:
    """Write a figure in the palette of files, on white, without a date."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as temporary, drawing(FILE):
        plot.figure.savefig(temporary, format="svg", facecolor="white", metadata={"Date": None})


def replace_example(result: Path) -> None:
    """Store a result as the example, one line of JSON."""
    content = read_result(result)
    if (content["study"], content["scale"]) != ("table2", "toy"):
        raise SystemExit(
            f"{result}: the example is table2 at toy scale, this is {content['study']} at {content['scale']}."
        )
    (ROOT / EXAMPLE).mkdir(parents=True, exist_ok=True)
    with atomic_write(ROOT / EXAMPLE / RESULTS_FILE) as temporary:
        temporary.write_text(json.dumps(content, separators=(",", ":"), ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", nargs="?", type=Path, help="folder of a result that becomes the example")
    if given := parser.parse_args().result:
        replace_example(given)
    write_documents(ROOT)
