"""The locks: every line pinned and hashed, every requirement of the project met, torch's CPU build apart with its reason."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCKS = ROOT / "requirements"
PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)(?: ; .+?)?(?: \\)?$")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LEFT_OUT_OF_CPU_VLLM = {"torchvision", "torchaudio", "torchcodec"}


def pins(name):
    """Canonical name to version, with the number of hashes after each."""
    pinned, hashes, last = {}, {}, ""
    for line in (LOCKS / f"{name}.txt").read_text().splitlines():
        if line.startswith("    --hash=sha256:"):
            assert re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?", line)
            hashes[last] += 1
        elif line and not line.lstrip().startswith("#"):
            pin = PIN.match(line)
            assert pin, line
            last = canonicalize_name(pin[1])
            pinned[last], hashes[last] = pin[2], 0
    return pinned, hashes


@pytest.mark.parametrize("name", ["cpu", "tests", "cpu-vllm", "gpu", "kernels", "docs", "tools"])
def test_every_line_is_pinned_and_hashed(name):
    pinned, hashes = pins(name)
    assert pinned
    assert [package for package, count in hashes.items() if count == 0] == []


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("cpu", None),
        ("tests", "dev"),
        ("tests", "gguf"),
        ("cpu-vllm", "cpu"),
        ("gpu", "gpu"),
        ("gpu", "dev"),
        ("kernels", "kernels"),
        ("docs", "docs"),
    ],
)
def test_the_lock_meets_the_project(name, extra):
    pinned, _ = pins(name)
    torch, _ = pins("torch-cpu")
    if name.startswith("cpu"):
        assert "torch" not in pinned, "torch's CPU build has a list of its own"
        pinned |= {"torch": torch["torch"].removesuffix("+cpu")}
    if name == "tests":
        pinned |= pins("cpu")[0]
    wanted = PROJECT["optional-dependencies"][extra] if extra else []
    if name not in ("kernels", "tests", "docs"):
        wanted = [*PROJECT["dependencies"], *wanted]
    unmet = []
    for requirement in map(Requirement, wanted):
        version = pinned.get(canonicalize_name(requirement.name))
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            unmet.append(f"{requirement}: {version}")
    assert unmet == []
    assert not (name == "cpu-vllm" and LEFT_OUT_OF_CPU_VLLM & set(pinned))


def test_the_same_torch_everywhere():
    cpu = [line for line in (LOCKS / "torch-cpu.txt").read_text().splitlines() if line.startswith("torch==")]
    versions = {re.split(r"[=;+ ]+", line)[1] for line in cpu}
    assert versions == {pins("gpu")[0]["torch"]}


def test_the_kernels_are_tested_with_the_triton_of_the_gpu_lock():
    assert pins("kernels")[0]["triton"] == pins("gpu")[0]["triton"]


def test_a_study_at_toy_scale_installs_what_the_project_requires_and_no_more():
    """And of pytest what the claims of its result are tested with."""
    needed = {"torch"}

    def follow(requirement):
        name = canonicalize_name(requirement.name)
        if name in needed or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            return
        needed.add(name)
        try:
            below = requires(name) or []
        except PackageNotFoundError:  # of another platform
            return
        for line in below:
            follow(Requirement(line))

    for line in (*PROJECT["dependencies"], *requires("torch"), "pytest", "pytest-timeout"):
        follow(Requirement(line))
    assert set(pins("cpu")[0]) - needed == set()


def test_what_tests_add_is_not_in_the_lock_that_they_add_it_to():
    assert set(pins("cpu")[0]) & set(pins("tests")[0]) == set()
