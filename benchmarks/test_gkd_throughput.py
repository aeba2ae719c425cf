"""GKD side by side, in one run: vLLM, transformers and TRL's own GKD loop; the loop against its parts; off-policy.

    OMP_NUM_THREADS=1 pytest benchmarks/test_gkd_throughput.py -q        (`nox -s throughput` has vLLM too)

Ratios alone are compared: contenders run one after the other on one machine. `--pair TEACHER,STUDENT` takes other models
than the toy ones. A bar that is missed fails.
"""

import importlib.util
import itertools
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from training_speed import Bare, Clock, Turns, now, peak_mib, ratio, timed

from repro.distillation.config import DistillationConfig, Method
from repro.distillation.distill import distill
from repro.generation.config import EngineName
from repro.generation.rollouts import Rollout, write_rollouts
from repro.models.chat_tokens import prompt_token_ids
from repro.models.loading import load_for_training, load_model, load_tokenizer, locate
from repro.tasks import Item, registry

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]

LOOP_TO_PARTS, OFF_POLICY_TO_BARE = 1.10, 1.15
HAS_VLLM = importlib.util.find_spec("vllm") is not None


@pytest.fixture(scope="module")
def shape(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return sequences of a step, tokens of a completion, steps."""
    sequences, tokens, steps = map(int, str(request.config.getoption("--shape")).split("x"))
    return {"sequences": sequences, "tokens": tokens, "steps": steps}


@pytest.fixture(scope="module")
def pair(request: pytest.FixtureRequest) -> tuple[Path, Path]:
    teacher, student = str(request.config.getoption("--pair")).split(",")
    return Path(locate(teacher)), Path(locate(student))


@pytest.fixture(scope="module")
def endless(pair: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save the student with its end tokens suppressed: every contender samples and trains on the same number of tokens."""
    import torch

    folder = tmp_path_factory.mktemp("endless")
    model, tokenizer = load_for_training(pair[1]), load_tokenizer(pair[1])
    head = torch.nn.Linear(model.config.hidden_size, model.config.vocab_size, bias=False)
    head.weight.data = model.get_output_embeddings().weight.data.clone()
    ends = model.generation_config.eos_token_id
    for end in {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])}:
        head.weight.data[end] = 0  # against logits of trained tokens: hardly ever sampled
    model.config.tie_word_embeddings = False
    model.lm_head = head
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return registry.get("toy-bm4").items("train", 32, 0)


def run(
    folder: Path,
    method: Method,
    engine: EngineName,
    pair: tuple[Path, Path],
    items: list[Item],
    shape: dict[str, Any],
    **kw: Any,
) -> float:
    """Return the seconds of one optimiser step of our trainer."""
    clock = kw.get("clock") or Clock()
    config = DistillationConfig(
        method=method,
        steps=shape["steps"],
        sequences_per_step=shape["sequences"],
        learning_rate=1e-6,
        warmup_fraction=0.0,
        max_completion_tokens=shape["tokens"],
        traces="full",
        engine=engine,
    )
    summary = distill(
        config,
        student=pair[1],
        teacher=pair[0],
        items=items,
        completions=kw.get("completions"),
        task_reward=lambda items, texts: [0.0] * len(texts),
        seed=0,
        out=folder / "out",
        work=folder / "work",
        progress=clock,
    )
    kw.setdefault("summaries", []).append(summary)
    return clock.step()


