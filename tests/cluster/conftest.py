"""A real Slurm of two nodes on this machine, for the session; skipped, with the reason, if it cannot be started."""

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

CONFIGURATION = Path("/etc/slurm/slurm.conf")  # its standard path: submitit removes SLURM_* variables
HEADER = "# written by this project's tests\n"
NODES = ("repro1", "repro2")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.cluster)


def why_not() -> str | None:
    """Return why no Slurm can be started here; None if it can."""
    missing = [p for p in ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "srun") if not which(p)]
    if missing:
        return f"no {missing[0]} (Debian: apt-get install munge slurmctld slurmd slurm-client)"
    if os.geteuid() != 0:
        return "Slurm's daemons need root here"
    if CONFIGURATION.exists() and not CONFIGURATION.read_text().startswith(HEADER):
        return f"{CONFIGURATION} belongs to another Slurm: these tests drain nodes and kill jobs"
    return None


def which(program: str) -> str | None:
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def configuration(folder: Path) -> str:
    host = platform.node()
    return (
        f"{HEADER}ClusterName=repro\nSlurmctldHost={host}\nSlurmUser=root\nSlurmdUser=root\n"
        "AuthType=auth/munge\nProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nMpiDefault=none\n"
        "SelectType=select/cons_tres\nSelectTypeParameters=CR_Core\nReturnToService=2\nKillWait=2\nMinJobAge=10\n"
        f"StateSaveLocation={folder}/state\nSlurmdSpoolDir={folder}/spool-%n\n"
        f"SlurmctldPidFile={folder}/slurmctld.pid\nSlurmdPidFile={folder}/slurmd-%n.pid\n"
        f"SlurmctldLogFile={folder}/slurmctld.log\nSlurmdLogFile={folder}/slurmd-%n.log\n"
        "SlurmctldPort=26817\n"
        + "".join(f"NodeName={n} NodeHostname={host} Port={26820 + i} CPUs=1\n" for i, n in enumerate(NODES))
        + f"PartitionName=main Nodes={','.join(NODES)} Default=YES MaxTime=INFINITE State=UP\n"
    )


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder with the daemons' logs."""
    reason = why_not()
    if reason:
        pytest.skip(f"no Slurm for these tests: {reason}")
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", *(f"spool-{n}" for n in NODES)):
        (folder / name).mkdir()
    CONFIGURATION.parent.mkdir(exist_ok=True)
    CONFIGURATION.write_text(configuration(folder))
    started: list[subprocess.Popen] = []
    try:
        if subprocess.run(["munge", "-n"], capture_output=True).returncode != 0:
            runtime = Path("/run/munge")
            runtime.mkdir(exist_ok=True)
            shutil.chown(runtime, "munge", "munge")
            command = ["runuser", "-u", "munge", "--", which("munged"), "--foreground", "--force"]
            started.append(daemon(command, folder))
            wait_for(lambda: subprocess.run(["munge", "-n"], capture_output=True).returncode == 0, "munged", folder)
        started.append(daemon([which("slurmctld"), "-D"], folder))
        started += [daemon([which("slurmd"), "-D", "-N", node], folder) for node in NODES]
        wait_for(lambda: node_states() == ["idle", "idle"], "two idle nodes", folder)
        yield folder
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            try:
                process.wait(timeout=120)
            except subprocess.TimeoutExpired:
                process.kill()
        CONFIGURATION.unlink()


def daemon(command: list[str], folder: Path) -> subprocess.Popen:
    log = (folder / f"{Path(command[0]).name}-{time.time_ns()}.out").open("w")
    return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)


def node_states() -> list[str]:
    answer = subprocess.run(["sinfo", "-h", "-N", "-o", "%t"], capture_output=True, text=True)
    return answer.stdout.split()


def wait_for(condition, what: str, folder: Path, seconds: float = 600) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            logs = "\n".join(f"{f.name}: {f.read_text()[-600:]}" for f in folder.glob("*.*"))
            pytest.fail(f"{what}: not in {seconds:g} s; nodes {node_states()}\n{logs}")
        time.sleep(0.2)
