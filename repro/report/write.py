"""Write a page and its brief, atomically."""

from collections.abc import Sequence
from pathlib import Path

from repro.errors import InputError
from repro.report.html import PAGE_FILE, html
from repro.report.markdown import markdown
from repro.report.merge import Part
from repro.report.sections.build import build_sections
from repro.report.sections.glossary import glossary_section
from repro.system.atomic_write import atomic_write


def write_report(parts: Sequence[Part], page: Path) -> tuple[Path, Path]:
    """Write the page (a file, or a folder for it) and its brief beside it, ending in .md; return both paths.

    Raises:
        InputError: the file cannot be written.
    """
    if page.is_dir():
        page = page / PAGE_FILE
    if page.suffix == ".md":
        raise InputError(f"--out {page}: name the HTML page; its Markdown brief is written beside it.")
    built = [(part, f"part{n}", build_sections(part, f"part{n}")) for n, part in enumerate(parts, 1)]
    brief = page.with_suffix(".md")
    built[-1][2].append(glossary_section())
    texts = {page: html(built), brief: markdown(built, page.name)}
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            with atomic_write(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{page}: {error.strerror}. Choose another with --out FILE.") from None
    return page, brief
