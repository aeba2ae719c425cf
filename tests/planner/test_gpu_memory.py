"""GPU memory and placement: identities of the arithmetic, and the layouts of the paper's stages."""

from dataclasses import replace

import pytest

from repro.models.padded_batches import BACKWARD_TOKENS
from repro.planner import activations
from repro.planner.architectures import architecture
from repro.planner.concurrency import sequences_at_once
from repro.planner.fit import unplaceable
from repro.planner.gpu_memory import GIB, KV_CACHE_GIB, gpu_memory, vllm_gib
from repro.planner.host_memory import host_memory
from repro.planner.model_memory import matching_gib
from repro.planner.placement import (
    DRIVER_GIB,
    LEAST_AT_ONCE,
    USABLE_SHARE,
    Cards,
    describe_layout,
    machine_cards,
    place,
)
from repro.planner.resources import ONE_GPU, Layout, Resources, resources_for
from repro.recipes.assumed import assumed
from repro.recipes.catalog import STUDIES, plan
from repro.stages import BaseModelRef, Calibrate, Continue, Distill, Evaluate, Sample

CARD = 78.0


@pytest.fixture(scope="module")
def stages():
    return plan("table2", scale="paper", families=("all",), seeds=1).stages()


def distilled(stages, method, student):
    return next(s for s in stages if isinstance(s, Distill) and s.config.method == method and s.student.name == student)


def calibrated(stages, teacher):
    return next(s for s in stages if isinstance(s, Calibrate) and s.teacher.name == teacher)


def test_bytes_of_a_trained_parameter(stages):
    """16 alone: weight, gradient, two moments in float32; 20 under DDP, whose buckets copy the gradient; 16 / R sharded."""
    stage = distilled(stages, "gkd-fkl", "google/gemma-3-4b-it")
    parameters = architecture("google/gemma-3-4b-it").parameters * 1e9 / GIB
    for layout, expected in ((Layout(), 16), (Layout(8), 20), (Layout(2, True), 8), (Layout(8, True), 2)):
        memory = gpu_memory(stage, layout)
        trained = memory.weights + memory.gradients + memory.optimizer
        assert trained == pytest.approx(expected * parameters)
        assert memory.frozen == pytest.approx(
            2 * architecture("google/gemma-3-12b-it").parameters * 1e9 / GIB / (layout.ranks if layout.shard else 1)
        )


def test_shards_add_up_to_the_complete_models(stages):
    """Weights, gradients, moments and teacher over all ranks are those of one GPU; the target and vLLM are on each."""
    for stage in (calibrated(stages, "google/gemma-3-12b-it"), distilled(stages, "gkd-rkl", "Qwen/Qwen3-4B")):
        alone = gpu_memory(stage)
        for ranks in (2, 4, 8):
            memory = gpu_memory(stage, Layout(ranks, True))
            for part in ("weights", "gradients", "optimizer"):
                assert ranks * getattr(memory, part) == pytest.approx(getattr(alone, part))
            kept = memory.frozen if isinstance(stage, Calibrate) else ranks * memory.frozen
            assert kept == pytest.approx(alone.frozen)
            assert memory.sampling >= alone.sampling  # vLLM holds the complete model on every rank
            assert memory.gathered > 0 == alone.gathered
    totals = [gpu_memory(stage, Layout(ranks, True)).total for ranks in (2, 4, 8)]
    assert totals == sorted(totals, reverse=True)


def test_the_peak_is_the_larger_of_the_two_turns(stages):
    stage = distilled(stages, "gkd-rkl", "Qwen/Qwen3-4B")
    for memory in (gpu_memory(stage, Layout(micro_batch=n)) for n in (1, 4)):
        stays = memory.weights + memory.gradients + memory.optimizer + memory.frozen + memory.workspace
        step = memory.activations + memory.logits + memory.gathered + memory.fragments + memory.asleep
        assert memory.total == pytest.approx(stays + max(step, memory.sampling))


