"""The three losses from their definitions: one sequence at a time, full logits, float64."""

from pathlib import Path

import torch
from tiny_models import in_float64

Sequences = list[tuple[list[int], list[int]]]
"""(prompt ids, completion ids)"""


def reference(method: str, teacher: Path, student: Path, sequences: Sequences) -> tuple[float, dict[str, torch.Tensor]]:
    """Return the loss, nats per completion token of the step, and its gradient by parameter name."""
    p_T, p_S = in_float64(teacher), in_float64(student)
    p_S.zero_grad()
    total, tokens = torch.zeros((), dtype=torch.float64), 0
    for prompt, completion in sequences:
        ids = torch.tensor([prompt + completion])
        positions = slice(len(prompt) - 1, len(prompt) + len(completion) - 1)
        with torch.no_grad():
            logT_CV = p_T(ids).logits[0, positions].log_softmax(-1)
        logS_CV = p_S(ids).logits[0, positions].log_softmax(-1)
        if method == "sft":
            total = total - logS_CV.gather(1, torch.tensor(completion)[:, None]).sum()
        elif method == "gkd-fkl":
            total = total + (logT_CV.exp() * (logT_CV - logS_CV)).sum()
        else:
            total = total + (logS_CV.exp() * (logS_CV - logT_CV)).sum()
        tokens += len(completion)
    loss = total / tokens
    loss.backward()
    return loss.item(), {name: p.grad for name, p in p_S.named_parameters() if p.grad is not None}
