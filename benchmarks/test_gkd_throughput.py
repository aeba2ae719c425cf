"""GKD side by side, on one device, in one run: vLLM, transformers and TRL's own GKD loop; the loop against its parts; off-policy.

    OMP_NUM_THREADS=1 pytest benchmarks/test_gkd_throughput.py -q        (`nox -s throughput` has vLLM too)
    pytest benchmarks/test_gkd_throughput.py -m gpu                      (part of `nox -s gpu`)

Ratios alone are compared. On a CPU the models are the toy ones; on a GPU they have the shapes of the small scale's, with
random weights. `--pair TEACHER,STUDENT`, `--shape` and `--micro-batch` take others. A contender is a process of its own
(`contenders.py`; the off-policy pairs share one), and pytest-benchmark gets the seconds that it reports. What is assured, and what is only wished for:
`Bar`s below; a wish that is missed is reported as an expected failure, by its name.
"""

import importlib.util
import statistics
from pathlib import Path
from typing import Any

import pytest
import torch
from bars import Bar, device_kind, device_name, say, table
from contenders import REPORTED, Contender, bare, distil, take_turns
from training_speed import WARM_UP, Turns, random_completions, ratio

from repro.distillation.config import Method
from repro.generation.rollouts import Rollout, write_rollouts
from repro.models.chat_tokens import prompt_token_ids
from repro.models.loading import load_for_training, load_tokenizer
from repro.tasks import registry

pytestmark = [pytest.mark.slow, pytest.mark.gpu, pytest.mark.timeout(3000)]

VLLM_TO_TRANSFORMERS = Bar("vLLM is faster than transformers by", 5.0, at_least=True, only=("cuda",))
LOOP_TO_FLOOR = Bar("an on-policy step over its floor", 2.0, proved=("cpu",))
LOOP_TO_PARTS = Bar("the loop over the sum of its parts", 1.10, proved=("cpu",))
OFF_POLICY_TO_BARE = {
    "sft": Bar("SFT over its bare loop", 1.15, proved=("cpu",)),
    "gkd-fkl": Bar("GKD-FKL over its bare loop", 1.15, proved=("cpu",)),
}
HAS_VLLM = importlib.util.find_spec("vllm") is not None
BASE = "transformers"
ENGINES = {
    BASE: {"kind": "distil", "method": "gkd-rkl", "engine": "transformers"},
    "TRL's GKD loop": {"kind": "trl"},
    "vLLM colocated": {"kind": "distil", "method": "gkd-rkl", "engine": "vllm"},
    "vLLM served": {"kind": "distil", "method": "gkd-rkl", "engine": "vllm", "server": ()},
}
PARTS = ("generate", "divergence", "update")
FLOOR = ("decode", "token_rkl", "update")
"""A step by hand: the decode steps, the forwards and the backward of the same shapes, without trainer, `generate` or kernels."""