def test_activations_grow_with_the_micro_batch_and_copies_of_weights_do_not(stages):
    stage = distilled(stages, "gkd-rkl", "Qwen/Qwen3-4B")
    one, two, four = (gpu_memory(stage, Layout(micro_batch=n)).activations for n in (1, 2, 4))
    assert four - two == pytest.approx(2 * (two - one))
    copies = architecture("Qwen/Qwen3-4B").layers * architecture("Qwen/Qwen3-4B").layer_parameters * 2 / GIB
    assert 2 * one - two == pytest.approx(copies)
    adapters = calibrated(stages, "Qwen/Qwen3-8B")
    one, two = (gpu_memory(adapters, Layout(micro_batch=n)).activations for n in (1, 2))
    assert 2 * one - two == pytest.approx(architecture("Qwen/Qwen3-8B").layer_parameters * 2 / GIB)  # a layer at a time


@pytest.mark.parametrize(
    ("card", "gib", "share"), [("RTX 3090 or 4090", 23.6, USABLE_SHARE), ("L4 or A10", 22.2, 0.95)]
)
def test_the_small_scale_fits_a_card_of_24_gb(card, gib, share):
    """By CUDA's totals. Qwen3-0.6B keeps its activations (no checkpointing), so smaller micro-batches are what makes it fit.

    Two stages of the kit's own fit with less room: a teacher that is its own target (controls), and the loss that holds a
    third model (losses).
    """
    least: dict[str, int] = {}
    for name in STUDIES:
        for stage in plan(name, scale="small", families=("all",), seeds=1).stages():
            placement = place(stage, Cards(1, gib))
            assert placement.memory <= (gib if _is_tight(stage) else share * gib), (card, stage.label)
            if stage.workload.trains:
                batch = placement.layout.micro_batch
                kind = "another loss" if stage.workload.uses_loss_layer else stage.procedure
                least[kind] = min(batch, least.get(kind, batch))
    assert least == {
        "sft": 4, "gkd-fkl": 2, "gkd-rkl": 2, "another loss": 1, "calibrate": 4, "train-output-layer": 2,
    }  # fmt: skip


def _is_tight(stage):
    is_own_target = isinstance(stage, Calibrate) and stage.target == stage.teacher
    return is_own_target or "reference-anchored" in stage.label


def test_where_nothing_leaves_room_the_emptiest_layout_on_as_many_gpus_is_chosen(stages):
    stage = distilled(stages, "sft", "google/gemma-3-4b-it")
    one, two = (gpu_memory(stage, Layout(micro_batch=n)).total for n in (1, 2))
    gib = two + 0.5
    assert USABLE_SHARE * gib < one < two < gib
    assert place(stage, Cards(1, gib)).layout == Layout(micro_batch=1)


def test_four_sequences_of_the_small_scale_do_not_fit_24_gb():
    """A pre-mortem's arithmetic for this stage was 23.2 to 23.7 GiB, with shorter prompts."""
    stages = plan("table2", scale="small", seeds=1).stages()
    memory = gpu_memory(distilled(stages, "gkd-rkl", "Qwen/Qwen3-0.6B"), Layout(micro_batch=4))
    assert 23.0 < memory.total < 25.0


def test_a_training_of_the_output_layer_has_gradients_of_it_alone():
    assignments = ["matrix.guards=none,doge", "matrix.attacks=sft"]
    stages = plan("guards", scale="paper", families=("qwen3",), seeds=1, assignments=assignments).stages()
    stage = next(stage for stage in stages if stage.kind == "train-output-layer")
    model = architecture(stage.teacher.name)
    head = model.vocabulary * model.hidden
    memory = gpu_memory(stage)
    assert memory.gradients * GIB == pytest.approx(4 * head)
    assert memory.optimizer * GIB == pytest.approx(8 * head)
    assert memory.weights * GIB == pytest.approx(4 * (model.parameters * 1e9 + head))
    one, two = (gpu_memory(stage, Layout(micro_batch=n)).logits for n in (1, 2))
    cells = stage.config.max_completion_tokens * model.vocabulary
    assert (two - one) * GIB == pytest.approx(4 * 4 * cells)  # logits and gradients, float32; the loss is made in parts
    assert one * GIB > 4 * 4 * cells
    assert place(stage, Cards(1, 78.0)).memory < 78.0


