"""A file is its old self or its new self, and nothing lies beside it."""

import pytest

from repro.system.atomic_write import atomic_write


def test_a_file_is_written_whole(tmp_path):
    for text in ("first", "second"):
        with atomic_write(tmp_path / "page.html") as aside:
            aside.write_text(text)
        assert [file.name for file in tmp_path.iterdir()] == ["page.html"]
        assert (tmp_path / "page.html").read_text() == text


def test_a_writing_that_fails_leaves_the_old_one(tmp_path):
    (tmp_path / "page.html").write_text("old")

    def breaks_off():
        with atomic_write(tmp_path / "page.html") as aside:
            aside.write_text("ne")
            raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        breaks_off()
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]
    assert (tmp_path / "page.html").read_text() == "old"
