"""Freed memory stays in the process: the same blocks again cost no new pages."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
from repro.system.freed_memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
faults = []
for _ in range(12):
    blocks = [b"x" * (8 * 2**20) for _ in range(4)]
    del blocks
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(faults[-1] - faults[1])
"""


def count_faults(how: str) -> int:
    """Return the page faults of ten rounds that write and free 32 MiB in blocks of 8."""
    run = subprocess.run([sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, check=True)
    return int(run.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_freed_memory_is_used_again() -> None:
    by_default, kept = count_faults("default"), count_faults("keep")
    assert by_default > 10_000  # if glibc changes its default, this module can go
    assert kept < by_default / 50
