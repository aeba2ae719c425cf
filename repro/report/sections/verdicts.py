"""The verdicts of a part: the summary, and each claim's sentence, quote and evidence beside the paper's numbers."""

from collections import Counter
from collections.abc import Mapping, Sequence

from repro.printed.claims import Claim, Ref, Role
from repro.printed.load import load
from repro.report.blocks import (
    Block,
    Bullets,
    Cell,
    Collapsible,
    Grid,
    Quote,
    Section,
    Text,
    number_cell,
    p_cell,
    signed,
)
from repro.report.conclusions import count_of_role, plural, toy_reason
from repro.report.figures.export import inline_chart
from repro.report.figures.verdicts import forest, in_order
from repro.report.merge import Part, changed_rules, changed_verdicts
from repro.report.text import sentence, slug
from repro.tables import load_claims
from repro.tables.formatting import printed_number
from repro.tables.metric_names import metric_name
from repro.tables.statistics.decision import ONE_SEED_CAP
from repro.tables.verdicts.sentences import claim_in_symbols, describe_estimate_along_eta
from repro.tables.verdicts.verdict_types import ClaimVerdict, reason_untested

IN_THE_PAPER = "in the paper"
WOULD_DECIDE = "would decide"
ROLES: dict[Role, str] = {
    "claim": "Claims of the paper",
    "premise": "Premises of the paper, counted apart",
    "control": "Controls of ours",
}
_OWNERS: dict[Role, str] = {"claim": " of the paper", "premise": "", "control": " of ours"}


def verdict_section(part: Part, key: str) -> Section:
    """Show the summary first; the evidence of a claim is folded away below its line."""
    report = part.report
    several = len(report.families) > 1
    summary = [
        Grid(caption, _rows(of_role, key, several))
        for role, caption in ROLES.items()
        if (of_role := report.of_role(role))
    ]
    claims = {claim.id: claim for claim in load_claims(report.study)}
    notes: list[Block] = []
    if rules := changed_rules(part):
        notes = [
            Text("The rules have changed since the run; the verdicts below follow the current ones:", strong=True),
            Bullets(rules),
        ]
    changed: list[Block] = []
    if verdicts := changed_verdicts(part):
        title = f"Verdicts that differ from those of a single result: {len(verdicts)}"
        changed = [Collapsible(title, [Bullets(verdicts)], f"{key}-alone")]
    folded: list[Block] = []
    listed: list[Block] = []
    judged = tuple(f"{v.claim} ({v.family}):" for v in report.claims)
    for title, anchor, lines in (
        ("Not run", "not-run", [text for text in report.skipped if not text.startswith(judged)]),
        ("Left out of verdicts", "left-out", [text for text in report.skipped if text.startswith(judged)]),
    ):
        if lines:
            named = Bullets([_with_statement(text, claims) for text in lines])
            folded.append(Collapsible(f"{title}: {len(lines)}", [named], f"{key}-{anchor}"))
            listed += [Text(f"{title}:"), named]
    undecided: list[Block] = []
    ordered = in_order(report)
    if texts := [f"{v.statement} ({v.family}): {v.text}" for v in ordered if v.value != "reproduced"]:
        undecided = [Text("Not reproduced, and what would decide:"), Bullets(texts)]
    plot = forest(report)
    counts, method = Text(_count(part)), Text(_describe_method(part))
    return Section(
        id=f"{key}-verdicts",
        title="Verdicts",
        blocks=[
            counts,
            *notes,
            *summary,
            *changed,
            *folded,
            method,
            *([inline_chart(plot, key)] if plot else []),
            *(_evidence(v, claims.get(v.claim), part, key) for v in ordered),
        ],
        brief=[counts, *notes, *summary, *undecided, *listed, method],
    )


def _count(part: Part) -> str:
    """Say how many claims, premises, controls and cells got each verdict, and what was run."""
    report = part.report
    text = f"Scale {report.scale}, {', '.join(report.families)}, {plural(len(report.seeds), 'training seed')}."
    for role in ROLES:
        if n := len(report.of_role(role)):
            text += f" {plural(n, role)}{_OWNERS[role]}: {count_of_role(report, role)}."
    cells = Counter(cell.value for cell in report.cells)
    listed = ", ".join(f"{n} {value}" for value, n in cells.most_common())
    return f"{text} {plural(len(report.cells), 'printed cell')}: {listed}." if cells else text


