"""Claims and verdicts in words: a claim in symbols, a verdict in a sentence."""

from repro.printed.claims import Claim, Ref
from repro.tables.metric_names import metric_name
from repro.tables.statistics.decision import ONE_SEED, VerdictValue
from repro.tables.statistics.resampling import Estimate
from repro.tables.verdicts.equality import is_equality

_ESTIMATE = {
    "range": "mean",
    "exists": "mean",
    "above": "mean",
    "below": "mean",
    "collapse": "distance below the bound",
    "recovers": "distance above the bound",
    "comparable": "distance to the bound",
    "trend": "slope per unit of eta, in the claimed direction,",
    "monotone": "step in the claimed direction",
}


def describe_estimate_along_eta(kind: str, rival: str | None) -> str:
    """Say what the estimate of a trend or of a monotone curve is: positive in the claimed direction, also if that is down.

    Empty for other kinds.
    """
    return {
        "trend": "slope per unit of eta, in the direction of the claim",
        "monotone": f"step that decides, {rival}, in the direction of the claim",
    }.get(kind, "")


def claim_in_symbols(claim: Claim) -> str:
    """Return the claim in symbols, e.g. "Improve > SFT", naming the metric unless it is accuracy or reward.

    Columns shared by all sides are named once, at the end. "*" (every row) has no name: a claim about all rows names
    what is measured, and where.
    """
    columns = claim.left.columns
    if columns and claim.right and all(ref.columns == columns for ref in claim.right):
        left_alone, *right_alone = (ref.model_copy(update={"columns": None}) for ref in (claim.left, *claim.right))
        alone = claim.model_copy(update={"left": left_alone, "right": tuple(right_alone)})
        return f"{claim_in_symbols(alone)} on {'/'.join(columns)}"
    names_metric = claim.left.metric is not None or not claim.right or claim.left.row == "*"
    left = _side(claim, claim.left, names_metric)
    right = " and ".join(
        _side(claim, ref, ref.metric is not None or (names_metric and ref.row != "*")) for ref in claim.right
    )
    symbols = _relation(claim, left, right)
    is_scored = set(claim.metrics) <= {"acc", "reward"}
    return symbols if names_metric or is_scored else f"{symbols} in {_metrics(claim)}"


def _relation(claim: Claim, left: str, right: str) -> str:
    """Return the claim in symbols from its sides."""
    match claim.kind:
        case "trend":
            return f"{left} {claim.direction} with eta"
        case "monotone":
            opposite = "falls" if claim.direction == "rises" else "rises"
            return f"{left} never {opposite} by more than {claim.margin:g} from one eta to the next"
        case "above":
            return f"{left} > {claim.low:g}"
        case "below":
            return f"{left} < {claim.high:g}"
        case "range":
            return f"{claim.low:g} <= {left} <= {claim.high:g}"
        case "exists" if right:
            return f"somewhere {left} > {right}{f' + {claim.low:g}' if claim.low else ''}"
        case "exists":
            return f"somewhere {left} > {claim.low:g}"
        case "collapse":
            return f"{right} < {1 - claim.margin:g} x {left}"
        case "recovers":
            return f"{left} > {1 - claim.margin:g} x {right}"
        case "comparable":
            return f"{left} and {right} within a factor of {claim.factor:g}"
        case "between" if is_equality(claim):
            return f"{left} = {right}, within {claim.high:g}"
        case "between":
            return f"{claim.low:g} <= {left} - {right} <= {claim.high:g}"
        case "noninferiority":
            return f"{left} > {right} - {claim.margin:g}"
        case _:
            return f"{left} > {'each of ' if len(claim.right) > 1 else ''}{right}"


def _side(claim: Claim, ref: Ref, names_metric: bool) -> str:
    metric = (metric_name(ref.metric) if ref.metric else _metrics(claim)) if names_metric else ""
    row = "" if ref.row == "*" else f" of {ref.row}" if metric else ref.row
    columns = f" on {'/'.join(ref.columns)}" if ref.columns else ""
    return f"{metric}{row}{columns}".strip() or "that of all rows"


def _metrics(claim: Claim) -> str:
    """Name what a claim compares. A task has either accuracy or reward, and a machine only one kind of hours."""
    return " or ".join(map(metric_name, claim.metrics))


def verdict_sentence(
    claim: Claim,
    value: VerdictValue,
    estimate: Estimate,
    interval: tuple[float, float],
    rival: str,
    capped: bool,
    open_question: str,
) -> str:
    """Return the verdict in a line: estimate, interval and data.

    Args:
        open_question: what would decide an inconclusive verdict, or the largest possible difference; empty for none.
    """
    rival_text = ""
    if claim.kind == "monotone":
        rival_text = f" ({rival})"
    elif len(claim.right) > 1 or claim.kind in ("exists", "comparable"):
        rival_text = f" (against {rival})"
    name = "difference" if claim.kind == "exists" and claim.right else _ESTIMATE.get(claim.kind, "difference")
    text = (
        f"{value}: {name} {estimate.value:+.3f}{rival_text}, "
        f"interval {interval[0]:+.3f} to {interval[1]:+.3f}, {estimate.items:,} items, "
        f"{estimate.seeds} seed{'s' if estimate.seeds > 1 else ''}"
    )
    if claim.margin:
        text += f", margin {claim.margin:g}"
    if capped:
        text += f"; {ONE_SEED}"
    return f"{text}; {open_question}" if open_question else text
