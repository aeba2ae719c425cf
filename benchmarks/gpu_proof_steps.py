"""The steps of `gpu_proof.py`: each tries what no CPU can show, and notes what it measured."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from gpu_proof_training import GIB, Clock, Proof, calibrate_teacher, limit_to_small_card, peak, train_student
from random_models import make_items, save_pair, save_reward_model

from repro.generation.config import EngineName

HERE = Path(__file__).resolve().parent


def environment(proof: Proof) -> None:
    """Versions, the GPU, and what the kit sees of the machine."""
    from repro.planner.scales import automatic_scale
    from repro.system.gpu_checks import gpu_problems
    from repro.system.gpus import visible_gpus
    from repro.system.hardware import hardware, libraries

    cuda, machine = torch.cuda.is_available(), hardware()
    proof.note(
        "environment",
        gpu=torch.cuda.get_device_name() if cuda else None,
        capability=torch.cuda.get_device_capability() if cuda else None,
        python=sys.version.split()[0],
        versions=libraries(),
        machine=machine,
        visible=visible_gpus(),
        automatic_scale=automatic_scale(machine),
        problems=gpu_problems(machine),
    )


def models(proof: Proof) -> None:
    """The pair of the small scale, of random weights."""
    start = time.monotonic()
    parameters = save_pair(proof.work, tiny=proof.tiny)
    proof.note("models", parameters=parameters, seconds=round(time.monotonic() - start, 1))


def rkl(proof: Proof) -> None:
    """GKD-RKL of the small scale in the memory of a 24 GB card."""
    limit_to_small_card()
    train_student(proof, "rkl", "gkd-rkl", steps=2)


def fkl(proof: Proof) -> None:
    """GKD-FKL of the small scale in the memory of a 24 GB card."""
    limit_to_small_card()
    train_student(proof, "fkl", "gkd-fkl")


def sft(proof: Proof) -> None:
    """SFT of the small scale in the memory of a 24 GB card."""
    limit_to_small_card()
    train_student(proof, "sft", "sft")


def calibrate(proof: Proof) -> None:
    """Calibration of the small scale in the memory of a 24 GB card."""
    limit_to_small_card()
    calibrate_teacher(proof, "calibrate", steps=2, prompts=4, tokens=512)


def reward(proof: Proof) -> None:
    """A reward model as wide as Llama-3.1-8B on 256 texts of growing length: does the batch bound its memory?"""
    from repro.evaluation.reward_model import RewardModel
    from repro.models.loading import load_tokenizer

    folder = proof.work / "reward-model"
    save_reward_model(folder, load_tokenizer(proof.work / "student"), tiny=proof.tiny)
    for terms in (5, 20) if proof.tiny else (100, 400, 800):
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        start, count = time.monotonic(), 8 if proof.tiny else 256
        texts = [f"{n} +" + " 3 + 4" * terms for n in range(count)]
        scores = RewardModel(folder).score(["7 + 5 = ?"] * count, texts)
        seconds = round(time.monotonic() - start, 1)
        alone = RewardModel(folder).score(["7 + 5 = ?"], texts[:1])[0]
        proof.note("reward", texts=count, tokens=3 * terms, seconds=seconds, alone_gap=abs(alone - scores[0]), **peak())


def agree(proof: Proof) -> None:
    """One model's scores three ways: sampler, the kit's fused output layer, and float64 log-softmax of the same logits."""
    from trl.trainer.utils import add_fused_lm_head

    from repro.generation.transformers_engine import TransformersEngine
    from repro.models.chat_tokens import prompt_token_ids
    from repro.models.loading import load_model, load_tokenizer
    from repro.models.scoring import token_log_probs

    folder = proof.work / "student"
    prompt = prompt_token_ids(load_tokenizer(folder), "7 + 5 = ?")
    engine = TransformersEngine(folder)
    groups = engine.generate([prompt] * 4, 2, 6 if proof.tiny else 48, 1.0, 0)
    sampled = [completion for group in groups for completion in group]
    model = load_model(folder)
    expected = []
    for completion in sampled:
        ids = torch.tensor(completion.token_ids, device=model.device)
        with torch.no_grad():
            logits = model(torch.tensor([prompt + completion.token_ids], device=model.device)).logits
        log_probs = logits[0, len(prompt) - 1 : -1].double().log_softmax(-1)
        expected.append(log_probs.gather(1, ids[:, None])[:, 0].cpu())
    add_fused_lm_head(model)
    fused = token_log_probs(model, [prompt] * len(sampled), [completion.token_ids for completion in sampled], 4)

    def gap(scores: list[Any]) -> float:
        pairs = [(torch.as_tensor(score, dtype=torch.float64) - exact).abs() for score, exact in zip(scores, expected)]
        return round(float(torch.cat(pairs).mean()), 5)

    fused_gap, sampler_gap = gap(fused), gap([completion.log_probs for completion in sampled])
    proof.note(
        "agree", fused_gap=fused_gap, sampler_gap=sampler_gap, mean_nats=round(float(-torch.cat(expected).mean()), 2)
    )
    if max(fused_gap, sampler_gap) > 0.1:
        raise SystemExit("the three scores of one model differ by more than 0.1 nats a token")


def pipeline(proof: Proof) -> None:
    """One stage by the command: is a GPU allocated to it, seen by it, and written into its record?"""
    out = proof.work / "pipeline"
    argv = ["sample", str(proof.work / "student"), "--task", "toy-bm4", "--items", "4", "--out", str(out), "--quiet"]
    argv += ["--engine", "transformers", "--set", "teacher_sampling.max_completion_tokens=8"]
    done = _python(["-m", "repro.cli", *argv])
    records = [json.loads(file.read_text()) for file in out.glob("cache/*/record.json")]
    names = ("label", "gpus", "gpu_hours", "peak_gpu_memory_gib", "seconds")
    used = [{name: record.get(name) for name in names} for record in records]
    proof.note("pipeline", exit=done.returncode, tail=done.stdout[-400:], records=used)
    if done.returncode or not used or (torch.cuda.is_available() and not used[0]["gpus"]):
        raise SystemExit("the stage failed, or ran without a GPU")


def sharded(proof: Proof) -> None:
    """FSDP2 on one process: sharded parameters, mixed precision, the frozen teacher, and a complete model saved."""
    if "RANK" in os.environ:
        train_student(proof, "sharded", "gkd-rkl", steps=2, tokens=32, sequences=8, shard=True)
        return
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=1"]
    step = [str(HERE / "gpu_proof.py"), "--work", str(proof.work), "--figures", str(proof.figures), "--step", "sharded"]
    done = _python([*torchrun, *step])
    if done.returncode:
        raise SystemExit(done.returncode)


def tests(proof: Proof) -> None:
    """The repository's tests with the mark `gpu` that need no vLLM."""
    _pytest(proof, "tests", [*_marked_tests(), "-m", "gpu and not vllm"])


