"""Settings of prefix continuation and of judges. Imports no torch: recipes import this."""

from typing import Annotated

import pydantic

ANSWER_TOKENS = 64
"""Most tokens of a judge's reply."""
JUDGED_AT_ONCE = 64
"""Completions that a model judge is asked about together."""
Share = Annotated[float, pydantic.Field(gt=0, lt=1)]


class PrefixConfig(pydantic.BaseModel, frozen=True, extra="forbid"):
    """Settings of Figure 4. The paper states neither the length nor the number of its prefixes."""

    fractions: tuple[Share, ...] = pydantic.Field(min_length=1)
    """Prefix lengths for arbitrary cuts, as shares of the student's completion without its end token. The empty prefix
    (0) is always sampled too."""
    min_tokens: int = pydantic.Field(gt=0)
    """Fewest tokens of a prefix. A single token is just the student's usual opening, not a thought to continue."""
    per_prompt: int = pydantic.Field(gt=0)
    """Number of wrong completions per prompt (the first ones) that prefixes are cut from, in either population."""
    continuations: int = pydantic.Field(gt=0)
    """Continuations per prefix."""

    @pydantic.field_validator("fractions")
    @classmethod
    def _check_fractions(cls, fractions: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(fractions)) < len(fractions):
            raise ValueError("list each share once: a repeated one would count twice")
        return fractions
