"""A stage does not outlive its engine's processes."""

import signal
import subprocess
import sys

STAGE = """
import subprocess, sys, time
from repro.generation.watch import Watch
before = subprocess.Popen([sys.executable, "-c", ""])
watch = Watch()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
watch.start()
before.wait()
time.sleep(1.5)
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
    assert "ended; this stage ends too" in found.stderr


def test_children_that_end_after_the_engine_was_closed_are_nobodys_business():
    assert run("stopped").stdout == "went on\n"
