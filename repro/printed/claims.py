"""The paper's claims as machine-readable statements over named rows, tasks and metrics."""

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from repro.printed.schema import Provenance, Strict

TwoSided = Literal["ordering", "noninferiority", "collapse", "recovers", "comparable", "between"]
Kind = Literal[TwoSided, "range", "exists", "above", "below", "trend", "monotone"]
Role = Literal["premise", "claim", "control"]
_TWO_SIDED: tuple[TwoSided, ...] = get_args(TwoSided)


class Ref(Strict):
    """The cells averaged on one side of a claim: one row ("*": every row), with table, metric, columns if different.

    `table` names another stored table for the printed side (Table 3 is compared with Table 2); in a result the row is
    looked up by the same name.
    """

    row: str
    table: str | None = None
    metric: str | None = None
    columns: tuple[str, ...] | None = None


class PaperEvidence(Strict):
    """The paper's own printed comparisons: `held` out of `of` support the claim."""

    bears_out: Literal["true", "false", "partly", "not printed"]
    held: Annotated[int, Field(ge=0)] = 0
    of: Annotated[int, Field(ge=0)] = 0
    note: str = ""

    @model_validator(mode="after")
    def _bears_out_follows_from_counts(self) -> "PaperEvidence":
        expected = "partly" if 0 < self.held < self.of else "false" if self.held == 0 else "true"
        expected = expected if self.of else "not printed"
        if self.held > self.of or self.bears_out != expected:
            raise ValueError(
                f"{self.held} of {self.of} comparisons held: bears_out must be {expected!r}, not {self.bears_out!r}"
            )
        return self


class Claim(Strict):
    """One claim.

    Kinds, with L and R the means of the two sides over tasks (tasks weigh the same):
        ordering: L - R > 0. With several right sides, L must exceed every one of them.
        noninferiority: L - R > -margin.
        collapse: R < (1 - margin) L: a model loses more than the share `margin` of its initial score L. Tasks with L at
            chance are left out; if none remain, the claim is not testable.
        recovers: L > (1 - margin) R: the other side has at least this share of a gain R. Without a gain R above zero,
            the claim is not testable.
        comparable: neither side is more than `factor` times the other.
        between: low <= L - R <= high, up to `tolerance`.
        range: low <= L <= high, up to `tolerance` (the rounding of the printed range).
        exists: some row and task of L is above `low`; with a right side, L - R of some task is.
        above: L > low.
        below: L < high.
        trend: the least-squares slope of L against eta, per unit of eta and in `direction`, is above 0. L names a
            curve: rows "NAME, eta X" (repro.recipes.labels).
        monotone: from each eta of the curve to the next, L never goes against `direction` by more than `margin`.

    Attributes:
        study: the table or figure whose run tests it.
        metrics: a task is tested on the first of these that it has ("acc" if verifiable, "reward" if open).
        margin_reason: the reason for the margin (or for `low`, `high` or `factor`, if that is our choice).
        toy_reason: why the embedded world contradicts it, if known: a sentence shown with such a verdict.
        printed_scale: it compares with a magnitude printed in the paper, so only paper scale can test it.
        training: it is about the outcome of training, so one training seed cannot settle it.
        role: "premise" of the paper, its "claim", or a "control" of ours. A control is tested where its rows
            were run.
        quote: the sentence, verbatim from the stored text of the paper; for a control, the question that it answers.
    """

    id: str
    study: str
    kind: Kind
    role: Role
    metrics: Annotated[tuple[str, ...], Field(min_length=1)]
    left: Ref
    right: tuple[Ref, ...] = ()
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.0
    margin_reason: str = ""
    toy_reason: str = ""
    factor: Annotated[float, Field(gt=1)] | None = None
    direction: Literal["rises", "falls"] | None = None
    low: float | None = None
    high: float | None = None
    tolerance: Annotated[float, Field(ge=0)] = 0.0
    printed_scale: bool = False
    training: bool
    quote: Annotated[str, Field(min_length=10)]
    section: str
    provenance: Provenance
    paper: PaperEvidence

    @model_validator(mode="after")
    def _fields_fit_kind(self) -> "Claim":
        if self.kind != "exists" and (self.kind in _TWO_SIDED) != bool(self.right):
            raise ValueError(
                f"kind {self.kind}: right is required for {', '.join(_TWO_SIDED)}, and not allowed for other kinds"
            )
        if self.kind in ("collapse", "recovers", "comparable", "between") and len(self.right) > 1:
            raise ValueError(f"kind {self.kind}: right takes one row")
        if (self.margin > 0) != (self.kind in ("noninferiority", "monotone", "collapse", "recovers")):
            raise ValueError(
                "margin above 0 is required for noninferiority, monotone, collapse and recovers, and not allowed for other kinds"
            )
        if (self.factor is not None) != (self.kind == "comparable"):
            raise ValueError("factor is required for comparable, and not allowed for other kinds")
        if (self.direction is not None) != (self.kind in ("trend", "monotone")):
            raise ValueError("direction is required for trend and monotone, and not allowed for other kinds")
        if (self.low is not None) != (self.kind in ("range", "between", "exists", "above")) or (
            self.high is not None
        ) != (self.kind in ("range", "between", "below")):
            raise ValueError(
                "low and high: range and between need both, exists and above need low, below needs high, other kinds take neither"
            )
        if (self.role == "control") != (self.provenance == "ASSUMED"):
            raise ValueError("controls are ours (ASSUMED); premises and claims are the paper's")
        return self


class ClaimsFile(Strict):
    """`claims.toml`."""

    claims: Annotated[list[Claim], Field(min_length=1)]
