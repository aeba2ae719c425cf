"""`repro traps`: the whole panel of section 4 for two models of a person's own."""

import json
from pathlib import Path
from typing import Annotated

import typer

from repro.cli.console import out_console
from repro.cli.options import Data, EngineOption, Items, Out, Quiet, Seed, Sets, Tasks, options_from

traps_app = typer.Typer()


@traps_app.command()
def traps(
    teacher: Annotated[str, typer.Argument(help="Hub id, folder (e.g. of a calibrated teacher), or toy name.")],
    student: Annotated[str, typer.Argument(help="Hub id, folder, or toy name.")],
    task: Tasks = None,
    data: Data = None,
    items: Items = None,
    sets: Sets = None,
    engine: EngineOption = None,
    seed: Seed = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the panel as JSON, and nothing else.")] = False,
    out: Out = Path("results"),
    quiet: Quiet = False,
) -> None:
    """What would go wrong in distilling STUDENT from TEACHER: token and sequence KL, on- and off-policy, the health of
    importance weights, wrong-trace preference, and which tokens drive the KL.

    Both models answer held-out prompts (16 completions each). Models of two tokenizers are compared by whole texts; what
    needs a shared vocabulary is left out, and named.

    Example: `repro traps TEACHER STUDENT --task gsm8k --data rows.jsonl --items 50`
    """
    from repro.report.panel import print_panel, write_panel
    from repro.workflow.own_models import run_with_inputs, traps_stage

    stage = traps_stage(teacher, student, options_from(task, data, items, None, sets, engine, seed))
    artifact = run_with_inputs(stage, out, quiet=quiet or as_json, console=out_console)
    folder = out / f"traps-{stage.fingerprint[:12]}"
    content = write_panel(artifact, folder, teacher=teacher, student=student)
    if as_json:
        typer.echo(json.dumps(content, indent=1))
        return
    print_panel(content, out_console)
    out_console.print(f"\nwritten: {folder}, from {artifact}", highlight=False, soft_wrap=True)
