"""What a verdict is: the records that results.json and the report carry, and their sentences."""

from dataclasses import asdict, dataclass
from typing import Any

from repro.tables.measured_table import Scale
from repro.tables.paper.claims import Claim, Ref
from repro.tables.statistics.decision import ONE_SEED_CAP, Needed, VerdictValue
from repro.tables.statistics.resampling import Estimate
from repro.tables.verdicts.cells import CellVerdict

_ESTIMATE = {
    "range": "mean",
    "exists": "mean",
    "above": "mean",
    "trend": "slope in the direction asked, per unit of eta,",
    "monotone": "step in the direction asked",
}
SCALED_DOWN = "scaled down: no verdict on the paper's numbers"


@dataclass(frozen=True)
class TaskEvidence:
    """One task's part of a claim: means of its sides (right None if one-sided), difference, 95 % interval."""

    task: str
    metric: str
    left: float
    right: float | None
    estimate: float
    se: float
    interval: tuple[float, float]
    items: int


@dataclass(frozen=True)
class ClaimVerdict:
    """What a run says about one claim for one family.

    Attributes:
        statement: the claim in symbols, e.g. "Improve > SFT".
        estimate: left - right (ordering, non-inferiority), left (range, exists, above), or a slope or step in the
            direction asked (trend, monotone); None if not run.
            With several right sides it is the one that decided: `rival`.
        region: allowed values of the estimate, [low, high]; None is an open end.
        interval, level: confidence interval of confidence 1 - level. level is the claim's own step of Holm's
            correction, so that the verdict can be read off this interval. interval95: at 95 %, for comparing
            runs.
        p, p_holm: two-sided p against the nearest edge of the region; the same after Holm's correction.
        capped: the gap was clear of the edge, but one training seed may not speak for a training claim.
        needed_items, needed_seeds: totals that would decide an inconclusive claim with 80 % power.
        text: the verdict in a sentence.
        paper_bears_out, paper_held, paper_of: what the paper's own printed numbers say of the claim.
    """

    claim: str
    family: str
    role: str
    kind: str
    training: bool
    statement: str
    value: VerdictValue
    text: str
    estimate: float | None
    se: float | None
    rival: str | None
    region: tuple[float | None, float | None]
    margin: float
    interval: tuple[float, float] | None
    level: float
    interval95: tuple[float, float] | None
    p: float | None
    p_holm: float | None
    items: int
    seeds: int
    capped: bool
    needed_items: int | None
    needed_seeds: int | None
    quote: str
    section: str
    provenance: str
    paper_bears_out: str
    paper_held: int
    paper_of: int
    tasks: tuple[TaskEvidence, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class VerdictReport:
    """All verdicts of one call, and how they were reached.

    cells is empty below paper scale. skipped names what was not run, with the reason.
    """

    study: str
    scale: Scale
    families: tuple[str, ...]
    seeds: tuple[int, ...]
    alpha: float
    resamples: int
    seed: int
    claims: tuple[ClaimVerdict, ...]
    cells: tuple[CellVerdict, ...]
    skipped: tuple[str, ...]

    @property
    def notice(self) -> str | None:
        """What every page about this report must say; None at paper scale."""
        return None if self.scale == "paper" else SCALED_DOWN

    def count(self, value: VerdictValue) -> int:
        """Number of claims with this verdict, controls included."""
        return sum(v.value == value for v in self.claims)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for results.json."""
        return {**asdict(self), "notice": self.notice}


def state(claim: Claim) -> str:
    """The claim in symbols."""
    left = _side(claim.left)
    if claim.kind == "trend":
        return f"{claim.metrics[0]} of {left} {claim.direction} with eta"
    if claim.kind == "monotone":
        against = "falls" if claim.direction == "rises" else "rises"
        return f"{claim.metrics[0]} of {left} never {against} by {claim.margin:g} from one eta to the next"
    if claim.kind == "above":
        return f"{left} > {claim.low:g}"
    if claim.kind == "range":
        return f"{claim.low:g} <= {left} <= {claim.high:g}"
    if claim.kind == "exists":
        return f"some {left} > {claim.low:g}"
    right = " and ".join(_side(ref) for ref in claim.right)
    if claim.kind == "noninferiority":
        return f"{left} > {right} - {claim.margin:g}"
    return f"{left} > {'each of ' if len(claim.right) > 1 else ''}{right}"


def _side(ref: Ref) -> str:
    name = "row" if ref.row == "*" else ref.row
    name = f"{ref.metric} of {name}" if ref.metric else name
    return f"{name} on {'/'.join(ref.columns)}" if ref.columns else name


def sentence(
    claim: Claim,
    value: VerdictValue,
    estimate: Estimate,
    interval: tuple[float, float],
    rival: str,
    held_back: bool,
    need: Needed,
) -> str:
    """The verdict in a line: estimate, interval, data, and what would decide an inconclusive one."""
    what = _ESTIMATE.get(claim.kind, "difference")
    against = f" (against {rival})" if len(claim.right) > 1 or claim.kind == "exists" else ""
    against = f" ({rival})" if claim.kind == "monotone" else against
    seeds = f"{estimate.seeds} seed{'s' if estimate.seeds > 1 else ''}"
    text = (
        f"{value}: {what} {estimate.value:+.3f}{against}, interval {interval[0]:+.3f} to {interval[1]:+.3f}, "
        f"{estimate.items:,} items, {seeds}"
    )
    if claim.margin:
        text += f", margin {claim.margin:g}"
    if held_back:
        text += f"; clear of the edge, but one training seed needs more than {ONE_SEED_CAP:g} standard errors"
    if value == "inconclusive":
        text += f"; {need.text(estimate)}"
    return text
