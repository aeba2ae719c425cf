"""`repro ls`, `clean` and `why`: what is in a results folder, what may go, and what made a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repro.cli.console import out_console
from repro.cli.options import Out
from repro.errors import InputError

if TYPE_CHECKING:
    from repro.workflow.housekeeping import ArtifactEntry

housekeeping_app = typer.Typer()


@housekeeping_app.command("ls")
def list_contents(
    folder: Annotated[Path | None, typer.Argument(help="Folder of results. Default: --out.")] = None,
    out: Out = Path("results"),
    artifacts: Annotated[bool, typer.Option("--artifacts", "-a", help="Also list every artifact.")] = False,
) -> None:
    """List results with their settings, dates, sizes and verdicts, and the artifacts they were made from.

    Of an artifact (-a): its name, which `clean`, `why`, `compare` and `export` take with the folder, the model with eta,
    method and training seeds, its own seed, and the accuracy of an evaluation.

    Example: `repro ls my -a`
    """
    from repro.workflow.housekeeping import list_artifacts, list_results

    out = _results_folder(folder, out)
    results = list_results(out)
    for result in results:
        facts = {
            "seeds": ", ".join(map(str, result.seeds)),
            "families": ", ".join(result.families),
            "settings": ", ".join(result.assignments) or "the scale's",
            "verdicts": ", ".join(f"{n} {value}" for value, n in result.counts.items()),
        }
        out_console.print(result.folder.name, style="bold", highlight=False, markup=False, end="")
        out_console.print(f"  {result.made[:16].replace('T', ' ')}  {_size(result.bytes)}", highlight=False)
        for name, text in facts.items():
            out_console.print(f"    {name:<9}{text}", highlight=False, markup=False, soft_wrap=True)
    entries = list_artifacts(out)
    if not results:
        more = f"; `repro ls {out} -a` lists its artifacts" if entries and not artifacts else ""
        out_console.print(f"{out}: no results of a study{more}", highlight=False, soft_wrap=True)
    if artifacts:
        _print_artifacts(entries)
    unused = sum(not entry.users for entry in entries)
    out_console.print(
        f"{len(entries)} artifacts, {_size(sum(entry.bytes for entry in entries))}"
        + (f"; nothing refers to {unused} (repro clean)" if unused else ""),
        highlight=False,
    )


def _results_folder(folder: Path | None, out: Path) -> Path:
    """Return the folder of results that a command names; raise InputError if it is the cache inside one."""
    from repro.stages.artifact import CACHE, RECORD

    chosen = folder or out
    if chosen.resolve().name == CACHE and not (chosen / CACHE).is_dir() and any(chosen.glob(f"*/{RECORD}")):
        raise InputError(
            f"{chosen}: this is the cache of a results folder. Name that folder: {chosen.resolve().parent}"
        )
    return chosen


def _print_artifacts(entries: "list[ArtifactEntry]") -> None:
    """Print a line per artifact, however long: a folded name cannot be copied."""
    width = max((len(entry.folder.name) for entry in entries), default=0)
    for entry in entries:
        made = entry.record["ended"][:16].replace("T", " ") if entry.record else ""
        scores = ", ".join(f"{metric} {value:.3f} on {task}" for task, (metric, value) in entry.scores.items())
        users = ", ".join(entry.users[:2]) + (" ..." if len(entry.users) > 2 else "") or "nothing"
        facts = [
            f"{entry.folder.name:<{width}}",
            f"{made:<16}",
            f"{_size(entry.bytes):>8}",
            f"seed {'-' if entry.seed is None else entry.seed}",
            f"{entry.label}{f': {scores}' if scores else ''} (used by {users})",
        ]
        out_console.print("  ".join(facts), highlight=False, markup=False, soft_wrap=True)


@housekeeping_app.command()
def clean(
    folder: Annotated[Path | None, typer.Argument(help="Folder of results. Default: --out.")] = None,
    out: Out = Path("results"),
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove them; otherwise they are only listed.")] = False,
    torsos: Annotated[
        bool, typer.Option("--torsos", help="Only what killed runs left behind (partial), no unused artifacts.")
    ] = False,
) -> None:
    """List artifacts that nothing refers to and leftovers of killed runs; remove them with --yes.

    Never a result, an artifact that a result, panel or one-stage command needs, or anything of a running stage. An
    interrupted study has no result yet: its finished stages are listed, and would be computed again.
    """
    from repro.workflow.housekeeping import find_leftovers, list_results, remove

    out = _results_folder(folder, out)
    list_results(out)
    leftovers = [entry for entry in find_leftovers(out) if not torsos or entry.reason == "partial"]
    for entry in leftovers:
        out_console.print(
            f"{entry.reason:<7} {_size(entry.bytes):>9}  {entry.path}  {entry.label}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
        if yes:
            try:
                remove(entry)
            except OSError as error:
                raise InputError(f"{entry.path}: cannot be removed ({error.strerror}).") from None
    size = _size(sum(entry.bytes for entry in leftovers))
    if not leftovers:
        out_console.print("nothing to remove")
    else:
        out_console.print(
            f"{len(leftovers)} entries, {size}: removed"
            if yes
            else f"{len(leftovers)} entries, {size}; --yes removes them",
            highlight=False,
        )


@housekeeping_app.command()
def why(
    file: Annotated[Path, typer.Argument(help="A file of an artifact or result, or a copy of one.")],
    out: Out = Path("results"),
) -> None:
    """Show what made a file: stage, settings, command, code, machine and inputs."""
    from repro.workflow.origin import find_origin

    origin = find_origin(file, out)
    lines = {
        "file": str(origin.file),
        "made by": origin.maker,
        "in": str(origin.folder),
        "command": origin.command,
        "when": origin.made,
        "code": origin.code,
        "settings": ", ".join(f"{key}={value}" for key, value in origin.settings.items())
        or "the scale's defaults (no --set)",
    }
    if origin.is_unchanged is not None:
        lines["content"] = "unchanged since it was written" if origin.is_unchanged else "CHANGED since it was written"
    for name, text in lines.items():
        out_console.print(f"{name:<9}{text}", highlight=False, markup=False, soft_wrap=True)
    for depth, label, name in origin.inputs:
        out_console.print(f"{'from':<9}{'  ' * depth}{label}  {name}", highlight=False, markup=False, soft_wrap=True)


def _size(n: int) -> str:
    """Return a size as text, in powers of 1000."""
    value = float(n)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