@pytest.fixture(scope="module")
def endless(pair: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the pair with the student's end tokens suppressed: all contenders sample and train on as many tokens.

    Of 151,936 random ids none is an end token often enough to matter: random weights are left as they are.
    """
    model, tokenizer = load_for_training(Path(pair[1])), load_tokenizer(Path(pair[1]))
    if model.config.vocab_size > 100_000:
        return pair
    folder = tmp_path_factory.mktemp("endless")
    head = torch.nn.Linear(model.config.hidden_size, model.config.vocab_size, bias=False)
    head.weight.data = model.get_output_embeddings().weight.data.clone()
    ends = model.generation_config.eos_token_id
    for end in {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])}:
        head.weight.data[end] = 0  # against logits of trained tokens: hardly ever sampled
    model.config.tie_word_embeddings = False
    model.lm_head = head
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return [pair[0], str(folder)]


@pytest.fixture(scope="module")
def measured() -> dict[str, float]:
    """Median seconds of the engines measured so far, by name."""
    return {}


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.benchmark(timer=REPORTED, warmup=False)
def test_engines_side_by_side(
    name: str,
    tmp_path: Path,
    endless: list[str],
    shape: dict[str, Any],
    measured: dict[str, float],
    benchmark: Any,
    capfd: Any,
) -> None:
    """On-policy steps of each engine, one engine after the other."""
    if "vLLM" in name and not HAS_VLLM:
        pytest.skip("vLLM is not installed: nox -s throughput")
    if name == "vLLM served" and device_kind() == "cuda" and torch.cuda.device_count() == 1:
        pytest.skip("NCCL sends weights from one GPU to another: a server needs a second one")
    benchmark.group = f"on-policy GKD, {device_name()}, {_describe(shape)}"
    with Contender(name, ENGINES[name] | {"pair": endless, "shape": shape}, tmp_path) as contender:
        contender.warm_up(WARM_UP)
        benchmark.pedantic(contender.step, rounds=shape["steps"] - WARM_UP)
    measured[name] = statistics.median(contender.seconds())
    if BASE not in measured:
        pytest.skip(f"{name}: {measured[name]:.3f} s a step, and no {BASE} to compare with in this run")
    benchmark.extra_info |= {
        "ratios": {name: round(measured[name] / measured[BASE], 3)},
        "peak_gib": contender.peak_gib,
    }
    engines = {engine: measured[engine] for engine in ENGINES if engine in measured}
    table("on-policy GKD", engines, BASE, shape, capfd, contender)
    if name == "vLLM colocated":
        VLLM_TO_TRANSFORMERS.judge(measured[BASE] / measured[name], capfd)


@pytest.mark.parametrize(("parts", "bar"), [(PARTS, LOOP_TO_PARTS), (FLOOR, LOOP_TO_FLOOR)], ids=["parts", "floor"])
@pytest.mark.benchmark(timer=REPORTED, warmup=False)
def test_the_loop_costs_little_more_than_its_parts(
    parts: tuple[str, ...],
    bar: Bar,
    tmp_path: Path,
    endless: list[str],
    shape: dict[str, Any],
    benchmark: Any,
    capfd: Any,
) -> None:
    """A step by transformers, and in turn with it its parts alone: those of the libraries, or those by hand."""
    common = {"pair": endless, "shape": shape}
    loop = Contender("the loop", ENGINES[BASE] | common, tmp_path / "loop")
    bare_step = Contender("its parts", {"kind": "bare", "parts": parts} | common, tmp_path / "parts")
    benchmark.group = f"the loop and its parts, {device_name()}, {_describe(shape)}"
    take_turns([loop, bare_step], shape["steps"], WARM_UP, benchmark)
    seconds = {part: statistics.median(step[part] for step in bare_step.parts) for part in parts}
    seconds |= {run.name: statistics.median(run.seconds()) for run in (bare_step, loop)}
    slowdown = ratio(loop.seconds(), bare_step.seconds())
    benchmark.extra_info["ratios"] = {"the loop": round(slowdown, 3)}
    title = f"where the time goes, {slowdown:.2f} x turn by turn"
    table(title, seconds, "its parts", shape, capfd, loop, bare_step)
    bar.judge(slowdown, capfd)


@pytest.mark.parametrize(("method", "part"), [("sft", "cross_entropy"), ("gkd-fkl", "divergence")])
def test_off_policy_training_is_near_a_bare_loop(
    method: Method, part: str, tmp_path: Path, pair: list[str], shape: dict[str, Any], benchmark: Any, capfd: Any
) -> None:
    """On stored completions of equal length; the bare loop does forward, backward and update on the same tokens.

    Both in this process, in turn: on a CPU the memory allocator is then as worn for one as for the other.
    """
    tokenizer = load_tokenizer(Path(pair[1]))
    items = registry.get("toy-bm4").items("train", 32, 0)
    rollouts = []
    for number, ids in enumerate(random_completions(len(tokenizer), shape["sequences"], shape["tokens"]).tolist()):
        item = items[number % len(items)]
        prompt, text = prompt_token_ids(tokenizer, item.prompt), tokenizer.decode(ids)
        rollouts.append(Rollout(item.id, item.task, item.prompt, number, prompt, ids, [0.0] * len(ids), text, "length"))
    stored = tmp_path / "stored.parquet"
    write_rollouts(stored, rollouts)
    kit = {"method": method, "engine": "transformers", "completions": str(stored), "folder": str(tmp_path)}
    loop = {"parts": [part, "update"], "rounds": shape["steps"]}
    contenders = {
        "bare loop": lambda clock: bare(clock, pair=pair, shape=shape, folder="", **loop),
        method: lambda clock: distil(clock, pair=pair, shape=shape, **kit),
    }
    steps: dict[str, list[float]] = {}
    benchmark.group = f"off-policy, {device_name()}, {_describe(shape)}"
    benchmark.pedantic(lambda: steps.update(Turns().steps(contenders)), rounds=1)
    slowdown = ratio(steps[method], steps["bare loop"])
    seconds = {name: statistics.median(times) for name, times in steps.items()}
    benchmark.extra_info |= {"ratios": {method: round(slowdown, 3)}, "seconds": seconds}
    table(f"{method}, {slowdown:.2f} x turn by turn", seconds, "bare loop", shape, capfd)
    OFF_POLICY_TO_BARE[method].judge(slowdown, capfd)


def _describe(shape: dict[str, Any]) -> str:
    return f"{shape['sequences']}x{shape['tokens']}"


def test_what_was_not_measured_is_named(measured: dict[str, float], capfd: Any) -> None:
    """A table without vLLM must not look complete."""
    missing = [name for name in ENGINES if name not in measured]
    say(f"not measured here: {', '.join(missing) or 'nothing'}", capfd)
    assert BASE in measured
