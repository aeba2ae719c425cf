"""Every study, declared once. No imports beyond Python's own: noxfile.py runs this file before anything is installed.

What follows from an entry: `repro list`, the plan, the measurement, the nox session, the tests in benchmarks/, the page's
title where the paper prints no table, and the rows of README.md.
"""

import re
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

Scale = Literal["toy", "small", "paper"]
SCALES: tuple[Scale, ...] = ("toy", "small", "paper")


@dataclass(frozen=True)
class Budget:
    """Upper bounds on a study's planned cost, from an empty cache, with its default seeds and families.

    A test compares the plan with them, so that a study never grows by accident.

    Attributes:
        toy_minutes: on two cores, by the model of hours without measured factors.
        toy_mib: artifacts.
        paper_gpu_hours: H100 hours, by the same model.
    """

    toy_minutes: float
    toy_mib: float
    paper_gpu_hours: float


@dataclass(frozen=True)
class Examples:
    """Completions that a page shows side by side.

    Attributes:
        function: (study, cache) -> these completions.
        text: what the page says of their choice.
    """

    function: str
    text: str


_ANSWERED = "on the first prompts of each task, by item id, that all of them answered."
ANSWERS = Examples(
    "report.examples:answers", f"The first completions of the main models (not of every row) {_ANSWERED}"
)
GUARDED_ANSWERS = Examples(
    "report.examples:guarded_answers",
    "The first completions of the teacher under each guard, and of the student before and after training on its own samples,"
    f" {_ANSWERED}",
)


@dataclass(frozen=True)
class Entry:
    """One study. Functions are named as "module:function" below `repro`; `resolve` imports them.

    Attributes:
        title: its line in `repro list`.
        session: description of its nox session.
        rows: Pair -> its measured rows.
        budget: see `Budget`.
        question: what its claims answer, for readers who have not read the paper.
        measure: adds the cells of a family to its measured table.
        tasks: Settings -> the tasks to measure; by default those of the settings.
        derivation: study -> lines that its dry run adds above toy scale.
        examples: the completions that its page shows; None for none.
        extras: (study, cache) -> facts that only its page needs.
        section: (part of a page, key) -> a section that only its page has.
        figures: (part of a page, palette) -> figures that only its page has.
        export: (study, part of a page, cache, folder) writes figures as files.
        name: what pages call it; a table or figure of the paper has its number for a name (`name_of`).
        page_title: title of its report, if `paper_tables/` has no file of the study's name.
        overrides: settings of the study at a scale; the user's are applied after them.
        families: default families, if they differ from the scale's.
        added_kinds: kinds of stage that rows of a plug-in may have (docs/plugins.md); none where the measurement reads the
            study's own rows alone.
        seeds: default number of seeds, if it differs from the scale's (`recipes.catalog.DEFAULT_SEEDS`).
    """

    title: str
    session: str
    rows: str
    budget: Budget
    question: str = ""
    measure: str = "tables.measurements.answers:add_answers"
    tasks: str = ""
    derivation: str = ""
    examples: Examples | None = ANSWERS
    extras: str = ""
    section: str = ""
    figures: str = ""
    export: str = ""
    name: str = ""
    page_title: str = ""
    overrides: dict[Scale, tuple[str, ...]] = field(default_factory=dict)
    families: dict[Scale, tuple[str, ...]] = field(default_factory=dict)
    added_kinds: tuple[str, ...] = ()
    seeds: dict[Scale, int] = field(default_factory=dict)


def resolve(reference: str) -> Any:
    """Import the function that a reference names: "recipes.table2:rows"."""
    module, _, name = reference.partition(":")
    return getattr(import_module(f"repro.{module}"), name)


