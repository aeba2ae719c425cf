"""Compare a speed run with the committed baseline, as ratios: times of two machines cannot be compared.

    python benchmarks/ratios.py RUN.json BASELINE.json           exit 1 where something of ours has become slower
    python benchmarks/ratios.py RUN.json BASELINE.json --write   make RUN the baseline

A baseline keeps the GPUs (groups) of earlier runs when one is added; a run fails only on its own group.

RUN is what `pytest benchmarks/test_traps_speed.py --benchmark-json RUN.json` writes. A ratio is the best time of a
contender over the best time of the floor (the output-layer products alone) in the same run. The training benchmarks
(test_gkd_throughput.py, test_calibration_throughput.py) bring ratios of their own, each of which is held.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

OURS = "streaming"
RIVALS = ("TRL's GKD loop",)
"""Ratios of the training benchmarks that are not ours to hold."""
TOLERANCE = 1.3
"""How much slower a run may be than a new baseline; written beside its numbers."""

Ratios = dict[str, dict[str, float]]


def ratios(run: dict[str, Any]) -> Ratios:
    """Return per group (shape) and contender the best time over the floor's best time."""
    times: Ratios = {}
    by_group: Ratios = {}
    for benchmark in run["benchmarks"]:
        reported = benchmark.get("extra_info", {}).get("ratios")
        if reported is not None:
            by_group.setdefault(benchmark["group"], {}).update(reported)
            continue
        times.setdefault(benchmark["group"], {})[benchmark["params"]["name"]] = benchmark["stats"]["min"]
    for group, by_name in times.items():
        floors = [time for name, time in by_name.items() if name.startswith("floor")]
        if not floors or OURS not in by_name:
            raise SystemExit(f"{group}: needs a floor and {OURS} in one run; it has {', '.join(by_name)}")
        by_group[group] = {name: round(time / min(floors), 3) for name, time in by_name.items()}
    return by_group


def slower(measured: Ratios, baseline: dict[str, Any]) -> list[str]:
    """Return a line per measured group in which ours has become slower than tolerated, or that has no baseline."""
    lines = []
    for group, by_name in measured.items():
        known = baseline["groups"].get(group)
        if known is None:
            lines.append(f"{group}: no baseline; look at the ratios above, then add it with --write and commit it")
            continue
        for name in _held(by_name):
            now, before = by_name[name], known["ratios"].get(name)
            if before is None:
                lines.append(f"{group}: no baseline for {name}; add it with --write and commit it")
            elif now > before * known["tolerance"]:
                bar = before * known["tolerance"]
                lines.append(f"{group}: {name} takes {now:.2f} x the base; baseline {before:.2f}, bar {bar:.2f}")
    return lines


def _held(by_name: dict[str, float]) -> list[str]:
    """Return the contenders whose slowness is ours."""
    return [OURS] if OURS in by_name else [name for name in by_name if name not in RIVALS]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("baseline", type=Path)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args(arguments)
    run = json.loads(options.run.read_text())
    measured = ratios(run)
    for group, by_name in measured.items():
        print(group, ", ".join(f"{name} {value:g}" for name, value in by_name.items()))
    baseline = json.loads(options.baseline.read_text()) if options.baseline.exists() else {"groups": {}}
    if options.write:
        facts = {
            "made": run["datetime"],
            "commit": run["commit_info"]["id"],
            "python": run["machine_info"]["python_version"],
            "tolerance": TOLERANCE,
        }
        baseline["groups"] |= {group: facts | {"ratios": by_name} for group, by_name in measured.items()}
        options.baseline.parent.mkdir(parents=True, exist_ok=True)
        options.baseline.write_text(json.dumps(baseline, indent=1, sort_keys=True) + "\n")
        return 0
    lines = slower(measured, baseline)
    print("\n".join(lines) or "no slower than the baseline")
    return 1 if lines or not measured else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
