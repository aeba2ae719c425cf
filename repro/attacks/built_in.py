"""The kit's attacks. q is the student, p_T the guarded teacher, x training prompts; answer keys are never read."""

from typing import TYPE_CHECKING, ClassVar, Literal

import pydantic

from repro.attacks.base import Attack, Rung
from repro.distillation.config import WeighingConfig
from repro.guards.base import Interface
from repro.stages import ModelInput

if TYPE_CHECKING:
    from repro.attacks.thief import Thief


class NoTeacher(Attack):
    """No theft at all, the zero line: SFT on the student's own completions that state its own majority answer."""

    name: ClassVar[str] = "no-teacher"
    formula: ClassVar[str] = "SFT on y ~ q(.|x) with answer(y) = majority of answers of q"
    source: ClassVar[str] = "self-consistency training; the control `solo` of umidsvt/antidistill"

    def student(self, thief: "Thief") -> ModelInput:
        """Fine-tune the student on its own completions."""
        return thief.sft(thief.majority(thief.own, voters=thief.own))


class Sft(Attack):
    """The passive student: cross-entropy on what the teacher shows."""

    name: ClassVar[str] = "sft"
    formula: ClassVar[str] = "SFT on y ~ p_T(.|x)"
    source: ClassVar[str] = "arXiv 2604.18963, section 6"
    reads: ClassVar[Rung | None] = "text"

    def student(self, thief: "Thief") -> ModelInput:
        """Fine-tune the student on the traces."""
        return thief.sft(thief.traces)


class SftAnswers(Attack):
    """The passive student of an interface that shows only answers: cross-entropy on the final answers."""

    name: ClassVar[str] = "sft-answers"
    formula: ClassVar[str] = "SFT on answer(y), y ~ p_T(.|x)"
    source: ClassVar[str] = "CoT removal, DistillGuard arXiv 2603.07835"

    def student(self, thief: "Thief") -> ModelInput:
        """Fine-tune the student on the traces cut to their final answers."""
        return thief.sft_on_answers()


class GkdFkl(Attack):
    """Forward KL per token on the teacher's traces."""

    name: ClassVar[str] = "gkd-fkl"
    formula: ClassVar[str] = "min KL(p_T || q) per token on y ~ p_T"
    source: ClassVar[str] = "GKD, arXiv 2306.13649"
    needs: ClassVar[Interface] = "logits"

    def student(self, thief: "Thief") -> ModelInput:
        """Distil off-policy."""
        return thief.gkd_fkl()


class GkdRkl(Attack):
    """Reverse KL per token on the student's completions."""

    name: ClassVar[str] = "gkd-rkl"
    formula: ClassVar[str] = "min KL(q || p_T) per token on y ~ q"
    source: ClassVar[str] = "GKD, arXiv 2306.13649"
    needs: ClassVar[Interface] = "logits"
    reads: ClassVar[Rung | None] = "logits of own text"

    def student(self, thief: "Thief") -> ModelInput:
        """Distil on-policy."""
        return thief.gkd_rkl()


class TopK(Attack):
    """An interface that shows the k largest log-probabilities per token: KL to them and to the tail mass, on traces.

    The loss `top-k-tail` reads the teacher's top k and, as the remainder to 1, its tail: what such an interface shows.
    """

    name: ClassVar[str] = "top-k"
    formula: ClassVar[str] = (
        "min KL(q || p_T) per token over the teacher's top k (5 unless named) and its tail as one token, on y ~ p_T"
    )
    source: ClassVar[str] = "verl#7856"
    needs: ClassVar[Interface] = "top-k"

    k: int = pydantic.Field(default=5, gt=0)

    def student(self, thief: "Thief") -> ModelInput:
        """Distil off-policy from the top k."""
        return thief.gkd_fkl(divergence=f"top-k-tail(k={self.k})")


class OwnAnswers(Attack):
    """Own traces, the teacher's answers: the student writes, and the teacher's majority answer decides what to keep."""

    name: ClassVar[str] = "own-answers"
    formula: ClassVar[str] = "SFT on y ~ q(.|x) with answer(y) = majority of answers of p_T"
    source: ClassVar[str] = "STaR arXiv 2203.14465; trace inversion arXiv 2603.07267"

    def student(self, thief: "Thief") -> ModelInput:
        """Fine-tune the student on those of its completions that the teacher's answers confirm."""
        return thief.sft(thief.majority(thief.own, voters=thief.traces))


class SftMajority(Attack):
    """Filtered SFT: traces that state the teacher's majority answer."""

    name: ClassVar[str] = "sft-majority"
    formula: ClassVar[str] = "SFT on y ~ p_T(.|x) with answer(y) = majority of answers of p_T"
    source: ClassVar[str] = "DistillGuard arXiv 2603.07835"
    reads: ClassVar[Rung | None] = "text"

    def student(self, thief: "Thief") -> ModelInput:
        """Fine-tune the student on the traces that are left."""
        return thief.sft(thief.majority(thief.traces, voters=thief.traces))


