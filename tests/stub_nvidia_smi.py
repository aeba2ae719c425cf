"""A stand-in for nvidia-smi on PATH, for machines that this one is not."""

import json
import os
import sys
from pathlib import Path

import pytest

from repro.system import gpus

SCRIPT = """#!{python}
import json, sys
cards, listing = json.loads({answer!r})
if sys.argv[1:] == ["-L"]:
    print(listing)
elif len(sys.argv) > 1:
    query = sys.argv[1].removeprefix("--query-gpu=").split(",")
    for name in (name for gpu in cards for name in query if name not in gpu):
        print(f'Field "{{name}}" is not a valid field to query.')
        sys.exit(2)
    for gpu in cards:
        print(", ".join(gpu[name] for name in query))
else:
    print("| NVIDIA-SMI 580.95.05   Driver Version: 580.95.05   CUDA Version: 13.0  |")
"""


def card(
    index: int,
    uuid: str,
    mib: int | str,
    name: str = "NVIDIA GeForce RTX 3090",
    mig: str = "[N/A]",
    compute_cap: str = "8.6",
) -> dict:
    """What nvidia-smi knows of a GPU."""
    return {
        "index": str(index),
        "uuid": uuid,
        "name": name,
        "memory.total": str(mib),
        "driver_version": "580.95.05",
        "mig.mode.current": mig,
        "compute_cap": compute_cap,
    }


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, *cards: dict, listing: str = "", files: int = 0) -> None:
    """Put a stand-in that reports these cards first on PATH, with the variable that selects GPUs unset.

    Args:
        listing: what `nvidia-smi -L` prints. files: device files of the driver; WSL2 has none.
    """
    folder.mkdir(exist_ok=True)
    report(folder, *cards, listing=listing)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    gpus._run_once.cache_clear()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("repro.system.gpus.device_files", lambda: files)
    monkeypatch.setattr("repro.system.hardware.device_files", lambda: files)


def report(folder: Path, *cards: dict, listing: str = "") -> None:
    """Let the stand-in in this folder report these cards from now on."""
    script = folder / "nvidia-smi"
    script.write_text(SCRIPT.format(python=sys.executable, answer=json.dumps([cards, listing])))
    script.chmod(0o755)
