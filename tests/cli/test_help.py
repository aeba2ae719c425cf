"""Every `--help` page explains each option, and prints what it says."""

import re

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from repro.cli.app import app

UNITS = re.compile(
    r"\b(steps?|minutes?|seconds?|GPUs?|seeds?|prompts?|stages?|sequences?|items?|rows?|hours?|GiB|tokens?)\b",
    re.IGNORECASE,
)


def walk(command, path=()):
    commands = getattr(command, "commands", None)
    if commands is None:
        yield path, command
        return
    for name, child in commands.items():
        yield from walk(child, (*path, name))


COMMANDS = dict(walk(get_command(app)))
OPTIONS = [
    (path, option)
    for path, command in COMMANDS.items()
    for option in command.params
    if option.param_type_name == "option" and option.name != "help"
]


def name_of(case):
    path, option = case
    return f"{' '.join(path)} {option.opts[0]}"


@pytest.mark.parametrize("case", OPTIONS, ids=name_of)
def test_every_option_is_explained(case):
    _, option = case
    assert option.help, "no help"
    assert re.match(r"[A-Za-z']", option.help), f"begins with markup: {option.help}"
    assert option.help.rstrip()[-1] in ".)", option.help


def test_every_argument_is_named_by_what_it_holds():
    """A type that several commands share gave all of them the name of the first."""
    for path, command in COMMANDS.items():
        for argument in (param for param in command.params if param.param_type_name == "argument"):
            shown = (argument.metavar or argument.name).strip(".").casefold()
            names = (argument.name, argument.name.removesuffix("s"), "module:function")
            assert shown in names, (path, argument.name, shown)


@pytest.mark.parametrize("case", [c for c in OPTIONS if c[1].bare_type() in ("int", "float")], ids=name_of)
def test_every_number_has_its_unit(case):
    assert UNITS.search(case[1].help), case[1].help


@pytest.mark.parametrize("columns", [60, 80, 300])
@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_a_page_prints_its_options_unmarred(path, columns):
    """A help text that begins with "> 0" was a quotation to Markdown, and lost its sign; 60 columns cut the options' names."""
    printed = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": str(columns), "TERM": "dumb"}).output
    assert "▌" not in printed
    assert "…" not in printed
    assert max(map(len, printed.splitlines())) <= columns
    assert not re.search(r"--(?!help)[\w-]+ +(-\w +)?<(list|int|float|str|path|bool)\b", printed), "a type of Python"
    if columns == 80:  # a table, whose texts are in a column
        assert all(option.opts[0] in printed for option in COMMANDS[path].params if option.param_type_name == "option")
        return
    plain = re.sub(r"\W+", "", printed)
    for option in COMMANDS[path].params:
        if option.param_type_name == "option" and option.name != "help" and option.help:
            assert option.opts[0] in printed
            assert re.sub(r"\W+", "", option.help) in plain, option.help


def test_the_signs_of_eta_are_all_there():
    printed = CliRunner().invoke(app, ["calibrate", "--help"], env={"COLUMNS": "300", "TERM": "dumb"}).output
    assert "above 0 distillable, below 0 undistillable, 0 plain RFT" in printed
