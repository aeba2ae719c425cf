"""Container volumes: whether a folder outlives its container."""

import re
from pathlib import Path


def lost_volume(folder: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str | None:
    """Return a warning if a folder is on an anonymous Docker volume of this container; else None.

    Docker creates one for an image's volume folder that has no mount; its name is 64 hex digits, which nobody would
    choose.
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