class SftShortest(Attack):
    """Filtered SFT: the shortest traces of each prompt."""

    name: ClassVar[str] = "sft-shortest"
    formula: ClassVar[str] = "SFT on the share of y ~ p_T(.|x) with the fewest tokens"
    source: ClassVar[str] = "DistillGuard arXiv 2603.07835"
    reads: ClassVar[Rung | None] = "text"

    share: float = pydantic.Field(default=0.5, gt=0, le=1)

    def student(self, thief: "Thief") -> ModelInput:
        """Fine-tune the student on the traces that are left."""
        return thief.sft(thief.shortest(thief.traces, self.share))


class SftLikeliest(Attack):
    """Filtered SFT: the traces of each prompt that the student finds likeliest."""

    name: ClassVar[str] = "sft-likeliest"
    formula: ClassVar[str] = "SFT on the share of y ~ p_T(.|x) with the largest log q(y|x) / |y|"
    source: ClassVar[str] = "DistillGuard arXiv 2603.07835"
    reads: ClassVar[Rung | None] = "text"

    share: float = pydantic.Field(default=0.5, gt=0, le=1)

    def student(self, thief: "Thief") -> ModelInput:
        """Fine-tune the student on the traces that are left."""
        return thief.sft(thief.likeliest(thief.traces, self.share))


class Reweight(Attack):
    """Adaptive reweighting: SFT on the traces, each weighted by the effect of learning from it on a holdout loss.

    The published student has a clean holdout. A thief has none, so its own completions that state the teacher's
    majority answer stand in for it. A value is a derivative, (nll[theta + epsilon g] - nll[theta - epsilon g]) /
    (2 epsilon), g the holdout's gradient. The published weights are exponential in the value; here they are exponential
    in its z-score, so that a strength means the same for every student.
    """

    name: ClassVar[str] = "reweight"
    formula: ClassVar[str] = (
        "SFT on y ~ p_T(.|x), weights exp(strength z(<grad nll(y), g>)), g = grad of q's loss on the samples of own-answers"
    )
    source: ClassVar[str] = "Distillation Game, arXiv 2605.22737"
    reads: ClassVar[Rung | None] = "text"

    strength: float = pydantic.Field(default=1.0, ge=0, allow_inf_nan=False)
    epsilon: float = pydantic.Field(default=0.01, gt=0, allow_inf_nan=False)
    traces: int = pydantic.Field(default=512, gt=0)
    """Number of holdout completions in the gradient, spread evenly over the holdout."""

    def student(self, thief: "Thief") -> ModelInput:
        """Fine-tune the student on the weighted traces."""
        if not self.strength:
            return thief.sft(thief.traces)
        config = WeighingConfig(strength=self.strength, epsilon=self.epsilon, traces=self.traces)
        holdout = thief.majority(thief.own, voters=thief.traces)
        return thief.sft(thief.traces, weights=thief.weigh(thief.traces, holdout, config))


class Supplement(Attack):
    """SFT with traces for a share of the prompts taken from another, open teacher (the family's calibration target)."""

    name: ClassVar[str] = "supplement"
    formula: ClassVar[str] = "SFT on y ~ p_T(.|x), for a share of the prompts on y ~ p_other(.|x)"
    source: ClassVar[str] = "umidsvt/antidistill, M6a"
    reads: ClassVar[Rung | None] = "text"

    share: float = pydantic.Field(default=0.5, gt=0, lt=1)

    def student(self, thief: "Thief") -> ModelInput:
        """Fine-tune the student on the mixture."""
        return thief.sft(thief.mix(thief.traces, thief.supplement, self.share))


class WarmStart(Attack):
    """SFT first, then on-policy from the teacher's logits. start: the traces, or own traces with teacher answers."""

    name: ClassVar[str] = "warm-start"
    formula: ClassVar[str] = "SFT (on the traces, or as own-answers), then min KL(q || p_T) per token on y ~ q"
    source: ClassVar[str] = "cold start of thunlp/OPD, arXiv 2604.13016"
    needs: ClassVar[Interface] = "logits"
    reads: ClassVar[Rung | None] = "logits of own text"

    start: Literal["traces", "own-answers"] = "traces"

    def student(self, thief: "Thief") -> ModelInput:
        """Distil on-policy, starting from the student of the first stage."""
        first = thief.traces if self.start == "traces" else thief.majority(thief.own, voters=thief.traces)
        return thief.gkd_rkl(start=thief.sft(first))
