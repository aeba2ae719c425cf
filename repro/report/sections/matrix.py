"""The matrix of guards and attacks in numbers: gains, what guards cost honest users, and what was tried against what."""

import math

from repro.attacks.base import shows_rung
from repro.recipes.labels import teacher_under
from repro.report.blocks import Block, Cell, Grid, Section, Text, number_cell, signed, signed_cell
from repro.report.matrix import GainCell, broken_by, gain_cells, matrix_of, teacher_losses, tried_by, worst_of
from repro.report.merge import Part
from repro.report.result import Matrix, MatrixSide
from repro.tables.guard_metrics import BASELINE, IDLE_FLOOR, MOVED, READABLE, is_idle
from repro.tables.measured_table import MeasuredTable
from repro.tables.measurements.answers import TOKENS
from repro.tables.metric_names import metric_name
from repro.tables.statistics.decision import ONE_SEED_CAP, Region, interval, is_capped
from repro.tables.statistics.resampling import Estimate

OWN_STUDY = "A study of this kit, not of the paper."
UTILITY_MARGIN = 0.02
"""ASSUMED: the smallest loss of accuracy that a user of the teacher would notice; as in claims.toml."""
EXPLAINED = (
    "Rows are guards (what the teacher's owner does), columns are attacks (what a thief does with what the guard shows)."
    " A cell is the thief's gain: its score minus that of the student without a teacher (no-teacher, trained on its own samples"
    " that state its own majority answer), mean over tasks, paired by item. Above 0 the thief profits from the teacher. The 95 %"
    " intervals are not corrected for the number of gains (those of the verdicts are). Not shown: the guard does not show what"
    " the attack needs. A guard's score is its largest gain. Its attack is chosen after the fact, so this gain is, on average,"
    " estimated a little too high. An attack's score, guards broken, is the number of guards under which the interval of its gain"
    " lies above 0, out of those with a gain; the open teacher (none) does not count."
)
COSTS = (
    f"Against the open teacher: accuracy or reward minus that of the open teacher, mean over tasks, with its 95 % interval. Within"
    f" {UTILITY_MARGIN:g}: kept if the interval lies above -{UTILITY_MARGIN:g}, lost if it lies below, else not sure. With one"
    f" training seed, the value of a guard that trains a model is not sure either within {ONE_SEED_CAP:g} standard errors of"
    f" -{UTILITY_MARGIN:g}. Tokens: mean length"
    " of what is shown. Perplexity: per token of what is shown, under the calibration target; low is easy to read for this small"
    " model, which expects reasoning before an answer. KL from the open teacher: KL(guarded || open), nats per token, estimated on"
    " completions of the guarded teacher; none for rewritten text, whose distribution is unknown."
)
SPEED = (
    " Speed: tokens per second of sampling and rewriting over those of the open teacher (first seed, this kit's samplers;"
    " processor seconds where there is no GPU). It is a single timing, so small differences mean nothing."
)
SYMBOLS = (
    "In the formulas: p_T the teacher (an attack sees it through the guard), p_phi the teacher while it is calibrated, p_C and"
    " p_proxy the calibration target, which stands in for the thief's unknown student, q the student; x a prompt, y a completion,"
    " |y| its number of tokens (|y|_C, |y|_phi: by the model's tokenizer), y ~ p a sample; z(...) the distance from the mean in"
    " standard deviations (in GRPO: over the completions of a prompt); z_T, z_proxy and z[...] logits, T after a slash a"
    " temperature; g a gradient (ads: of the proxy's loss on held-out completions of the teacher), eps a step along it."
    " strength and share have their default values unless a label names others (repro list --guards, repro list --attacks)."
    " answers: final answers; text: whole completions; top-k: also the k largest log-probabilities of each token; logits: all"
    " log-probabilities. Each shows what those before it show. docs/guards.md describes guards and attacks in words."
)


def matrix_section(part: Part, key: str) -> Section:
    """Show the matrix, the cost of each guard, idle guards and attacks, and the sources of both sides."""
    sides = matrix_of(part)
    if sides is None:
        return Section(f"{key}-matrix", "Guards against attacks", [])
    blocks: list[Block] = [Text(OWN_STUDY, strong=True), Text(EXPLAINED)]
    for table in part.measured:
        cells = gain_cells(table, sides)
        blocks += [_gains(table, sides, cells), Text(idle_text(table, sides, cells)), *cost_blocks(table, sides)]
    tried: list[Block] = [
        source_grid("Guards", "shows at most", sides["guards"]),
        source_grid("Attacks", "needs", sides["attacks"]),
        Text(SYMBOLS),
    ]
    return Section(f"{key}-matrix", "Guards against attacks", [*blocks, *tried], brief=[*blocks, *tried])


