"""The model of hours against what was measured: steps on one H100, and the rows of the paper's Table 5."""

from dataclasses import replace

import pytest

from repro.planner.cards import CARDS, H100
from repro.planner.hours import TABLE5_ROWS, printed_hours
from repro.planner.placement import Cards, place
from repro.planner.roofline import DECODING, TRAINING, stage_seconds
from repro.planner.tokens import planned_sequences
from repro.recipes.catalog import plan
from repro.stages import Sample, Stage


def stages(scale: str, assignments: tuple[str, ...] = ()) -> dict[str, Stage]:
    """Return the first stage of each kind of the Qwen pipeline."""
    found: dict[str, Stage] = {}
    for stage in plan("table2", scale=scale, families=("qwen3",), seeds=1, assignments=assignments).stages():
        found.setdefault(stage.procedure, stage)
    return found


def step_seconds(kind: str, steps: int, card=H100) -> float:
    """Return the seconds of a training step of the small scale, from two trainings of different length."""
    setting = kind.replace("-", "_")
    longer, shorter = (stages("small", (f"{setting}.steps={count}",))[kind] for count in (2 * steps, steps))
    return (stage_seconds(longer, card) - stage_seconds(shorter, card)) / steps


def test_an_sft_step_takes_what_one_h100_measured():
    """0.87 s: 32 sequences of about 200 + 512 tokens, four at once (benchmarks/results/gpu-h100.md)."""
    assert step_seconds("sft", 100) == pytest.approx(0.87, rel=0.1)


def test_sampling_in_training_takes_what_one_h100_measured():
    """6.0 s a step of GKD-RKL less 3.9 of GKD-FKL: 2.1 s for 32 x 512 tokens."""
    assert step_seconds("gkd-rkl", 100) - step_seconds("gkd-fkl", 100) == pytest.approx(2.1, rel=0.1)


def test_a_sampling_stage_takes_no_more_than_one_h100_measured():
    """1,024 completions of 256 tokens by Qwen3-1.7B: 82 s, 42 of them vLLM's start; what the close took is not known."""
    many = stages("small", ("teacher_sampling.max_completion_tokens=256",))["sample"]
    of_1024 = (stage_seconds(many, H100) - H100.load_seconds) * 1024 / planned_sequences(many)
    assert 20 < of_1024 < 82 - 42


FACTORS = {"calibrate": 0.675, "sample": 0.218, "sft": 6.71, "gkd-fkl": 3.60, "gkd-rkl": 15.2}
"""Hours that Table 5 prints over those of the model, at our ASSUMED counts and every completion as long as its cap."""


@pytest.mark.parametrize("kind", TABLE5_ROWS)
def test_the_rows_of_table5_beside_the_model(kind):
    """docs/scale.md says what each factor needs, and whether that is plausible."""
    hours = stage_seconds(stages("paper")[kind], H100) / 3600
    assert printed_hours()[kind] / hours == pytest.approx(FACTORS[kind], rel=0.01)


def test_what_table5_implies_is_plausible_at_other_counts():
    """At our counts two rows imply efficiencies that no card reaches or that no training sinks to; at others they do not."""
    assert DECODING / FACTORS["sample"] > 1  # more than the card's bandwidth: the paper sampled fewer tokens
    half = stages("paper", ("teacher_sampling.max_completion_tokens=4096", "teacher_sampling.completions_per_prompt=8"))
    assert printed_hours()["sample"] * 3600 / stage_seconds(half["sample"], H100) == pytest.approx(1.6, rel=0.05)
    assert TRAINING / FACTORS["sft"] < 0.1  # one completion a prompt keeps a card idle: the paper trained on more
    several = stages("paper", ("sft.steps=800", "gkd_rkl.steps=800"))
    for kind in ("sft", "gkd-rkl"):
        assert 0.5 < printed_hours()[kind] * 3600 / stage_seconds(several[kind], H100) < 2


def test_sampling_on_a_card_without_host_work_is_limited_by_its_bandwidth():
    stage = stages("paper")["sample"]
    card = replace(H100, token_seconds=0.0, load_seconds=0.0, flops=1e30)
    assert stage_seconds(stage, card) == pytest.approx(2 * stage_seconds(stage, replace(card, bandwidth=2 * 3.35e12)))


def test_a_smaller_card_is_slower_at_every_kind_of_stage():
    slow, fast = CARDS["24 GB (RTX 3090)"], H100
    assert all(stage_seconds(stage, slow) > stage_seconds(stage, fast) for stage in stages("small").values())


def test_a_guards_proxies_decode_each_token_too():
    study = plan("guards", scale="small", seeds=1, assignments=("matrix.guards=none,poe,ads",)).stages()
    poe, ads = (next(s for s in study if s.kind == "guarded" and s.guard.name == name) for name in ("poe", "ads"))
    plain = Sample(model=poe.model, data=poe.data, config=poe.config, seed=0)
    teacher, one, two = (stage_seconds(stage, H100) for stage in (plain, poe, ads))
    assert two - one == pytest.approx(one - teacher)
    launched = poe.config.max_completion_tokens * planned_sequences(poe) / 16 * 28 * H100.layer_seconds
    assert launched < one - teacher < 1.1 * launched
    prompt_by_prompt = poe.model_copy(update={"config": poe.config.model_copy(update={"batch_sequences": 4})})
    assert stage_seconds(prompt_by_prompt, H100) > 3.5 * one


def test_matching_a_kl_takes_minutes_on_a_gpu():
    study = plan("controls", scale="small", seeds=1).stages()
    matched = next(stage for stage in study if stage.workload.matches_kl)
    alone = matched.model_copy(update={"matches": None})
    assert 3 < (stage_seconds(matched, H100) - stage_seconds(alone, H100)) / 60 < 15
    toy = next(stage for stage in plan("controls", scale="toy", seeds=1).stages() if stage.workload.matches_kl)
    assert stage_seconds(toy, H100) == stage_seconds(toy.model_copy(update={"matches": None}), H100)


def test_a_sharded_training_samples_as_many_at_once_as_its_layout_holds():
    """On one card beside the unsharded trainer of a 4B student there would be room for a single completion."""
    sharded, alone = (
        next(stage for stage in plan("table2", scale="paper", families=(family,), seeds=1).stages() if is_rkl(stage))
        for family in ("gemma3", "qwen3")
    )
    assert place(sharded, Cards(8, H100.gib)).layout.shard
    assert not place(alone, Cards(8, H100.gib)).layout.shard
    assert stage_seconds(sharded, H100) < 2 * stage_seconds(alone, H100)  # 4 and 1.7 billion parameters


def test_a_model_that_fills_a_card_is_sampled_on_several():
    """A 12B teacher fills a card of 24 GB: on several, tensor parallel, there is room for completions."""
    sampled = next(
        stage
        for stage in plan("table2", scale="paper", families=("gemma3",), seeds=1).stages()
        if stage.kind == "sample"
    )
    small = replace(H100, gib=23.6)
    assert place(sampled, Cards(8, small.gib)).layout.tensor_parallel > 1
    # With one completion at once, it would be 26 times as many GPU-seconds.
    assert stage_seconds(sampled, small) < 1.5 * stage_seconds(sampled, H100)


def is_rkl(stage) -> bool:
    return stage.procedure == "gkd-rkl"