def test_weighing_holds_two_students_and_a_gradient_in_float32():
    stage = next(stage for stage in plan("guards", scale="paper", seeds=1).stages() if stage.kind == "weigh")
    model = architecture(stage.model.name)
    memory = gpu_memory(stage)
    assert memory.frozen * GIB >= 3 * 4 * model.parameters * 1e9
    assert not memory.gradients
    assert place(stage, Cards(1, 78.0)).fits


def test_a_guards_proxies_and_their_gradient_count_beside_the_teacher():
    stages = plan("guards", scale="small", seeds=1).stages()
    poe, ads = (next(s for s in stages if s.kind == "guarded" and s.guard.name == name) for name in ("poe", "ads"))
    teacher, proxy = architecture(poe.model.name), architecture(poe.proxy.name)
    cells = 16 * (assumed("prompt tokens") + 512)
    teacher_gib = (2 * teacher.parameters * 1e9 + cells * 2 * 2 * teacher.layers * teacher.keys) / GIB
    proxy_gib = 4 * (proxy.parameters * 1e9 + cells * 2 * proxy.layers * proxy.keys) / GIB
    assert gpu_memory(poe).frozen == pytest.approx(teacher_gib + proxy_gib)
    assert gpu_memory(ads).frozen >= teacher_gib + 2 * proxy_gib
    one_prompt = ads.model_copy(update={"config": ads.config.model_copy(update={"batch_sequences": 1})})
    kept = activations.saved_for_backward(
        proxy, BACKWARD_TOKENS, 712, checkpointed=False
    )  # while the gradient is taken
    assert gpu_memory(one_prompt).frozen * GIB > 2 * (teacher.parameters + 4 * proxy.parameters) * 1e9 + 2 * kept
    assert gpu_memory(ads).total < 18


def test_matching_a_kl_needs_less_than_the_training_before_it():
    for scale in ("small", "paper"):
        stages = plan("controls", scale=scale, families=("all",), seeds=1).stages()
        matching = [stage for stage in stages if stage.workload.matches_kl]
        assert matching
        for stage in matching:
            memory = gpu_memory(stage)
            stays = memory.frozen + memory.asleep + memory.fragments + memory.workspace
            assert stays + matching_gib(architecture(stage.teacher.name)) < memory.total
    alone = matching[0].model_copy(update={"matches": None})
    sharded = Layout(2, True)
    assert host_memory(matching[0], sharded).saving > 2 * host_memory(alone, sharded).saving
    assert host_memory(matching[0], ONE_GPU) == host_memory(alone, ONE_GPU)


def test_a_reward_model_takes_its_weights_and_a_bounded_forward_pass(stages):
    students = (s for s in stages if isinstance(s, Evaluate) and s.model.base_model.name == "Qwen/Qwen3-4B")
    scored = next(stage for stage in students if stage.reward_model)
    alone = scored.model_copy(update={"reward_model": None})
    weights = architecture(scored.reward_model.name).parameters * 2e9 / GIB
    assert weights + 2 < gpu_memory(scored).sampling < weights + 4
    assert gpu_memory(alone).sampling < gpu_memory(scored).sampling - 2
    longer = scored.model_copy(update={"config": scored.config.model_copy(update={"max_completion_tokens": 100_000})})
    longest = scored.model_copy(update={"config": scored.config.model_copy(update={"max_completion_tokens": 200_000})})
    assert gpu_memory(longer).sampling == gpu_memory(longest).sampling


def test_tensor_parallelism_divides_the_weights_but_not_the_cache(stages):
    stage = next(s for s in stages if isinstance(s, Sample))
    alone, spread = (gpu_memory(stage, Layout(n, False, n)).sampling for n in (1, 4))
    assert 4 * (spread - KV_CACHE_GIB) == pytest.approx(alone - KV_CACHE_GIB)


def test_eight_cards_of_80_hold_every_stage_of_every_study():
    for name in STUDIES:
        study = plan(name, scale="paper", families=("all",), seeds=1)
        assert unplaceable(study, study.stages(), resources_for("paper")) == []


