"""The command `repro`: each command parses its arguments, calls one function, and prints."""

from pathlib import Path
from typing import Annotated

import typer

from repro import __version__
from repro.cli.compare import compare_app
from repro.cli.conform import conform_app
from repro.cli.console import err_console, out_console
from repro.cli.doctor import doctor_app
from repro.cli.export import export_app
from repro.cli.help_pages import improve_help
from repro.cli.housekeeping import housekeeping_app
from repro.cli.maintain import maintain_app
from repro.cli.options import Out
from repro.cli.own_models import stages_app
from repro.cli.plugins import print_plugins, print_tasks
from repro.cli.results import results_app
from repro.cli.run import run
from repro.cli.tables import tables_app
from repro.cli.traps import traps_app
from repro.cli.verify import verify_app
from repro.cli.world import world_app
from repro.errors import InputError

app = typer.Typer(
    invoke_without_command=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help=(
        "Reproduce *Distillation Traps and Guards* (arXiv 2604.18963): does calibration make a teacher distillable"
        " or undistillable, on your machine, with your models, and what does it cost?\n\n"
        "Start with `repro list`, then `repro run table2` (minutes on a laptop, nothing downloaded).\n\n"
        "A stopped run resumes when the same command is given again; nothing cached is computed twice.\n\n"
        "Exit codes: 0 good, 1 a claim is contradicted (at paper scale, or with --strict), 2 usage or input error, 3 a stage failed, 130 interrupted."
    ),
)
app.add_typer(stages_app)
app.add_typer(traps_app)
app.add_typer(doctor_app)
app.add_typer(conform_app)
app.add_typer(results_app)
app.add_typer(compare_app)
app.add_typer(verify_app)
app.add_typer(export_app)
app.add_typer(housekeeping_app)
app.add_typer(tables_app, name="tables")
app.add_typer(world_app, name="world")
app.add_typer(maintain_app)


