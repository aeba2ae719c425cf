"""Let links of pages to files outside docs/ work on the site, as they do in plain files: they go to copies in site/files/."""

import posixpath
import re
import shutil
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FOLDER = "files"
_LINK = re.compile(r"\]\((\.\./[^)#\s]+)(#[^)\s]*)?\)")
_linked: set[Path] = set()


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point each such link to the copy, and note the file.

    Raises:
        FileNotFoundError: there is no such file.
    """
    folder = posixpath.dirname(page.file.src_uri)
    depth = page.url.count("/")

    def replace(match: re.Match[str]) -> str:
        path = Path(posixpath.normpath(posixpath.join("docs", folder, match[1])))
        if path.parts[0] == "docs":
            return match[0]
        if not (ROOT / path).is_file():
            raise FileNotFoundError(f"{page.file.src_uri}: {match[1]}: no such file")
        _linked.add(path)
        return f"](<{'../' * depth}{FOLDER}/{path.as_posix()}>)"

    return _LINK.sub(replace, markdown)


def on_post_build(config: Any, **_: Any) -> None:
    """Copy the linked files."""
    for path in sorted(_linked):
        copy = Path(config["site_dir"]) / FOLDER / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, copy)