PILOT: dict[Scale, tuple[str, ...]] = {
    "toy": ("tasks=toy-bm4,toy-csqa,toy-dolly",),
    "small": ("tasks=gsm8k,csqa,dolly",),
}
"""Tasks of the pilot study: one of each kind where a scale's own tasks lack some. Nothing is trained on them."""
PILOT_FAMILIES: dict[Scale, tuple[str, ...]] = {"toy": ("qwen3", "gemma3")}
FURTHER_PAIRS: dict[Scale, tuple[str, ...]] = {
    "toy": ("tasks=toy-bm4,toy-csqa", "source_tasks=toy-bm4"),
    "paper": ("tasks=gsm8k,csqa,mmlu-pro,supergpqa", "source_tasks=gsm8k"),
}
"""Tasks of Tables 6 and 7. At toy scale one numeric and one choice task: each needs its own calibration."""
LADDER = (
    "matrix.guards=none,knob,answer-only,reorder",
    "matrix.attacks=own-answers,sft-answers,sft,top-k(k=1),top-k,top-k(k=20),gkd-fkl,gkd-rkl",
)
"""Guards and attacks of the study `leak`: an attack or more for each rung, none of them chosen by its outcome."""
FURTHER_FAMILIES: dict[Scale, tuple[str, ...]] = {"toy": ("gemma3", "qwen3"), "paper": ("deepseek-r1", "llama3")}

