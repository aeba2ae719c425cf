"""A stage does not outlive its engine's processes."""

import subprocess
import sys

from repro.generation.watchdog import EXIT_CODE

STAGE = """
import subprocess, sys, threading
from repro.generation import watchdog
has_exited, checks = watchdog.has_exited, threading.Semaphore(0)
def count_checks(process):
    checks.release()
    return has_exited(process)
watchdog.has_exited, watchdog.INTERVAL = count_checks, 0.05
compiler, worker = (
    subprocess.Popen(
        [name, "-c", "print(flush=True); input()"],
        executable=sys.executable,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    for name in ("compiler", "VLLM::Worker_TP0")
)
for process in (compiler, worker):
    process.stdout.readline()  # it runs: before, the system may not know its name yet
dog = watchdog.Watchdog()
(thread,) = set(threading.enumerate()) - {threading.main_thread()}
compiler.kill()
for _ in range(3):
    checks.acquire()
print("the compiler was not watched", flush=True)
if sys.argv[1] == "stopped":
    dog.stop()
worker.kill()
thread.join()
print("continued")
"""


def run(mode):
    return subprocess.run([sys.executable, "-c", STAGE, mode], capture_output=True, text=True)


def test_a_dead_worker_ends_the_stage():
    process = run("watched")
    assert process.returncode == EXIT_CODE
    assert process.stdout == "the compiler was not watched\n"
    assert "ended; so does this one" in process.stderr


def test_a_worker_that_ends_after_the_engine_was_closed_is_ignored():
    assert run("stopped").stdout.endswith("continued\n")
