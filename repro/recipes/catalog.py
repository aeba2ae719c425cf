"""Every study by name, and how a study, a scale and a person's wishes become a plan."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from repro.errors import InputError
from repro.recipes import paper, small, toy
from repro.recipes.settings import Settings, override
from repro.recipes.study import SCALES, Scale, Study
from repro.recipes.table2 import table2
from repro.recipes.traps import figure2, table1, table4


@dataclass(frozen=True)
class Entry:
    """A line of `repro list`, and the function that plans the study.

    own: assignments of the study's own at a scale, which a person's come after. all_families: whether every family of
    the scale is measured unless some are named.
    """

    title: str
    plan: Callable[[Scale, Settings, tuple[int, ...], tuple[str, ...]], Study]
    own: dict[Scale, tuple[str, ...]] = field(default_factory=dict)
    all_families: bool = False


PILOT: dict[Scale, tuple[str, ...]] = {
    "toy": ("tasks=toy-bm4,toy-csqa,toy-dolly",),
    "small": ("tasks=gsm8k,csqa,dolly",),
}
"""Tasks of the pilot study: one of each kind where a scale's own tasks lack some. Nothing is trained on them."""
STUDIES: dict[str, Entry] = {
    "table2": Entry(
        "The knob: teachers calibrated both ways, their students, and the baselines",
        table2,
    ),
    "table1": Entry(
        "The traps: token and sequence KL, importance weights and their health, wrong-trace preference",
        table1,
        own=PILOT,
        all_families=True,
    ),
    "table4": Entry("The traps of original and calibrated teachers (calibrations shared with table2)", table4),
    "figure2": Entry(
        "Tail noise: contribution to the KL against token frequency, for several K (diagnoses shared with table1)",
        figure2,
        own=PILOT,
        all_families=True,
    ),
}
SETTINGS: dict[Scale, Callable[[], Settings]] = {
    "toy": toy.settings,
    "small": small.settings,
    "paper": paper.settings,
}
DEFAULT_FAMILIES: dict[Scale, tuple[str, ...]] = {
    "toy": ("qwen3",),
    "small": ("qwen3",),
    "paper": ("gemma3", "qwen3"),
}


def entry(name: str) -> Entry:
    """A study's line.

    Raises:
        InputError: there is no such study.
    """
    if name not in STUDIES:
        raise InputError(f"study '{name}': no such study. Studies: {', '.join(STUDIES)}")
    return STUDIES[name]


def settings_of(scale: str) -> Settings:
    """The scale's settings before anybody's wishes.

    Raises:
        InputError: there is no such scale.
    """
    if scale not in SCALES:
        raise InputError(f"scale '{scale}': no such scale. Scales: auto, {', '.join(SCALES)}")
    return SETTINGS[scale]()


def plan(
    name: str, scale: Scale, families: Iterable[str], seeds: int, assignments: Iterable[str], first_seed: int = 0
) -> Study:
    """The study for that many seeds from the first on, with a person's families (none: the scale's default; 'all') and settings.

    Raises:
        InputError: unknown study, scale, family, or setting.
    """
    study = entry(name)
    if seeds < 1:
        raise InputError(f"--seeds {seeds}: ask for at least one")
    wishes = tuple(assignments)
    settings = override(settings_of(scale), (*study.own.get(scale, ()), *wishes))
    usual = (
        ("all",) if study.all_families and scale != "paper" else DEFAULT_FAMILIES[scale]
    )  # appendix F: where asked for
    chosen = tuple(families) or usual
    chosen = tuple(settings.families) if "all" in chosen else chosen
    unknown = [family for family in chosen if family not in settings.families]
    if unknown:
        raise InputError(f"family '{unknown[0]}': not at scale {scale}. Families: {', '.join(settings.families)}, all")
    settings = settings.model_copy(update={"families": {name: settings.families[name] for name in chosen}})
    return study.plan(scale, settings, tuple(range(first_seed, first_seed + seeds)), wishes)
