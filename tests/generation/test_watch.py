"""A stage does not outlive its engine's processes."""

import signal
import subprocess
import sys

STAGE = """
import subprocess, sys, time
from repro.generation.watchdog import Watchdog
other, child = (
    subprocess.Popen([name, "-c", "import time; time.sleep(60)"], executable=sys.executable)
    for name in ("compiler", "VLLM::Worker_TP0")
)
time.sleep(0.5)
watch = Watchdog()
other.kill()
time.sleep(2)
print("the other is nobody's business", flush=True)
if sys.argv[1] == "stopped":
    watch.stop()
child.kill()
time.sleep(3)
print("went on")
"""


def run(how):
    return subprocess.run([sys.executable, "-c", STAGE, how], capture_output=True, text=True, timeout=60)


def test_a_lost_child_ends_the_stage():
    found = run("watched")
    assert found.returncode == -signal.SIGKILL
    assert found.stdout == "the other is nobody's business\n"
    assert "ended; this stage ends too" in found.stderr


def test_children_that_end_after_the_engine_was_closed_are_nobodys_business():
    assert run("stopped").stdout.endswith("went on\n")
