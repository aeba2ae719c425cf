"""Volumes of a container: whether a folder is still there when it has ended."""

import re
from pathlib import Path


def lost_volume(folder: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str | None:
    """Return a warning if a folder is on a volume that Docker made for this container alone; None if it is not.

    That is the volume of an image whose folder nothing is mounted on; its name is 64 digits, which nobody gives one.
    """
    try:
        lines = [line.split() for line in mounts.read_text().splitlines()]
    except OSError:
        return None
    sources = {line[4]: line[3] for line in lines if len(line) > 4}
    place = next((str(part) for part in (folder.absolute(), *folder.absolute().parents) if str(part) in sources), "")
    if not re.search(r"/volumes/[0-9a-f]{64}(/_data)?$", sources.get(place, "")):
        return None
    return (
        f"{folder} is on a volume of this container alone: `docker run --rm` deletes it at the end, and the next container"
        f' begins anew. Mount a folder: docker run -v "$PWD/data:{place}"'
    )
