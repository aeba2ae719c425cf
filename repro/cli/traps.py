"""`repro traps`: the panel of section 4 for two models of the user."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repro.cli.console import out_console, print_notes
from repro.cli.options import DryRun, Out, Quiet, stage_options, with_options

if TYPE_CHECKING:
    from repro.workflow.own_models import StageOptions

traps_app = typer.Typer()


@traps_app.command()
@with_options(options=stage_options)
def traps(
    teacher: Annotated[str, typer.Argument(help="Hub id, folder (e.g. of a calibrated teacher), or toy name.")],
    student: Annotated[str, typer.Argument(help="Hub id, folder, or toy name.")],
    *,
    options: "StageOptions",
    as_json: Annotated[bool, typer.Option("--json", help="Print the panel as JSON, and nothing else.")] = False,
    dry_run: DryRun = False,
    out: Out = Path("results"),
    quiet: Quiet = False,
) -> None:
    """Diagnose what would go wrong in distilling STUDENT from TEACHER.

    Token and sequence KL, on- and off-policy, the health of importance weights, wrong-trace preference, and the tokens
    that drive the KL; at the end a conclusion per trap, on the terminal and as a page. Both models answer held-out prompts
    (16 completions each). Models with different tokenizers are compared by complete texts; what needs a shared vocabulary
    is left out, and listed.

    Example: `repro traps TEACHER STUDENT --task gsm8k --data rows.jsonl --items 50`
    """
    from repro.report.panel import PAGE_FILE, print_found, write_panel
    from repro.stages.artifact import CACHE
    from repro.workflow.own_models import traps_stage
    from repro.workflow.row_notices import stage_notices
    from repro.workflow.stage_run import run_with_inputs
    from repro.workflow.stage_settings import check_read

    stage = traps_stage(teacher, student, options)
    check_read(stage.procedure, options.assignments)
    print_notes(stage_notices(stage, options.items, out / CACHE))
    if dry_run:
        from repro.workflow.stage_plan import print_stage_plan

        print_stage_plan(stage, out, out_console)
        return
    artifact = run_with_inputs(stage, out, console=out_console, quiet=quiet or as_json)
    folder = out / f"traps-{stage.fingerprint[:12]}"
    content = write_panel(artifact, folder, teacher=teacher, student=student)
    if as_json:
        typer.echo(json.dumps(content, indent=1))
        return
    print_found(content, out_console)
    for line in (f"written: {folder / PAGE_FILE}, from {artifact}", f"all measures: repro show {folder}"):
        out_console.print(line, highlight=False, soft_wrap=True)
