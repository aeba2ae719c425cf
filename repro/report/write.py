"""Write a page and its brief, atomically."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from repro.errors import InputError
from repro.report.html import GENERATOR, PAGE_FILE, html
from repro.report.markdown import LAST_LINE, markdown
from repro.report.merge import Part
from repro.report.result import RESULTS_FILE
from repro.report.sections.build import build_sections
from repro.report.sections.glossary import glossary_section
from repro.system.atomic_write import atomic_write


def write_report(parts: Sequence[Part], page: Path) -> tuple[Path, Path]:
    """Write the page and its brief beside it, ending in .md; return both paths.

    Args:
        page: the file; a folder that exists, or a path without an ending, is the folder for it.

    A page of ours is replaced: it holds nothing that the results do not.

    Raises:
        InputError: the file cannot be written, or is not a page of ours.
    """
    page, brief = place_page(page, "--out", GENERATOR, LAST_LINE)
    built = [(part, f"part{n}", build_sections(part, f"part{n}")) for n, part in enumerate(parts, 1)]
    built[-1][2].append(glossary_section())
    write_texts({page: html(built), brief: markdown(built, page.name)}, "--out")
    return page, brief


def place_page(page: Path, option: str, generator: str, brief_mark: str) -> tuple[Path, Path]:
    """Return the files of a page and its brief, whose folder is made; call it before any figure is drawn.

    Args:
        page: the file; a folder that exists, or a path without an ending, is the folder for it.
        option: of the command that names it.
        generator: the command in the head of a page that may be replaced; brief_mark: a text in such a brief.

    Raises:
        InputError: the file cannot be written, or is not a page of that command.
    """
    if page.is_dir() or not page.suffix:
        page = page / PAGE_FILE
    if page.suffix not in (".html", ".htm"):
        raise InputError(f"{option} {page}: name the HTML page (.html); its Markdown brief is written beside it.")
    brief = page.with_suffix(".md")
    with _naming(page, option):
        page.parent.mkdir(parents=True, exist_ok=True)
        _refuse_foreign(page, f'content="{generator}"', option, generator)
        _refuse_foreign(brief, brief_mark, option, generator)
    return page, brief


def write_texts(texts: Mapping[Path, str], option: str) -> None:
    """Write files, each atomically.

    Raises:
        InputError: one cannot be written.
    """
    for path, text in texts.items():
        with _naming(path, option), atomic_write(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _refuse_foreign(path: Path, mark: str, option: str, generator: str) -> None:
    """Raise InputError if a page or brief would replace a file without its mark, unless it is that of the results beside it."""
    is_of_results = (
        generator == GENERATOR and path.stem == Path(PAGE_FILE).stem and (path.parent / RESULTS_FILE).exists()
    )
    if path.exists() and not is_of_results and mark not in path.read_text(encoding="utf-8", errors="replace"):
        raise InputError(f"{path}: exists, and was not written by `{generator}`. Choose another with {option} FILE.")


@contextmanager
def _naming(page: Path, option: str) -> Iterator[None]:
    """Turn an error of the file system into one that names the page."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{page}: {error.strerror}. Choose another with {option} FILE.") from None
