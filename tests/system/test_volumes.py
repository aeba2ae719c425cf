"""A folder of a container that is lost when it ends: nothing was mounted, so Docker made a volume for it alone."""

from pathlib import Path

import pytest

from repro.system.volumes import lost_volume

MOUNTS = """\
612 556 0:89 / / ro,relatime - overlay overlay ro,lowerdir=/var/lib/docker/overlay2/l/ABC
613 612 0:92 / /proc rw,nosuid - proc proc rw
640 612 8:1 {source} /data rw,relatime - ext4 /dev/sda1 rw
"""
UNNAMED = "/var/lib/docker/volumes/" + "0123456789abcdef" * 4 + "/_data"


@pytest.mark.parametrize(
    ("source", "is_lost"),
    [(UNNAMED, True), ("/var/lib/docker/volumes/results/_data", False), ("/home/me/data", False)],
)
def test_only_a_volume_without_a_name_is_lost(tmp_path, source, is_lost):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS.format(source=source))
    line = lost_volume(Path("/data/results"), mounts)
    assert (line is not None) == is_lost
    if line is not None:
        assert "\n" not in line
        assert '-v "$PWD/data:/data"' in line
    assert lost_volume(Path("/opt/results"), mounts) is None
    assert lost_volume(Path("/data/results"), tmp_path / "none") is None


def test_this_machine_is_no_such_container(tmp_path):
    assert lost_volume(tmp_path) is None