def traps(proof: Proof) -> None:
    """The bars of the streaming pass, and its times side by side as a baseline."""
    _pytest(proof, "traps", ["benchmarks/test_traps_speed.py", "-m", "gpu"], times="traps-gpu.json")


def kernels(proof: Proof) -> None:
    """Where the streaming pass spends its time: products, kernels at several launches, a profile."""
    if importlib.util.find_spec("triton") is None:
        proof.note("kernels", skipped="Triton is not installed")
        return
    options, environment = ["--seconds", "45"], {}
    if proof.tiny:
        options, environment = ["--tiny", "--seconds", "5"], {"TRITON_INTERPRET": "1"}
    start = time.monotonic()
    done = _python(["benchmarks/traps_kernels.py", *options], environment)
    figures = done.stdout.splitlines()[:120]
    proof.note("kernels", exit=done.returncode, seconds=round(time.monotonic() - start, 1), printed=figures)
    if done.returncode:
        raise SystemExit(done.returncode)


def throughput(proof: Proof) -> None:
    """GKD by vLLM and by transformers, side by side on the random pair."""
    _throughput(proof, "throughput", "test_gkd_throughput.py", "side_by_side and not TRL")


def loop(proof: Proof) -> None:
    """The loop against its parts."""
    _throughput(proof, "loop", "test_gkd_throughput.py", "its_parts and not floor")


