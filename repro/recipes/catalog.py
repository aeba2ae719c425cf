"""Every study by name, and how a study, a scale and a person's wishes become a plan."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from repro.errors import InputError
from repro.models.loading import locate
from repro.recipes import paper, small, toy
from repro.recipes.controls import controls
from repro.recipes.eta_sweep import eta_sweep
from repro.recipes.further import failure_modes, figure1a, figure3, figure4, table5
from repro.recipes.generalisation import table3, table7
from repro.recipes.settings import Settings, override
from repro.recipes.shared_stages import cache_revisions, judge_of
from repro.recipes.study import SCALES, Scale, Study
from repro.recipes.table2 import table2
from repro.recipes.table6 import table6
from repro.recipes.traps import figure2, table1, table4
from repro.tasks import registry


@dataclass(frozen=True)
class Entry:
    """A line of `repro list`, and the function that plans the study.

    own: assignments of the study's own at a scale, which a person's come after. families: those that it measures unless
    some are named, where they are not the scale's default. seeds: how many it takes unless told, where not one.
    """

    title: str
    plan: Callable[[Scale, Settings, tuple[int, ...], tuple[str, ...]], Study]
    own: dict[Scale, tuple[str, ...]] = field(default_factory=dict)
    families: dict[Scale, tuple[str, ...]] = field(default_factory=dict)
    seeds: dict[Scale, int] = field(default_factory=dict)


PILOT: dict[Scale, tuple[str, ...]] = {
    "toy": ("tasks=toy-bm4,toy-csqa,toy-dolly",),
    "small": ("tasks=gsm8k,csqa,dolly",),
}
"""Tasks of the pilot study: one of each kind where a scale's own tasks lack some. Nothing is trained on them."""
PILOT_FAMILIES: dict[Scale, tuple[str, ...]] = {"toy": ("qwen3", "gemma3")}
FURTHER: dict[Scale, tuple[str, ...]] = {
    "toy": ("tasks=toy-bm4,toy-csqa", "source_tasks=toy-bm4"),
    "paper": ("tasks=gsm8k,csqa,mmlu-pro,supergpqa", "source_tasks=gsm8k"),
}
"""Tasks of Tables 6 and 7. At toy scale one numeric and one choice task: each costs a calibration of its own."""
FURTHER_FAMILIES: dict[Scale, tuple[str, ...]] = {"toy": ("gemma3", "qwen3"), "paper": tuple(paper.FURTHER_FAMILIES)}
STUDIES: dict[str, Entry] = {
    "table2": Entry(
        "The knob: teachers calibrated both ways, their students, and the baselines",
        table2,
    ),
    "table1": Entry(
        "The traps: token and sequence KL, importance weights and their health, wrong-trace preference",
        table1,
        own=PILOT,
        families=PILOT_FAMILIES,
    ),
    "table4": Entry("The traps of original and calibrated teachers (calibrations shared with table2)", table4),
    "figure2": Entry(
        "Tail noise: contribution to the KL against token frequency, for several K (diagnoses shared with table1)",
        figure2,
        own=PILOT,
        families=PILOT_FAMILIES,
    ),
    "table3": Entry(
        "Out of distribution and across distributions: calibrated on mathematics alone, judged on unseen tasks",
        table3,
        own={"toy": ("tasks=toy-bm4,toy-bm5,toy-csqa,toy-mmlu-pro,toy-supergpqa",)},
    ),
    "table6": Entry(
        "Further pairs: a teacher and a student per task, in distribution",
        table6,
        own=FURTHER,
        families=FURTHER_FAMILIES,
    ),
    "table7": Entry(
        "Further pairs on unseen tasks (calibrations and first students shared with table6)",
        table7,
        own=FURTHER,
        families=FURTHER_FAMILIES,
    ),
    "eta-sweep": Entry(
        "The knob's whole curve: teacher, students, traps and lengths at nine values of eta (calibrations shared with table2)",
        eta_sweep,
        own={"toy": ("sft.steps=100", "gkd_rkl.steps=100", "diagnosis.gradient_prompts=0", "diagnosis.resamples=200")},
        seeds={"toy": 3},
    ),
    "controls": Entry(
        "What else could explain a misled student: table2's calibration with one thing changed at a time", controls
    ),
    "table5": Entry("What each stage costs, and what it would cost you (stages shared with table2)", table5),
    "figure1a": Entry("Teachers that should have been better: a student's gain under each teacher at hand", figure1a),
    "figure3": Entry("Teachers keep, students fall (stages shared with table2)", figure3),
    "figure4": Entry("Teachers that go on from the misled student's prefixes: how often they end right", figure4),
    "failure-modes": Entry("How students fail on prompts that they solved before (section 6.5)", failure_modes),
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


def find_study(name: str) -> Entry:
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
    name: str,
    *,
    scale: Scale,
    families: Iterable[str] = (),
    seeds: int | None = None,
    assignments: Iterable[str] = (),
    first_seed: int = 0,
) -> Study:
    """The study for that many seeds from the first on (None: its own number), with a person's families (none: the
    default; 'all') and settings.

    Raises:
        InputError: unknown study, scale, family, or setting.
    """
    study = find_study(name)
    seeds = study.seeds.get(scale, 1) if seeds is None else seeds
    if seeds < 1:
        raise InputError(f"--seeds {seeds}: ask for at least one")
    wishes = tuple(assignments)
    settings = override(settings_of(scale), (*study.own.get(scale, ()), *wishes))
    for task in (*settings.tasks, *settings.source_tasks):
        registry.kind_of(task)  # refuses a name that no task has, whether or not this study reads it
    judge_of(settings)  # the same for models
    if settings.reward_model:
        locate(settings.reward_model)
    chosen = tuple(families) or study.families.get(scale, DEFAULT_FAMILIES[scale])
    chosen = tuple(settings.families) if "all" in chosen else chosen
    unknown = [family for family in chosen if family not in settings.families]
    if unknown:
        raise InputError(f"family '{unknown[0]}': not at scale {scale}. Families: {', '.join(settings.families)}, all")
    settings = settings.model_copy(update={"families": {name: settings.families[name] for name in chosen}})
    with cache_revisions():
        return study.plan(scale, settings, tuple(range(first_seed, first_seed + seeds)), wishes)
