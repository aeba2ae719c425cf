"""How one row of a study answers, as results.json has it."""

from pydantic import FiniteFloat
from typing_extensions import TypedDict


class StyleLine(TypedDict):
    """How one row's models answer, over tasks (which weigh the same) and seeds.

    score: accuracy or reward, 0..1; reasoning: share of completions that reason before they answer, None without a task
    that has answers; tokens: mean length.
    """

    family: str
    method: str
    score: FiniteFloat
    reasoning: FiniteFloat | None
    tokens: FiniteFloat
