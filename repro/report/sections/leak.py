"""The rungs of the study `leak` in numbers: what each gives away, what guards take, and what they cost honest users."""

from collections.abc import Callable

from repro.report.blocks import Block, Bullets, Cell, Grid, Section, Text, signed, signed_cell
from repro.report.leak import Step, leak_of, steps_of
from repro.report.matrix import gain_cells, matrix_of
from repro.report.merge import Part
from repro.report.result import MatrixSide
from repro.report.sections.matrix import OWN_STUDY, SYMBOLS, cost_blocks, gain_cell, idle_text, source_grid
from repro.tables.guard_metrics import BASELINE

EXPLAINED = (
    "A rung is what a thief can read from the teacher: final answers, text, the k largest"
    " log-probabilities of each token, all of them, and all of them for text that the thief wrote. Columns are guards; none is"
    " the open teacher, without a guard. A gain is the thief's score minus that of the student without a teacher (no-teacher,"
    " trained on its own samples that state its own majority answer), mean over tasks, paired by item, with its 95 % interval,"
    " which is not corrected for the number of gains (those of the verdicts are)."
    " Whoever has a rung has those before it too: what a guard leaves on a rung is the highest gain of this one and those"
    " before, which the tables do not work out. Closed: the guard does not show the rung. There is no rung for summaries; with"
    " real models, the guard rewrite shows what they give away."
)
QUERIES = (
    "A query is a completion that the teacher samples, or one of the thief's that it scores; log-probabilities come with the"
    " completion. The gain per thousand queries is an average over the budget of the run, not the gain of the first thousand."
    " Compare gains only: a loss looks the smaller the more queries it is divided by."
)


def leak_section(part: Part, key: str) -> Section:
    """Show gains by rung and guard, per thousand queries, what guards take from each rung, and what they cost."""
    sides, leak = matrix_of(part), leak_of(part)
    if sides is None or leak is None:
        return Section(f"{key}-leak", "What each rung gives away", [])
    blocks: list[Block] = [Text(OWN_STUDY, strong=True), Text(EXPLAINED)]
    for table in part.measured:
        steps = steps_of(table, sides, leak)
        blocks += [
            _grid(f"Gain over the student without a teacher, {table.family}", steps, _gain),
            _grid(f"Gain per 1,000 queries, {table.family}", steps, _per_1000),
            Text(QUERIES),
            _grid(
                f"What a guard changes on each rung: its gain less that of the open teacher, {table.family}",
                steps,
                _taken,
            ),
            Bullets([_worst_line(guard, of_guard) for guard, of_guard in steps.items()]),
            Text(idle_text(table, sides, gain_cells(table, sides))),
            *cost_blocks(table, sides),
        ]
    read = {rung["attack"]: rung["rung"] for rung in leak["rungs"]}
    attacks: list[MatrixSide] = [{**side, "shows_or_needs": read[side["label"]]} for side in sides["attacks"]]
    tried: list[Block] = [
        source_grid("Guards", "shows at most", sides["guards"]),
        source_grid("Attacks", "reads", attacks),
        Text(SYMBOLS),
    ]
    return Section(f"{key}-leak", "What each rung gives away", [*blocks, *tried], brief=[*blocks, *tried])


def _grid(caption: str, steps: dict[str, list[Step]], cell_of: Callable[[Step], Cell]) -> Grid:
    guards = [guard for guard in steps if guard != BASELINE or cell_of is not _taken]
    rows = []
    for number, first in enumerate(next(iter(steps.values()))):
        row = {"rung": Cell(first.rung), "attack": Cell(first.attack)}
        rows.append(row | {guard: cell_of(steps[guard][number]) for guard in guards})
    return Grid(caption, rows)


def _gain(step: Step) -> Cell:
    return gain_cell(step.gain, Cell("not run") if step.is_open else Cell("closed"))


def _per_1000(step: Step) -> Cell:
    if step.per_1000 is None:
        return _no_number(step)
    value, low, high = step.per_1000
    note = "" if step.queries is None else f"; {step.queries:,} queries"
    return signed_cell(value, low, high, digits=4, note=note)


def _taken(step: Step) -> Cell:
    if step.taken is None:
        return _no_number(step)
    return signed_cell(*step.taken)


def _no_number(step: Step) -> Cell:
    """Say why a step has no number, where one of a gain's would be."""
    return _gain(step) if step.gain is None or step.gain.idle else Cell("")


def _worst_line(guard: str, steps: list[Step]) -> str:
    """Say on which rung a guard leaks most, whether that is surely a gain, which rungs give none, and which it closes."""
    gains = [(step.gain.value, step.gain, step) for step in steps if step.gain and step.gain.value is not None]
    closed = list(dict.fromkeys(step.rung for step in steps if not step.is_open))
    text = "idle, so its rungs have no gains" if any(step.gain for step in steps) else "no gain was measured"
    if gains:
        value, gain, step = max(gains, key=lambda entry: entry[0])
        where = f"the rung {step.rung} ({step.attack}, {signed(value)})"
        sure = {step.rung for _, gain, step in gains if gain.is_leak}
        without = dict.fromkeys(step.rung for _, _, step in gains if step.rung not in sure)
        text = f"most on {where}" if gain.is_leak else f"no gain is surely above zero; the largest is on {where}"
        text += f"; no sure gain on: {', '.join(without)}" if sure and without else ""
    shut = f"; closed: {', '.join(closed)}" if closed else ""
    return f"{guard}: {text}{shut}."
