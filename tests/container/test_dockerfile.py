"""The Dockerfile as text: what can be held without building it (test_image.py builds it)."""

import re
from pathlib import Path

import pytest

import repro

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text()


def stage(name):
    """Instructions of one stage, continuation lines joined, comments gone."""
    body = re.split(r"^FROM .* AS (\S+)$", TEXT, flags=re.M)
    stages = dict(zip(body[1::2], body[2::2]))
    lines = [line for line in stages[name].splitlines() if line.strip() and not line.startswith("#")]
    return re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()


def test_cuda_is_the_default_and_cpu_comes_before_it():
    names = re.findall(r"^FROM .* AS (\S+)$", TEXT, flags=re.M)
    assert names[-1] == "cuda"
    assert names.index("cpu") < names.index("cuda-base")  # old builders build every stage before the wanted one


def test_every_base_is_an_exact_tag_through_an_arg():
    bases = dict(re.findall(r"^ARG (\w+_IMAGE)=(\S+)$", TEXT, flags=re.M))
    stages = set(re.findall(r" AS (\S+)$", TEXT, flags=re.M))
    for base in re.findall(r"^FROM (\S+) AS", TEXT, flags=re.M):
        assert base in stages or re.fullmatch(r"\$\{(\w+)\}", base)[1] in bases
    for image in bases.values():
        assert re.search(r":\d+\.\d+\.\d+", image), image


@pytest.mark.parametrize("name", ["cpu", "cuda"])
def test_what_a_batch_image_needs(name):
    lines = stage(name)
    assert "USER 10001:10001" in lines
    assert 'VOLUME ["/data"]' in lines
    assert 'CMD ["repro", "run", "table2"]' in lines
    assert not any(line.startswith("HEALTHCHECK") for line in lines)
    assert not re.search(r"(?i)(token|secret|password)", "\n".join(lines))


def test_the_two_images_differ_in_their_names_and_versions_only():
    def text_without_names(name):
        text = "\n".join(line for line in stage(name) if not line.startswith(("LABEL", "ENV NVIDIA")))
        return text.replace("CUDA_IMAGE", "BASE_IMAGE").replace("cuda", "cpu")

    assert text_without_names("cpu") == text_without_names("cuda")


@pytest.mark.parametrize(("name", "lock"), [("cpu", "cpu"), ("cuda", "gpu")])
def test_labels_tell_the_versions_that_the_locks_install(name, lock):
    (label,) = (line for line in stage(name) if line.startswith("LABEL"))
    labels = dict(re.findall(r'([\w.]+)="?([^"\s]+)"?', label))
    assert labels["org.opencontainers.image.revision"] == "${COMMIT}"
    assert labels["org.opencontainers.image.version"] == repro.__version__
    pinned = (ROOT / "requirements" / f"{lock}.txt").read_text() + (ROOT / "requirements/torch-cpu.txt").read_text()
    versions = {key.removeprefix("repro."): value for key, value in labels.items() if key.startswith("repro.")}
    assert set(versions) >= {"torch", "transformers", "trl"}
    for package, version in versions.items():
        assert re.search(rf"^{package}=={re.escape(version)}( |$)", pinned, flags=re.M), package


def test_the_build_context_leaves_out_history_results_and_secrets():
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    assert not {"!.git", "!results", "!.nox", "!.env"} & set(lines)
