"""The verdicts of a part: the summary, and each claim's sentence, quote and evidence beside the paper's numbers."""

from collections import Counter
from collections.abc import Mapping, Sequence

from repro.printed.claims import Claim, Ref
from repro.printed.load import load
from repro.report.blocks import Block, Bullets, Cell, Collapsible, Grid, Quote, Section, Text, number_cell
from repro.report.figures.export import inline_chart
from repro.report.figures.verdicts import forest
from repro.report.merge import Part, changed_rules, changed_verdicts
from repro.report.text import sentence, slug
from repro.tables import load_claims
from repro.tables.formatting import printed_number
from repro.tables.statistics.decision import VERDICT_VALUES
from repro.tables.verdicts.verdict_types import ClaimVerdict, why_untested

ONE_SEED = (
    "One training seed. The standard errors here are those of items alone, and two trainings can differ by many of them:"
    " a conclusive verdict on a training is one on this training. --seeds 3 shows the spread."
)


def verdict_section(part: Part, key: str) -> Section:
    """Show the summary first; the evidence of a claim is folded away below its line."""
    report = part.report
    several = len(report.families) > 1
    summary = [
        Grid(caption, [_row(v, key, several) for v in claims])
        for caption, claims in (("Claims of the paper", _claims(part)), ("Controls of ours", _controls(part)))
        if claims
    ]
    notes: list[Block] = [Text(f"Not run: {name}.") for name in report.skipped]
    if len(report.seeds) == 1 and any(v.training for v in report.claims):
        notes.append(Text(ONE_SEED))
    if rules := changed_rules(part):
        notes = [Text("Judged by other rules than those of the run:", strong=True), Bullets(rules), *notes]
    changed: list[Block] = []
    if verdicts := changed_verdicts(part):
        title = f"Other verdicts of a single result: {len(verdicts)}"
        changed = [Collapsible(title, [Bullets(verdicts)], f"{key}-alone")]
    undecided: list[Block] = []
    if texts := [f"{v.claim} ({v.family}): {v.text}" for v in report.claims if v.value != "reproduced"]:
        undecided = [Text("Not reproduced, and what would decide:"), Bullets(texts)]
    plot = forest(report)
    claims = {claim.id: claim for claim in load_claims(report.study)}
    counts, method = Text(_count(part)), Text(_describe_method(part))
    return Section(
        id=f"{key}-verdicts",
        title="Verdicts",
        blocks=[
            counts,
            *notes,
            *summary,
            *changed,
            method,
            *([inline_chart(plot, key)] if plot else []),
            *(_evidence(v, claims.get(v.claim), part, key) for v in report.claims),
        ],
        brief=[counts, *notes, *summary, *undecided, method],
    )


def tally(part: Part) -> dict[str, int]:
    """Count the paper's claims by verdict; controls of ours are not among them."""
    return _tally(_claims(part))


def _claims(part: Part) -> list[ClaimVerdict]:
    return [v for v in part.report.claims if v.role != "control"]


def _controls(part: Part) -> list[ClaimVerdict]:
    return [v for v in part.report.claims if v.role == "control"]


def _tally(claims: Sequence[ClaimVerdict]) -> dict[str, int]:
    return {value: sum(v.value == value for v in claims) for value in VERDICT_VALUES}


def _count(part: Part) -> str:
    """Say how many claims and cells got each verdict, and what was run."""
    report, claims, controls = part.report, _claims(part), _controls(part)
    seeds = f"{len(report.seeds)} training seed{'s' if len(report.seeds) > 1 else ''}"
    families = ", ".join(report.families)
    text = f"{len(claims)} claims of the paper on {families}, scale {report.scale}, {seeds}: {_list(_tally(claims))}."
    text += f" {len(controls)} controls of ours: {_list(_tally(controls))}." if controls else ""
    cells = Counter(cell.value for cell in report.cells)
    return f"{text} {len(report.cells)} printed cells: {_list(dict(cells.most_common()))}." if cells else text


def _list(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {value}" for value, n in counts.items())


def _describe_method(part: Part) -> str:
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
        "verdict": Cell(v.value, tone=v.value, note=why_untested(v) if v.estimate is None else ""),
        "claim": Cell(v.statement, note=name, link=_evidence_id(v, key)),
        "difference": number_cell(v.estimate, "+.3f"),
        "interval": Cell("" if v.interval is None else f"{v.interval[0]:+.3f} to {v.interval[1]:+.3f}"),
        "margin": number_cell(v.margin, "g"),
        "p (Holm)": number_cell(v.p_holm, ".2g"),
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


def _evidence_id(v: ClaimVerdict, key: str) -> str:
    return slug(f"{key}-claim-{v.claim}-{v.family}")


def _evidence(v: ClaimVerdict, claim: Claim | None, part: Part, key: str) -> Collapsible:
    blocks: list[Block] = [
        Text(sentence(v.text)),
        Quote(v.quote, f"{_section(v.section)}, {v.provenance}"),
    ]
    if claim is not None and claim.margin_reason:
        blocks.append(Text(f"Margin: {claim.margin_reason}."))
    if v.tasks:
        rows = []
        first, second = _sides(v, claim)
        for t in v.tasks:
            left, right = _printed(v, claim, part, t.task, t.metric)
            row = {
                "task": Cell(t.task),
                "metric": Cell(t.metric),
                first: number_cell(t.left, ".3f", note=left and f"paper {left}"),
            }
            if t.right is not None:
                row[second] = number_cell(t.right, ".3f", note=right and f"paper {right}")
                row["difference"] = number_cell(t.estimate, "+.3f")
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


def _printed_side(ref: Ref | None, part: Part, v: ClaimVerdict, task: str, metric: str) -> str:
    if ref is None or ref.row == "*":
        return ""
    stored = load(ref.table) if ref.table else part.stored
    return printed_number(stored, v.family, ref.row, task, metric)


def _section(section: str) -> str:
    if section[:1].isdigit():
        return f"Section {section}"
    return f"Appendix {section}" if len(section) == 1 else section
