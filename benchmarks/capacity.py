"""Time and cost of the complete set of studies on 8 to 1000 GPUs.

    python benchmarks/capacity.py docs/scale.md    writes the tables into that page, between its two marks

The stages of every study at paper scale, each identity once, are put on the GPUs by list scheduling: whenever GPUs are
free, the waiting stage with the longest chain after it starts. Hours are those of `repro.planner.hours`: DERIVED by
the model of hours on ASSUMED counts, within a factor of about three. A stage takes as many of a node's GPUs as `--ranks` says where it
can be split, more where these do not hold it (`repro.planner.placement`), else one.
"""

import heapq
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from repro.planner.host_memory import host_memory
from repro.planner.hours import expected_hours
from repro.planner.placement import NODE, Cards, Placement, describe_layout, describe_stage, place
from repro.planner.resources import Resources
from repro.planner.scales import REQUIREMENTS
from repro.recipes.assumed import assumed
from repro.recipes.catalog import STUDIES, plan
from repro.stages import Stage, topological_order

FLEETS = (8, 10, 100, 1000)
RANKS = (1, 2, 4, NODE)
"""Ranks of a stage that are tried, at least."""
CARDS = Cards(NODE, REQUIREMENTS["paper"].gpu_memory_gib)
"""Of one node at paper scale."""
MARKS = ("<!-- computed -->\n", "<!-- end -->\n")


@dataclass(frozen=True)
class Job:
    """One stage on its GPUs. hours: wall clock."""

    gpus: int
    hours: float
    needs: tuple[str, ...]


@dataclass(frozen=True)
class Schedule:
    """hours: until the last stage has ended; gpu_hours: in use; longest: the chain of stages that no fleet shortens."""

    gpus: int
    ranks: int
    hours: float
    gpu_hours: float
    longest: float


def all_stages(seeds: int) -> list[Stage]:
    """Return every stage of every study at paper scale, inputs first."""
    return topological_order(row.stage for name in STUDIES for row in plan(name, scale="paper", seeds=seeds).rows)


def jobs(stages: Sequence[Stage], ranks: int) -> dict[str, Job]:
    """Return the stages as jobs on `ranks` GPUs each, or as many as hold them, with the ASSUMED efficiency of splitting."""
    work = {}
    for stage in stages:
        gpus = place(stage, CARDS, Resources(ranks=ranks)).layout.ranks
        speed = gpus * assumed("parallel efficiency") ** (gpus.bit_length() - 1)
        needs = tuple(needed.fingerprint for needed in stage.inputs())
        work[stage.fingerprint] = Job(gpus, expected_hours(stage, "paper") / speed, needs)
    return work


def remaining_hours(work: dict[str, Job]) -> dict[str, float]:
    """Return for each job the hours of the longest chain that begins with it. work: by name, inputs first."""
    remaining = {name: job.hours for name, job in work.items()}
    for name in reversed(work):
        for needed in work[name].needs:
            remaining[needed] = max(remaining[needed], work[needed].hours + remaining[name])
    return remaining


def longest_chain(work: dict[str, Job]) -> list[str]:
    """Return the jobs that no fleet shortens, in order."""
    remaining = remaining_hours(work)
    chain: list[str] = []
    following = list(work)
    while following:
        chain.append(max(following, key=lambda name: remaining[name]))
        following = [name for name, job in work.items() if chain[-1] in job.needs]
    return chain


def schedule(work: dict[str, Job], gpus: int) -> tuple[float, float]:
    """Return (hours until all is done, hours of the longest chain) on that many GPUs.

    Args:
        work: jobs by name, inputs first.
    """
    remaining = remaining_hours(work)
    by_chain = sorted(work, key=lambda name: -remaining[name])
    turn = {name: number for number, name in enumerate(by_chain)}
    missing = {name: len(set(job.needs)) for name, job in work.items()}
    following: dict[str, list[str]] = {name: [] for name in work}
    for name, job in work.items():
        for needed in set(job.needs):
            following[needed].append(name)
    ready: dict[int, list[int]] = {job.gpus: [] for job in work.values()}  # of each number of GPUs, a heap of turns
    for name in by_chain:
        if not missing[name]:
            heapq.heappush(ready[work[name].gpus], turn[name])
    running: list[tuple[float, str]] = []
    now, free = 0.0, gpus
    while running or any(ready.values()):
        while fitting := [turns for needed, turns in ready.items() if turns and needed <= free]:
            name = by_chain[heapq.heappop(min(fitting))]
            free -= work[name].gpus
            heapq.heappush(running, (now + work[name].hours, name))
        now, ended = heapq.heappop(running)
        free += work[ended].gpus
        for name in following[ended]:
            missing[name] -= 1
            if not missing[name]:
                heapq.heappush(ready[work[name].gpus], turn[name])
    return now, max(remaining.values(), default=0.0)


