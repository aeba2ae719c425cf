"""The class that attacks extend, and their registry. Imports no torch: plans import this.

An attack is a recipe: it composes stages from what the thief has (`repro.attacks.thief.Thief`).
"""

from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from repro.guards.base import INTERFACES, Interface
from repro.stages import ModelInput
from repro.system.plugins import Plugin, Registry

if TYPE_CHECKING:
    from repro.attacks.thief import Thief


Rung = Literal["answers", "text", "top-k", "logits", "logits of own text"]
RUNGS: tuple[Rung, ...] = get_args(Rung)
"""What an attack reads from a teacher, from least to most: for the teacher's completions, the final answer, the text,
the k largest log-probabilities at each token, all log-probabilities; and all log-probabilities for the thief's text."""


def shows_rung(shown: str, rung: str) -> bool:
    """Return True if a teacher that shows `shown` at most shows the rung.

    One that shows all log-probabilities shows those of the thief's text too.
    """
    interfaces: tuple[str, ...] = INTERFACES
    rungs: tuple[str, ...] = RUNGS
    return interfaces.index(shown) >= min(rungs.index(rung), len(interfaces) - 1)


class Attack(Plugin):
    """What a thief makes of what a teacher shows."""

    needs: ClassVar[Interface] = "answers"
    """The least that the teacher must show."""
    reads: ClassVar[Rung | None] = None
    """What it reads from a teacher that shows everything; None if that is what it needs."""

    def student(self, thief: "Thief") -> ModelInput:
        """Return the stage that makes the thief's student."""
        raise NotImplementedError

    @property
    def rung(self) -> Rung:
        """The attack's rung in the study `leak`."""
        return self.reads or self.needs


ATTACKS: Registry[Attack] = Registry(
    noun="attack",
    group="repro.attacks",
    base=Attack,
    built_in={
        "no-teacher": "repro.attacks.built_in:NoTeacher",
        "sft": "repro.attacks.built_in:Sft",
        "sft-answers": "repro.attacks.built_in:SftAnswers",
        "gkd-fkl": "repro.attacks.built_in:GkdFkl",
        "gkd-rkl": "repro.attacks.built_in:GkdRkl",
        "top-k": "repro.attacks.built_in:TopK",
        "own-answers": "repro.attacks.built_in:OwnAnswers",
        "sft-majority": "repro.attacks.built_in:SftMajority",
        "sft-shortest": "repro.attacks.built_in:SftShortest",
        "sft-likeliest": "repro.attacks.built_in:SftLikeliest",
        "reweight": "repro.attacks.built_in:Reweight",
        "supplement": "repro.attacks.built_in:Supplement",
        "warm-start": "repro.attacks.built_in:WarmStart",
    },
)
