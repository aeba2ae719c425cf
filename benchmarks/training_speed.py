"""Seconds, memory and the bare parts of a training step, to compare trainers with."""

import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from repro.models.chat_tokens import prompt_token_ids
from repro.models.loading import load_for_training, load_model, load_tokenizer
from repro.tasks import Item
from repro.training.optimisation import LARGE


def now() -> float:
    """Return seconds: of the clock once the GPU has finished, or of all threads of this process on a CPU.

    Other work on the machine does not count on a CPU.
    """
    if not torch.cuda.is_available():
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


WARM_UP = 2
"""Steps that do not count: imports, allocations, compilation, the first generation."""


class Turns:
    """Trainings in one process that step in turn, so that other work on the machine slows all of them alike.

    Each runs in its own thread, and waits while another computes.
    """

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._queue: deque[str] = deque()
        self._seconds: dict[str, list[float]] = {}

    def steps(self, contenders: Mapping[str, Callable[[Callable[..., None]], Any]]) -> dict[str, list[float]]:
        """Return the seconds of each contender's steps, without the warm-up. Each calls its clock after every step."""
        self._queue, self._seconds = deque(contenders), {name: [] for name in contenders}
        with ThreadPoolExecutor(len(contenders)) as pool:
            for running in [pool.submit(self._run, name, contender) for name, contender in contenders.items()]:
                running.result()
        return {name: seconds[WARM_UP:] for name, seconds in self._seconds.items()}

    def _run(self, name: str, contender: Callable[[Callable[..., None]], Any]) -> None:
        turns = self

        class Waiting:
            started = 0.0

            def __call__(self, *progress: Any, **named: Any) -> None:
                turns._seconds[name].append(now() - self.started)
                turns._pass_on(name)
                self.started = now()

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


def peak_mib() -> float:
    """Return the largest resident memory of this process so far, MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def random_completions(ids: int, sequences: int, tokens: int) -> torch.Tensor:
    """Return [sequences, tokens] of ordinary ids, the same at every call."""
    return torch.randint(10, ids - 10, (sequences, tokens), generator=torch.Generator().manual_seed(0))


class Bare:
    """The products of a training step and nothing else: a padded batch, forward, backward, clip, AdamW.

    On the device and in the precision of the kit's trainers: float32 weights, on a GPU under bfloat16 autocast.
    """

    def __init__(self, student: Path, teacher: Path, items: list[Item], shape: dict[str, Any]) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.student, self.teacher = load_for_training(student).to(self.device).train(), load_model(teacher)
        if self.student.num_parameters() >= LARGE:
            self.student.gradient_checkpointing_enable()
        tokenizer = load_tokenizer(student)
        sequences, self.tokens = shape["sequences"], shape["tokens"]
        self.size = shape["micro_batch"] or sequences
        prompts = [prompt_token_ids(tokenizer, items[n % len(items)].prompt) for n in range(sequences)]
        width = max(map(len, prompts))
        prompt_BT = torch.full((sequences, width), tokenizer.pad_token_id)
        mask_BT = torch.zeros_like(prompt_BT)
        for row, ids in enumerate(prompts):
            prompt_BT[row, width - len(ids) :] = torch.tensor(ids)
            mask_BT[row, width - len(ids) :] = 1
        completions_BT = random_completions(len(tokenizer), sequences, self.tokens)
        self.prompt_BT, self.mask_BT = prompt_BT.to(self.device), mask_BT.to(self.device)
        self.ids_BT = torch.cat([prompt_BT, completions_BT], 1).to(self.device)
        self.all_BT = torch.cat([mask_BT, torch.ones_like(completions_BT)], 1).to(self.device)
        self.optimizer = torch.optim.AdamW(
            self.student.parameters(), lr=1e-5, weight_decay=0.0, fused=self.device.type == "cuda"
        )

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")

    def generate(self) -> None:
        """Sample the completions, without an end token so that each has all its tokens.

        In float32 on a GPU, too: TRL's trainers sample outside autocast.
        """
        self.student.eval()
        with torch.inference_mode():
            self.student.generate(
                self.prompt_BT,
                attention_mask=self.mask_BT,
                do_sample=True,
                temperature=1.0,
                top_p=1.0,
                top_k=0,
                repetition_penalty=1.0,
                max_new_tokens=self.tokens,
                min_new_tokens=self.tokens,
            )
        self.student.train()

    def decode(self) -> None:
        """Take the decode steps of `generate` by hand: forwards with a cache, a softmax, a draw."""
        from transformers import DynamicCache

        ids_BT, mask_BT, cache = self.prompt_BT, self.mask_BT, DynamicCache(config=self.student.config)
        position_BT = (mask_BT.cumsum(-1) - 1).clamp(min=0)
        self.student.eval()
        with torch.inference_mode():
            for _ in range(self.tokens):
                logits_BV = self.student(
                    ids_BT,
                    attention_mask=mask_BT,
                    position_ids=position_BT,
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=1,
                ).logits[:, -1]
                ids_BT = torch.multinomial(logits_BV.float().softmax(-1), 1)
                mask_BT = torch.cat([mask_BT, torch.ones_like(ids_BT)], 1)
                position_BT = position_BT[:, -1:] + 1
        self.student.train()

    def token_rkl(self) -> None:
        """Run the teacher's forward, and the student's forward and backward of the token RKL, as its formula says."""
        keep = slice(-self.tokens - 1, -1)
        for ids_BT, all_BT in self._forwards():
            with torch.no_grad():
                teacher_BTH = self.teacher.base_model(ids_BT, attention_mask=all_BT).last_hidden_state[:, keep]
                log_t_BTV = self.teacher.get_output_embeddings()(teacher_BTH).float().log_softmax(-1)
            with self._autocast():
                hidden_BTH = self.student.base_model(ids_BT, attention_mask=all_BT).last_hidden_state[:, keep]
                log_s_BTV = self.student.get_output_embeddings()(hidden_BTH).float().log_softmax(-1)
            (log_s_BTV.exp() * (log_s_BTV - log_t_BTV)).sum(-1).mean().backward()

    def divergence(self) -> None:
        """Run the teacher's forward, and the student's forward and backward of the token RKL, by TRL's chunked kernel."""
        from trl.kernels.chunked_divergence import ChunkedDivergenceFunction

        keep = slice(-self.tokens - 1, -1)
        for ids_BT, all_BT in self._forwards():
            with torch.no_grad():
                teacher_BTH = self.teacher.base_model(ids_BT, attention_mask=all_BT).last_hidden_state[:, keep]
            with self._autocast():
                hidden_BTH = self.student.base_model(ids_BT, attention_mask=all_BT).last_hidden_state[:, keep]
                divergence, _ = ChunkedDivergenceFunction.apply(
                    hidden_BTH.reshape(-1, hidden_BTH.shape[-1]),
                    self.student.get_output_embeddings().weight,
                    None,
                    teacher_BTH.reshape(-1, teacher_BTH.shape[-1]),
                    self.teacher.get_output_embeddings().weight,
                    None,
                    1.0,
                )
            divergence.mean().backward()

    def cross_entropy(self) -> None:
        """Run forward and backward of the cross-entropy on the same tokens."""
        for ids_BT, all_BT in self._forwards():
            labels_BT = ids_BT.clone()
            labels_BT[:, : -self.tokens] = -100
            with self._autocast():
                loss = self.student(ids_BT, attention_mask=all_BT, labels=labels_BT).loss
            loss.backward()

    def update(self) -> None:
        """Clip the gradient, step AdamW, zero the gradient."""
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=False)

    def _forwards(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return zip(self.ids_BT.split(self.size), self.all_BT.split(self.size))
