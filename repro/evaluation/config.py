"""Settings of continued prefixes and of judges. Imports no torch: recipes import this."""

from typing import Annotated

import pydantic

ANSWER_TOKENS = 64
"""Upper bound of a judge's reply."""
Share = Annotated[float, pydantic.Field(gt=0, lt=1)]


class PrefixConfig(pydantic.BaseModel, frozen=True, extra="forbid"):
    """Settings of Figure 4. The paper says neither how long its prefixes are nor how many."""

    fractions: tuple[Share, ...] = pydantic.Field(min_length=1)
    """Of an arbitrary beginning: prefix lengths as shares of the student's completion, without its end token; the empty prefix (0) is always sampled too."""
    min_tokens: int = pydantic.Field(gt=0)
    """Fewest tokens of a prefix. One token is the student's habit of beginning, not a thought to go on from."""
    per_prompt: int = pydantic.Field(gt=0)
    """Wrong completions of each prompt that prefixes are cut from, in either population: its first ones."""
    continuations: int = pydantic.Field(gt=0)
    """Continuations of each prefix."""

    @pydantic.field_validator("fractions")
    @classmethod
    def _check_fractions(cls, fractions: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(fractions)) < len(fractions):
            raise ValueError("name each share once; one that is there twice would weigh double")
        return fractions
