"""Compile the streaming pass's kernels for an H100 as a pass launches them, on a machine without a GPU."""

import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from repro.traps import OutputHead, VocabularyContributions, fused, stream_divergences, streaming


class NoDevice:
    """Answers what Triton asks before it compiles."""

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)


compiled: set[str] = set()


def compile_only(kernel: JITFunction, grid: tuple[int, ...]):
    """Return a launch that compiles and does not run."""

    def launch(*arguments, **options):
        binary = kernel.warmup(*arguments, grid=grid, **options)
        assert binary.asm["cubin"]
        compiled.add(kernel.fn.__name__)

    return launch


def main() -> None:
    driver.set_active(NoDevice())
    JITFunction.__getitem__ = compile_only
    streaming.can_fuse = lambda *_: True
    fused._check_rows = lambda *_: None  # nothing was computed
    for V, ks in ((20_000, [1, 1000]), (300, [])):
        head, hidden = OutputHead(torch.zeros(V, 4)), torch.zeros(40, 4)
        added = VocabularyContributions(V, [*ks, V])
        ids = torch.zeros(40, dtype=torch.long)
        stream_divergences(hidden, head, hidden, head, ids, ks=ks, contributions=added, logit_bytes=1)
    print(*sorted(compiled))


if __name__ == "__main__":
    main()
