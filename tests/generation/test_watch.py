"""A stage does not outlive its engine's processes."""

import signal
import subprocess
import sys

STAGE = """
import subprocess, sys, threading
from repro.generation import watchdog
has_exited, looks = watchdog.has_exited, threading.Semaphore(0)
def count_looks(process):
    looks.release()
    return has_exited(process)
watchdog.has_exited, watchdog.EVERY = count_looks, 0.05
other, child = (
    subprocess.Popen([name, "-c", "input()"], executable=sys.executable, stdin=subprocess.PIPE)
    for name in ("compiler", "VLLM::Worker_TP0")
)
watch = watchdog.Watchdog()
(thread,) = set(threading.enumerate()) - {threading.main_thread()}
other.kill()
for _ in range(3):
    looks.acquire()
print("the other is nobody's business", flush=True)
if sys.argv[1] == "stopped":
    watch.stop()
child.kill()
thread.join()
print("went on")
"""


def run(how):
    return subprocess.run([sys.executable, "-c", STAGE, how], capture_output=True, text=True)


def test_a_lost_child_ends_the_stage():
    found = run("watched")
    assert found.returncode == -signal.SIGKILL
    assert found.stdout == "the other is nobody's business\n"
    assert "ended; this stage ends too" in found.stderr


def test_children_that_end_after_the_engine_was_closed_are_nobodys_business():
    assert run("stopped").stdout.endswith("went on\n")
