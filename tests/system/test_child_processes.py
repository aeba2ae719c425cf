"""What a process started ends with it, and it ends with the one that it was started for."""

import subprocess
import sys
import time

import psutil

CHILD = """
import subprocess, sys, time
from repro.system.child_processes import exit_with_parent
exit_with_parent(int(sys.argv[1]))
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
print(grandchild.pid, flush=True)
time.sleep(3600)
"""


def ended(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_all_end_when_the_first_is_killed():
    first = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    words = [sys.executable, "-c", CHILD, str(first.pid)]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    grandchild = int(child.stdout.readline())
    assert not ended(grandchild)
    first.kill()
    first.wait()
    assert child.wait() == 143
    while not ended(grandchild):
        time.sleep(0.01)
    child.stdout.close()


def test_nothing_lives_for_a_process_that_is_gone():
    first = subprocess.Popen([sys.executable, "-c", ""])
    first.wait()
    assert subprocess.run([sys.executable, "-c", CHILD, str(first.pid)]).returncode == 143
