"""Pinning against a small server: found pins are written, others are unchanged, nothing is invented."""

import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest

from repro.errors import InputError
from repro.pin import names
from repro.pin import pin as pinning
from repro.pin.lookup import Addresses, PinError, action_commit, hub_revision, image_digest
from repro.stages import pins
from repro.system import hub_lock

DIGEST, COMMIT, REVISION = "sha256:" + "a1" * 32, "b2" * 20, "c3" * 20
DEAD = "http://127.0.0.1:9"


class World(BaseHTTPRequestHandler):
    """A registry that asks for a token, GitHub's commits, and the hub."""

    absent: frozenset[str] = frozenset()
    wrong: frozenset[str] = frozenset()
    paths: list[str]

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.paths.append(self.path)
        path = self.path.partition("?")[0]
        if any(name in self.path for name in self.absent):
            self._send(404, "{}")
        elif any(name in self.path for name in self.wrong):
            self._send(200, json.dumps({"sha": "main"}), {"Docker-Content-Digest": "latest"})
        elif path == "/token":
            self._send(200, json.dumps({"token": "t0k3n"}))
        elif path.startswith("/v2/") and self.headers.get("Authorization") != "Bearer t0k3n":
            challenge = (
                f'Bearer realm="http://{self.headers["Host"]}/token",service="registry",scope="repository:x:pull"'
            )
            self._send(401, "", {"WWW-Authenticate": challenge})
        elif path.startswith("/v2/"):
            self._send(200, "", {"Docker-Content-Digest": DIGEST})
        elif path.startswith("/repos/"):
            self._send(200, COMMIT + "\n")
        else:
            self._send(200, json.dumps({"id": path, "sha": REVISION}))

    def _send(self, status, body, headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body.encode())

    def log_message(self, *_):
        """Quiet."""


