"""Render parts into one self-contained HTML page that loads nothing from the network."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from repro.recipes.studies import name_of
from repro.report.blocks import Cell, Grid, Section
from repro.report.conclusions import count_of_role
from repro.report.merge import Part
from repro.report.text import sentence, visible
from repro.tables.verdicts.verdict_types import VerdictReport

PAGE_FILE = "report.html"
GENERATOR = "repro report"
"""Marker in the head of a results page: tells the command which files it may replace."""
TONES = {
    "reproduced": "✔",
    "contradicted": "✘",
    "inconclusive": "?",
    "not testable": "⊘",
    "diagnosed": "·",
    "erratum": "!",
}
OWN_LEAD = (
    "Questions of this kit about Distillation Traps and Guards (arXiv 2604.18963), not claims of the paper. Each statement is"
    " reproduced, contradicted, inconclusive or, where there was nothing to test it on, not testable."
)
_FOLDER = Path(__file__).parent / "page"


def html(parts: Sequence[tuple[Part, str, Sequence[Section]]]) -> str:
    """Render the page.

    Args:
        parts: each part with the key of its ids and its sections (see `repro.report.sections.build`).
    """
    names = names_of([part for part, _, _ in parts])
    is_of_the_paper = any(v.role != "control" for part, _, _ in parts for v in part.report.claims)
    notices = [part.report.notice for part, _, _ in parts]
    notice = next(filter(None, notices), "")
    footer = notice if all(notices) or not notice else f"parts marked so are {notice}"
    return _render(
        f"Reproduction of {names}" if is_of_the_paper else names,
        [
            {
                "key": key,
                "title": part.title,
                "notice": sentence(part.report.notice) if part.report.notice else "",
                "sections": sections,
                **_tally(part.report),
            }
            for part, key, sections in parts
        ],
        lead="" if is_of_the_paper else OWN_LEAD,
        overview=overview([part for part, _, _ in parts], [key for _, key, _ in parts]) if len(parts) > 1 else None,
        footer=footer,
    )


def names_of(parts: Sequence[Part]) -> str:
    """Name studies and scale: "Table 2 at toy scale, Table 1 at small scale", "Table 2, Controls at toy scale"."""
    by_scale: dict[str, dict[str, None]] = {}
    for part in parts:
        scale = f"{part.report.scale} scale{' (rehearsal)' if part.is_rehearsal else ''}"
        by_scale.setdefault(scale, {})[name_of(part.report.study)] = None
    return ", ".join(f"{', '.join(studies)} at {scale}" for scale, studies in by_scale.items())


def _tally(report: VerdictReport) -> dict[str, Any]:
    """Return the counts shown at the top of a part: of the paper's claims, or of controls if it has none."""
    if any(report.counts("claim").values()) or not report.of_role("control"):
        return {"tally": report.counts("claim"), "tally_of": "Claims of the paper"}
    return {"tally": report.counts("control"), "tally_of": "Controls of ours; no claim of the paper is tested here."}


def page_of_sections(title: str, lead: str, sections: Sequence[Section], sample: str, generator: str) -> str:
    """Render a page that belongs to no study: a title, a line below it, and sections.

    Args:
        sample: the heading of the sections: what was measured.
        generator: the command that writes such pages.
    """
    return _render(
        title,
        [{"key": "page", "title": sample, "notice": "", "sections": sections, "tally": {}, "tally_of": ""}],
        lead=lead,
        generator=generator,
    )


def _render(
    title: str,
    parts: Sequence[dict[str, Any]],
    *,
    lead: str = "",
    overview: Grid | None = None,
    footer: str = "",
    generator: str = GENERATOR,
) -> str:
    import jinja2

    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    templates.filters |= {"visible": visible, "kind": lambda block: type(block).__name__, "number": repr}
    script = (_FOLDER / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return templates.get_template("page.html.jinja").render(
        title=title,
        generator=generator,
        lead=lead,
        overview=overview,
        parts=parts,
        style=(_FOLDER / "page.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=f"sha256-{digest}",
        footer_notice=sentence(footer) if footer else "",
        footer=footer,
        tones=TONES,
    )


def overview(parts: Sequence[Part], keys: Sequence[str]) -> Grid:
    """Lay out a row per study with its verdict counts, for the top of a merged page.

    Args:
        keys: ids of the parts on the page, which the rows link to.
    """
    rows = [
        {
            "study": Cell(part.name, note=part.stored.title, link=key),
            "families": Cell(", ".join(part.report.families)),
            "seeds": Cell(str(len(part.report.seeds)), value=len(part.report.seeds)),
            "claims of the paper": Cell(count_of_role(part.report, "claim")),
            "premises": Cell(count_of_role(part.report, "premise")),
            "controls of ours": Cell(count_of_role(part.report, "control")),
        }
        for part, key in zip(parts, keys)
    ]
    return Grid("Verdicts by study", rows)