def best(work_by_ranks: Mapping[int, dict[str, Job]], gpus: int) -> Schedule:
    """Return the schedule that ends first.

    Args:
        work_by_ranks: of each number of ranks to try, the jobs (`jobs`).
    """
    tried = []
    for ranks, work in work_by_ranks.items():
        if ranks <= gpus:
            hours, longest = schedule(work, gpus)
            tried.append(Schedule(gpus, ranks, hours, sum(j.gpus * j.hours for j in work.values()), longest))
    return min(tried, key=lambda candidate: (candidate.hours, candidate.gpu_hours))


def capacity_tables() -> str:
    """Return the tables of docs/scale.md."""
    price = assumed("dollars per GPU-hour")
    lines = []
    for seeds in (1, 3):
        stages = all_stages(seeds)
        work_by_ranks = {ranks: jobs(stages, ranks) for ranks in RANKS}
        alone = sum(expected_hours(stage, "paper") for stage in stages)
        lines += [
            f"**{seeds} training seed{'s' if seeds > 1 else ''}**: {len(stages)} stages of {', '.join(STUDIES)};"
            f" {alone:,.0f} GPU-hours where no stage is split, ${alone * price:,.0f}.",
            "",
            "| GPUs | ranks of a stage, at least | days | GPU-hours in use | busy | dollars in use | dollars held | longest chain, days |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for gpus in FLEETS:
            s = best(work_by_ranks, gpus)
            lines.append(
                f"| {gpus} | {s.ranks} | {s.hours / 24:,.1f} | {s.gpu_hours:,.0f} | {s.gpu_hours / (gpus * s.hours):.0%}"
                f" | {s.gpu_hours * price:,.0f} | {gpus * s.hours * price:,.0f} | {s.longest / 24:,.1f} |"
            )
        most = best(work_by_ranks, FLEETS[-1])
        work, by_name = work_by_ranks[most.ranks], {stage.fingerprint: stage for stage in stages}
        chain = [f"{by_name[name].label} ({work[name].hours:,.0f} h)" for name in longest_chain(work)]
        lines += [
            "",
            f"More than about {most.gpu_hours / most.longest:,.0f} GPUs cannot be kept busy. Longest chain: {', '.join(chain)}.",
            "",
        ]
    lines += _per_dollar(price)
    lines += ["", *_fewest_gpus()]
    return "\n".join(lines)


def _fewest_gpus() -> list[str]:
    """Return the rows of each kind of stage and model on as few GPUs as hold it, those on most first; only training and
    sampling."""
    largest: dict[tuple[str, str], Placement] = {}
    host: dict[tuple[str, str], float] = {}
    for stage in all_stages(1):
        if stage.workload.trains or stage.workload.writes_rollouts:
            key = describe_stage(stage)
            placed = place(stage, CARDS)
            host[key] = max(host.get(key, 0.0), host_memory(stage, placed.layout).total)
            if (
                key not in largest
                or placed.memory * placed.layout.ranks > largest[key].memory * largest[key].layout.ranks
            ):
                largest[key] = placed
    lines = [
        f"| stage, the largest of its kind | model | GPUs of {CARDS.gib:g} GiB | GiB on each | host GiB | sequences at once | fits |",
        "|---|---|---|---|---|---|---|",
    ]
    order = sorted(largest.items(), key=lambda item: (-item[1].layout.ranks, item[0]))
    for (kind, model), placed in order:
        batch = placed.layout.micro_batch if kind.startswith(("calibrate", "distill")) else "-"
        fits = "yes" if placed.fits else "no"
        sizes = f"{describe_layout(placed.layout)} | {placed.memory:.0f} | {host[kind, model]:.0f}"
        lines.append(f"| {kind} | {model} | {sizes} | {batch} | {fits} |")
    return lines


def _per_dollar(price: float) -> list[str]:
    """Return the rows of what one dollar buys of each kind of stage."""
    kinds: dict[str, tuple[float, int]] = {}
    for stage in all_stages(1):
        if not stage.workload.uses_gpu:  # the rules that name failure modes compute on the CPU
            continue
        kind = stage.procedure
        hours, number = kinds.get(kind, (0.0, 0))
        kinds[kind] = (hours + expected_hours(stage, "paper"), number + 1)
    lines = ["| stage | GPU-hours each, mean | dollars each | a dollar buys of it |", "|---|---|---|---|"]
    for kind, (hours, number) in kinds.items():
        mean = hours / number
        bought = 1 / (mean * price)
        share = f"{bought:.2%}" if bought < 1 else f"{bought:,.0f} of them"
        hours, dollars = (f"{mean:,.1f}", f"{mean * price:,.0f}") if bought < 20 else ("under 0.1", "under 0.1")
        lines.append(f"| {kind} ({number}) | {hours} | {dollars} | {share} |")
    return lines


def write(file: Path) -> None:
    """Put the tables between the marks of a page."""
    before, _, rest = file.read_text().partition(MARKS[0])
    file.write_text(before + MARKS[0] + capacity_tables() + "\n" + MARKS[1] + rest.partition(MARKS[1])[2])


if __name__ == "__main__":
    write(Path(sys.argv[1]))
