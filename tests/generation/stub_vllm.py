"""A stand-in for the package vllm, first on the path of child processes: it samples fixed tokens, or fails on request."""

import os
from pathlib import Path

import pytest

SOURCE = """
import dataclasses, os, subprocess, sys, time, types

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


class LLM:
    def __init__(self, **arguments):
        self.worker = subprocess.Popen(["sleep", "600"])  # as a compiler's, or a worker's
        fail("at the start")
        self.llm_engine = types.SimpleNamespace(engine_core=self)

    def shutdown(self):
        fail("at the end")
        if FAULT == "hang at the end":
            time.sleep(600)

    def generate(self, requests, params, use_tqdm):
        fail("while sampling")
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
