"""Schema of the stored files: what `load` accepts. Unknown fields are errors."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Provenance = Literal["PAPER", "DERIVED", "ASSUMED"]
Fraction = Annotated[float, Field(gt=0, lt=1)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Column(Strict):
    """A task (or a cost): what its items are and how many the paper had, as far as is known.

    Attributes:
        tasks: its names in a run: the real task, and the toy one that mirrors it.
        items: number of evaluation items; items_provenance: where the number is from.
    """

    printed: str
    title: str
    tasks: list[str] = []
    kind: Literal["verifiable", "open", "cost", "range"]
    items: Annotated[int, Field(gt=0)] | None = None
    items_provenance: Provenance | None = None
    note: str = ""

    @model_validator(mode="after")
    def _items_have_provenance(self) -> "Column":
        if (self.items is None) != (self.items_provenance is None):
            raise ValueError("items and items_provenance go together")
        return self


class Metric(Strict):
    """A metric: its meaning, how many samples per item (k) it averages, and the margin of its cell test.

    `policy` "equivalence" is matched within `margin` (absolute, or a fraction of the printed value);
    "diagnose" never.
    """

    title: str
    unit: Literal["fraction", "score", "nats/token", "nats/sequence", "GPU-hours"]
    samples: Annotated[int, Field(gt=0)] | None = None
    samples_provenance: Provenance | None = None
    policy: Literal["equivalence", "diagnose"]
    margin: Fraction | None = None
    margin_kind: Literal["absolute", "relative"] | None = None
    margin_reason: str = ""
    note: str = ""

    @model_validator(mode="after")
    def _margin_fits(self) -> "Metric":
        is_matched = self.policy == "equivalence"
        if is_matched != (self.margin is not None) or is_matched != (self.margin_kind is not None):
            raise ValueError("margin and margin_kind are required for policy 'equivalence', and not allowed for others")
        if (
            self.margin is not None
            and self.unit.startswith("nats")
            and (self.margin_kind != "relative" or self.margin < 0.15)
        ):
            raise ValueError(
                "a KL cell takes a relative margin of at least 0.15: the paper's own re-measurement drifts by 11 %"
            )
        return self


class Legend(Strict):
    """`legend.toml`: columns and metrics, shared by all tables."""

    columns: dict[str, Column]
    metrics: dict[str, Metric]


class Group(Strict):
    """Neighbouring columns whose cells print the same metrics, in this order."""

    columns: Annotated[list[str], Field(min_length=1)]
    metrics: Annotated[list[str], Field(min_length=1)]


class Block(Strict):
    """Rows of strings: first the row keys, then one printed cell per column of the groups, in order."""

    title: str
    groups: Annotated[list[Group], Field(min_length=1)]
    rows: Annotated[list[list[str]], Field(min_length=1)]


class Erratum(Strict):
    """Printed numbers that cannot be right: kept, never matched."""

    id: str
    row: dict[str, str]
    columns: list[str]
    metrics: list[str]
    provenance: Provenance
    reason: str


class TableFile(Strict):
    """`table<N>.toml`, or `figures.toml`: numbers that the prose prints.

    Attributes:
        row_label: the row key that names a result's rows.
        untrained: rows that no training touched.
    """

    id: str
    title: str
    section: str
    provenance: Provenance
    note: str = ""
    row_keys: Annotated[list[str], Field(min_length=1)]
    row_label: str
    untrained: list[str]
    blocks: Annotated[list[Block], Field(min_length=1)]
    errata: list[Erratum] = []

    @model_validator(mode="after")
    def _label_is_a_key(self) -> "TableFile":
        if self.row_label not in self.row_keys:
            raise ValueError(f"row_label {self.row_label!r} is not one of row_keys {self.row_keys}")
        return self