def trl_gkd(folder: Path, pair: tuple[Path, Path], items: list[Item], shape: dict[str, Any]) -> float:
    """Return the seconds of a step of TRL's experimental GKDTrainer: on-policy (lmbda = 1), same divergence and shape."""
    import warnings

    from datasets import Dataset
    from transformers import TrainerCallback

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from trl.experimental.gkd import GKDConfig, GKDTrainer

        clock: list[float] = []

        class Note(TrainerCallback):
            def on_step_end(self, *args: Any, **kwargs: Any) -> None:
                clock.append(now())

        row = {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}
        rows = []
        for number in range(shape["sequences"] * shape["steps"]):
            item = items[number % len(items)]
            rows.append({"messages": [{"role": "user", "content": item.prompt}, row["messages"][1]]})
        arguments = GKDConfig(
            output_dir=str(folder),
            lmbda=1.0,
            beta=1.0,
            temperature=1.0,
            max_new_tokens=shape["tokens"],
            per_device_train_batch_size=shape["sequences"],
            max_steps=shape["steps"],
            learning_rate=1e-6,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        )
        trainer = GKDTrainer(
            model=load_for_training(pair[1]),
            teacher_model=load_model(pair[0]),
            args=arguments,
            train_dataset=Dataset.from_list(rows),
            processing_class=load_tokenizer(pair[1]),
            callbacks=[Note()],
        )
        trainer.train()
    gaps = sorted(after - before for before, after in itertools.pairwise(clock))
    return gaps[len(gaps) // 2]


def table(title: str, seconds: dict[str, float], base: str, shape: dict[str, Any], capfd: Any) -> None:
    tokens = shape["sequences"] * shape["tokens"]
    lines = [f"\n{title}: {shape['sequences']} sequences x {shape['tokens']} tokens, peak {peak_mib():.0f} MiB"]
    lines += ["| | s a step | tokens/s | x |", "|---|---|---|---|"]
    for name, value in seconds.items():
        lines.append(f"| {name} | {value:.3f} | {tokens / value:,.0f} | {value / seconds[base]:.2f} |")
    with capfd.disabled():
        print("\n".join(lines))


def test_engines_side_by_side(
    tmp_path: Path, pair: tuple[Path, Path], endless: Path, items: list[Item], shape: dict[str, Any], capfd: Any
) -> None:
    """Compare vLLM, transformers and TRL's GKD loop on-policy, without a vLLM server: its seconds are another process's."""
    same = (pair[0], endless)
    seconds = {"transformers": run(tmp_path / "t", "gkd-rkl", "transformers", same, items, shape)}
    seconds["TRL's GKD loop"] = trl_gkd(tmp_path / "g", same, items, shape)
    if HAS_VLLM:
        seconds["vLLM"] = run(tmp_path / "v", "gkd-rkl", "vllm", same, items, shape)
    table("on-policy GKD", seconds, "transformers", shape, capfd)
    assert all(value > 0 for value in seconds.values())


def test_the_loop_costs_little_more_than_its_parts(
    tmp_path: Path, pair: tuple[Path, Path], endless: Path, items: list[Item], shape: dict[str, Any], capfd: Any
) -> None:
    """Compare generation, divergence and update, each alone, with the complete step (transformers)."""
    loop = run(tmp_path, "gkd-rkl", "transformers", (pair[0], endless), items, shape)
    bare = Bare(endless, pair[0], items, shape["sequences"], shape["tokens"])
    parts = {
        "generation": timed(bare.generate, shape["steps"]),
        "divergence": timed(bare.divergence, shape["steps"]),
        "update": timed(bare.update, shape["steps"]),  # after a backward, so that there are gradients
    }
    total = sum(parts.values())
    table("where the time goes", {**parts, "sum of parts": total, "the loop": loop}, "sum of parts", shape, capfd)
    assert loop <= LOOP_TO_PARTS * total


def test_off_policy_training_is_near_a_bare_loop(
    tmp_path: Path, pair: tuple[Path, Path], items: list[Item], shape: dict[str, Any], capfd: Any
) -> None:
    """Compare SFT and GKD-FKL on stored completions of equal length with bare forward, backward and update."""
    teacher, student = pair
    tokenizer = load_tokenizer(student)
    bare = Bare(student, teacher, items, shape["sequences"], shape["tokens"])
    sampled = bare.ids_BT[:, -shape["tokens"] :].tolist()
    rollouts = []
    for number, ids in enumerate(sampled):
        item = items[number % len(items)]
        prompt = prompt_token_ids(tokenizer, item.prompt)
        text = tokenizer.decode(ids)
        rollouts.append(Rollout(item.id, item.task, item.prompt, number, prompt, ids, [0.0] * len(ids), text, "length"))
    stored = tmp_path / "stored.parquet"
    write_rollouts(stored, rollouts)

    def loop(part: Callable[[], None]) -> Callable[[Clock], None]:
        def go(clock: Clock) -> None:
            for number in range(shape["steps"]):
                part()
                bare.update()
                clock(number, shape["steps"], "steps")

        return go

    def kit(method: Method) -> Callable[[Clock], float]:
        folder = tmp_path / method
        return lambda clock: run(folder, method, "transformers", pair, items, shape, completions=stored, clock=clock)

    missed = []
    for method, part in (("sft", bare.cross_entropy), ("gkd-fkl", bare.divergence)):
        steps = Turns().steps({"bare loop": loop(part), method: kit(method)})  # type: ignore[arg-type]
        seconds = {name: statistics.median(times) for name, times in steps.items()}
        slowdown = ratio(steps[method], steps["bare loop"])
        table(f"{method}, {slowdown:.2f} x its bare loop turn by turn", seconds, "bare loop", shape, capfd)
        if slowdown > OFF_POLICY_TO_BARE:
            missed.append(f"{method} {slowdown:.2f} x its bare loop")
    assert not missed, missed
