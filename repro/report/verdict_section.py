"""The verdicts of a part: the summary, and each claim's sentence, quote and evidence beside the paper's numbers."""

from collections import Counter

from repro.report.blocks import Block, Cell, Fold, Grid, Points, Quote, Section, Text
from repro.report.figures import forest
from repro.report.merge import Part, changed_rules, changed_verdicts
from repro.report.text import slug
from repro.tables import load_claims
from repro.tables.formatting import printed_number
from repro.tables.paper.claims import Claim, Ref
from repro.tables.paper.load import load
from repro.tables.verdicts.verdict_types import ClaimVerdict

_VALUES = ("reproduced", "contradicted", "inconclusive")
ONE_SEED = (
    "One training seed. The standard errors here are those of items alone, and two trainings can differ by many of them:"
    " a conclusive verdict on a training is one on this training. --seeds 3 shows the spread."
)


def verdict_section(part: Part, key: str) -> Section:
    """Summary first; the evidence of a claim is behind its line."""
    report = part.report
    summary: list[Block] = [
        Grid(caption, [_row(v, key, len(report.families) > 1) for v in own])
        for caption, own in (("Claims of the paper", _claims(part)), ("Controls of ours", _controls(part)))
        if own
    ]
    drawn = forest(report, key)
    claims = {claim.id: claim for claim in load_claims(report.study)}
    notes: list[Block] = [Text(f"Not run: {name}.") for name in report.skipped]
    if len(report.seeds) == 1 and any(v.training for v in report.claims):
        notes.append(Text(ONE_SEED))
    rules, verdicts = changed_rules(part), changed_verdicts(part)
    if rules:
        notes = [Text("Judged by other rules than those of the run:", strong=True), Points(rules), *notes]
    alone: list[Block] = []
    if verdicts:
        summary_line = f"Other verdicts of a single result: {len(verdicts)}"
        alone = [Fold(summary_line, [Points(verdicts)], f"{key}-alone")]
    undecided = [f"{v.claim} ({v.family}): {v.text}" for v in report.claims if v.value != "reproduced"]
    open_claims: list[Block] = [Text("Not reproduced, and what would decide:"), Points(undecided)] if undecided else []
    return Section(
        id=f"{key}-verdicts",
        title="Verdicts",
        blocks=[
            Text(counts(part)),
            *notes,
            *summary,
            *alone,
            Text(_how(part)),
            *([drawn] if drawn else []),
            *(_evidence(v, claims.get(v.claim), part, key) for v in report.claims),
        ],
        brief=[Text(counts(part)), *notes, *summary, *open_claims, Text(_how(part))],
    )


def counts(part: Part) -> str:
    """How many verdicts of each value, and what was run."""
    report = part.report
    own, controls = _claims(part), _controls(part)
    words = ", ".join(f"{sum(v.value == value for v in own)} {value}" for value in _VALUES)
    more = ", ".join(f"{sum(v.value == value for v in controls)} {value}" for value in _VALUES)
    seeds = f"{len(report.seeds)} training seed{'s' if len(report.seeds) > 1 else ''}"
    text = f"{len(own)} claims of the paper on {', '.join(report.families)}, scale {report.scale}, {seeds}: {words}."
    text += f" {len(controls)} controls of ours: {more}." if controls else ""
    cells = Counter(cell.value for cell in report.cells)
    by_cell = ", ".join(f"{n} {value}" for value, n in cells.most_common())
    return f"{text} {len(report.cells)} printed cells: {by_cell}." if cells else text


def tally(part: Part) -> dict[str, int]:
    """Verdict -> how many claims of the paper got it; controls of ours not among them."""
    return {value: sum(v.value == value for v in _claims(part)) for value in _VALUES}


def _claims(part: Part) -> list[ClaimVerdict]:
    return [v for v in part.report.claims if v.role != "control"]


def _controls(part: Part) -> list[ClaimVerdict]:
    return [v for v in part.report.claims if v.role == "control"]


def _how(part: Part) -> str:
    report = part.report
    return (
        "Intervals are at each claim's own step of Holm's correction"
        f" (level {report.alpha:g} over all claims; controls apart), from {report.resamples:,} resamples of items and"
        " seeds. Margins are fixed in paper_tables/claims.toml before a run. “In the paper”: how many of the paper's own"
        " printed comparisons bear the claim out."
    )


