"""Rows of the hub are read from the disk once they are there: the same commit, without a network."""

import io
import json
import sys
import types
import urllib.error

import pytest

from repro.errors import InputError
from repro.tasks import hub
from repro.tasks.hub import HubSource, fetch

SOURCE, FILE = HubSource("org/sums", "train", "test"), HubSource("org/file", None, "test", url="https://x/{revision}/f")
OLD, NEW = "0" * 40, "1" * 40
ROWS = {
    OLD: [{"question": "1 + 1?", "choices": ["2", None], "score": 0.1}],
    NEW: [{"question": "ça va?", "choices": [], "score": 1}],
}


class Answers:
    """The hub and `datasets`: commits by name, and whether they answer."""

    def __init__(self):
        self.newest, self.is_up, self.asked = OLD, True, []

    def dataset_info(self, hub_id, *, revision=None, timeout):
        self.asked.append(("commit", revision))
        if not self.is_up:
            raise ConnectionError("no route")
        return types.SimpleNamespace(sha=revision or self.newest)

    def load_dataset(self, name, config, *, split, revision):
        self.asked.append(("rows", revision))
        return ROWS[revision if self.is_up and revision else OLD]  # without the hub: what it has of any commit

    def urlopen(self, address, timeout):
        if not self.is_up:
            raise urllib.error.URLError("no route")
        return io.BytesIO(json.dumps(ROWS[self.newest][0]).encode())


@pytest.fixture
def answers(monkeypatch):
    stand_in = Answers()
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: stand_in)
    monkeypatch.setattr(hub, "is_offline", lambda: False)
    monkeypatch.setattr(hub.urllib.request, "urlopen", stand_in.urlopen)
    module = types.ModuleType("datasets")
    module.load_dataset = stand_in.load_dataset
    monkeypatch.setitem(sys.modules, "datasets", module)
    return stand_in


def rows(source=SOURCE, revision="unpinned", split="test"):
    return [row.fields for row in fetch(source, split, revision, "")]


def test_a_pinned_commit_is_fetched_once_and_then_nobody_is_asked(answers):
    assert rows(revision=NEW) == ROWS[NEW]
    answers.asked.clear()
    answers.is_up = False
    assert rows(revision=NEW) == ROWS[NEW]
    assert not answers.asked


def test_a_pinned_commit_is_never_read_as_another(answers):
    """`datasets` takes what it has of any commit if the hub does not answer."""
    rows(revision=OLD)
    answers.is_up = False
    with pytest.raises(InputError, match="not reachable, and not in the local cache"):
        rows(revision=NEW)


def test_rows_of_another_commit_are_refused_and_not_kept(answers, monkeypatch):
    """The hub answered the first question and not the second."""

    class Cached(list):
        cache_files = ({"filename": f"/hub/datasets/org___sums/default/0.0.0/{OLD}/sums-test.arrow"},)

    monkeypatch.setattr(sys.modules["datasets"], "load_dataset", lambda *names, **named: Cached(ROWS[OLD]))
    with pytest.raises(InputError, match="asked for commit 1111"):
        rows(revision=NEW)
    with pytest.raises(InputError, match="asked for commit 1111"):
        rows(revision=NEW)
    assert rows(revision=OLD) == ROWS[OLD]


def test_the_newest_rows_are_fetched_when_there_are_newer_ones(answers):
    assert rows() == rows() == ROWS[OLD]
    assert answers.asked == [("commit", None), ("commit", OLD), ("rows", OLD), ("commit", None)]
    answers.newest = NEW
    assert rows() == ROWS[NEW]


@pytest.mark.parametrize("source", [SOURCE, FILE])
def test_without_a_network_the_rows_fetched_last_are_used_with_a_warning(answers, source, monkeypatch, caplog):
    hub._warn_older.cache_clear()
    rows(source)
    answers.newest = NEW
    assert rows(source) == ROWS[NEW]
    answers.is_up = False
    assert rows(source) == rows(source) == ROWS[NEW]
    assert caplog.text.count("not reachable, so the cached rows are used") == 1
    monkeypatch.setattr(hub, "is_offline", lambda: True)
    answers.asked.clear()
    assert rows(source) == ROWS[NEW]
    assert not answers.asked


def test_splits_and_configurations_are_kept_apart(answers):
    rows(revision=OLD)
    answers.asked.clear()
    rows(revision=OLD, split="train")
    rows(HubSource("org/sums", "train", "test", config="hard"), revision=OLD)
    assert [kind for kind, _ in answers.asked].count("rows") == 2


def test_a_disk_that_takes_nothing_is_no_obstacle(answers, hub_home):
    hub_home.write_text("a file where a folder should be")
    assert rows(revision=NEW) == ROWS[NEW]
    assert rows(revision=NEW) == ROWS[NEW]