def test_advice_for_stages_that_one_card_does_not_hold(monkeypatch):
    monkeypatch.setattr("repro.planner.fit.hardware", lambda: {"memory_gib": 2000.0, "gpus": [{"memory_gib": CARD}]})
    study = plan("table2", scale="paper", families=("all",), seeds=1)
    lines = unplaceable(study, study.stages(), resources_for("paper"))
    for start in (
        "calibrate of google/gemma-3-12b-it",
        "distill gkd-rkl of google/gemma-3-4b-it",
        "distill gkd-rkl of Qwen/Qwen3-4B",
    ):
        (line,) = [line for line in lines if line.startswith(start)]
        assert "use 2 such GPUs in one machine: the models are then sharded over them" in line
    small = plan("table2", scale="small", seeds=1)
    monkeypatch.setattr("repro.planner.fit.hardware", lambda: {"memory_gib": 2000.0, "gpus": [{"memory_gib": 22.0}]})
    assert unplaceable(small, small.stages(), resources_for("paper")) == []


def test_advice_names_the_option_that_rules_out_a_layout(monkeypatch):
    monkeypatch.setattr(
        "repro.planner.fit.hardware", lambda: {"memory_gib": 2000.0, "gpus": [{"memory_gib": CARD}] * 8}
    )
    study = plan("table2", scale="paper", families=("gemma3",), seeds=1)
    lines = unplaceable(study, study.stages(), replace(resources_for("paper"), shard="never"))
    assert lines
    assert all("leave out --shard" in line for line in lines)


def test_a_layout_with_more_gpus_than_there_are_is_not_said_to_lack_memory(monkeypatch):
    monkeypatch.setattr(
        "repro.planner.fit.hardware", lambda: {"memory_gib": 2000.0, "gpus": [{"memory_gib": CARD}] * 2}
    )
    study = plan("table2", scale="paper", families=("qwen3",), seeds=1)
    lines = unplaceable(study, study.stages(), replace(resources_for("paper"), tensor_parallel=4))
    assert lines
    assert all(
        f"on each of 4 GPU(s), but there are 2 GPU(s) with {CARD - DRIVER_GIB:g} GiB each: leave out" in line
        for line in lines
    )


def test_stages_are_placed_on_what_cuda_gives_of_a_card():
    """nvidia-smi says 79.6 GiB for an H100, of which CUDA gives 79.2."""
    assert machine_cards({"gpus": [{"memory_gib": 79.6}, {"memory_gib": 140.4}]}) == Cards(2, 79.2)
    assert machine_cards({"gpus": []}) is None


@pytest.mark.parametrize("count", [1, 2, 8])
def test_no_layout_on_fewer_gpus_leaves_room(stages, count):
    """The memory is that of the chosen layout, and none on fewer GPUs leaves a tenth of the card free."""
    for stage in stages:
        placement = place(stage, Cards(count, CARD))
        assert placement.memory == gpu_memory(stage, placement.layout).total
        assert placement.fits == (placement.memory <= CARD)
        assert placement.layout.ranks <= count
        if placement.layout.shard:
            unsharded = [gpu_memory(stage, Layout(n, False, 1, 1)).total for n in range(1, placement.layout.ranks + 1)]
            assert min(unsharded) > USABLE_SHARE * CARD
        if isinstance(stage, Calibrate | Distill) and placement.fits and placement.layout.ranks > 1:
            half = placement.layout.ranks // 2
            assert gpu_memory(stage, Layout(half, half > 1, 1, 1)).total > USABLE_SHARE * CARD


def test_a_teacher_of_70_billion_gets_tensor_parallelism_and_copies(stages):
    stage = next(s for s in stages if isinstance(s, Sample))
    large = stage.model_copy(update={"model": BaseModelRef(name="somebody/Large-70B", revision="unpinned")})
    assert place(large, Cards(8, CARD)).layout == Layout(4, False, 4)
    assert place(large, Cards(8, CARD), Resources(ranks=8)).layout == Layout(8, False, 4)  # two copies
    assert place(large, Cards(8, CARD), Resources(ranks=6)).layout == Layout(8, False, 4)
    assert not place(large, Cards(1, CARD)).fits
    assert place(stage, Cards(8, CARD), Resources(tensor_parallel=2)).layout == Layout(2, False, 2)
    followed = next(s for s in plan("figure4", scale="paper", seeds=1).stages() if isinstance(s, Continue))
    on = followed.model_copy(update={"teacher": large.model})
    assert place(on, Cards(8, CARD), Resources(ranks=8)).layout == Layout(
        4, False, 4
    )  # one copy: continuing is not split


