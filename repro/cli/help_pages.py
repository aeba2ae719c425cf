"""The `--help` pages: names of values (`--seeds N`, STUDY) where typer prints Python's types, and a page for narrow terminals."""

import inspect
import typing
from pathlib import Path

import typer
from rich.console import Console
from typer.core import TyperCommand
from typer.models import ArgumentInfo, OptionInfo

NUMBERS = (int, float)
WIDE_ENOUGH = 80
"""Minimum columns for typer's options table; in narrower terminals it truncates option names."""


class HelpfulCommand(TyperCommand):
    """A command whose page has each option above its text where the terminal is narrow."""

    def format_help(self, ctx: typing.Any, formatter: typing.Any) -> None:
        """Print the page."""
        console = Console(highlight=False)
        if console.width >= WIDE_ENOUGH:
            super().format_help(ctx, formatter)
            return
        from rich.markdown import Markdown
        from rich.padding import Padding

        console.print(self.get_usage(ctx), markup=False)
        console.print()
        console.print(Markdown(inspect.cleandoc(self.help or "")))
        for kind, title in (("argument", "Arguments"), ("option", "Options")):
            records = [param.get_help_record(ctx) for param in self.get_params(ctx) if param.param_type_name == kind]
            if records:
                console.print(f"\n[bold]{title}[/bold]")
            for names, text in filter(None, records):
                console.print(f"  {names}", style="cyan", markup=False)
                console.print(Padding(Markdown(text), (0, 0, 0, 6)))


def improve_help(app: typer.Typer) -> None:
    """Give every command of an app such a page, and name the value of every unnamed option and argument.

    A switch gets the empty name. Choices keep theirs, which are their values.
    """
    for group in app.registered_groups:
        improve_help(typing.cast(typer.Typer, group.typer_instance))
    for command in app.registered_commands:
        command.cls = HelpfulCommand
        assert command.callback is not None
        for parameter in inspect.signature(command.callback).parameters.values():
            kind, *details = typing.get_args(parameter.annotation) or (None,)
            for info in details:
                if isinstance(info, OptionInfo | ArgumentInfo) and info.metavar is None:
                    info.metavar = _name_of(info, parameter.name, kind)


def _name_of(info: OptionInfo | ArgumentInfo, parameter: str, kind: object) -> str | None:
    if isinstance(info, ArgumentInfo):
        is_list = typing.get_origin(kind) is list
        return f"{parameter.upper().removesuffix('S' if is_list else '')}{'...' if is_list else ''}"
    kinds = [part for outer in _parts(kind) for part in _parts(outer) if part is not type(None)]
    if any(typing.get_origin(part) is typing.Literal for part in (kind, *kinds)):
        return None
    if bool in kinds:
        return ""
    if Path in kinds:
        return "PATH"
    if any(number in kinds for number in NUMBERS):
        return "N"
    return (info.param_decls or [parameter])[0].split("-")[-1].upper()


def _parts(kind: object) -> tuple[object, ...]:
    """Return the parts of list[X] and X | None; a plain type itself; a Literal as it is."""
    return (kind,) if typing.get_origin(kind) is typing.Literal else typing.get_args(kind) or (kind,)
