"""The registry: names, a stand-in for the hub, the lock, and the cost of importing it."""

import io
import json
import subprocess
import sys
import types
from typing import Any

import pytest
from tasks.schema_rows import CSQA_HUB, ROWS, VICUNA, Write

from repro.errors import InputError
from repro.system import hub_lock
from repro.tasks import hub, registry
from repro.toy.pool import TASK_NAMES

PAPER = {"bigmath-4", "bigmath-5", "csqa", "mmlu-pro", "supergpqa", "dolly", "vicuna", "gsm8k"}
BIGMATH_ID = "open-r1/Big-Math-RL-Verified-Processed"
Rows = dict[str, list[dict[str, Any]]]


class Hub:
    """Stand-in for the `datasets` library that records requests."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, rows: dict[str, list[dict[str, Any]]] | Exception) -> None:
        self.requests: list[tuple[Any, ...]] = []
        module = types.ModuleType("datasets")

        def load_dataset(name: str, config: str | None, *, split: str, revision: str | None) -> object:
            self.requests.append((name, config, split, revision))
            if isinstance(rows, Exception):
                raise rows
            return rows[split]

        module.load_dataset = load_dataset  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "datasets", module)


def test_all_names_are_known() -> None:
    assert set(registry.names()) > PAPER | {"file-numeric", "file-choice", "file-open"} | set(TASK_NAMES)
    assert len(set(registry.names())) == len(registry.names())
    kinds = {name: registry.kind_of(name) for name in registry.names()}
    assert kinds["bigmath-5"] == kinds["gsm8k"] == kinds["file-numeric"] == "numeric"
    assert kinds["csqa"] == kinds["supergpqa"] == kinds["file-choice"] == "choice"
    assert kinds["dolly"] == kinds["vicuna"] == kinds["file-open"] == "open"


def test_an_unknown_name_lists_the_known_ones() -> None:
    for function in (registry.get, registry.kind_of):
        with pytest.raises(
            InputError, match=r"unknown task 'bigmath-6'\. Did you mean bigmath-\d\? Known are bigmath-4.*toy-"
        ):
            function("bigmath-6")


def test_toy_tasks_are_delegated_and_take_no_file(write: Write) -> None:
    name = TASK_NAMES[0]
    assert registry.get(name).name == name
    with pytest.raises(InputError, match="takes no file"):
        registry.get(name, data=write(ROWS["gsm8k"]))


def test_a_user_file_is_required() -> None:
    with pytest.raises(InputError, match="--data FILE"):
        registry.get("file-numeric")


@pytest.mark.parametrize(
    ("name", "split", "requests"),
    [
        ("gsm8k", "test", [("openai/gsm8k", "main", "test", "abc")]),
        ("bigmath-5", "test", [("open-r1/Big-Math-RL-Verified-Processed", "level_5", "train", "abc")]),
        (
            "bigmath-quintile-4",
            "test",
            [("open-r1/Big-Math-RL-Verified-Processed", "quintile_4", "train", "abc")],
        ),
        ("csqa", "test", [("tau/commonsense_qa", None, "validation", "abc")]),
        ("mmlu-pro", "train", [("TIGER-Lab/MMLU-Pro", None, "test", "abc")]),
        ("supergpqa", "train", [("m-a-p/SuperGPQA", None, "train", "abc")]),
        ("dolly", "train", [("databricks/databricks-dolly-15k", None, "train", "abc")]),
    ],
)
def test_the_hub_is_asked_once_at_the_revision(
    name: str, split: Any, requests: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = CSQA_HUB if name == "csqa" else ROWS[name]
    stand_in = Hub(monkeypatch, dict.fromkeys(("train", "validation", "test"), rows))
    task = registry.get(name, revision="abc")
    assert task.items(split, None, 0) == task.items(split, None, 0)
    assert stand_in.requests == requests
    assert task.revision == "abc"  # type: ignore[attr-defined]


def test_hub_splits_of_one_data_set_share_no_item(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = ROWS["gsm8k"]
    Hub(monkeypatch, {"train": rows[:35], "test": rows[30:]})
    task = registry.get("gsm8k")
    train, test = task.items("train", None, 0), task.items("test", None, 0)
    assert (len(train), len(test)) == (30, 10)


def test_revisions_come_from_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = Hub(monkeypatch, {"train": ROWS["dolly"]})
    monkeypatch.setattr(hub_lock, "pinned_revision", lambda hub_id: f"commit of {hub_id}")
    registry.get("dolly").items("test", 1, 0)
    monkeypatch.setattr(hub_lock, "pinned_revision", lambda hub_id: "unpinned")
    registry.get("dolly").items("test", 1, 0)
    assert [revision for *_, revision in stand_in.requests] == [
        "commit of databricks/databricks-dolly-15k",
        None,
    ]


def test_vicuna_comes_from_its_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = []

    def urlopen(address: str, timeout: float) -> io.BytesIO:
        addresses.append(address)
        return io.BytesIO("\n".join(json.dumps(row) for row in VICUNA).encode())

    monkeypatch.setattr(hub.urllib.request, "urlopen", urlopen)
    assert len(registry.get("vicuna", revision="abc").items("test", None, 0)) == 40
    assert "/lm-sys/FastChat/abc/" in addresses[0]
    registry.get("vicuna").items("test", None, 0)
    assert "/lm-sys/FastChat/main/" in addresses[1]


@pytest.mark.parametrize("cause", [ConnectionError("no\nroute"), FileNotFoundError("gone"), ValueError("no cache")])
def test_without_a_network_one_line_says_what_to_do(cause: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    Hub(monkeypatch, cause)
    with pytest.raises(InputError) as caught:
        registry.get("csqa").items("test", 5, 0)
    message = str(caught.value)
    assert "tau/commonsense_qa" in message
    assert "--data" in message
    assert "\n" not in message


def test_a_bad_row_on_the_hub_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    Hub(monkeypatch, {"train": [*ROWS["supergpqa"], {"uuid": "x"}]})
    with pytest.raises(InputError, match=r"m-a-p/SuperGPQA \(train\), row 41: field 'options' is missing"):
        registry.get("supergpqa").items("test", 5, 0)


def test_import_is_light() -> None:
    code = (
        "import sys; from repro.tasks import registry, grading, contamination; registry.names();"
        "[registry.kind_of(name) for name in registry.names()];"
        "heavy = {'torch', 'datasets', 'sympy', 'math_verify', 'transformers', 'pyarrow'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