def _describe_method(part: Part) -> str:
    report = part.report
    text = (
        "A statement is reproduced if its interval lies entirely within the allowed values, contradicted if it lies entirely outside"
        " them, and inconclusive otherwise. Intervals are at each statement's own step of Holm's correction"
        f" (level {report.alpha:g}, once over all claims and premises, once over all controls), from {report.resamples:,} resamples of"
        f" items{' and seeds' if len(report.seeds) > 1 else ''} (MEASURED). p is two-sided, against the nearest edge of the allowed values: a small one says that the estimate is"
        " clear of the edge, on the side that the verdict names. The 95 % intervals of single tasks are not corrected: one may be clear of"
        " an edge that the statement's own is not. The allowed values are fixed in paper_tables/claims.toml before a"
        " run."
    )
    if len(report.seeds) == 1 and any(v.training for v in report.claims):
        text += (
            f" With one training seed, a statement about training is inconclusive within {ONE_SEED_CAP:g} standard errors of the"
            " edge."
        )
    if report.of_role("premise"):
        text += " Premises are what the paper takes for granted (distillation helps at all): they are counted apart from its claims."
    if any(v.paper_of for v in report.claims):
        text += " “In the paper”: how many of the paper's own printed comparisons support the statement (DERIVED)."
    return text


def _with_statement(text: str, claims: Mapping[str, Claim]) -> str:
    """Replace a claim's id at the start of a text with its statement; the user's own claims keep their ids."""
    claim_id, bracket, rest = text.partition(" (")
    return f"{claim_in_symbols(claims[claim_id])}{bracket}{rest}" if claim_id in claims else text


def _rows(verdicts: Sequence[ClaimVerdict], key: str, several: bool) -> list[dict[str, Cell]]:
    """Lay out a row per claim, without the columns that say nothing of any."""
    rows = [_row(v, key, several) for v in verdicts]
    silent = set()
    if not any(row[WOULD_DECIDE].text for row in rows):
        silent.add(WOULD_DECIDE)
    if not any(v.paper_of for v in verdicts):
        silent.add(IN_THE_PAPER)
    return [{head: cell for head, cell in row.items() if head not in silent} for row in rows]


_SCALED = ("collapse", "recovers")
"""Kinds of claims whose difference is from a share of the other side."""


def _difference_is(v: ClaimVerdict) -> str:
    """Say what the difference is, if it is not the left side minus the right."""
    first, _, second = v.statement.partition(" < " if v.kind == "collapse" else " > ")
    if v.kind == "exists" and v.tasks and v.tasks[0].right is not None:
        return ""
    return {
        "collapse": f"{second} - {first}",
        "recovers": f"{first} - {second}",
        "comparable": "distance to the nearer bound",
        **dict.fromkeys(("above", "below", "range", "exists"), "mean"),
    }.get(v.kind, describe_estimate_along_eta(v.kind, v.rival))


def _allowed(v: ClaimVerdict) -> Cell:
    """Say between which values the difference must lie."""
    low, high = (None if edge is None else edge + 0.0 for edge in v.region)  # no "-0"
    if low is None or high is None:
        return Cell(f"> {low:g}" if high is None else f"< {high:g}", value=high if low is None else low)
    return Cell(f"{low:g} to {high:g}", value=low)


def _row(v: ClaimVerdict, key: str, several: bool) -> dict[str, Cell]:
    name = f"{v.claim} ({v.family})" if several else v.claim
    return {
        "verdict": Cell(v.value, tone=v.value, note=_caveat(v)),
        "claim": Cell(v.statement, note=name, link=_evidence_id(v, key)),
        "difference": Cell("") if v.estimate is None else Cell(signed(v.estimate), _difference_is(v), "", v.estimate),
        "interval": Cell("" if v.interval is None else f"{signed(v.interval[0])} to {signed(v.interval[1])}"),
        "allowed": _allowed(v),
        "p (Holm)": p_cell(v.p_holm),
        "items": Cell("")
        if v.estimate is None
        else Cell(f"{v.items:,}", f"{v.seeds} seed{'s' if v.seeds > 1 else ''}", "", v.items),
        WOULD_DECIDE: _would_decide(v),
        IN_THE_PAPER: Cell(f"{v.paper_held} of {v.paper_of}" if v.paper_of else "not printed", note=_support(v)),
    }


