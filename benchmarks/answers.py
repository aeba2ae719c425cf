"""What the committed verdicts answer: lines, tables and the page of all studies, as Markdown."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from repro.planner.cards import CPU_CORE
from repro.planner.hours import hours_on_card
from repro.printed.claims import Claim
from repro.printed.load import load_claims
from repro.recipes.catalog import plan
from repro.recipes.studies import STUDIES, Entry
from repro.tables.metric_names import without_ids
from repro.tables.statistics.decision import VERDICT_VALUES
from repro.tables.verdicts.known_verdicts import KnownVerdict, KnownVerdicts, load_known_verdicts
from repro.tables.verdicts.sentences import claim_in_symbols

ROOT = Path(__file__).resolve().parents[1]
ROLES = {"claim": "claims of the paper", "premise": "premises", "control": "controls"}
CLAIMS = {(claim.study, claim.id): claim for claim in load_claims()}
UNRECORDED = "not recorded yet"
CAUTION = (
    "Toy results say how the method behaves in models with well under a million parameters; they are no verdict on the"
    " paper's numbers."
)


def record_of(study: str) -> KnownVerdicts | None:
    """Return the committed verdicts of a study at toy scale; None if none are recorded."""
    path = ROOT / "benchmarks" / "known_verdicts" / f"{study}-toy.toml"
    return load_known_verdicts(path) if path.is_file() else None


def further_records(study: str) -> dict[str, KnownVerdicts]:
    """Return the committed verdicts of a study in other worlds and on other tasks, by their label."""
    start = f"{study}-toy-"
    files = sorted((ROOT / "benchmarks" / "known_verdicts").glob(f"{start}*.toml"))
    return {file.stem.removeprefix(start): load_known_verdicts(file) for file in files}


def question_of(entry: Entry) -> str:
    return entry.question or entry.title


def claim_of(study: str, verdict: KnownVerdict) -> Claim:
    return CLAIMS[study, verdict.claim]


def count_of(verdicts: Iterable[KnownVerdict]) -> str:
    """Return counts in words, e.g. "4 of 8 reproduced, 1 contradicted, 3 inconclusive (2 not run)"."""
    verdicts = list(verdicts)
    counts = Counter(verdict.verdict for verdict in verdicts)
    first, *rest = VERDICT_VALUES
    text = ", ".join(
        [f"{counts[first]} of {counts.total()} {first}", *(f"{counts[name]} {name}" for name in rest if counts[name])]
    )
    absent = sum(_measured(verdict).startswith("not run") for verdict in verdicts)
    return text.replace(" inconclusive", f" inconclusive ({absent} not run)") if absent else text


def by_role(record: KnownVerdicts) -> dict[str, list[KnownVerdict]]:
    """Return the record's verdicts by the role of their claim, roles without any left out."""
    verdicts: dict[str, list[KnownVerdict]] = {role: [] for role in ROLES}
    for verdict in record.claims:
        verdicts[claim_of(record.study, verdict).role].append(verdict)
    return {role: part for role, part in verdicts.items() if part}


def short_answer(study: str) -> str:
    """Return the verdicts on a study's claims at toy scale in a line; those on its controls if it has nothing else."""
    record = record_of(study)
    if record is None:
        return UNRECORDED
    parts = by_role(record)
    role = next(iter(parts))
    counted = count_of(parts[role]).replace(" of ", "/", 1)
    return counted if role == "claim" else f"{counted} ({ROLES[role]})"


def answer(study: str) -> str:
    """Return all of a study's verdicts at toy scale in a line."""
    record = record_of(study)
    return UNRECORDED if record is None else answer_of(record)


def answer_of(record: KnownVerdicts) -> str:
    """Return the verdicts of a record in a line."""
    return "; ".join(f"{ROLES[role]}: {count_of(part)}" for role, part in by_role(record).items())


def answers_table() -> str:
    """Return the table of README.md: a row for each study."""
    lines = ["| question | study | answer |", "|---|---|---|"]
    for study, entry in STUDIES.items():
        lines.append(f"|{question_of(entry)}|[{study}](docs/results.md#{study})|{short_answer(study)}|")
    return "\n".join(lines)


def headline() -> str:
    """Return what the main experiment gave, claim by claim, in sentences."""
    record = record_of("table2")
    assert record is not None
    paper, premises = by_role(record)["claim"], by_role(record)["premise"]
    parts = [f"- **claims {line}**: {statements}" for line, statements in _by_value(paper)]
    parts += [f"- premises {line}: {text}" for line, text in _by_value(premises) if not line.startswith("reproduced")]
    refuted = [claim_of("table2", v) for v in (*paper, *premises) if v.verdict == "contradicted"]
    reasons = dict.fromkeys(claim.toy_reason for claim in refuted if claim.toy_reason)
    explained = "([leaps and walks](docs/toy_world.md#facts-and-texts))"
    parts += [
        f"- why: in the embedded world {reason.replace('(property P4 of the world)', explained)}" for reason in reasons
    ]
    seeds = len(record.seeds)
    first = f"[Table 2](docs/results.md#table2) at toy scale, {seeds} training seeds"
    return "\n".join([f"{first}:", "", *parts])