def plain_grpo(proof: Proof) -> None:
    """The calibration step against plain GRPO."""
    _throughput(proof, "plain_grpo", "test_calibration_throughput.py", "transformers")


def _throughput(proof: Proof, step: str, file: str, chosen: str) -> None:
    pair = f"{proof.work / 'teacher'},{proof.work / 'student'}"
    arguments = [f"benchmarks/{file}", "-k", chosen, "--pair", pair, "--shape", "64x192x4"]
    _pytest(proof, step, arguments, times=f"{step}-gpu.json")


def vllm_tests(proof: Proof) -> None:
    """The repository's tests of vLLM with the mark `gpu`."""
    _pytest(proof, "vllm_tests", [*_marked_tests(), "-m", "gpu and vllm"])


def vllm_sample(proof: Proof) -> None:
    """vLLM's sampling beside transformers', and is the GPU's memory free once vLLM's process has ended?

    Of two chunks the second is timed: the first one's seconds have the engine's start. The engines' chunks have the same size.
    """
    from repro.generation.mismatch import check_rollouts, select_rollouts

    free_before = _free_gib()
    start = time.monotonic()
    files, rate = _sample(proof, "vllm")
    seconds = round(time.monotonic() - start, 1)
    free_after = _free_gib()
    proof.note(
        "vllm_sample",
        free_before_gib=free_before,
        free_after_close_gib=free_after,
        seconds=seconds,
        tokens_per_second=rate,
        gap=check_rollouts(proof.work / "teacher", select_rollouts(files[0]), 1.0),
    )
    other_rate = _sample(proof, "transformers")[1]
    proof.note("vllm_sample", transformers_tokens_per_second=other_rate, ratio=round(rate / other_rate, 2))
    if free_before - free_after > 2:
        raise SystemExit(f"a closed engine keeps {free_before - free_after:.1f} GiB")


def _sample(proof: Proof, engine: EngineName) -> tuple[list[Path], int]:
    """Sample two chunks of completions by the teacher; return their files, and the tokens per second of the second."""
    from repro.generation.config import SamplingConfig
    from repro.generation.rollouts import stream_rollouts
    from repro.generation.sample import sample

    prompts, tokens = (2, 12) if proof.tiny else (32, 256)
    config = SamplingConfig(
        completions_per_prompt=16,
        temperature=1.0,
        max_completion_tokens=tokens,
        engine=engine,
        batch_sequences=16 * prompts,
        reasoning=False,
    )
    clock = Clock()
    files = sample(
        config,
        model=proof.work / "teacher",
        items=make_items(2 * prompts),
        seed=0,
        work=proof.work / f"sampled-{engine}",
        progress=clock,
    )
    sampled = sum(len(rollout.token_ids) for rollout in stream_rollouts(files[1:]))
    return files, round(sampled / (clock.at[-1] - clock.at[-2]))


def vllm_calibrate(proof: Proof) -> None:
    """Calibration with vLLM in the process, asleep while the policy learns."""
    summary = calibrate_teacher(proof, "vllm_calibrate", "vllm", steps=4, prompts=16, tokens=128)
    if summary.get("alarm"):
        raise SystemExit(summary["alarm"])


def vllm_rkl(proof: Proof) -> None:
    """GKD-RKL with vLLM in the process; a second such training in it is refused, since vLLM's allocator would assert."""
    from repro.errors import InputError
    from repro.training.sleeping_engine import refuse_second_engine

    summary = train_student(proof, "vllm_rkl", "gkd-rkl", engine="vllm", steps=4)
    if summary.get("alarm"):
        raise SystemExit(summary["alarm"])
    try:
        refuse_second_engine()
    except InputError:
        return
    if torch.cuda.is_available():
        raise SystemExit("a second sleeping engine in this process is not refused")