def _gains(table: MeasuredTable, sides: Matrix, cells: dict[tuple[str, str], GainCell]) -> Grid:
    attacks = {side["label"]: side["shows_or_needs"] for side in sides["attacks"]}
    rows = []
    for guard, shown in ((side["label"], side["shows_or_needs"]) for side in sides["guards"]):
        row = {"guard": Cell(guard)}
        for attack, needed in attacks.items():
            is_open = shows_rung(shown, needed)
            row[attack] = gain_cell(cells.get((guard, attack)), Cell("not run") if is_open else Cell("–", "not shown"))
        worst = worst_of(guard, cells)
        row["largest gain"] = (
            Cell("") if worst is None else Cell(signed(worst.value or 0.0), worst.attack, "", worst.value)
        )
        rows.append(row)
    broken = {
        attack: Cell(f"{broken_by(attack, cells)} of {tried_by(attack, cells)}", value=broken_by(attack, cells))
        for attack in attacks
    }
    rows.append({"guard": Cell("guards broken"), **broken, "largest gain": Cell("")})
    return Grid(f"Gain over the student without a teacher, {table.family}", rows)


def gain_cell(cell: GainCell | None, missing: Cell) -> Cell:
    """Show a gain with its interval. missing: what to show without a cell."""
    if cell is None:
        return missing
    if cell.value is None:
        return Cell("idle")
    return signed_cell(cell.value, cell.low, cell.high)


def idle_text(table: MeasuredTable, sides: Matrix, cells: dict[tuple[str, str], GainCell]) -> str:
    """Name the idle guards and attacks."""
    guards = [side["label"] for side in sides["guards"]]
    teachers = {guard: teacher_under(guard) for guard in guards if guard != BASELINE}
    idle = [guard for guard, label in teachers.items() if label in table.idle or is_idle(table, label)]
    idle += [f"{cell.attack} under {cell.guard}" for cell in cells.values() if cell.idle]
    rule = (
        f"A model is idle if it moved less than {IDLE_FLOOR:g} nats per token from its start. An idle student has no gain, nor"
        " has any student of an idle guard, and no claim about gains uses them; a claim about accuracy leaves them out only if"
        " the teacher's own training counts as idle too."
    )
    return f"{rule} {table.family}: {', '.join(idle) if idle else 'nothing is idle'}."


def cost_blocks(table: MeasuredTable, sides: Matrix) -> list[Block]:
    """Show what each guard costs an honest user, and say what the columns are."""
    grid = cost_grid(table, sides)
    return [grid, Text(f"{COSTS}{SPEED if 'speed' in grid.rows[0] else ''}")]


def cost_grid(table: MeasuredTable, sides: Matrix) -> Grid:
    """Show what each guard costs an honest user."""
    trains = {side["label"]: side.get("trains", True) for side in sides["guards"]}
    losses = teacher_losses(table, list(trains))
    speed = sides.get("speed", {}).get(table.family, {})
    rows = []
    for guard in trains:
        label = teacher_under(guard)
        row = {"guard": Cell(guard)}
        for task, metric in table.shared_metrics([label], ("acc", "reward")):
            row[f"{metric_name(metric)} on {task}"] = number_cell(table.mean(label, task, metric), ".3f")
        if guard in losses:
            low, high = interval(losses[guard], 0.05)
            row["against the open teacher"] = signed_cell(losses[guard].value, low, high)
            row[f"within {UTILITY_MARGIN:g}"] = Cell(_keeps(losses[guard], training=trains[guard]))
        else:
            row |= {"against the open teacher": Cell(""), f"within {UTILITY_MARGIN:g}": Cell("")}
        row["tokens"] = number_cell(_mean(table, label, TOKENS), ".1f")
        nats = _mean(table, label, READABLE)
        perplexity = None if nats is None else math.exp(nats)
        row["perplexity under the target"] = number_cell(perplexity, ".2f" if (perplexity or 0) < 100 else ",.0f")
        row["KL from the open teacher"] = number_cell(_mean(table, label, MOVED), ".3f")
        if speed:
            row["speed"] = number_cell(speed.get(guard), ".2f", missing="not recorded")
        rows.append(row)
    return Grid(f"What a guard costs an honest user, {table.family}", rows)


def _keeps(loss: Estimate, *, training: bool) -> str:
    """Say whether a teacher keeps its score within the margin, with the verdicts' rule for one training seed.

    Args:
        training: the guard trains a model.
    """
    if is_capped(loss, Region(low=-UTILITY_MARGIN), training=training):
        return "not sure"
    low, high = interval(loss, 0.05)
    return "kept" if low > -UTILITY_MARGIN else "lost" if high < -UTILITY_MARGIN else "not sure"


def _mean(table: MeasuredTable, label: str, metric: str) -> float | None:
    values = [table.mean(*key) for key in table.values if key[0] == label and key[2] == metric]
    return sum(values) / len(values) if values else None


def source_grid(title: str, head: str, sides: list[MatrixSide]) -> Grid:
    """Show what each side does, and where it is published."""
    rows = [
        {
            title.lower().removesuffix("s"): Cell(side["label"]),
            "what it does": Cell(side["formula"]),
            head: Cell(side["shows_or_needs"]),
            "source": Cell(side["source"]),
        }
        for side in sides
    ]
    return Grid(f"{title} that were tried", rows)
