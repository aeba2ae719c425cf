"""Write docs/conformance.md: which cases libraries' losses fail, from the outcomes stored next to it.

Libraries not installed here keep their outcomes measured elsewhere.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from repro.conformance.libraries import LIBRARIES
from repro.conformance.outcome import run_cases
from repro.conformance.suite import GROUPS, cases

Measured = dict[str, dict[str, Any]]
"""By library: package, version, function, and by case the status and its detail."""
OPENING = """# What distillation losses get wrong

`repro conform MODULE:FUNCTION` runs {count} tiny cases on a distillation loss: value and gradient against sums over the vocabulary in plain Python floats (`repro/conformance/enumeration.py`), in seconds on a CPU. `repro conform --help` says what a loss must look like, and shows one.

In a test suite, with this project installed: `pytest --conform MODULE:FUNCTION` (add `-k conform` to run nothing else), or

```python
import pytest
from repro import conformance


@pytest.mark.parametrize("case", conformance.cases(), ids=str)
def test_my_loss(case):
    conformance.check(my_loss, case)  # divergence="reverse" etc. for what arguments cannot say
```

A loss that is a method, or computes from hidden states, is adapted by a `repro.conformance.Loss`: a name, a function of one `LossCall`, and the set of what it has. `repro/conformance/libraries.py` has those of the table below. `MODULE:FUNCTION` may name such an object.

A case that needs something that a loss does not have is not applicable: shown, never counted as passed.

This page is written by `repro conform --libraries --document docs/conformance.md` from the outcomes in `conformance.json`; a test runs the cases again and compares.

## Reading the failures

- A failure is what the function does when it is called with what the case describes. It is a fault of training only if a trainer calls it so. `GKDTrainer.compute_loss` and `GOLDTrainer.compute_loss`, for instance, compute the teacher without gradient (`student-only` holds there and fails in the function that they call).
- `bf16-sign`, `bf16-value`, `two-types`: bfloat16 logits given to the function as they are, outside autocast: a model loaded in bfloat16 and trained without autocast, or an evaluation. Torch documents that autocast on a GPU computes `log_softmax` in float32 (not tried here); autocast on a CPU does not (tried with torch 2.13).
- `padding-nan`: the value is right (but for the self-distillation trainers, where it is NaN too), and the gradient of the padded positions is NaN, which reaches all weights. `trl-distillation` has this on a CPU; on a device with Triton it projects only the positions that count.
- `wider-teacher`, `wider-student`: trainers may check the widths before the loss sees them.
- `all-masked`, `empty-batch` of `verl-top-k`: 0/0 if no number of tokens is given; verl's trainer gives that of the step.
- `masked-row` in the self-distillation trainers: a sequence without tokens is counted in the mean over sequences, so the other sequences' loss shrinks.
"""
THREADS = """## Cases

Threads are public discussions of losses that got this wrong, or of the behaviour that the case holds: LMOps is microsoft/LMOps, miles radixark/miles, mlx-lm ml-explore/mlx-lm, Model-Optimizer NVIDIA/Model-Optimizer, OPSD siyan-zhao/OPSD, Rethinking-OPD Thinking-Space/Rethinking-OPD, slime THUDM/slime, Soup MakazhanAlpamys/Soup, swift modelscope/ms-swift, torchtune meta-pytorch/torchtune, trl huggingface/trl, unsloth unslothai/unsloth, verl and verl-recipe those of verl-project.
"""


def measure_installed() -> Measured:
    """Run all cases on every library that is installed here."""
    measured: Measured = {}
    for library in LIBRARIES:
        if library.reason_missing() is None:
            outcomes = run_cases(library.load())
            measured[library.name] = {
                "package": library.package,
                "version": library.version,
                "what": library.what,
                "outcomes": {outcome.case.name: [outcome.status, outcome.detail] for outcome in outcomes},
            }
    return measured


def read_measured(page: Path) -> Measured:
    """Return the outcomes stored beside a page; none if there is no such file."""
    file = page.with_suffix(".json")
    stored: Measured = json.loads(file.read_text()) if file.is_file() else {}
    return stored


def write_document(page: Path, measured: Measured) -> None:
    """Write the page and its outcomes; libraries that are not in `measured` keep theirs."""
    stored = read_measured(page) | measured
    ordered = {library.name: stored[library.name] for library in LIBRARIES if library.name in stored}
    page.with_suffix(".json").write_text(json.dumps(ordered, indent=1) + "\n")
    page.write_text(render(ordered))


def render(measured: Measured) -> str:
    """Return the page."""
    return "\n".join([OPENING.format(count=len(cases())), *_losses(measured), *_matrix(measured), *_failures(measured)])


def _losses(measured: Measured) -> list[str]:
    lines = [
        "## Losses",
        "",
        "| name | version | function | holds | fails | not applicable |",
        "|---|---|---|---|---|---|",
    ]
    for name, result in measured.items():
        counts = Counter(status for status, _ in result["outcomes"].values())
        lines.append(
            f"| {name} | {result['package']} {result['version']} | {result['what']} "
            f"| {counts['holds']} | {counts['fails']} | {counts['not applicable']} |"
        )
    missing = [library for library in LIBRARIES if library.name not in measured]
    lines += [f"| {library.name} | {library.package} | {library.what} | not run | | |" for library in missing]
    return [*lines, ""]


def _matrix(measured: Measured) -> list[str]:
    lines = [THREADS]
    for group, members in GROUPS.items():
        lines += [
            f"### {group.capitalize()}",
            "",
            "| case | what must hold | threads | holds for | not applicable to | fails |",
            "|---|---|---|---|---|---|",
        ]
        for case in members:
            statuses = {name: _status(result, case.name) for name, result in measured.items()}
            counts = Counter(statuses.values())
            failed = ", ".join(name for name, status in statuses.items() if status == "fails")
            title = case.title.replace("|", "\\|")
            lines.append(
                f"| {case.name} | {title} | {', '.join(case.threads)} "
                f"| {counts['holds']} | {counts['not applicable']} | {failed} |"
            )
        lines.append("")
    return lines


def _status(result: dict[str, Any], case: str) -> str:
    status: str = result["outcomes"].get(case, ["not applicable", ""])[0]
    return status


def _failures(measured: Measured) -> list[str]:
    lines = ["## Failures", ""]
    for name, result in measured.items():
        failed = [(case, detail) for case, (status, detail) in result["outcomes"].items() if status == "fails"]
        lines += [f"### {name}: {result['what']}", ""]
        lines += [f"- `{case}`: {detail}" for case, detail in failed] or ["None."]
        lines.append("")
    return lines