STUDIES: dict[str, Entry] = {
    "table2": Entry(
        title="The knob: teachers calibrated both ways, their students, and the baselines",
        question="Does the knob steer the student and spare the teacher?",
        session="The knob (Table 2)",
        rows="recipes.table2:rows",
        added_kinds=("evaluate",),
        budget=Budget(toy_minutes=5, toy_mib=20, paper_gpu_hours=9000),
    ),
    "table1": Entry(
        title="The traps: token and sequence KL, importance weights and their health, wrong-trace preference",
        question="Are the traps there?",
        session="The traps of every pair (Table 1)",
        rows="recipes.table1_and_4:pair_rows",
        measure="tables.measurements.traps:add_prompts",
        section="report.sections.panel:panel_section",
        budget=Budget(toy_minutes=2, toy_mib=10, paper_gpu_hours=3000),
        overrides=PILOT,
        families=PILOT_FAMILIES,
    ),
    "table4": Entry(
        title="The traps of original and calibrated teachers, and their students' outcomes (stages shared with table2)",
        question="Does calibration move the traps as the paper says?",
        session="The traps of calibrated teachers (Table 4; shares Table 2's calibrations and students)",
        rows="recipes.table1_and_4:calibrated_rows",
        measure="tables.measurements.trap_outcomes:add_traps_and_outcomes",
        section="report.sections.panel:panel_section",
        added_kinds=("diagnose",),
        budget=Budget(toy_minutes=4, toy_mib=30, paper_gpu_hours=5500),
    ),
    "figure2": Entry(
        title="Tail noise: contribution to the KL against token frequency, for several K (diagnoses shared with table1)",
        question="Do frequent tokens dominate the KL, and only in its tail?",
        session="Which tokens drive the KL (Figure 2; shares Table 1's diagnoses)",
        page_title="Tail noise: mean contribution of each token to the KL against its frequency, for several K",
        rows="recipes.table1_and_4:pair_rows",
        measure="tables.measurements.traps:add_blocks",
        section="report.sections.panel:correlation_section",
        figures="report.figures.figure2:correlations",
        export="report.figures.figure2:export_figures",
        budget=Budget(toy_minutes=2, toy_mib=10, paper_gpu_hours=3000),
        overrides=PILOT,
        families=PILOT_FAMILIES,
    ),
    "table3": Entry(
        title="Out of distribution and cross-distribution: calibrated on mathematics alone, judged on unseen tasks",
        question="Does the effect reach unseen tasks?",
        session="Out of distribution and cross-distribution (Table 3; shares Table 2's calibrations)",
        rows="recipes.table3_and_7:rows",
        tasks="recipes.table3_and_7:unseen_tasks",
        added_kinds=("evaluate",),
        budget=Budget(toy_minutes=6, toy_mib=20, paper_gpu_hours=5000),
        overrides={"toy": ("tasks=toy-bm4,toy-bm5,toy-csqa,toy-mmlu-pro,toy-supergpqa",)},
    ),
    "table6": Entry(
        title="Further pairs: a teacher and a student per task, in distribution",
        question="Do further pairs of models behave the same?",
        session="The further pairs (Table 6)",
        rows="recipes.table6:rows",
        added_kinds=("evaluate",),
        budget=Budget(toy_minutes=7, toy_mib=40, paper_gpu_hours=12500),
        overrides=FURTHER_PAIRS,
        families=FURTHER_FAMILIES,
    ),
    "table7": Entry(
        title="Further pairs on unseen tasks (calibrations and first students shared with table6)",
        question="And further pairs on unseen tasks?",
        session="The further pairs on unseen tasks (Table 7; shares Table 6's calibrations)",
        rows="recipes.table3_and_7:rows",
        tasks="recipes.table3_and_7:unseen_tasks",
        added_kinds=("evaluate",),
        budget=Budget(toy_minutes=6, toy_mib=30, paper_gpu_hours=5000),
        overrides=FURTHER_PAIRS,
        families=FURTHER_FAMILIES,
    ),
    "eta-sweep": Entry(
        title="The knob's whole curve: teacher, students, traps and lengths at nine values of eta"
        " (calibrations shared with table2)",
        question="Does the whole curve follow eta?",
        session="The knob's whole curve, three seeds (shares Table 2's calibrations)",
        name="Eta sweep",
        page_title="The knob's whole curve: teacher, students, traps and completion length against eta",
        rows="recipes.eta_sweep:rows",
        measure="tables.measurements.answers:add_eta_sweep",
        section="report.sections.panel:panel_section",
        budget=Budget(toy_minutes=25, toy_mib=200, paper_gpu_hours=35000),
        overrides={
            "toy": ("sft.steps=100", "gkd_rkl.steps=100", "diagnosis.gradient_prompts=0", "diagnosis.resamples=200")
        },
        seeds={"toy": 3},
    ),
    "controls": Entry(
        title="What else could explain a misled student: table2's calibration with one thing changed at a time",
        question="What else could explain a misled student?",
        session="What else could explain a misled student (shares Table 2's stages)",
        name="Controls",
        page_title="What else could explain a misled student: the calibration of Table 2 with one thing changed at a"
        " time",
        rows="recipes.controls:rows",
        added_kinds=("evaluate",),
        budget=Budget(toy_minutes=10, toy_mib=60, paper_gpu_hours=31500),
    ),
    "losses": Entry(
        title="Which loss closes which trap, rescues the misled student, stops runaway length: a study of the kit's own"
        " (shares table2's calibration)",
        question="Which distillation loss closes which trap?",
        session="Which loss closes which trap: a study of our own (shares Table 2's calibration)",
        name="Distillation losses",
        page_title="Which distillation loss closes which trap: a study of the kit's own, not the paper's",
        rows="recipes.losses:rows",
        measure="tables.measurements.answers:add_eta_sweep",
        extras="report.study_extras:losses",
        section="report.sections.losses:losses_section",
        added_kinds=("evaluate", "diagnose"),
        budget=Budget(toy_minutes=12, toy_mib=50, paper_gpu_hours=10000),
        overrides={"toy": ("diagnosis.gradient_prompts=0", "diagnosis.resamples=200")},
    ),
    "table5": Entry(
        title="What each stage costs, and what it would cost you (stages shared with table2)",
        question="Does calibration cost about as much as distillation?",
        session="What each stage costs, and what yours would (Table 5; reads Table 2's stages)",
        rows="recipes.table2:rows",
        measure="tables.measurements.costs:add_costs",
        derivation="planner.hours:describe_derivation",
        examples=None,
        extras="report.study_extras:stage_costs",
        section="report.sections.cost:table5_section",
        figures="report.figures.cost:stage_costs",
        export="report.figures.by_study:export_figures",
        budget=Budget(toy_minutes=5, toy_mib=20, paper_gpu_hours=9000),
    ),
    "figure1a": Entry(
        title="Teachers that should have been better: a student's gain under each available teacher",
        question="Can a better teacher make a worse student?",
        session="A student's gain under every available teacher (Figure 1a; shares Table 2's stages)",
        page_title="Teachers that should have been better: a student's gain under each teacher",
        rows="recipes.figures:gain_rows",
        measure="tables.measurements.gains:add_gains",
        extras="report.study_extras:teacher_sizes",
        figures="report.figures.figure1a:figure1a",
        export="report.figures.by_study:export_figures",
        budget=Budget(toy_minutes=5, toy_mib=20, paper_gpu_hours=9500),
    ),
    "figure3": Entry(
        title="Teachers keep their accuracy, their students lose it (stages shared with table2)",
        question="Do teachers keep their accuracy while students lose theirs?",
        session="Teachers keep their accuracy, their students lose it (Figure 3; reads Table 2's stages)",
        page_title="Teachers keep their accuracy, their students lose it",
        rows="recipes.figures:before_and_after_rows",
        figures="report.figures.figure3:figure3",
        export="report.figures.by_study:export_figures",
        budget=Budget(toy_minutes=4, toy_mib=10, paper_gpu_hours=5000),
    ),
    "figure4": Entry(
        title="Teachers that continue the misled student's prefixes: how often they reach the correct answer",
        question="Does the teacher recover where its misled student fails?",
        session="Teachers on the misled student's prefixes (Figure 4; shares Table 2's stages)",
        page_title="Teachers that continue the misled student's prefixes",
        rows="recipes.figures:prefix_rows",
        measure="tables.measurements.prefixes:add_prefixes",
        examples=Examples(
            "report.examples:continued_prefixes",
            "For each model that continues, the misled student's first wrong completions of lost prompts, by item id, and what"
            " that model writes after their beginnings.",
        ),
        section="report.sections.lost_prompts:prefix_section",
        figures="report.figures.figure4:figure4",
        export="report.figures.by_study:export_figures",
        budget=Budget(toy_minutes=4, toy_mib=10, paper_gpu_hours=9500),
    ),
    "failure-modes": Entry(
        title="How students fail on prompts that they solved before (section 6.5)",
        question="How do misled students fail?",
        session="How students fail on prompts that they solved before (section 6.5; shares Table 2's stages)",
        name="Failure modes",
        page_title="How misled students fail on prompts that they solved before",
        rows="recipes.figures:failure_rows",
        measure="tables.measurements.failure_modes:add_failures",
        examples=Examples(
            "report.examples:failure_modes",
            "For each student and task, the first completions of each failure mode on lost prompts, by item id, beside a right"
            " completion of the same prompt by the student before distillation.",
        ),
        section="report.sections.lost_prompts:mode_section",
        figures="report.figures.failure_modes:failure_modes",
        export="report.figures.by_study:export_figures",
        budget=Budget(toy_minutes=5, toy_mib=20, paper_gpu_hours=8500),
    ),
    "guards": Entry(
        title="Guards against attacks: what each guard leaks to a thief that adapts (a study of this kit, not of the paper)",
        question="What does each guard leak to an adaptive student?",
        session="Guards against attacks, a study of this kit (shares Table 2's calibrations)",
        name="Guards and attacks",
        page_title="What each attack gains under each guard over a student without a teacher (a study of this kit, not of the paper)",
        rows="attacks.matrix:rows",
        measure="tables.measurements.matrix:add_matrix",
        examples=GUARDED_ANSWERS,
        extras="report.study_extras:matrix",
        section="report.sections.matrix:matrix_section",
        figures="report.figures.matrix:matrix",
        export="report.figures.by_study:export_figures",
        budget=Budget(toy_minutes=15, toy_mib=80, paper_gpu_hours=19000),
        # vLLM's Gemma 3 takes no output layer beside its embeddings, which doge makes: `--family qwen3` can have it.
        # Sampler guards are sampled by transformers, which cannot hold the caches of a 12-billion model's long completions.
        overrides={"paper": ("matrix.guards=none,knob,knob-per-token,answer-only,reorder",)},
    ),
    "leak": Entry(
        title="What a teacher leaks through each interface: answers, text, top-k, logits, and what guards do to each (a study of"
        " this kit, not of the paper; shares stages with guards)",
        question="What does each interface give away?",
        session="What a teacher leaks through each interface, a study of this kit (shares stages with guards)",
        name="Leaks by interface",
        page_title="What a teacher leaks through each interface (a study of this kit, not of the paper)",
        rows="attacks.leak:rows",
        measure="tables.measurements.leak:add_leak",
        examples=GUARDED_ANSWERS,
        extras="report.study_extras:leak",
        section="report.sections.leak:leak_section",
        figures="report.figures.leak:leak",
        export="report.figures.by_study:export_figures",
        budget=Budget(toy_minutes=5, toy_mib=30, paper_gpu_hours=10500),
        overrides=dict.fromkeys(SCALES, LADDER),
    ),
}


def name_of(study: str) -> str:
    """Return what pages call a study: "Table 2", "Figure 1a", "Failure modes"."""
    entry = STUDIES.get(study)
    return (entry and entry.name) or re.sub(r"^(table|figure)(?=\d)", lambda match: f"{match[0].title()} ", study)