@app.callback()
def _help_without_command(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        out_console.print(f"repro {__version__}", highlight=False)
        raise typer.Exit
    if context.invoked_subcommand is None:
        out_console.print(context.get_help(), highlight=False, markup=False)


@app.command("list")
def list_studies(
    losses: Annotated[
        bool,
        typer.Option("--losses", help="Distillation losses: a `divergence` setting such as gkd_rkl.divergence=jsd."),
    ] = False,
    guards: Annotated[
        bool, typer.Option("--guards", help="Guards of a teacher: names for --set matrix.guards=...")
    ] = False,
    attacks: Annotated[
        bool, typer.Option("--attacks", help="Attacks of a thief: names for --set matrix.attacks=...")
    ] = False,
    rows: Annotated[
        bool, typer.Option("--rows", help="Rows that plug-ins add to a study: names for --set rows=...")
    ] = False,
    tasks: Annotated[
        bool,
        typer.Option("--tasks", help="Tasks: names for --task and --set tasks=..., with the source of their rows."),
    ] = False,
) -> None:
    """List the studies with the expected time at each scale, or the names that settings accept (plug-ins included)."""
    if tasks:
        print_tasks()
    if losses or guards or attacks or rows:
        from repro.attacks.base import ATTACKS
        from repro.distillation.loss import LOSSES
        from repro.guards.base import GUARDS
        from repro.recipes.study_rows import ROWS

        chosen = ((LOSSES, losses), (GUARDS, guards), (ATTACKS, attacks), (ROWS, rows))
        for registry in (registry for registry, is_listed in chosen if is_listed):
            print_plugins(registry, heading=tasks + losses + guards + attacks + rows > 1)
    if tasks or losses or guards or attacks or rows:
        return
    from repro.planner.default_hours import default_hours
    from repro.planner.scales import REQUIREMENTS
    from repro.planner.words import describe_duration
    from repro.recipes.studies import SCALES, STUDIES
    from repro.toy.models import MODELS, known_worlds

    hours = default_hours()
    for name, entry in STUDIES.items():
        out_console.print(f"[bold]{name}[/bold]  {entry.title}", highlight=False)
        for scale in SCALES:
            machine, needed = REQUIREMENTS[scale].planned_on, REQUIREMENTS[scale].description
            needs = "" if scale == "toy" else f"; needs {needed}"
            out_console.print(
                f"    --scale {scale:<6} {describe_duration(3600 * hours[name][scale])} on {machine or needed}{needs}",
                highlight=False,
            )
    out_console.print(f"toy models: {', '.join(MODELS)}", highlight=False)
    out_console.print(f"worlds: {', '.join(known_worlds())}", highlight=False)


app.command()(run)


@app.command()
def settings(
    prefix: Annotated[str, typer.Argument(help="Only settings whose names start with this, e.g. calibration.")] = "",
    scale: Annotated[str, typer.Option("--scale", help="toy, small or paper.")] = "toy",
) -> None:
    """List every setting that --set may change: value at a scale, unit, meaning, provenance and reason.

    A model is a hub id, a folder or a toy name. `judge` also accepts a model behind an OpenAI-compatible server (vLLM,
    TGI, llama.cpp, hosted ones), as http://HOST:PORT/v1#MODEL; the server's key, if it requires one, is read from the
    environment variable REPRO_JUDGE_API_KEY and not recorded. So does the guard `rewrite` of `matrix.guards`, as
    rewrite(model=http://HOST:PORT/v1#MODEL), with its key in REPRO_REWRITER_API_KEY. Models of toy size take the toy
    scale's settings in commands of one stage, others those of small.
    """
    from repro.recipes.catalog import settings_of
    from repro.recipes.meanings import meaning_of
    from repro.recipes.settings import as_assigned, flatten
    from repro.report.sections.settings import describe_setting

    values = flatten(settings_of(scale).model_dump(mode="json"))
    chosen = {key: value for key, value in values.items() if key.startswith(prefix)}
    if not chosen:
        raise InputError(f"settings {prefix}: no setting starts with this. `repro settings` lists all {len(values)}.")
    for key, value in chosen.items():
        meaning, unit = meaning_of(key)
        line = describe_setting(key, value, scale)
        out_console.print(f"{key}={as_assigned(value)}", highlight=False, markup=False, soft_wrap=True)
        out_console.print(f"    {meaning} ({unit})", highlight=False, markup=False, soft_wrap=True)
        out_console.print(
            f"    {line['provenance']}: {line['why this one']}",
            highlight=False,
            markup=False,
            soft_wrap=True,
            style="dim",
        )


@app.command()
def env(out: Out = Path("results")) -> None:
    """Print hardware, versions, and advice."""
    import platform

    from repro.planner.scales import advise_on_machine, describe_gpus
    from repro.system.gpu_checks import describe_driver
    from repro.system.hardware import hardware, libraries

    machine = hardware()
    out_console.print(
        f"python {platform.python_version()} on {machine['system']} {machine['machine']}", highlight=False
    )
    out_console.print(
        f"{machine['cpus']} cores, {machine['memory_gib']} GiB, {describe_gpus(machine)}", highlight=False
    )
    out_console.print(describe_driver(machine), highlight=False)
    if machine["container"]:
        out_console.print("container: {target}, on {base_image} ({base_digest})".format(**machine["container"]))
    for name, version in libraries().items():
        out_console.print(f"  {name} {version}", highlight=False)
    for line in advise_on_machine(out):
        out_console.print(f"- {line}", highlight=False, soft_wrap=True)


@app.command("toy-models")
def toy_models(
    out: Annotated[Path, typer.Option("--out", help="Folder to write the models into.")],
    only: Annotated[list[str] | None, typer.Option("--only", help="One model; repeatable. Default: all.")] = None,
    world: Annotated[
        str,
        typer.Option(
            "--world", help="world0, world1, ...; world3-no-tail is world 3's twin without a tail. Default: world3."
        ),
    ] = "",
) -> None:
    """Train the models of an embedded world from scratch (the shipped weights came from this command)."""
    from repro.system.hardware import hardware
    from repro.toy.train_models import train_models
    from repro.toy.world import DEFAULT_WORLD, parse_world

    with err_console.status("training") as status:
        trained = train_models(
            parse_world(world) if world else DEFAULT_WORLD,
            out,
            only or [],
            lambda done, total, unit, note="": status.update(f"{done}/{total} {unit} {note}"),
            workers=hardware()["cpus"],
        )
    seconds = f", {sum(trained.values()):,.0f} processor seconds" if trained else ""
    out_console.print(
        f"{len(trained)} models trained{seconds}; models already in {out} are kept",
        highlight=False,
        soft_wrap=True,
    )


@app.command("record-verdicts")
def record_verdicts(
    result: Annotated[Path, typer.Argument(help="Folder of a toy study run with several seeds.")],
    into: Annotated[Path, typer.Option("--into", help="Folder of the committed records.")] = Path(
        "benchmarks/known_verdicts"
    ),
    label: Annotated[
        str, typer.Option(help="Suffix of the record's name, e.g. for another world or other tasks.")
    ] = "",
) -> None:
    """Record a toy study's verdicts as its known ones. Other scales are refused."""
    from repro.report.expected_verdicts import record_expected_verdicts

    out_console.print(f"wrote {record_expected_verdicts(result, into, label)}", highlight=False)


improve_help(app)
