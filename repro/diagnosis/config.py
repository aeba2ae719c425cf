"""Settings of a diagnosis. No torch here: recipes import this."""

import pydantic


class DiagnosisConfig(pydantic.BaseModel, frozen=True, extra="forbid"):
    """Settings of a diagnosis (section 4.1)."""

    ks: tuple[pydantic.PositiveInt, ...] = pydantic.Field(min_length=1)
    """K of the Top-K sums; values not below the vocabulary size are dropped, the full vocabulary is always added."""
    tail_k: pydantic.PositiveInt
    """The K of `ks` that defines the tail of a step (Figure 2): the ids outside the student's Top-K."""
    contribution_blocks: int = pydantic.Field(gt=1)
    """Number of blocks of neighbouring prompts per task; contributions (Eq 4) are stored per block, for intervals."""
    fork_quantile: float = pydantic.Field(ge=0, lt=1)
    """Tokens above this quantile of the student's entropy are forking tokens."""
    gradient_prompts: int = pydantic.Field(ge=0)
    """Prompts per task whose gradients are compared (Eq 5); 0 for none."""
    gradient_tokens: int = pydantic.Field(gt=0)
    """Number of first tokens of each completion in the gradients, which need all logits at once."""
    resamples: int = pydantic.Field(gt=0)
    """Resamples of the two-level bootstrap."""

    @pydantic.model_validator(mode="after")
    def _tail_begins_at_a_measured_k(self) -> "DiagnosisConfig":
        if self.tail_k not in self.ks:
            raise ValueError(f"tail_k = {self.tail_k} must be one of ks = {', '.join(map(str, self.ks))}")
        return self
