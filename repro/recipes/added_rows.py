"""Rows that plug-ins add to a study, checked before anything runs: rows that could not be measured are refused."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import pydantic

from repro.errors import InputError
from repro.recipes.shared_stages import Pair
from repro.recipes.studies import STUDIES
from repro.recipes.study import Row
from repro.recipes.study_rows import StudyRows
from repro.stages import Stage, stage_adapter
from repro.system.input_errors import describe_problem


def check_studies(plugins: Iterable[StudyRows], study: str) -> None:
    """Refuse rows for another study, or for a study that only measures built-in rows.

    Raises:
        InputError: names the plug-in and the studies that take rows.
    """
    able = [name for name, entry in STUDIES.items() if entry.added_kinds]
    labels: list[str] = []
    for plugin in plugins:
        target = getattr(plugin, "study", None)
        if target not in STUDIES:
            raise InputError(
                f"rows '{plugin.name}': study {target!r}: no such study. Studies that take rows: {_list(able)}"
            )
        if target not in able:
            raise InputError(
                f"rows '{plugin.name}': study {target} takes no added rows. Studies that do: {_list(able)}"
            )
        if target != study:
            raise InputError(
                f"rows '{plugin.name}': they are for {target}, not {study}: leave them out of --set rows=..."
            )
        if plugin.label in labels:
            raise InputError(f"--set rows: '{plugin.label}' is listed twice. List it once")
        labels.append(plugin.label)


def added_rows(pair: Pair, study: str, recipe: Callable[[Pair], Iterable[Row]]) -> Iterator[Row]:
    """Yield the rows that the settings' plug-ins add for a pair.

    Args:
        recipe: the study's own rows.

    Raises:
        InputError: a plug-in that raises, a label that already exists, or a stage that the study cannot measure.
    """
    if not pair.settings.rows:
        return
    study_rows = list(recipe(pair))
    all_controls = pair.settings.model_copy(update={"controls": True, "more_controls": True})
    labels = {row.method for row in (*study_rows, *recipe(replace(pair, settings=all_controls)))}
    for plugin in pair.settings.rows:
        rows = _rows_of(plugin, pair)
        for row in rows:
            _check_row(row, plugin, pair, study, labels, study_rows)
        for label in dict.fromkeys(row.method for row in rows):
            _check_tasks([row for row in rows if row.method == label], plugin, study, study_rows)
        labels |= {row.method for row in rows}
        yield from (replace(row, plugin=plugin.label) for row in rows)


def check_seeds(rows: Iterable[Row], seeds: Sequence[int]) -> None:
    """Refuse an added row that lacks some seeds: the measured table would use one evaluation for all seeds.

    Raises:
        InputError: names the plug-in, the row and the seeds.
    """
    seeds_of: dict[tuple[str, str, str, str], set[int]] = {}
    for row in rows:
        if row.plugin is not None:
            seeds_of.setdefault((row.plugin, row.family, row.method, row.stage.kind), set()).add(row.seed)
    for (plugin, family, label, _), present in seeds_of.items():
        if lacking := sorted(set(seeds) - present):
            raise InputError(
                f"rows '{plugin}', row {label!r}: not yielded for {family} under seeds {_list(lacking)}: yield it for every pair"
            )


def _rows_of(plugin: StudyRows, pair: Pair) -> list[Row]:
    try:
        rows = list(plugin.rows(pair))
    except InputError as error:
        raise InputError(f"rows '{plugin.name}': {error}") from error
    except Exception as error:
        cause = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise InputError(f"rows '{plugin.name}': rows() failed for {pair.family}, seed {pair.seed}: {cause}") from error
    if not rows:
        raise InputError(f"rows '{plugin.name}': rows() yields none for {pair.family}, seed {pair.seed}")
    return rows


def _check_row(
    row: object, plugin: StudyRows, pair: Pair, study: str, labels: set[str], study_rows: Sequence[Row]
) -> None:
    name = f"rows '{plugin.name}'"
    if not isinstance(row, Row):
        raise InputError(f"{name}: rows() yields {str(row)[:60]!r}: yield pair.row(label, stage)")
    name += f", row {row.method!r}"
    if not row.method or not row.method.isprintable():
        raise InputError(f"{name}: the label must be one line of printable text")
    if row.method in labels:
        raise InputError(f"{name}: {study} has a row of this name. Choose another label")
    facts = (row.eta, row.of, row.guard)
    if (row.family, row.seed) != (pair.family, pair.seed) or any(fact is not None for fact in facts):
        raise InputError(f"{name}: make the row with pair.row(label, stage), without eta, of or guard")
    if not isinstance(row.stage, Stage):
        raise InputError(
            f"{name}: {type(row.stage).__name__} is not a stage: pass one, for example pair.evaluate(model)"
        )
    try:  # as its process will: pydantic does not validate a copy with changed fields
        stage_adapter.validate_json(row.stage.model_dump_json(warnings=False))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{name}: its stage: {'.'.join(map(str, first['loc']))}: {describe_problem(first)}") from None
    except InputError as error:
        raise InputError(f"{name}: its stage: {error}") from None
    kinds = STUDIES[study].added_kinds
    if row.stage.kind not in kinds:
        raise InputError(f"{name}: its stage is of kind {row.stage.kind}; {study} measures {_list(kinds)}")
    same_kind = [known.stage for known in study_rows if known.stage.kind == row.stage.kind]
    known_data = {data for stage in same_kind for data in stage.data}
    foreign = next((data for data in row.stage.data if data not in known_data), None)
    if foreign is not None:
        raise InputError(
            f"{name}: its items of {foreign.task} are not those of {study}: make the stage with pair.{row.stage.kind}(...)"
        )
    counts = {stage.samples_per_prompt for stage in same_kind}
    if row.stage.samples_per_prompt not in counts:
        raise InputError(
            f"{name}: {row.stage.samples_per_prompt} completions per item; {study} has {_list(sorted(counts))}"
        )


def _check_tasks(rows: Sequence[Row], plugin: StudyRows, study: str, study_rows: Sequence[Row]) -> None:
    """Refuse a row that lacks a task all rows of its kind have (all would lose it), or that has a task twice."""
    tasks_of: dict[str, set[str]] = {}
    for known in study_rows:
        if known.stage.kind == rows[0].stage.kind:
            tasks_of.setdefault(known.method, set()).update(data.task for data in known.stage.data)
    tasks = [data.task for row in rows for data in row.stage.data]
    name = f"rows '{plugin.name}', row {rows[0].method!r}"
    if lacking := sorted(set.intersection(*tasks_of.values()) - set(tasks)):
        raise InputError(
            f"{name}: not measured on {_list(lacking)}, but every row of {study} is. Yield it for these tasks too"
        )
    if len(set(tasks)) < len(tasks):
        raise InputError(f"{name}: yielded twice for the same task. Give each row a label of its own")


def _list(names: Iterable[object]) -> str:
    return ", ".join(map(str, names))
