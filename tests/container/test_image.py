"""The cpu image, built by buildah and tried: what it tells, exit codes, signals, any user, nothing writable but /data.

REPRO_TEST_IMAGE=NAME tries an image that buildah's store already has, instead of building one.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
STORE = ["buildah", "--storage-driver", os.environ.get("REPRO_TEST_STORAGE", "vfs")]
ENTRYPOINT = "/opt/repro/container/entrypoint.sh"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(
        shutil.which("buildah") is None, reason="buildah is not installed (Debian: apt install buildah)"
    ),
]


def buildah(*arguments, **options):
    return subprocess.run([*STORE, *arguments], capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def image():
    """Name of the image to try."""
    given = os.environ.get("REPRO_TEST_IMAGE")
    if given:
        assert buildah("inspect", "--type", "image", given).returncode == 0, f"REPRO_TEST_IMAGE={given}: no such image"
        return given
    base = next(line for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("ARG BASE_IMAGE="))
    pulled = buildah("pull", base.removeprefix("ARG BASE_IMAGE="), timeout=600)
    if pulled.returncode != 0:
        pytest.skip(f"the base image cannot be pulled: {pulled.stderr.strip()[-200:]}")
    name = "localhost/repro-test-cpu"
    arguments = ("bud", "--isolation", "chroot", "--target", "cpu", "-t", name, "-f", ROOT / "Dockerfile", ROOT)
    built = buildah(*arguments, timeout=3000)
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    return name


@pytest.fixture(scope="module")
def box(image):
    made = buildah("from", image)
    assert made.returncode == 0, made.stderr
    name = made.stdout.split()[-1]
    # buildah puts a volume of its own over /data and would hide the folder that `run` mounts there
    assert buildah("config", "--volume", "/data-", name).returncode == 0
    yield name
    buildah("rm", name)


@pytest.fixture
def run(box, tmp_path):
    """Run words behind the entrypoint as some user that the image does not know; /data is a folder of the host."""
    data = tmp_path / "data"
    data.mkdir(mode=0o777)
    data.chmod(0o777)

    def call(*command, user="12345:12345", entry=(ENTRYPOINT,)):
        arguments = ("run", "--isolation", "chroot", "--user", user, "-v", f"{data}:/data", box, "--", *entry, *command)
        return buildah(*arguments, timeout=900)

    call.data = data
    return call


def test_what_the_image_says_of_itself(image):
    config = json.loads(buildah("inspect", "--type", "image", image).stdout)["OCIv1"]["config"]
    assert config["Entrypoint"] == [ENTRYPOINT]
    assert config["Cmd"] == ["repro", "run", "table2"]
    assert config["User"] == "10001:10001"
    assert list(config["Volumes"]) == ["/data"]
    assert "Healthcheck" not in config
    assert config["Labels"]["repro.torch"].startswith("2.")
    assert not [line for line in config["Env"] if "TOKEN" in line.upper() or "SECRET" in line.upper()]


def test_env_tells_hardware_versions_and_the_image(run):
    result = run("env")
    assert result.returncode == 0, result.stderr
    for text in ("torch 2.", "torch built for the CPU", "container: cpu, on ", "scale auto means toy"):
        assert text in result.stdout


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("run", "nosuch"), 2),
        (("repro", "run", "nosuch"), 2),
        (("sh", "-c", "exit 3"), 3),
        (("list",), 0),
        (("nox", "-l"), 0),
        (("nox", "-s", "nosuch"), 3),
    ],
)
def test_exit_codes_pass_through(run, command, code):
    ended = run(*command)
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr


def test_any_user_writes_below_data_and_nowhere_else(run):
    made = run("evaluate", "toy:qwen3-student", "--task", "toy-bm4", "--items", "4")
    assert made.returncode == 0, made.stdout + made.stderr
    (record,) = (run.data / "results" / "cache").glob("evaluate-*/record.json")
    assert record.stat().st_uid == 12345
    content = json.loads(record.read_text())
    assert content["hardware"]["container"]["target"] == "cpu"
    assert content["unpinned"] == []
    writable = "find / -xdev -writable ! -type l ! -path '/proc/*' ! -path '/sys/*' ! -path '/dev/*' ! -path '/tmp/*' 2>/dev/null"
    writable_folders = {line for line in run("sh", "-c", writable).stdout.split() if not line.startswith("/data")}
    assert writable_folders <= {"/tmp", "/var/tmp", "/run/lock", "/dev"}, sorted(writable_folders)[:20]


def test_no_history_and_no_secrets_in_the_image(run):
    looked = run(
        "sh",
        "-c",
        "ls -A /opt/repro /opt/repro/results 2>/dev/null; find / -xdev -name '.git' -o -name '*.pem' -path '/root/*'",
    )
    assert ".git\n" not in looked.stdout
    assert "/.git" not in looked.stdout


SCRIPT = """
"$@" --scale toy --quiet --set tasks=toy-bm4 --set test_items=6 --set controls=false &
pid=$!
until ls /data/results/cache/.work/*.progress.json >/dev/null 2>&1; do sleep 0.2; kill -0 $pid || exit 99; done
kill -TERM $pid
wait $pid
"""


@pytest.mark.parametrize("command", [("repro", "run", "table2"), ("nox", "-s", "reproduce-table2", "--")], ids=" ".join)
def test_sigterm_ends_cleanly_and_resumably(run, command):
    """130 as after Ctrl-C, no half-written artifact, and nothing goes on running."""
    ended = run("-c", SCRIPT, "sh", ENTRYPOINT, *command, entry=("sh",))
    assert ended.returncode == 130, ended.stdout + ended.stderr
    assert "the same command resumes" in ended.stdout + ended.stderr  # nox hands both on as one
    cache = run.data / "results" / "cache"
    assert all((folder / "record.json").is_file() for folder in cache.glob("*-*") if folder.is_dir())
    mine = [
        process.info
        for process in psutil.process_iter(["uids", "status", "cmdline"])
        if process.info["uids"].real == 12345
    ]
    stages = [info["cmdline"] for info in mine if info["status"] != psutil.STATUS_ZOMBIE]
    assert stages == []


def test_a_folder_that_this_user_may_not_write_is_one_line(run):
    run.data.chmod(0o755)
    assert run("sh", "-c", "touch /data/x").returncode != 0
    ended = run("evaluate", "toy:qwen3-student", "--task", "toy-bm4", "--items", "4")
    assert ended.returncode == 2
    assert "Permission denied" in ended.stderr
    assert "Traceback" not in ended.stderr
