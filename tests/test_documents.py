"""Documents: their links resolve, their commands are accepted, their Python runs, and what a command writes is current."""

import re
import shlex
import tomllib
from pathlib import Path

import documents
import pytest
import typer
import yaml

import repro
from repro.api import reverse_kl
from repro.cli.app import app
from repro.tasks import registry

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    (ROOT / "docs").rglob("*.md")
)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = typer.main.get_command(app)


def blocks(page, language):
    return [text for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


def anchors(page):
    """Return the anchors of a page's headings, as GitHub and mkdocs make them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(BLOCK, "", page.read_text(encoding="utf-8")), re.MULTILINE)
    plain = [
        re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)).strip().lower() for heading in headings
    ]
    return {text.replace(" ", "-") for text in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page):
    text = re.sub(BLOCK, "", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{page.name}: {target}"


def test_the_readme_is_short():
    words = (ROOT / "README.md").read_text(encoding="utf-8").split()
    assert len(words) <= 1100, f"{len(words)} words: move what a stranger does not need first to docs/"


COMMANDS = sorted(
    {
        (str(page.relative_to(ROOT)), line.strip())
        for page in PAGES
        for block in blocks(page, "sh")
        for line in block.splitlines()
        if line.startswith("repro ")
    }
)


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=[line[:60] for _, line in COMMANDS])
def test_a_documented_command_is_accepted(page, line):
    """Parsed as it stands there, and not run: command, options and values exist."""
    _, *arguments = shlex.split(line, comments=True)
    command = COMMAND
    while hasattr(command, "resolve_command"):
        group = command.make_context("repro", [], resilient_parsing=True)
        _, command, arguments = command.resolve_command(group, arguments)
    command.make_context("repro", arguments)


def test_documented_sessions_exist(sessions):
    named = {
        name
        for page in PAGES
        for name in re.findall(r"nox (?:-R )?-s ([A-Za-z0-9-]+)", page.read_text(encoding="utf-8"))
        if name.islower()  # not reproduce-STUDY
    }
    assert named - sessions.keys() == set()


def starts_a_stage(page):
    return any("run_stage(" in block for block in blocks(page, "python"))


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.processes if starts_a_stage(page) else ())
        for page in PAGES
        if blocks(page, "python")
    ],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_documented_python_runs(page, monkeypatch, tmp_path):
    """All blocks of a page, one after the other, in a folder that has the examples."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "documented", "my_loss": reverse_kl}
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), names)


def test_the_rows_of_the_tutorial_are_enough_for_its_commands(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "tutorial.md"
    (source,) = [block for block in blocks(page, "python") if "rows.jsonl" in block]
    exec(source, {})
    wanted = max(int(n) for n in re.findall(r"file-numeric .*--items (\d+)", page.read_text(encoding="utf-8")))
    test = registry.get("file-numeric", data=tmp_path / "rows.jsonl").items("test", n=None, seed=0)
    assert len(test) >= wanted == 20


def test_written_documents_are_current(tmp_path):
    """If not: nox -s documents."""
    documents.write_documents(tmp_path)
    for file in (path for path in tmp_path.rglob("*") if path.is_file()):
        name = file.relative_to(tmp_path)
        assert file.read_text(encoding="utf-8") == (ROOT / name).read_text(encoding="utf-8"), name


def test_measured_answers_are_in_words():
    """No id of a metric stands in docs/results.md or in README.md, outside code and links."""
    for page in (ROOT / "docs" / "results.md", ROOT / "README.md"):
        text = re.sub(r"```.*?```|`[^`\n]*`|\]\([^)]*\)", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert re.findall(r"\b[a-z]+_\w+|\b(?:maj|pass)\d+", text) == []


def test_marked_parts_and_their_texts_are_as_many():
    start, end = documents.MARKS
    text = f"a\n{start}\nold\n{end}\nb\n"
    assert documents.with_generated(text, ["new"]) == f"a\n{start}\nnew\n{end}\nb\n"
    with pytest.raises(ValueError, match="fewer"):
        documents.with_generated(text, ["new", "more"])
    with pytest.raises(StopIteration):
        documents.with_generated(text, [])


def test_one_version_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    (changes, *_) = re.findall(
        r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "repro/__init__.py"
    assert {citation["version"], changes} == {repro.__version__}


def test_the_citation_has_what_the_format_requires():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert all("name" in author for author in citation["authors"])
    (paper,) = citation["references"]
    assert paper["url"] == "https://arxiv.org/abs/2604.18963"


@pytest.mark.parametrize(
    "form", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml")), ids=lambda form: form.stem
)
def test_an_issue_form_has_what_the_forge_requires(form):
    content = yaml.safe_load(form.read_text(encoding="utf-8"))
    assert content["name"]
    assert content["description"]
    for part in content["body"]:
        assert part["type"] in ("markdown", "input", "textarea", "dropdown", "checkboxes")
        assert part["attributes"]["label"]
