"""Workload of a stage in counts. Hours, memory, disk, FLOPs and the GPU layout are computed from it."""

from dataclasses import dataclass, field

from repro.generation.config import EngineName, SamplingConfig
from repro.stages.references import BaseModelRef, Model


@dataclass(frozen=True)
class Passes:
    """How many passes one completion token makes through a stage's models.

    Attributes:
        sampled, scored, trained: through the main model (forward; forward; forward and backward).
        frozen: through the frozen model, forward.
    """

    sampled: int = 0
    scored: int = 0
    trained: int = 0
    frozen: int = 0

    def flops(self, main: float, frozen: float) -> float:
        """Return FLOPs per completion token: 2 N for a forward pass, 6 N for forward and backward.

        Args:
            main, frozen: parameter counts N of the two models.
        """
        return (2 * (self.sampled + self.scored) + 6 * self.trained) * main + 2 * self.frozen * frozen


PASSES = {
    "calibrate": Passes(sampled=1, scored=1, trained=1, frozen=1),
    "sample": Passes(sampled=1),
    "sft": Passes(trained=1),
    "train-output-layer": Passes(trained=1, frozen=1),
    "gkd-fkl": Passes(trained=1, frozen=1),
    "gkd-rkl": Passes(sampled=1, trained=1, frozen=1),
    "evaluate": Passes(sampled=1),
    "diagnose": Passes(scored=1, frozen=1),
    "continue": Passes(sampled=1),
    "classify": Passes(sampled=1),
    "guarded": Passes(sampled=1, frozen=1),
    "score": Passes(scored=1),
    "weigh": Passes(scored=2),
    "score-answers": Passes(scored=1),
}
"""By procedure. Calibration excludes the KL anchor's pass (`Workload.kl_anchor`); output-layer training is counted as
if all layers had a backward pass (`Workload.output_layer_only`)."""


@dataclass(frozen=True)
class Workload:
    """Models, sequences and tokens of one stage.

    Attributes:
        main: the model that is trained, sampled from or (in a diagnosis) scores, i.e. the teacher; None if no model
            runs here.
        frozen: a second, score-only model: calibration target, GKD teacher, or student of a diagnosis.
        frozen_in_step: the frozen model scores inside the optimiser step and is sharded with the trained one.
        lora_rank: rank of the trained adapters; None if all parameters are trained.
        output_layer_only: only the output layer is trained; all other layers only run forward.
        uses_loss_layer: the loss is computed by `distillation.loss_layer`, in tiles of its own.
        kl_anchor: one more forward pass of the main model, for the KL to its untrained self; with full-parameter
            training, this needs a second copy.
        steps, sequences_per_step: for training.
        completions_per_item: for sampling and scoring.
        max_completion_tokens: upper bound of every completion.
        batch_sequences: sequences per transformers sampling batch; 0 where the estimate ignores their cache.
        writes_rollouts: the artifact is completions with log-probabilities; vLLM's are checked by rescoring some.
        takes_gradient: the main model (or a guard's proxies) scores twice in float32, moved both ways along its own
            gradient.
        matches_kl: the trained update is shrunk to match a KL measured on completions (`calibration.kl_match`).
        scores_in_parts: stored completions are scored in parts, split over several processes.
    """

    main: Model | None = None
    frozen: Model | None = None
    passes: Passes = field(default=Passes())
    frozen_in_step: bool = False
    lora_rank: int | None = None
    output_layer_only: bool = False
    uses_loss_layer: bool = False
    kl_anchor: bool = False
    reward_model: BaseModelRef | None = None
    engine: EngineName = "transformers"
    steps: int = 0
    sequences_per_step: int = 0
    completions_per_item: int = 0
    max_completion_tokens: int = 0
    batch_sequences: int = 0
    writes_rollouts: bool = False
    takes_gradient: bool = False
    matches_kl: bool = False
    scores_in_parts: bool = False

    @property
    def trains(self) -> bool:
        return self.passes.trained > 0

    @property
    def samples(self) -> bool:
        return self.passes.sampled > 0

    @property
    def samples_while_training(self) -> bool:
        """True if vLLM samples completions between the optimiser steps."""
        return self.trains and self.samples and self.engine == "vllm"

    @property
    def proxies(self) -> int:
        """Number of a guard's float32 proxies (each like the frozen model) that decode alongside the sampled model."""
        return self.passes.frozen if self.samples and not self.trains else 0

    @property
    def runs_model(self) -> bool:
        """False for rules and for a served judge."""
        return self.main is not None

    @property
    def uses_gpu(self) -> bool:
        """True if any model is not a toy model; toy models always run on the CPU."""
        models = (self.main, self.frozen, self.reward_model)
        return any(not model.base_model.is_toy for model in models if model is not None)

    @property
    def can_split(self) -> bool:
        """True if `--ranks` splits the stage."""
        return self.trains or self.writes_rollouts or self.scores_in_parts


def sampling_workload(
    procedure: str, model: Model, config: SamplingConfig, reward_model: BaseModelRef | None = None
) -> Workload:
    """Return the workload of a stage that writes one model's rollouts."""
    return Workload(
        main=model,
        passes=PASSES[procedure],
        reward_model=reward_model,
        engine=config.engine,
        completions_per_item=config.completions_per_prompt,
        max_completion_tokens=config.max_completion_tokens,
        batch_sequences=config.batch_sequences,
        writes_rollouts=True,
    )


def scoring_workload(procedure: str, model: Model, config: SamplingConfig, completions_per_item: int) -> Workload:
    """Return the workload of a stage that scores stored completions with one model."""
    return Workload(
        main=model,
        passes=PASSES[procedure],
        completions_per_item=completions_per_item,
        max_completion_tokens=config.max_completion_tokens,
    )
