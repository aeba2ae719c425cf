"""The classes that guards extend, and their registry. Imports no torch: plans import this.

A guard changes the model (`ModelGuard`), the distribution that tokens are sampled from (`SamplerGuard`), or the text
that is shown (`TextGuard`). `shows` is the most that a thief then sees; the owner's interface may show less.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args

import pydantic

from repro.system.plugins import Plugin, Registry

if TYPE_CHECKING:
    import torch

    from repro.models.endpoint import Endpoint
    from repro.tasks.task import Item

Interface = Literal["answers", "text", "top-k", "logits"]
INTERFACES: tuple[Interface, ...] = get_args(Interface)
"""What a teacher shows of a completion, from least to most: its final answer, its text, the k largest log-probabilities
at each token, all log-probabilities."""


def shows_enough(shown: Interface, needed: Interface) -> bool:
    """Return True if an attack that needs `needed` works on an interface that shows `shown`."""
    return INTERFACES.index(shown) >= INTERFACES.index(needed)


class Guard(Plugin):
    """What the owner of a teacher does against distillation. The base class does nothing."""

    shows: ClassVar[Interface] = "logits"
    """The most that a thief sees."""
    needs_weights: ClassVar[bool] = False
    """True if the guard reads or changes the teacher's weights, which rules out a teacher behind a server."""


class ModelGuard(Guard):
    """A guard that serves another model in the teacher's place."""

    needs_weights: ClassVar[bool] = True

    def train(self, pair: Any) -> Any:
        """Return the stage that makes the served model.

        Args:
            pair: `repro.recipes.shared_stages.Pair`, with the models, the settings and the usual stages.
        """
        raise NotImplementedError


class SamplerGuard(Guard):
    """A guard that samples from a distribution other than the teacher's: a thief gets text, never the logits."""

    shows: ClassVar[Interface] = "text"
    needs_weights: ClassVar[bool] = True
    reads_holdout: ClassVar[bool] = False
    """True if `proxies` needs completions of the teacher; a plan then counts a gradient of the proxy."""
    proxy_count: ClassVar[int] = 1
    """Number of models that `proxies` returns; a plan counts their memory and time."""

    def proxies(self, proxy: Any, holdout: Sequence[tuple[list[int], list[int]]]) -> list[Any]:
        """Return the models whose logits `combine` gets in addition to the teacher's; by default the proxy itself.

        Args:
            proxy: a loaded causal LM that stands in for the thief's unknown student; it may be changed in place.
            holdout: prompt and completion tokens of the teacher; empty unless `reads_holdout`.
        """
        return [proxy]

    def combine(self, teacher_BV: "torch.Tensor", proxies_BV: "Sequence[torch.Tensor]") -> "torch.Tensor":
        """Return [B, V] logits of the distribution to sample from.

        Args:
            teacher_BV: the teacher's logits divided by the temperature, float32.
            proxies_BV: logits of `proxies`, in their order, at temperature 1.
        """
        raise NotImplementedError


class TextGuard(Guard):
    """A guard that shows a text other than the sampled one. It must not change the answer."""

    shows: ClassVar[Interface] = "text"

    @property
    def endpoint(self) -> "Endpoint | None":
        """The served model that the guard uses; None if it uses none."""
        return None

    def rewrite(self, text: str, item: "Item", *, opens_in_thought: bool = False) -> str | None:
        """Return what is shown of a completion; None to show nothing.

        Args:
            item: its prompt. Do not read the answer key: the owner does not know it.
            opens_in_thought: the prompt ends within a thought (see `repro.tasks.thoughts`).
        """
        raise NotImplementedError


GUARDS: Registry[Guard] = Registry(
    noun="guard",
    group="repro.guards",
    base=Guard,
    built_in={
        "none": "repro.guards.built_in:Open",
        "knob": "repro.guards.built_in:Knob",
        "knob-per-token": "repro.guards.built_in:KnobPerToken",
        "doge": "repro.guards.built_in:Doge",
        "answer-only": "repro.guards.built_in:AnswerOnly",
        "reorder": "repro.guards.rewriters:Reorder",
        "rewrite": "repro.guards.served:ServedRewriter",
        "poe": "repro.guards.samplers:ProductOfExperts",
        "ads": "repro.guards.samplers:Antidistillation",
    },
)
SamplerGuardField = Annotated[pydantic.SerializeAsAny[SamplerGuard], pydantic.BeforeValidator(GUARDS.parse)]
"""A sampler guard in the configuration of a stage."""
TextGuardField = Annotated[pydantic.SerializeAsAny[TextGuard], pydantic.BeforeValidator(GUARDS.parse)]
"""A text guard in the configuration of a stage."""
