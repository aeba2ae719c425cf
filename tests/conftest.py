import gc
import importlib.util
import os
import sys
from collections.abc import Iterator
from itertools import pairwise

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # read when the hub's library is imported: no test asks the network
if "PYTEST_XDIST_WORKER" not in os.environ and not any(
    option == "-m" and "gpu" in marks.replace("not gpu", "") for option, marks in pairwise(sys.argv)
):
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # expected numbers are a CPU's: only tests selected by `gpu` see one

IS_XDIST_CONTROLLER = "PYTEST_XDIST_WORKER" not in os.environ and any(
    option == "-n" and value != "0" for option, value in pairwise(sys.argv)
)
"""It runs no test: its workers need not wait until it has imported torch and transformers."""
if not IS_XDIST_CONTROLLER:
    gc.disable()  # until all tests are collected: imports leave little garbage, and make many objects to search for it
    import hypothesis
    import torch

    if (
        not torch.cuda.is_available() and importlib.util.find_spec("vllm") is None
    ):  # vLLM asks Triton what the machine has
        os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is imported: its kernels run on the CPU, as Python

    from chat_stand_in import serve
    from nox_sessions import sessions
    from tiny_models import items, stranger, student, teacher

    hypothesis.settings.register_profile(
        "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )  # an example may take as long as a busy machine makes it
    hypothesis.settings.load_profile("any machine")

    __all__ = ["items", "serve", "sessions", "stranger", "student", "teacher"]


def pytest_collection_finish() -> None:
    """Leave what the imports made out of every later garbage collection: a fifth of the tests' processor time."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs more GPUs than this machine has."""
    gpus = item.get_closest_marker("gpus")
    if gpus and "REPRO_TEST_PROCESS" not in os.environ and 0 < torch.cuda.device_count() < gpus.args[0]:
        pytest.skip(f"needs {gpus.args[0]} GPUs, or none")


@pytest.fixture
def untraced() -> Iterator[None]:
    """Pause coverage: it slows the project's Python and not the libraries' kernels, so no ratio of the two would hold."""
    tracer = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(tracer)