def vllm_rkl_again(proof: Proof) -> None:
    """Two trainings with vLLM by `--cluster none`: each has a process of its own, and leaves no memory in use."""
    from rich.console import Console

    from repro.pipeline.cluster import Execution
    from repro.pipeline.run import run
    from repro.planner.resources import resources_for
    from repro.stages.artifact import CACHE
    from repro.workflow.own_models import StageOptions, distill_stage

    tokens, sequences = (12, 4) if proof.tiny else (64, 16)
    settings = {"steps": 1, "sequences_per_step": sequences, "max_completion_tokens": tokens}
    assignments = ("engine=vllm", *(f"gkd_rkl.{name}={value}" for name, value in settings.items()))
    out, free_before = proof.work / "vllm_rkl_again", _free_gib()
    execution = Execution(resources_for("toy" if proof.tiny else "small"), workers=1, backend="none")
    for seed in (0, 1):
        options = StageOptions(tasks=("toy-bm4",), items=sequences, assignments=assignments, seed=seed)
        stage = distill_stage(str(proof.work / "student"), str(proof.work / "teacher"), "gkd-rkl", options)
        start = time.monotonic()
        run([stage], out, execution, quiet=True, console=Console(quiet=True))
        summary = json.loads((out / CACHE / stage.folder_name / "summary.json").read_text())
        free_after, gap = _free_gib(), summary.get("vllm_log_prob_gap")
        seconds = round(time.monotonic() - start, 1)
        proof.note("vllm_rkl_again", seed=seed, seconds=seconds, gap=gap, free_gib=[free_before, free_after])
        if free_before - free_after > 2:
            raise SystemExit(f"a training in a process of its own keeps {free_before - free_after:.1f} GiB")


def _free_gib() -> float:
    return round(torch.cuda.mem_get_info()[0] / GIB, 2) if torch.cuda.is_available() else 0.0


def _python(arguments: list[str], environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python on the repository; what it prints is printed line by line, so that nothing is lost if time runs out."""
    path = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd=HERE.parent,
        env=os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"} | dict(environment or {}),
    )
    printed = []
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            printed.append(line)
            print(line, end="", flush=True)
    return subprocess.CompletedProcess(process.args, process.wait(), "".join(printed))


def _marked_tests() -> list[str]:
    """Return the files of tests with the mark `gpu`, and the folders whose fixtures have it: the others need not load."""
    marked = [file for file in (HERE.parent / "tests").rglob("*.py") if "mark.gpu" in file.read_text()]
    return sorted(str(file.parent if file.name == "conftest.py" else file) for file in marked)


def _pytest(proof: Proof, step: str, arguments: list[str], times: str | None = None) -> None:
    """Run tests; in the rehearsal, only collect them, since a CPU has nothing to run.

    Args:
        times: name of the file beside the figures that gets the benchmarks' times.
    """
    options = ["--collect-only", "-q"]
    if not proof.tiny:
        options = ["-v", "-s", "--durations=12", "-W", "default"]  # a new warning costs no device time here
        options += ["--benchmark-json", str(proof.figures.with_name(times))] if times else []
    options += ["-p", "no:cacheprovider", "--basetemp", str(proof.work / "pytest" / step)]
    (proof.work / "pytest").mkdir(exist_ok=True)
    start = time.monotonic()
    done = _python(["-m", "pytest", *arguments, *options])
    proof.note(step, exit=done.returncode, seconds=round(time.monotonic() - start, 1), tail=done.stdout[-2500:])
    if done.returncode:
        raise SystemExit(done.returncode)


STEPS: dict[str, Callable[[Proof], None]] = {
    step.__name__: step
    for step in (
        environment, models, rkl, traps, kernels, calibrate, fkl, sft, tests, sharded, pipeline, agree, reward,
        loop, plain_grpo, vllm_sample, throughput, vllm_calibrate, vllm_rkl, vllm_rkl_again,
        vllm_tests,
    )
}  # fmt: skip
