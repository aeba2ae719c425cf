"""The class that attacks extend, and their registry. Imports no torch: plans import this.

An attack is a recipe: it composes stages from what the thief has (`repro.attacks.thief.Thief`).
"""

from typing import TYPE_CHECKING, ClassVar

from repro.guards.base import Interface
from repro.stages import ModelInput
from repro.system.plugins import Plugin, Registry

if TYPE_CHECKING:
    from repro.attacks.thief import Thief


class Attack(Plugin):
    """What a thief does with what a teacher shows."""

    needs: ClassVar[Interface] = "answers"
    """The least that the teacher must show."""

    def student(self, thief: "Thief") -> ModelInput:
        """Return the stage that makes the thief's student."""
        raise NotImplementedError


ATTACKS: Registry[Attack] = Registry(
    noun="attack",
    group="repro.attacks",
    base=Attack,
    built_in={
        "no-teacher": "repro.attacks.built_in:NoTeacher",
        "sft": "repro.attacks.built_in:Sft",
        "gkd-fkl": "repro.attacks.built_in:GkdFkl",
        "gkd-rkl": "repro.attacks.built_in:GkdRkl",
        "top-k": "repro.attacks.built_in:TopK",
        "own-answers": "repro.attacks.built_in:OwnAnswers",
        "sft-majority": "repro.attacks.built_in:SftMajority",
        "sft-shortest": "repro.attacks.built_in:SftShortest",
        "sft-likeliest": "repro.attacks.built_in:SftLikeliest",
        "supplement": "repro.attacks.built_in:Supplement",
        "warm-start": "repro.attacks.built_in:WarmStart",
    },
)
