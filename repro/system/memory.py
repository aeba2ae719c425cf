"""Main memory of this machine."""

from pathlib import Path

import psutil


def memory_bytes(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> int:
    """Return the memory available to processes here: the machine's, or the tightest cgroup limit."""
    try:
        groups = [line.split(":", 2)[1:] for line in membership.read_text().splitlines()]
    except OSError:
        groups = []
    limits = [psutil.virtual_memory().total]
    for controllers, name in [("", ""), *groups]:
        if controllers not in ("", "memory"):
            continue
        base, file = (root / "memory", "memory.limit_in_bytes") if controllers else (root, "memory.max")
        group = base / name.strip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(base):
                limits += _number(folder / file)
    return min(limits)


def _number(file: Path) -> list[int]:
    try:
        return [int(file.read_text())]
    except (OSError, ValueError):  # no such group, or no limit ("max")
        return []
