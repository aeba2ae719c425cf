"""`repro conform`: the conformance suite on one loss, or on those of the installed libraries."""

import json
from pathlib import Path
from typing import Annotated

import typer

from repro.cli.console import out_console
from repro.errors import InputError

conform_app = typer.Typer()


@conform_app.command()
def conform(
    loss: Annotated[
        str | None,
        typer.Argument(metavar="MODULE:FUNCTION", help="The loss, e.g. my_package.losses:kl or my_losses.py:kl."),
    ] = None,
    *,
    divergence: Annotated[
        str | None, typer.Option("--divergence", help="forward or reverse, for a loss without a beta.")
    ] = None,
    reduction: Annotated[
        str,
        typer.Option(
            "--reduction",
            help="How the loss is reduced to a scalar: mean over tokens (token), mean over sequences (sequence), or sum.",
        ),
    ] = "token",
    temperature_squared: Annotated[
        bool, typer.Option("--temperature-squared", help="The loss multiplies by the squared temperature on purpose.")
    ] = False,
    shifts: Annotated[
        bool, typer.Option("--shifts", help="The loss takes unshifted logits and labels and shifts them itself.")
    ] = False,
    case: Annotated[list[str] | None, typer.Option("--case", help="Only this case; repeatable.")] = None,
    libraries: Annotated[
        bool,
        typer.Option("--libraries", help="Run on the losses of TRL, Liger, verl and this project that are installed."),
    ] = False,
    document: Annotated[
        Path | None, typer.Option("--document", help="With --libraries: write the outcomes into this page.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcomes as JSON, and nothing else.")] = False,
) -> None:
    """Run the conformance suite for distillation losses on your own loss: tiny cases, exact oracles, seconds on a CPU.

    Each case compares value (and gradient) with sums over the vocabulary in float64, and names the public thread of a
    loss that got it wrong. A case that does not apply, for a loss without a temperature say, is shown as such and never
    counted as passed. What a loss has is read from the names of its arguments: student_logits and teacher_logits
    [B, T, V]; mask [B, T] or labels [B, T] with -100; beta (0 is KL(teacher||student), 1 is KL(student||teacher),
    between them GKD's JSD); temperature; num_items (tokens of the whole step); top_k; add_tail; chunk_size. A loss with
    other arguments, or unreduced results, gets a function around it, such as this one:

    ```python
    def loss(student_logits, teacher_logits, mask, num_items=None):
        logq = student_logits.float().log_softmax(-1)  # [B, T, V]
        logp = teacher_logits.detach().float().log_softmax(-1)
        kl = (logp.exp() * (logp - logq)).sum(-1)  # position t scores token t
        n = num_items or mask.sum().clamp(min=1)
        return kl[mask].sum() / n
    ```

    With `--divergence forward` this loss fails five cases: NaN in the padding, tokens at -inf, and output layers
    of unequal width.
    `repro.conformance.reference:loss` passes all.

    In a test suite: `pytest --conform MODULE:FUNCTION`. What the losses of TRL, Liger and verl fail: docs/conformance.md.

    Exit codes: 0 every case that applies holds, 1 a case fails, 2 the loss cannot be imported or called.

    Example: `repro conform my_losses.py:loss --divergence reverse`
    """
    if libraries == (loss is not None):
        raise InputError("name either one loss (MODULE:FUNCTION) or --libraries; see repro conform --help")
    if divergence not in (None, "forward", "reverse"):
        raise InputError(f"--divergence {divergence}: choose from forward, reverse")
    if document is not None and not libraries:
        raise InputError(f"--document {document}: it is written from the outcomes of --libraries. Add --libraries.")
    if libraries:
        _run_libraries(document)
        return
    from repro.conformance import load_loss, run_cases
    from repro.conformance.show import as_content, print_outcomes, select

    selected = select(case or [])
    tested = load_loss(
        str(loss), divergence=divergence, reduction=reduction, temperature_squared=temperature_squared, shifts=shifts
    )
    outcomes = run_cases(tested, selected)
    if as_json:
        typer.echo(json.dumps(as_content(tested.name, outcomes), indent=1))
    else:
        print_outcomes(tested.name, outcomes, out_console)
    raise typer.Exit(1 if any(outcome.status == "fails" for outcome in outcomes) else 0)


def _run_libraries(document: Path | None) -> None:
    from repro.conformance.document import measure_installed, write_document
    from repro.conformance.libraries import LIBRARIES
    from repro.conformance.show import print_counts

    for library in LIBRARIES:
        reason = library.reason_missing()
        if reason is not None:
            out_console.print(f"{library.name}: skipped, {reason}", highlight=False)
    measured = measure_installed()
    for name, result in measured.items():
        print_counts(name, result, out_console)
    if document is not None:
        write_document(document, measured)
        out_console.print(f"written: {document}, {document.with_suffix('.json')}", highlight=False, soft_wrap=True)
