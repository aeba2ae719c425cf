"""vLLM in the trainer's process, as a stand-in: shut down after each training, its memory watched."""

import gc
import types

import pytest
import torch

from repro.errors import InputError
from repro.training import sleeping_engine, vllm_policy
from repro.training.sleeping_engine import GIB, SleepWatch, watched_engine


class Engine:
    """vLLM's rule: one engine at a time in a process."""

    alive = 0

    def __init__(self):
        assert Engine.alive == 0, "CuMem allocator can only be used for one instance per process."
        Engine.alive += 1
        self.llm_engine = types.SimpleNamespace(engine_core=self)

    def shutdown(self):
        Engine.alive -= 1
        if torch.distributed.is_initialized():  # as vLLM's own
            torch.distributed.destroy_process_group()


class Trainer:
    """TRL's trainer: it starts the engine, and never ends it."""

    def __init__(self, sleeps=True):
        self.vllm_generation = types.SimpleNamespace(llm=Engine(), enable_sleep_mode=sleeps, generate=lambda n: n + 1)
        self.cycle = self  # trainers are in reference cycles, which only the collector ends


@pytest.fixture(autouse=True)
def no_engine(monkeypatch):
    monkeypatch.setattr(Engine, "alive", 0)
    monkeypatch.setattr(sleeping_engine, "_gpu_bytes_in_use", lambda: 40 * GIB)


def test_two_trainings_in_one_process_whose_engines_do_not_sleep():
    with watched_engine(Trainer(sleeps=False)):
        pass
    with watched_engine(Trainer(sleeps=False)):
        pass


def test_a_second_engine_that_sleeps_is_refused_with_the_fix(monkeypatch):
    """As on an H100: after the first one's shutdown vLLM's allocator still holds memory."""
    monkeypatch.setattr(sleeping_engine, "_has_started", False)
    sleeping_engine.refuse_second_engine()
    sleeping_engine.note_engine_start()
    for second in (sleeping_engine.refuse_second_engine, sleeping_engine.note_engine_start):
        with pytest.raises(
            InputError, match=r"a separate process, as `repro run` does, or sample with --vllm-server 1"
        ):
            second()


@pytest.mark.parametrize("has_gpu", [True, False])
def test_it_is_refused_before_the_trainer_starts(monkeypatch, has_gpu):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr(vllm_policy, "_share_of_gpu", lambda *_: 0.5)
    monkeypatch.setattr(sleeping_engine, "_has_started", True)
    model = types.SimpleNamespace(num_parameters=lambda: 7)
    if has_gpu:
        with pytest.raises(InputError, match="already trained with such an engine"):
            vllm_policy._colocated(model, 64, 0.0)
        monkeypatch.setattr(sleeping_engine, "_has_started", False)
    assert vllm_policy._colocated(model, 64, 0.0)["vllm_enable_sleep_mode"] == has_gpu  # a CPU's does not sleep


def test_an_engine_is_shut_down_after_an_error_too(monkeypatch):
    freed = []
    monkeypatch.setattr(sleeping_engine, "free_gpu_memory", lambda: freed.append(gc.collect()))
    trainer = Trainer()
    with pytest.raises(RuntimeError, match="diverged"), watched_engine(trainer):
        raise RuntimeError("diverged")
    assert Engine.alive == 0
    assert not hasattr(trainer.vllm_generation, "llm")
    assert freed


def test_the_ranks_of_the_trainer_still_reach_each_other(tmp_path):
    """vLLM's shutdown destroys the default process group, in which the trainer then saves its model."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    destroy = torch.distributed.destroy_process_group
    try:
        with watched_engine(Trainer()):
            pass
        torch.distributed.barrier()
        assert torch.distributed.destroy_process_group is destroy
    finally:
        torch.distributed.destroy_process_group()


def test_trainers_without_an_engine_of_their_own():
    for trainer in (
        types.SimpleNamespace(),
        types.SimpleNamespace(vllm_generation=types.SimpleNamespace(mode="server")),
    ):
        with watched_engine(trainer) as watch:
            pass
        assert watch.figures() == {}


def run(gib, monkeypatch):
    """Train with these GiB in use after each sampling."""
    values = iter(gib)
    monkeypatch.setattr(sleeping_engine, "_gpu_bytes_in_use", lambda: int(next(values) * GIB))
    trainer = Trainer()
    with watched_engine(trainer) as watch:
        for n, _ in enumerate(gib):
            assert trainer.vllm_generation.generate(n) == n + 1
    return watch.figures()


def test_memory_that_grows_from_sleep_to_sleep_is_an_alarm(monkeypatch, caplog):
    figures = run([20, 36, 36, *(36 + 0.06 * n for n in range(50))], monkeypatch)
    assert figures["asleep_gib"] == {"settled": 36.0, "last": 38.94}
    assert "grew from 36.0 to 38.9 GiB over 53 samplings" in figures["alarm"]
    assert (
        len([message for message in caplog.messages if "grew from 36.0 to 37.0 GiB over 21 samplings" in message]) == 1
    )
    assert len(caplog.messages) == 1  # said when it passes the bound, not at each sampling


def test_the_moments_of_the_first_step_are_no_alarm(monkeypatch, caplog):
    caplog.set_level("INFO", "repro.training.sleeping_engine")
    figures = run([20, 36, *(36 + 0.1 * (n % 3) for n in range(50))], monkeypatch)
    assert set(figures) == {"asleep_gib"}
    assert "GPU memory still in use after sampling 1: 20.00 GiB" in caplog.messages[0]
    assert len(caplog.messages) == 52


def test_a_cpu_engine_does_not_sleep():
    trainer = Trainer(sleeps=False)
    with watched_engine(trainer) as watch:
        trainer.vllm_generation.generate(1)
    assert watch.gib == []
    assert Engine.alive == 0


def test_a_few_samplings_say_nothing():
    watch = SleepWatch(lambda: 99 * GIB)
    for _ in range(3):
        watch.note()
    assert watch.figures() == {}
