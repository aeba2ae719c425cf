"""A child process and its children exit when the parent does."""

import subprocess
import sys
import time

import psutil
import pytest

CHILD = """
import subprocess, sys, time
from repro.system.child_processes import exit_with_parent
exit_with_parent(int(sys.argv[1]))
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
print(grandchild.pid, flush=True)
time.sleep(3600)
"""


def has_ended(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.load_sensitive
def test_child_and_grandchild_exit_when_the_parent_is_killed():
    parent = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    command = [sys.executable, "-c", CHILD, str(parent.pid)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    grandchild = int(child.stdout.readline())
    assert not has_ended(grandchild)
    parent.kill()
    parent.wait()
    assert child.wait() == 143
    while not has_ended(grandchild):
        time.sleep(0.01)
    child.stdout.close()


def test_a_child_exits_at_once_if_the_parent_has_exited():
    parent = subprocess.Popen([sys.executable, "-c", ""])
    parent.wait()
    assert subprocess.run([sys.executable, "-c", CHILD, str(parent.pid)]).returncode == 143
