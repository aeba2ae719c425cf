"""The page: parts written into one HTML file that asks nothing of any network."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from repro.report.blocks import Section
from repro.report.merge import Part
from repro.report.text import visible
from repro.report.verdict_section import tally

_FOLDER = Path(__file__).parent / "page"
TONES = {"reproduced": "✔", "contradicted": "✘", "inconclusive": "?", "diagnosed": "·", "erratum": "!"}


def html(parts: Sequence[tuple[Part, str, Sequence[Section]]]) -> str:
    """The whole page.

    Args:
        parts: each part with the key of its ids and its sections (see `repro.report.sections`).
    """
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
    notices = [part.report.notice for part, _, _ in parts]
    notice = next((one for one in notices if one), None)
    some = notice if all(notices) or notice is None else f"parts marked so are {notice}"
    return templates.get_template("page.html.jinja").render(
        title=f"Reproduction of {', '.join(dict.fromkeys(part.name for part, _, _ in parts))}",
        parts=[_part(part, key, own) for part, key, own in parts],
        style=(_FOLDER / "page.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=f"sha256-{digest}",
        footer_notice=_sentence(some),
        footer=some or "",
        tones=TONES,
    )


def _part(part: Part, key: str, own: Sequence[Section]) -> dict[str, Any]:
    report = part.report
    return {
        "key": key,
        "title": part.title,
        "notice": _sentence(report.notice),
        "sections": own,
        "tally": tally(part),
    }


def _sentence(notice: str | None) -> str:
    return f"{notice[0].upper()}{notice[1:]}." if notice else ""
