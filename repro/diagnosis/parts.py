"""The parts of a diagnosis, each measured separately into one file, so that killed runs resume and processes can share.

A part is a block of neighbouring prompts under one policy (across tokenizers: consecutive completions under one model),
or the gradients of one prompt. Its batches and sums do not depend on other parts, and parts are merged in order, so the
result does not depend on which process measured which part.
"""

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from repro.diagnosis.columns import Policy
from repro.diagnosis.completions import Completions, RowNumber
from repro.diagnosis.config import DiagnosisConfig
from repro.diagnosis.sequence_level import BATCH_SEQUENCES
from repro.system.atomic_write import atomic_write
from repro.tasks.task import Item

SEQUENCE_PART = 16 * BATCH_SEQUENCES
"""Completions per part across tokenizers: whole batches, so that parts are padded as in a single run over all."""

Arrays = Mapping[str, NDArray[Any]]
Kind = Literal["block", "scores", "gradients"]
"""Token-level measures of a block of prompts; log-probabilities of texts under one model; gradients of one prompt."""


@dataclass(frozen=True)
class DiagnosisInput:
    """The input of a diagnosis.

    Attributes:
        student, teacher: folders or hub ids.
        completions: rollout files, "student" for on-policy, "teacher" for off-policy (may be left out).
        items: the prompts with their keys.
        temperature: sampling temperature of the completions.
        across_tokenizers: each model scores texts in its own tokens; measures needing a shared vocabulary are omitted.
        in_thought: policies whose prompts end within a thought (see `repro.tasks.thoughts`).
    """

    student: Path | str
    teacher: Path | str
    completions: dict[Policy, Path]
    items: list[Item]
    temperature: float
    across_tokenizers: bool
    in_thought: frozenset[Policy] = frozenset()

    @cached_property
    def rollouts(self) -> dict[Policy, Completions]:
        """The completions of each policy, as row numbers without tokens."""
        return {policy: Completions.read(path) for policy, path in self.completions.items()}

    def model(self, role: Policy) -> Path | str:
        """Return the model of a role."""
        return self.student if role == "student" else self.teacher


@dataclass(frozen=True)
class Part:
    """A part of a diagnosis.

    Attributes:
        policy: the model that wrote the completions; scored_by: the scoring model, for parts of kind "scores".
        task: task of the prompts; empty if there are several. item: the prompt, for parts of a single prompt.
        rows: row numbers of the completions in the policy's file.
        start: number of completions in earlier parts.
    """

    kind: Kind
    policy: Policy
    task: str
    item: str
    rows: list[RowNumber]
    scored_by: Policy
    start: int
    path: Path

    @property
    def end(self) -> int:
        """Number of completions up to the end of this part."""
        return self.start + len(self.rows)

    def write(self, arrays: Arrays) -> None:
        """Write the measured part atomically, each array with a checksum (an .npz file without pickles)."""
        with atomic_write(self.path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)

    def read_finished(self) -> Arrays | None:
        """Read what `write` wrote; None if there is no such file, or it is damaged."""
        try:
            with np.load(self.path, allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        except (OSError, ValueError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error):
            return None

    def read(self) -> Arrays:
        """Read a part that has been measured.

        Raises:
            RuntimeError: its file has since vanished or changed.
        """
        arrays = self.read_finished()
        if arrays is None:
            raise RuntimeError(f"{self.path}: a finished part of the diagnosis has vanished or changed. Run again.")
        return arrays


def split_diagnosis(config: DiagnosisConfig, source: DiagnosisInput, work: Path) -> list[Part]:
    """Return all parts, in merge order.

    Args:
        work: folder for their files.
    """
    folder = work / "parts"
    parts: list[Part] = []

    def add(kind: Kind, policy: Policy, rows: list[RowNumber], **names: str) -> None:
        start = parts[-1].end if parts else 0
        named: dict[str, Any] = {"task": "", "item": "", "scored_by": "student"} | names
        path = folder / f"{len(parts):06d}-{kind}.npz"
        parts.append(Part(kind=kind, policy=policy, rows=rows, start=start, path=path, **named))

    for policy, rollouts in source.rollouts.items():
        if source.across_tokenizers:
            rows = list(chain.from_iterable(rollouts.prompts()))
            for role in ("student", "teacher"):
                for start in range(0, len(rows), SEQUENCE_PART):
                    add("scores", policy, rows[start : start + SEQUENCE_PART], scored_by=role)
        else:
            for task in rollouts.rows:
                for block in rollouts.blocks(task, config.contribution_blocks):
                    add("block", policy, block, task=task)
    if not source.across_tokenizers:
        for task, prompts in source.rollouts["student"].rows.items():
            for item, prompt in islice(prompts.items(), config.gradient_prompts):
                add("gradients", "student", prompt, task=task, item=item)
    return parts
