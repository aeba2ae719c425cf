"""A file has its old content or its new content, and no temporary file remains."""

import pytest

from repro.system.atomic_write import atomic_write


def test_a_file_is_written_completely(tmp_path):
    for text in ("first", "second"):
        with atomic_write(tmp_path / "page.html") as temporary:
            temporary.write_text(text)
        assert [file.name for file in tmp_path.iterdir()] == ["page.html"]
        assert (tmp_path / "page.html").read_text() == text


def test_a_failed_write_keeps_the_old_file(tmp_path):
    (tmp_path / "page.html").write_text("old")

    def write_half():
        with atomic_write(tmp_path / "page.html") as temporary:
            temporary.write_text("ne")
            raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        write_half()
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]
    assert (tmp_path / "page.html").read_text() == "old"
