"""A stand-in for the package vllm, first on the path of child processes: it samples fixed tokens, or fails on request."""

import os
from pathlib import Path

import pytest

SOURCE = """
import dataclasses, os, shutil, subprocess, sys, time, types

FAULT = os.environ.get("STUB_VLLM_FAULT", "")


@dataclasses.dataclass
class EngineArgs:
    model: str = ""


class SamplingParams:
    def __init__(self, **settings):
        self.__dict__.update(settings)


def fail(when):
    if FAULT == f"out of memory {when}":
        try:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        except RuntimeError as error:
            raise ValueError("engine core") from error
    if FAULT == f"no memory {when}":
        raise MemoryError
    if FAULT == f"bad weights {when}":
        raise ValueError("no weight lm_head\\nin the checkpoint")
    if FAULT == f"exit {when}":
        os._exit(7)
    if FAULT == f"worker out of memory {when}":
        print("(Worker_TP0 pid=3) ERROR 11-24 15:34:40 [multiproc_executor.py:9] Traceback (most recent call last):")
        print("(Worker_TP0 pid=3) ERROR 11-24 15:34:40 [multiproc_executor.py:9] torch.OutOfMemoryError: CUDA out of memory.")
        raise Exception("WorkerProc initialization failed due to an exception in a background process.")


class LLM:
    def __init__(self, **arguments):
        self.worker = subprocess.Popen(["VLLM::Worker_TP0", "600"], executable=shutil.which("sleep"))
        fail("at the start")
        if FAULT == "hang at the start":
            open(os.path.join(os.path.dirname(__file__), "hanging"), "w").close()
            time.sleep(600)
        self.llm_engine = types.SimpleNamespace(engine_core=self)
        self.is_reset = False

    def reset_prefix_cache(self):
        self.is_reset = True

    def shutdown(self):
        fail("at the end")
        if FAULT == "hang at the end":
            time.sleep(600)

    def generate(self, requests, params, use_tqdm):
        fail("while sampling")
        assert self.is_reset  # completions may not depend on earlier calls
        self.is_reset = False
        if FAULT.startswith("worker dies"):
            if FAULT.endswith("with an error"):
                print("(Worker_TP0 pid=3) RuntimeError: CUDA error: an illegal memory access", flush=True)
            self.worker.kill()
            time.sleep(600)
        if FAULT == "hang":
            time.sleep(600)
        outputs = []
        for request, setting in zip(requests, params):
            ids = [(token + setting.seed) % 100 for token in request["prompt_token_ids"]][: setting.max_tokens]
            rows = [{token: types.SimpleNamespace(logprob=-1 / (token + 3))} for token in ids]
            reason = "stop" if setting.seed % 2 else "length"
            output = types.SimpleNamespace(token_ids=ids, logprobs=rows, finish_reason=reason)
            outputs.append(types.SimpleNamespace(outputs=[output]))
        return outputs
"""


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, fault: str = "") -> None:
    """Put the stand-in on the path of child processes."""
    (folder / "vllm").mkdir(parents=True, exist_ok=True)
    (folder / "vllm" / "__init__.py").write_text(SOURCE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")])))
    monkeypatch.setenv("STUB_VLLM_FAULT", fault)
