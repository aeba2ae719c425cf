"""Records of verdicts, as results.json and the report carry them."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from repro.printed.claims import Role
from repro.recipes.study import Scale
from repro.tables.statistics.decision import VERDICT_VALUES, VerdictValue

IDLE = "not testable: idle, "
SCALED_DOWN = "scaled down: no verdict on the paper's numbers"


@dataclass(frozen=True)
class TaskEvidence:
    """One task's part of a claim: the sides' means (right None if one-sided), difference, 95 % interval."""

    task: str
    metric: str
    left: float
    right: float | None
    estimate: float
    se: float
    interval: tuple[float, float]
    items: int


@dataclass(frozen=True, kw_only=True)
class ClaimVerdict:
    """The verdict on one claim for one family. Defaults describe an untested claim.

    Attributes:
        statement: the claim in symbols, e.g. "Improve > SFT".
        text: the verdict as a sentence.
        estimate: left - right (ordering, non-inferiority, between, exists), left where there is no right side (range,
            exists, above, below), the share of left that may remain minus right (collapse), left minus the share of
            right that is required (recovers), the distance to the nearer bound (comparable), or a slope or step in the
            claimed direction (trend, monotone). With several comparisons, this is the deciding one's: `rival`.
        region: allowed values of the estimate, [low, high]; None is an open end.
        interval, level: confidence interval of confidence 1 - level. level is the claim's own step of Holm's
            correction, so that the verdict can be read off this interval. interval95: at 95 %, for comparing
            runs.
        p, p_holm: two-sided p against the nearest edge of the region; the same after Holm's correction.
        capped: the gap cleared the edge, but a single training seed cannot settle a claim about training.
        open_question: for an inconclusive claim, what would decide it, or the largest possible difference.
        needed_items, needed_seeds: totals that would decide an inconclusive claim with 80 % power; None if its sides
            are too close to ask.
        paper_bears_out, paper_held, paper_of: what the paper's own printed numbers say about the claim.
    """

    claim: str
    family: str
    role: Role
    kind: str
    training: bool
    statement: str
    value: VerdictValue = "inconclusive"
    text: str
    estimate: float | None = None
    se: float | None = None
    rival: str | None = None
    region: tuple[float | None, float | None]
    margin: float
    interval: tuple[float, float] | None = None
    level: float
    interval95: tuple[float, float] | None = None
    p: float | None = None
    p_holm: float | None = None
    items: int = 0
    seeds: int
    capped: bool = False
    open_question: str = ""
    needed_items: int | None = None
    needed_seeds: int | None = None
    quote: str
    section: str
    provenance: str
    paper_bears_out: str
    paper_held: int
    paper_of: int
    tasks: tuple[TaskEvidence, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CellVerdict:
    """Our number next to the printed one.

    Attributes:
        difference, interval: ours - printed, and its confidence interval.
        margin: in the metric's unit (relative margins are converted).
        detectable: a true difference of this size would be called contradicted in four of five such runs; None if the metric
            is never matched.
        can_be_reproduced: the interval is narrow enough to fit between the margins.
        value: a verdict, "diagnosed" (a metric that is never matched) or "erratum" (a printed number that cannot be
            right).
    """

    cell: str
    family: str
    row: str
    column: str
    metric: str
    printed: str
    measured: float
    difference: float
    interval: tuple[float, float]
    margin: float | None
    margin_kind: str | None
    detectable: float | None
    can_be_reproduced: bool
    value: VerdictValue | Literal["diagnosed", "erratum"]
    text: str


@dataclass(frozen=True)
class VerdictReport:
    """All verdicts of one call, and how they were reached.

    Attributes:
        cells: empty below paper scale.
        skipped: what was not tested, and why.
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
        """The warning that every page about this report carries; None at paper scale."""
        return None if self.scale == "paper" else SCALED_DOWN

    def of_role(self, role: Role) -> list[ClaimVerdict]:
        """Return the verdicts on the paper's claims, its premises, or our controls."""
        return [verdict for verdict in self.claims if verdict.role == role]

    def counts(self, role: Role) -> dict[VerdictValue, int]:
        """Count a role's verdicts, for page, brief, terminal, history and exit code alike."""
        return {value: sum(verdict.value == value for verdict in self.of_role(role)) for value in VERDICT_VALUES}

    @property
    def is_contradicted(self) -> bool:
        """True if any claim of the paper is contradicted; premises and controls do not count."""
        return self.counts("claim")["contradicted"] > 0

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for results.json."""
        return {**asdict(self), "notice": self.notice}


def why_untested(verdict: ClaimVerdict) -> str:
    """Say briefly why a claim was not tested: "not run", "idle", or nothing if the sentence says more."""
    if verdict.value == "inconclusive":
        return "not run"
    return "idle" if verdict.text.startswith(IDLE) else ""


def reason_untested(verdict: ClaimVerdict) -> str:
    """Say why a claim was not tested, as its sentence does, but without the scores of each task."""
    return why_untested(verdict) or verdict.text.partition(": ")[2].partition(" on every task")[0]