@pytest.fixture
def world(monkeypatch):
    for name in ("GITHUB_TOKEN", "GH_TOKEN", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    handler = type("Handler", (World,), {"paths": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    handler.addresses = Addresses(hub=address, github=address, docker_hub=address)
    yield handler
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def checkout(tmp_path):
    """A copy of the files that pinning reads and writes, with nothing pinned."""
    root = tmp_path / "checkout"
    shutil.copytree(pinning.ROOT / ".github", root / ".github")
    dockerfile = (pinning.ROOT / "Dockerfile").read_text()
    (root / "Dockerfile").write_text(names.IMAGE_LINE.sub(lambda line: line["head"] + line["image"], dockerfile))
    for file in names.workflows(root):
        loose = names.ACTION_LINE.sub(
            lambda line: f"{line['head']}{line['action']}@{names.tag_of(line)}", file.read_text()
        )
        file.write_text(loose)
    (tmp_path / "hub.json").write_text("{}\n")
    return root


def test_everything_is_looked_up_written_and_applied(world, checkout, tmp_path):
    hub_file = tmp_path / "hub.json"
    before = pinning.find_unpinned(checkout, hub_file)
    result = pinning.pin(pinning.KINDS, checkout, hub_file, world.addresses)
    assert result.unpinned == []
    assert sorted(result.pins) == sorted(before)
    assert pinning.find_unpinned(checkout, hub_file) == []
    lock = json.loads((checkout / "pins.json").read_text())
    assert set(lock["images"].values()) == {DIGEST}
    assert set(lock["actions"].values()) == {COMMIT}
    assert set(json.loads(hub_file.read_text()).values()) == {REVISION, COMMIT}
    dockerfile = (checkout / "Dockerfile").read_text()
    assert [line["digest"] for line in names.IMAGE_LINE.finditer(dockerfile)] == [DIGEST, DIGEST]
    for file in names.workflows(checkout):
        for line in names.ACTION_LINE.finditer(file.read_text()):
            assert line["ref"] == COMMIT
            assert names.tag_of(line).startswith("v")


def test_pinning_again_follows_the_tags_and_changes_nothing_else(world, checkout, tmp_path):
    hub_file = tmp_path / "hub.json"
    pinning.pin(pinning.KINDS, checkout, hub_file, world.addresses)
    files = [checkout / "Dockerfile", *names.workflows(checkout), checkout / "pins.json", hub_file]
    before = [file.read_text() for file in files]
    paths = set(world.paths)
    world.paths.clear()
    pinning.pin(pinning.KINDS, checkout, hub_file, world.addresses)
    assert [file.read_text() for file in files] == before
    assert set(world.paths) == paths


def test_a_name_that_is_not_found_is_unchanged_and_the_rest_is_pinned(world, checkout, tmp_path):
    world.absent = frozenset({"Qwen/Qwen3-8B", "nvidia/cuda"})
    hub_file = tmp_path / "hub.json"
    result = pinning.pin(pinning.KINDS, checkout, hub_file, world.addresses)
    assert len(result.unpinned) == 2
    assert all("not found (HTTP 404)" in line for line in result.unpinned)
    cuda = names.images(checkout)[0]
    assert pinning.find_unpinned(checkout, hub_file) == [cuda, "Qwen/Qwen3-8B"]
    assert "Qwen/Qwen3-0.6B" in json.loads(hub_file.read_text())
    assert f"ARG CUDA_IMAGE={cuda}\n" in (checkout / "Dockerfile").read_text()


def test_a_failed_look_up_keeps_the_pins(world, checkout, tmp_path):
    hub_file = tmp_path / "hub.json"
    pinning.pin(pinning.KINDS, checkout, hub_file, world.addresses)
    before = (checkout / "pins.json").read_text(), hub_file.read_text()
    result = pinning.pin(pinning.KINDS, checkout, hub_file, Addresses(DEAD, DEAD, DEAD))
    assert result.pins == {}
    assert ((checkout / "pins.json").read_text(), hub_file.read_text()) == before


def test_a_host_that_does_not_answer_is_reported_in_a_line_and_asked_once(checkout, tmp_path):
    hub_file = tmp_path / "hub.json"
    dockerfile = (checkout / "Dockerfile").read_text()
    result = pinning.pin(pinning.KINDS, checkout, hub_file, Addresses(DEAD, DEAD, DEAD))
    assert result.pins == {}
    assert len(result.unpinned) == 4  # images, actions, the hub, and GitHub again for a data set there
    for line in result.unpinned:
        assert line.startswith("127.0.0.1:9: cannot be reached")
        assert "\n" not in line
    assert (checkout / "Dockerfile").read_text() == dockerfile
    assert json.loads(hub_file.read_text()) == {}


@pytest.mark.parametrize("look_up", [image_digest, action_commit, lambda name, at: hub_revision(name, "models", at)])
def test_an_answer_without_a_digest_or_commit_is_refused(world, look_up):
    world.wrong = frozenset({"thing"})
    with pytest.raises(PinError, match="holds no commit or digest"):
        look_up("some/thing@v1" if look_up is action_commit else "some/thing:1", world.addresses)


def test_names_of_images(world):
    image_digest("python:3.11", world.addresses)
    image_digest("nvidia/cuda:13.0", world.addresses)
    assert {path for path in world.paths if path.startswith("/v2/")} == {
        "/v2/library/python/manifests/3.11",
        "/v2/nvidia/cuda/manifests/13.0",
    }
    with pytest.raises(PinError, match="no tag"):
        image_digest("python", world.addresses)


def test_not_a_checkout(tmp_path):
    with pytest.raises(InputError, match="no Dockerfile"):
        pinning.pin(("images",), tmp_path)


def test_a_broken_lock_names_itself(checkout):
    (checkout / "pins.json").write_text("[]")
    with pytest.raises(InputError, match=r"pins\.json: not a lock file"):
        pinning.find_unpinned(checkout)


def test_committed_locks_agree_with_dockerfile_and_workflows(tmp_path):
    """Applying the committed lock changes nothing, and every pin in the files is in it."""
    root = tmp_path / "copy"
    shutil.copytree(pinning.ROOT / ".github", root / ".github")
    for name in ("Dockerfile", "pins.json"):
        shutil.copy(pinning.ROOT / name, root / name)
    before = [file.read_text() for file in (root / "Dockerfile", *names.workflows(root))]
    pinning.apply(root)
    assert [file.read_text() for file in (root / "Dockerfile", *names.workflows(root))] == before
    lock = pinning.read_lock(root)
    for line in names.IMAGE_LINE.finditer(before[0]):
        assert line["digest"] == lock["images"].get(line["image"])


def test_hub_names_of_all_studies():
    kinds = names.hub_names()
    assert kinds["Qwen/Qwen3-8B"] == "models"
    assert kinds["openai/gsm8k"] == "datasets"
    assert kinds["lm-sys/FastChat"] == "github"
    assert not any(name.startswith("toy") for name in kinds)


def test_unpinned_inputs_of_a_plan(monkeypatch):
    from repro.recipes.catalog import plan

    stages = plan("table2", scale="small", seeds=1).stages()
    known = {"Qwen/Qwen3-1.7B": REVISION, "openai/gsm8k": REVISION}
    monkeypatch.setattr(pins, "pinned_revision", lambda name: known.get(name, "unpinned"))
    assert pins.unpinned_inputs(stages) == ["Qwen/Qwen3-0.6B", "tau/commonsense_qa"]
    assert pins.unpinned_inputs(plan("table2", scale="toy", seeds=1).stages()) == []


def test_the_lock_in_the_package_is_readable():
    assert isinstance(json.loads(Path(hub_lock.LOCK).read_text()), dict)


def test_revisions_are_those_of_the_hub_that_models_come_from_with_the_token_of_a_login(monkeypatch):
    asked = []
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "https://mirror.example")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_of_a_login")
    monkeypatch.setattr(
        "repro.pin.lookup._ask",
        lambda url, headers: asked.append((url, headers)) or httpx2.Response(200, json={"sha": "a" * 40}),
    )
    assert hub_revision("org/model", "models", Addresses()) == "a" * 40
    assert asked == [("https://mirror.example/api/models/org/model", {"Authorization": "Bearer hf_of_a_login"})]