def _by_value(verdicts: list[KnownVerdict]) -> Iterator[tuple[str, str]]:
    """Yield e.g. ("contradicted (2)", "A > B; C > B") for each verdict that was given."""
    families = {verdict.family for verdict in verdicts}
    for value in VERDICT_VALUES:
        statements = [
            f"{claim_in_symbols(claim_of('table2', verdict))}{f' ({verdict.family})' if len(families) > 1 else ''}"
            for verdict in verdicts
            if verdict.verdict == value
        ]
        if statements:
            yield f"{value} ({len(statements)})", "; ".join(statements)


def results_page() -> str:
    """Return docs/results.md: every verdict of every study, with its number."""
    lines = [
        "# Measured answers",
        "",
        "Written by `nox -s documents` from `benchmarks/known_verdicts/`, the committed verdicts of every study at toy scale;",
        "`nox -s reproduce-STUDY` makes each again. " + CAUTION,
        "",
        "A *claim* is a sentence of the paper, a *premise* one that it takes for granted, a *control* a question of ours"
        " ([controls](controls.md)). What a verdict is: [verdicts](verdicts.md). Words: [glossary](glossary.md).",
        "",
        "Settings were chosen in worlds 0 to 2 ([the embedded worlds](toy_world.md)). No study has been run at small or paper"
        " scale yet.",
        "",
        "| study | question | answer |",
        "|---|---|---|",
    ]
    for study, entry in STUDIES.items():
        lines.append(f"| [{study}](#{study}) | {question_of(entry)} | {answer(study)} |")
    for study, entry in STUDIES.items():
        lines += ["", *_study_lines(study, entry)]
    return "\n".join(lines) + "\n"


def _study_lines(study: str, entry: Entry) -> list[str]:
    record = record_of(study)
    if record is None:
        return [f"## {study}", "", f"{question_of(entry)} {UNRECORDED.capitalize()}."]
    families = {verdict.family for verdict in record.claims}
    seeds = ", ".join(map(str, record.seeds))
    lines = [
        f"## {study}",
        "",
        f"{question_of(entry)} In {record.world}, seeds {seeds}, tasks {', '.join(record.tasks)}; recorded {record.date} at commit `{record.commit[:7]}`.",
        "",
        "| statement | role | verdict | measured |",
        "|---|---|---|---|",
    ]
    for part in by_role(record).values():
        for verdict in part:
            claim = claim_of(study, verdict)
            statement = claim_in_symbols(claim) + (f" ({verdict.family})" if len(families) > 1 else "")
            cells = (statement, claim.role, verdict.verdict, _measured(verdict))
            lines.append(table_row(cells))
    for label, further in further_records(study).items():
        lines += ["", *_further_lines(label, further, record)]
    return lines


def _further_lines(label: str, further: KnownVerdicts, record: KnownVerdicts) -> list[str]:
    """Return a table of a further record, with the verdict of the study's own record beside each."""
    usual = {(verdict.claim, verdict.family): verdict.verdict for verdict in record.claims}
    lines = [
        f"### {further.study}, {label}",
        "",
        f"In {further.world}, seeds {', '.join(map(str, further.seeds))}, tasks {', '.join(further.tasks)}; recorded"
        f" {further.date} at commit `{further.commit[:7]}`. The plan is {planned_minutes(further):.0f} minutes on two CPU cores,"
        f" with the stages that the study above shares. Result: {answer_of(further)}.",
        "",
        "| statement | family | verdict | above | measured |",
        "|---|---|---|---|---|",
    ]
    for part in by_role(further).values():
        for verdict in part:
            statement = claim_in_symbols(claim_of(further.study, verdict))
            above = usual.get((verdict.claim, verdict.family), "")
            lines.append(table_row((statement, verdict.family, verdict.verdict, above, _measured(verdict))))
    return lines


def planned_minutes(record: KnownVerdicts) -> float:
    """Return the minutes that the study of a record takes on two CPU cores, by the model of hours."""
    families = tuple(dict.fromkeys(verdict.family for verdict in record.claims))
    assignments = [f"tasks={','.join(record.tasks)}", f"world={record.world}"]
    study = plan(record.study, scale="toy", seeds=len(record.seeds), families=families, assignments=assignments)
    return 60 * hours_on_card(study, CPU_CORE) / 2


def _measured(verdict: KnownVerdict) -> str:
    """Return what was measured, in words: older records have ids of metrics."""
    text = without_ids(verdict.reason.removeprefix(f"{verdict.verdict}: ").removeprefix(f"{verdict.verdict}; "))
    text = text.replace("whether it is one at all", "whether there is a difference at all")  # as older records say it
    return re.sub(r"^(not run, row .* has no )(?!measurement of )", r"\1measurement of ", text)


def table_row(cells: Iterable[str]) -> str:
    """Return a line of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
