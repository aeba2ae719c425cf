"""Step times of a running trainer, and bare loops to compare them with."""

import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from repro.models.chat_tokens import prompt_token_ids
from repro.models.loading import load_for_training, load_model, load_tokenizer
from repro.tasks import Item

now = time.perf_counter if torch.cuda.is_available() else time.process_time
"""On a CPU the processor seconds of all threads of this process: other work on the machine does not count."""
WARM_UP = 2
"""Steps that do not count: imports, allocations, the first generation."""


@dataclass
class Clock:
    """A progress callback that records when each step ended."""

    at: list[float] = field(default_factory=list)

    def __call__(self, done: int, total: int, unit: str, note: str = "") -> None:
        self.at.append(now())

    def step(self) -> float:
        """Return the median seconds of a step, without the warm-up."""
        gaps = [after - before for before, after in zip(self.at, self.at[1:])][WARM_UP - 1 :]
        return statistics.median(gaps)


class Turns:
    """Trainings in one process that step in turn, so that other work on the machine slows all of them alike.

    Each runs in its own thread, and waits while another computes.
    """

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._queue: deque[str] = deque()
        self._seconds: dict[str, list[float]] = {}

    def steps(self, contenders: Mapping[str, Callable[[Clock], Any]]) -> dict[str, list[float]]:
        """Return the seconds of each contender's steps, without the warm-up. Each calls its clock after every step."""
        self._queue, self._seconds = deque(contenders), {name: [] for name in contenders}
        with ThreadPoolExecutor(len(contenders)) as pool:
            for running in [pool.submit(self._run, name, contender) for name, contender in contenders.items()]:
                running.result()
        return {name: seconds[WARM_UP:] for name, seconds in self._seconds.items()}

    def _run(self, name: str, contender: Callable[[Clock], Any]) -> None:
        turns = self

        class Waiting(Clock):
            started = 0.0

            def __call__(self, *progress: Any, **kwargs: Any) -> None:
                turns._seconds[name].append(now() - self.started)
                turns._pass_on(name)
                self.started = now()

            def step(self) -> float:
                return statistics.median(turns._seconds[name])

        with self._free:
            self._free.wait_for(lambda: self._queue[0] == name)
        clock = Waiting()
        clock.started = now()
        try:
            contender(clock)
        finally:
            with self._free:
                self._queue.remove(name)
                self._free.notify_all()

    def _pass_on(self, name: str) -> None:
        with self._free:
            self._queue.rotate(-1)
            self._free.notify_all()
            self._free.wait_for(lambda: self._queue[0] == name)


def ratio(seconds: list[float], base_seconds: list[float]) -> float:
    """Return the median ratio of two contenders' times, turn by turn."""
    return statistics.median(a / b for a, b in zip(seconds, base_seconds))


def timed(action: Callable[[], Any], rounds: int) -> float:
    """Return the median seconds of an action, after one that does not count."""
    action()
    times = []
    for _ in range(rounds):
        start = now()
        action()
        times.append(now() - start)
    return statistics.median(times)


def peak_mib() -> float:
    """Return the largest resident memory of this process so far, MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


class Bare:
    """The products of a training step and nothing else: a padded batch, forward, backward, clip, AdamW."""

    def __init__(self, student: Path, teacher: Path | None, items: list[Item], sequences: int, tokens: int) -> None:
        self.student, self.teacher = load_for_training(student).train(), teacher and load_model(teacher)
        tokenizer = load_tokenizer(student)
        prompts = [prompt_token_ids(tokenizer, items[n % len(items)].prompt) for n in range(sequences)]
        width = max(map(len, prompts))
        generator = torch.Generator().manual_seed(0)
        self.tokens = tokens
        self.prompt_BT = torch.full((sequences, width), tokenizer.pad_token_id)
        self.mask_BT = torch.zeros_like(self.prompt_BT)
        for row, ids in enumerate(prompts):
            self.prompt_BT[row, width - len(ids) :] = torch.tensor(ids)
            self.mask_BT[row, width - len(ids) :] = 1
        completions_BT = torch.randint(10, len(tokenizer) - 10, (sequences, tokens), generator=generator)
        self.ids_BT = torch.cat([self.prompt_BT, completions_BT], 1)
        self.all_BT = torch.cat([self.mask_BT, torch.ones_like(completions_BT)], 1)
        self.optimizer = torch.optim.AdamW(self.student.parameters(), lr=1e-5, weight_decay=0.0)

    def generate(self) -> None:
        """Sample the completions, without an end token so that each has all its tokens."""
        self.student.eval()
        with torch.inference_mode():
            self.student.generate(
                self.prompt_BT,
                attention_mask=self.mask_BT,
                do_sample=True,
                top_k=0,
                max_new_tokens=self.tokens,
                min_new_tokens=self.tokens,
            )
        self.student.train()

    def divergence(self) -> None:
        """Run the teacher's forward, and the student's forward and backward of the token RKL, by TRL's chunked kernel."""
        from trl.kernels.chunked_divergence import ChunkedDivergenceFunction

        assert self.teacher is not None
        keep = slice(-self.tokens - 1, -1)
        with torch.no_grad():
            teacher_hidden = self.teacher.base_model(self.ids_BT, attention_mask=self.all_BT).last_hidden_state[:, keep]
        hidden = self.student.base_model(self.ids_BT, attention_mask=self.all_BT).last_hidden_state[:, keep]
        divergence, _ = ChunkedDivergenceFunction.apply(
            hidden.reshape(-1, hidden.shape[-1]),
            self.student.get_output_embeddings().weight,
            None,
            teacher_hidden.reshape(-1, teacher_hidden.shape[-1]),
            self.teacher.get_output_embeddings().weight,
            None,
            1.0,
        )
        divergence.mean().backward()

    def cross_entropy(self) -> None:
        """Run forward and backward of the cross-entropy on the same tokens."""
        labels = self.ids_BT.clone()
        labels[:, : -self.tokens] = -100
        self.student(self.ids_BT, attention_mask=self.all_BT, labels=labels).loss.backward()

    def update(self) -> None:
        """Clip the gradient, step AdamW, zero the gradient."""
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=False)  # so that the update alone, too, has something to update
