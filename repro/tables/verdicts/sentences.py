"""Claims and verdicts in words: a claim in symbols, a verdict in a sentence."""

from repro.printed.claims import Claim, Ref
from repro.tables.statistics.decision import ONE_SEED_CAP, VerdictValue
from repro.tables.statistics.resampling import Estimate

_ESTIMATE = {
    "range": "mean",
    "exists": "mean",
    "above": "mean",
    "below": "mean",
    "collapse": "the score that may remain less the score that does:",
    "recovers": "more than the share asked, by",
    "comparable": "distance to the bound",
    "trend": "slope in the direction asked, per unit of eta,",
    "monotone": "step in the direction asked",
}


def claim_in_symbols(claim: Claim) -> str:
    """Return the claim in symbols, e.g. "Improve > SFT"; columns that all sides share are named once, at the end."""
    columns = claim.left.columns
    if columns and claim.right and all(ref.columns == columns for ref in claim.right):
        left_alone, *right_alone = (ref.model_copy(update={"columns": None}) for ref in (claim.left, *claim.right))
        alone = claim.model_copy(update={"left": left_alone, "right": tuple(right_alone)})
        return f"{claim_in_symbols(alone)} on {'/'.join(columns)}"
    left = _side(claim.left)
    if claim.kind == "trend":
        return f"{claim.metrics[0]} of {left} {claim.direction} with eta"
    if claim.kind == "monotone":
        opposite = "falls" if claim.direction == "rises" else "rises"
        return f"{claim.metrics[0]} of {left} never {opposite} by {claim.margin:g} from one eta to the next"
    if claim.kind in ("above", "below", "range", "exists") and not claim.right and not claim.left.metric:
        left = f"{claim.metrics[0]} of {left}"
    if claim.kind == "above":
        return f"{left} > {claim.low:g}"
    if claim.kind == "below":
        return f"{left} < {claim.high:g}"
    if claim.kind == "range":
        return f"{claim.low:g} <= {left} <= {claim.high:g}"
    right = " and ".join(_side(ref) for ref in claim.right)
    if claim.kind == "exists":
        return (
            f"some {left} > {right}{f' + {claim.low:g}' if claim.low else ''}"
            if right
            else f"some {left} > {claim.low:g}"
        )
    if claim.kind == "collapse":
        return f"{right} < {1 - claim.margin:g} x {left}"
    if claim.kind == "recovers":
        return f"{left} > {1 - claim.margin:g} x {right}"
    if claim.kind == "comparable":
        return f"{left} and {right} within a factor of {claim.factor:g}"
    if claim.kind == "between" and claim.low == -(claim.high or 0.0):
        return f"{left} = {right}, within {claim.high:g}"
    if claim.kind == "between":
        return f"{claim.low:g} <= {left} - {right} <= {claim.high:g}"
    if claim.kind == "noninferiority":
        return f"{left} > {right} - {claim.margin:g}"
    scored = set(claim.metrics) <= {"acc", "reward"} or claim.left.metric
    metric = "" if scored else f" in {claim.metrics[0]}"
    return f"{left} > {'each of ' if len(claim.right) > 1 else ''}{right}{metric}"


def _side(ref: Ref) -> str:
    name = "row" if ref.row == "*" else ref.row
    name = f"{ref.metric} of {name}" if ref.metric else name
    return f"{name} on {'/'.join(ref.columns)}" if ref.columns else name


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
        open_question: what would decide an inconclusive one, or by how much its sides differ at most; empty for none.
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
        text += f"; clear of the edge, but one training seed needs more than {ONE_SEED_CAP:g} standard errors"
    return f"{text}; {open_question}" if open_question else text
