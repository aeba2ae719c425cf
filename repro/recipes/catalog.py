"""Plan a study from its name, a scale and the user's settings."""

from collections.abc import Callable, Iterable

from repro.errors import InputError
from repro.models.loading import locate
from repro.recipes import paper, small, toy
from repro.recipes.added_rows import added_rows, check_seeds, check_studies
from repro.recipes.judges import judge_of
from repro.recipes.settings import Family, Settings, override
from repro.recipes.shared_stages import Pair, cache_revisions
from repro.recipes.studies import SCALES, STUDIES, Entry, Scale, resolve
from repro.recipes.study import Study
from repro.system.input_errors import did_you_mean
from repro.tasks import registry
from repro.toy.models import in_world
from repro.toy.world import parse_world

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
DEFAULT_SEEDS: dict[Scale, int] = {"toy": 1, "small": 1, "paper": 3}
"""Default number of training seeds. A single seed shows no spread between training runs, so at paper scale it could
confirm no printed cell of a trained model."""


def find_study(name: str) -> Entry:
    """Return a study's entry.

    Raises:
        InputError: there is no such study.
    """
    if name not in STUDIES:
        raise InputError(f"study '{name}': no such study. {did_you_mean(name, STUDIES)}Studies: {', '.join(STUDIES)}")
    return STUDIES[name]


def default_seeds(entry: Entry, scale: Scale) -> int:
    """Return a study's default number of training seeds at a scale."""
    return entry.seeds.get(scale, DEFAULT_SEEDS[scale])


def settings_of(scale: str) -> Settings:
    """Return a scale's settings before any override.

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
    """Plan a study.

    Args:
        families: names, or "all"; none for the study's default.
        seeds: how many, counted from `first_seed`; None for the study's default.
        assignments: the user's `key=value` texts.

    Raises:
        InputError: unknown study, scale, family, or setting.
    """
    entry, defaults = find_study(name), settings_of(scale)
    seeds = default_seeds(entry, scale) if seeds is None else seeds
    if seeds < 1:
        raise InputError(f"--seeds {seeds}: ask for at least one")
    assignments = tuple(assignments)
    settings = select_world(override(defaults, (*entry.overrides.get(scale, ()), *assignments)))
    _check_names(settings)
    check_studies(settings.rows, name)
    chosen = tuple(families) or entry.families.get(scale, DEFAULT_FAMILIES[scale])
    chosen = tuple(settings.families) if "all" in chosen else tuple(dict.fromkeys(chosen))
    unknown = [family for family in chosen if family not in settings.families]
    if unknown:
        raise InputError(f"family '{unknown[0]}': not at scale {scale}. Families: {', '.join(settings.families)}, all")
    settings = settings.model_copy(update={"families": {family: settings.families[family] for family in chosen}})
    rows = resolve(entry.rows)
    planned_seeds = tuple(range(first_seed, first_seed + seeds))
    with cache_revisions():
        pairs = [Pair(family, settings.families[family], settings, seed) for family in chosen for seed in planned_seeds]
        study = Study(
            name=name,
            scale=scale,
            tasks=resolve(entry.tasks)(settings) if entry.tasks else settings.tasks,
            seeds=planned_seeds,
            rows=tuple(row for pair in pairs for row in (*rows(pair), *added_rows(pair, name, rows))),
            settings=settings.model_dump(mode="json", exclude=None if settings.rows else {"rows"}),
            assignments=assignments,
        )
    check_seeds(study.rows, planned_seeds)
    _check_items(study)
    return study


def select_world(settings: Settings) -> Settings:
    """Return the settings with toy model names resolved in the world they name.

    Raises:
        InputError: not a name of a world.
    """
    if settings.world is None:
        return settings
    world = parse_world(settings.world)
    families = {
        name: Family.model_validate(
            {
                field: [in_world(model, world) for model in models]
                if isinstance(models, tuple | list)
                else models and in_world(models, world)
                for field, models in family.model_dump().items()
            }
        )
        for name, family in settings.families.items()
    }
    reward_model = settings.reward_model and in_world(settings.reward_model, world)
    return settings.model_copy(update={"families": families, "reward_model": reward_model})


def _check_items(study: Study) -> None:
    """Refuse a study with a single item: without a spread over items, nothing could be judged."""
    for row in study.rows:
        single = next((part for part in row.stage.data if part.n == 1 and part.split == "test"), None)
        if single is not None:
            raise InputError(
                f"task {single.task}: one evaluation item has no spread, so no claim could be judged. Ask for two or more"
                " (--items, --set test_items=...)."
            )


def _check_names(settings: Settings) -> None:
    """Refuse a task or model that does not exist, even if this study does not read it."""
    for task in (*settings.tasks, *settings.source_tasks):
        registry.kind_of(task)
    judge_of(settings)
    if settings.reward_model:
        locate(settings.reward_model)