def test_a_server_takes_sampling_off_the_ranks(stages):
    """27 billion parameters in bfloat16 do not fit next to a trainer's shard; on two further GPUs they do."""
    stage = next(s for s in stages if isinstance(s, Calibrate))
    large = stage.model_copy(update={"teacher": BaseModelRef(name="google/gemma-3-27b-it", revision="unpinned")})
    colocated, served = Layout(4, True), Layout(4, True, vllm_server=2)
    assert gpu_memory(large, colocated).sampling > vllm_gib(architecture("google/gemma-3-27b-it")) > CARD / 2
    memory = gpu_memory(large, served)
    assert memory.sampling < 20 < memory.server < CARD / 2  # the reward model stays with the ranks
    assert memory.total < gpu_memory(large, colocated).total
    assert served.gpus == 6
    layout = place(large, Cards(8, CARD), Resources(vllm_server=2)).layout
    assert layout.vllm_server == 2
    assert layout.gpus <= 8
    assert describe_layout(layout).endswith("+ 2 vLLM server")
    assert (
        place(
            distilled(stages, "sft", "google/gemma-3-4b-it"), Cards(8, CARD), Resources(vllm_server=2)
        ).layout.vllm_server
        == 0
    )


@pytest.mark.parametrize(("ranks", "server"), [(8, 1), (1, 8)])
def test_more_gpus_than_there_are_never_fit(stages, ranks, server):
    stage = next(s for s in stages if isinstance(s, Calibrate))
    assert not place(stage, Cards(8, CARD), Resources(ranks=ranks, vllm_server=server)).fits


def test_ranks_that_do_not_divide_a_step_are_not_chosen(stages):
    stage = distilled(stages, "gkd-rkl", "google/gemma-3-4b-it")
    odd = stage.model_copy(update={"config": stage.config.model_copy(update={"sequences_per_step": 9})})
    assert place(stage, Cards(8, CARD)).layout.shard
    assert place(odd, Cards(8, CARD)).layout.ranks == 1


def test_toy_stages_need_no_gpu():
    study = plan("table2", scale="toy", seeds=1)
    assert unplaceable(study, study.stages(), Resources()) == []


def test_a_model_that_leaves_room_for_few_completions_is_spread_over_two_gpus_if_there_are_two():
    stages = plan("figure1a", scale="paper", families=("gemma3",), seeds=1).stages()
    sampled = next(stage for stage in stages if stage.label == "evaluate google/gemma-3-27b-it")
    on_one, on_node = (place(sampled, Cards(count, 79.2)) for count in (1, 8))
    assert (on_one.fits, on_one.layout.tensor_parallel, on_node.layout.tensor_parallel) == (True, 1, 2)
    tokens = 256 + sampled.workload.max_completion_tokens // 2
    at_once = [sequences_at_once(sampled, 79.2, tokens, placed.layout) for placed in (on_one, on_node)]
    assert at_once[0] < LEAST_AT_ONCE <= at_once[1]


def test_a_stage_with_few_completions_needs_no_more_gpus_for_them():
    few = ("test_items=2", "tasks=gsm8k", "evaluation.completions_per_prompt=8")
    stages = plan("figure1a", scale="paper", families=("gemma3",), seeds=1, assignments=few).stages()
    sampled = next(stage for stage in stages if stage.label == "evaluate google/gemma-3-27b-it")
    assert place(sampled, Cards(8, 79.2)).layout.tensor_parallel == 1


def test_a_model_judge_is_planned_like_any_model_that_samples():
    study = plan("failure-modes", scale="paper", seeds=1, assignments=["judge=Qwen/Qwen3-14B"])
    judged = next(stage for stage in study.stages() if stage.kind == "classify")
    assert (judged.workload.samples, judged.workload.engine) == (True, "vllm")
    assert place(judged, Cards(8, 23.6)).layout.tensor_parallel > 1  # 28 GiB of weights
    assert place(judged, Cards(8, 79.2)).layout == Layout(1)