def _row(v: ClaimVerdict, key: str, several: bool) -> dict[str, Cell]:
    name = f"{v.claim} ({v.family})" if several else v.claim
    return {
        "verdict": Cell(v.value, tone=v.value, note="not run" if v.estimate is None else ""),
        "claim": Cell(v.statement, note=name, link=evidence_id(v, key)),
        "difference": Cell("" if v.estimate is None else f"{v.estimate:+.3f}", value=v.estimate),
        "interval": Cell("" if v.interval is None else f"{v.interval[0]:+.3f} to {v.interval[1]:+.3f}"),
        "margin": Cell(f"{v.margin:g}", value=v.margin),
        "p (Holm)": Cell("" if v.p_holm is None else f"{v.p_holm:.2g}", value=v.p_holm),
        "items": Cell("")
        if v.estimate is None
        else Cell(f"{v.items:,}", f"{v.seeds} seed{'s' if v.seeds > 1 else ''}", "", v.items),
        "would decide": _would_decide(v),
        "in the paper": Cell(f"{v.paper_held}/{v.paper_of}" if v.paper_of else "not printed", note=_borne_out(v)),
    }


def _would_decide(v: ClaimVerdict) -> Cell:
    if v.value != "inconclusive" or v.estimate is None:
        return Cell("")
    needed = [f"{v.needed_items:,} items in all"] if v.needed_items is not None else []
    needed += [f"{v.needed_seeds} seeds"] if v.needed_seeds is not None else []
    return Cell(needed[0], note=" ".join(needed[1:])) if needed else Cell("no realistic number")


def _borne_out(v: ClaimVerdict) -> str:
    return {"true": "borne out", "false": "not borne out", "partly": "partly borne out"}.get(v.paper_bears_out, "")


def evidence_id(v: ClaimVerdict, key: str) -> str:
    """Where a claim's evidence is on the page."""
    return slug(f"{key}-claim-{v.claim}-{v.family}")


def _evidence(v: ClaimVerdict, claim: Claim | None, part: Part, key: str) -> Fold:
    blocks: list[Block] = [
        Text(f"{v.text[0].upper()}{v.text[1:]}."),
        Quote(v.quote, f"{_section(v.section)}, {v.provenance}"),
    ]
    if v.tasks:
        rows = []
        first, second = _sides(v, claim)
        for t in v.tasks:
            left, right = _printed(v, claim, part, t.task, t.metric)
            row = {
                "task": Cell(t.task),
                "metric": Cell(t.metric),
                first: Cell(f"{t.left:.3f}", note=left and f"paper {left}", value=t.left),
            }
            if t.right is not None:
                row[second] = Cell(f"{t.right:.3f}", note=right and f"paper {right}", value=t.right)
                row["difference"] = Cell(f"{t.estimate:+.3f}", value=t.estimate)
            row["95 % interval"] = Cell(f"{t.interval[0]:+.3f} to {t.interval[1]:+.3f}")
            row["items"] = Cell(f"{t.items:,}", value=t.items)
            rows.append(row)
        blocks.append(Grid(f"Evidence by task: {v.statement}", rows))
    return Fold(f"{v.statement} ({v.claim}, {v.family})", blocks, evidence_id(v, key), tone=v.value)


def _sides(v: ClaimVerdict, claim: Claim | None) -> tuple[str, str]:
    """Heads of the two sides: their rows, where these differ."""
    first, second = claim.left.row if claim else "*", v.rival or "*"
    return ("left", "right") if "*" in (first, second) or first == second else (first, second)


def _printed(v: ClaimVerdict, claim: Claim | None, part: Part, task: str, metric: str) -> tuple[str, str]:
    """The paper's numbers of a claim's two sides at one task, as printed."""
    if claim is None:
        return "", ""
    right = next((ref for ref in claim.right if ref.row == v.rival), None)
    return _printed_side(claim.left, part, v, task, metric), _printed_side(right, part, v, task, metric)


def _printed_side(ref: Ref | None, part: Part, v: ClaimVerdict, task: str, metric: str) -> str:
    if ref is None or ref.row == "*":
        return ""
    stored = load(ref.table) if ref.table else part.stored
    return printed_number(stored, v.family, ref.row, task, metric)


def _section(section: str) -> str:
    if section[:1].isdigit():
        return f"Section {section}"
    return f"Appendix {section}" if len(section) == 1 else section