def _caveat(v: ClaimVerdict) -> str:
    """Say why a verdict is not what its interval suggests, or that the paper's own numbers do not support it."""
    if v.estimate is None:
        return reason_untested(v)
    if v.capped:
        return "clear of the edge, but one training seed cannot settle it"
    if v.value == "reproduced" and v.paper_of and v.paper_held < v.paper_of:
        side = "split" if v.paper_held else "against it"
        return f"the paper's own numbers are {side} ({v.paper_held} of {v.paper_of})"
    return ""


def _would_decide(v: ClaimVerdict) -> Cell:
    if v.value != "inconclusive" or v.estimate is None:
        return Cell("")
    if "no difference larger" in v.open_question:
        largest, _, note = v.open_question.partition("; ")
        return Cell(largest, note)
    needed = [f"{v.needed_items:,} items in all"] if v.needed_items is not None else []
    needed += [f"{v.needed_seeds} seeds"] if v.needed_seeds is not None else []
    return Cell(needed[0], note=" ".join(needed[1:])) if needed else Cell("no realistic number")


def _support(v: ClaimVerdict) -> str:
    return {"true": "supported", "false": "not supported", "partly": "split"}.get(v.paper_bears_out, "")


def _evidence_id(v: ClaimVerdict, key: str) -> str:
    return slug(f"{key}-claim-{v.claim}-{v.family}")


def _evidence(v: ClaimVerdict, claim: Claim | None, part: Part, key: str) -> Collapsible:
    blocks: list[Block] = [
        Text(sentence(v.text)),
        Quote(v.quote, f"{_section(v.section)}, {v.provenance}"),
    ]
    if claim is not None and (reason := toy_reason(part.report, v, claim)):
        blocks.append(Text(reason))
    if claim is not None and claim.margin_reason:
        blocks.append(Text(f"Margin: {claim.margin_reason}."))
    if v.tasks:
        rows = []
        first, second = _sides(v, claim)
        for t in v.tasks:
            left, right = _printed(v, claim, part, t.task, t.metric)
            row = {
                "task": Cell(t.task),
                "metric": Cell(metric_name(t.metric)),
                first: number_cell(t.left, ".3f", note=left and f"paper {left}"),
            }
            if t.right is not None:
                row[second] = number_cell(t.right, ".3f", note=right and f"paper {right}")
                row[f"{first} - {second}" if v.kind in _SCALED else "difference"] = number_cell(
                    t.estimate, "+.3f", note=_printed_difference(left, right)
                )
            row["95 % interval"] = Cell(f"{t.interval[0]:+.3f} to {t.interval[1]:+.3f}")
            row["items"] = number_cell(t.items, ",")
            rows.append(row)
        blocks.append(Grid(f"Evidence by task: {v.statement}", rows))
    return Collapsible(f"{v.statement} ({v.claim}, {v.family})", blocks, _evidence_id(v, key), tone=v.value)


def _sides(v: ClaimVerdict, claim: Claim | None) -> tuple[str, str]:
    """Return the column heads of the two sides: their rows, if these differ."""
    first, second = claim.left.row if claim else "*", v.rival or "*"
    return ("left", "right") if "*" in (first, second) or first == second else (first, second)


def _printed(v: ClaimVerdict, claim: Claim | None, part: Part, task: str, metric: str) -> tuple[str, str]:
    """Return the paper's numbers of a claim's two sides at one task, as printed."""
    if claim is None:
        return "", ""
    right = next((ref for ref in claim.right if ref.row == v.rival), None)
    return _printed_side(claim.left, part, v, task, metric), _printed_side(right, part, v, task, metric)


def _printed_difference(left: str, right: str) -> str:
    """Return the difference of two printed numbers, if its sign is not ours; empty if they are not plain numbers."""
    try:
        return f"paper {float(left) - float(right):+.3f}"
    except ValueError:
        return ""


def _printed_side(ref: Ref | None, part: Part, v: ClaimVerdict, task: str, metric: str) -> str:
    if ref is None or ref.row == "*":
        return ""
    stored = load(ref.table) if ref.table else part.stored
    return printed_number(stored, v.family, ref.row, task, metric)


def _section(section: str) -> str:
    if section[:1].isdigit():
        return f"Section {section}"
    return f"Appendix {section}" if len(section) == 1 else section
