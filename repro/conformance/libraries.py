"""The losses of TRL, Liger, verl and this project as `Loss` objects: how the suite calls what is installed.

A loss on hidden states and output layers gets the logits as hidden states and the identity as its output layer.
"""

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import torch
from torch import Tensor

from repro.conformance.calls import JSD, LOGITS, Feature, Loss, LossCall, identity_head
from repro.conformance.trl_losses import trl_self_distillation, trl_server, trl_stable, trl_static, trl_trainer


@dataclass(frozen=True)
class Library:
    """A loss that may not be installed here.

    Attributes:
        package: the distribution that has it.
        what: the function or method, for the document.
        build: imports it and makes the `Loss`.
        needs: modules that it also needs.
    """

    name: str
    package: str
    what: str
    build: Callable[[str], Loss]
    needs: tuple[str, ...] = ()

    def reason_missing(self) -> str | None:
        """Return why it cannot run here; None if it can."""
        try:
            importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            return f"{self.package} is not installed"
        missing = [module for module in self.needs if importlib.util.find_spec(module) is None]
        return f"{missing[0]} is not installed" if missing else None

    def load(self) -> Loss:
        """Import the loss."""
        return self.build(self.name)

    @property
    def version(self) -> str:
        """The installed version."""
        return importlib.metadata.version(self.package)


def _liger_chunked(name: str) -> Loss:
    function = importlib.import_module("liger_kernel.chunked_loss.jsd_loss").LigerFusedLinearJSDLoss

    def compute(call: LossCall) -> Tensor:
        student, teacher = call.student_logits.flatten(0, 1), call.teacher_logits.flatten(0, 1)
        loss = function(
            weight_hard_loss=0.0, weight_soft_loss=1.0, beta=call.beta, temperature=call.temperature, compiled=False,
            chunk_size=call.chunk_size or 1024,
        )  # fmt: skip
        result: Tensor = loss(student, identity_head(student), teacher, identity_head(teacher), call.labels.flatten())
        return result

    return Loss(name, compute, JSD | {"temperature", "chunk"})


def _liger_kernel(name: str) -> Loss:
    function = importlib.import_module("liger_kernel.transformers.jsd").LigerJSD

    def compute(call: LossCall) -> Tensor:
        log_q = call.student_logits.flatten(0, 1).log_softmax(-1)
        log_p = call.teacher_logits.flatten(0, 1).log_softmax(-1)
        result: Tensor = function(beta=call.beta)(log_q, log_p, call.labels.flatten())
        return result

    return Loss(name, compute, LOGITS)


def _verl_top_k(name: str) -> Loss:
    top_k_loss = importlib.import_module("verl.trainer.distillation.fsdp.losses").compute_forward_kl_topk
    aggregate = importlib.import_module("verl.trainer.ppo.core_algos").agg_loss

    def compute(call: LossCall) -> Tensor:
        B, T, V = call.student_logits.shape
        # The teacher's server returns its K likeliest tokens, as sequences without padding
        top = call.teacher_logits.detach().log_softmax(-1).topk(call.top_k or call.teacher_logits.shape[-1], dim=-1)
        offsets = torch.arange(B + 1) * T
        packed = [torch.nested.nested_tensor_from_jagged(x.flatten(0, 1), offsets) for x in (top.values, top.indices)]
        settings = SimpleNamespace(
            log_prob_min_clamp=None,  # as in verl's configuration files
            use_chunked_topk=call.chunk_size is not None,
            chunked_topk_chunk_size=call.chunk_size,
        )
        config = SimpleNamespace(distillation_loss=settings)
        values = top_k_loss(call.student_logits.reshape(1, B * T, V), *packed, config, "thd")["distillation_losses"]
        # verl.trainer.distillation.losses.compute_forward_kl_topk clamps, and distillation_loss aggregates, so
        clamped = values.view(B, T).clamp_min(0.0)
        result: Tensor = aggregate(clamped, call.mask, "token-mean", batch_num_tokens=call.num_items)
        return result

    features: set[Feature] = {"forward", "mask", "num_items", "gradient", "logits", "top_k", "chunk"}
    return Loss(name, compute, frozenset(features), top_k_of="teacher")


def _repro_gkd(direction: str) -> Callable[[str], Loss]:
    def build(name: str) -> Loss:
        losses = importlib.import_module("repro.distillation.losses")
        function = losses.forward_kl if direction == "forward" else losses.reverse_kl
        feature: Feature = "forward" if direction == "forward" else "reverse"

        def compute(call: LossCall) -> Tensor:
            result: Tensor = function(call.student_logits, call.teacher_logits, call.mask, call.num_items)
            return result

        return Loss(name, compute, frozenset({feature, "mask", "num_items", "gradient", "logits"}))

    return build


def _repro_token_kl(name: str) -> Loss:
    from repro.traps.token_kl import token_kl

    def compute(call: LossCall) -> Tensor:
        # A measure, with a gradient in both: who trains with it decides which of them is fixed
        pair = (call.teacher_logits.detach(), call.student_logits)
        return token_kl(*(pair if call.beta == 0 else pair[::-1]), mask=call.mask)

    return Loss(name, compute, frozenset({"forward", "reverse", "mask", "gradient", "logits"}))


def _repro_stream(name: str) -> Loss:
    from repro.traps import OutputHead, stream_divergences

    def compute(call: LossCall) -> Tensor:
        student, teacher = call.student_logits[call.mask], call.teacher_logits[call.mask]
        values = stream_divergences(
            student, OutputHead(identity_head(student)), teacher, OutputHead(identity_head(teacher)),
            temperature=call.temperature, logit_bytes=call.chunk_size and call.chunk_size * 16 * student.shape[-1],
        )  # fmt: skip
        kl_N = values.kl_qp if call.beta == 0 else values.kl_pq
        return kl_N.new_zeros(call.mask.shape).masked_scatter(call.mask, kl_N)

    return Loss(name, compute, frozenset({"forward", "reverse", "mask", "temperature", "chunk"}))


_GKD, _GOLD = "experimental.gkd.gkd_trainer", "experimental.gold.gold_trainer"
_IW_OPD, _SDFT, _SDPO = (
    "experimental.iw_opd.iw_opd_trainer",
    "experimental.sdft.sdft_trainer",
    "experimental.sdpo.sdpo_trainer",
)
LIBRARIES = (
    Library("trl-distillation", "trl", "`DistillationTrainer` (stable): `_chunked_divergence_loss`", trl_stable),
    Library("trl-gkd", "trl", "`GKDTrainer.generalized_jsd_loss`", trl_static(_GKD, "GKDTrainer")),
    Library("trl-gkd-trainer", "trl", "`GKDTrainer.compute_loss`", trl_trainer(_GKD, "GKDTrainer")),
    Library("trl-gold", "trl", "`GOLDTrainer.generalized_jsd_loss`", trl_static(_GOLD, "GOLDTrainer")),
    Library("trl-gold-trainer", "trl", "`GOLDTrainer.compute_loss` without ULD", trl_trainer(_GOLD, "GOLDTrainer")),
    Library("trl-iw-opd", "trl", "`IWOPDTrainer.generalized_jsd_loss`", trl_static(_IW_OPD, "IWOPDTrainer")),
    Library(
        "trl-sdft", "trl", "`SDFTTrainer._compute_self_distillation_loss`", trl_self_distillation(_SDFT, "SDFTTrainer")
    ),
    Library(
        "trl-sdpo", "trl", "`SDPOTrainer._compute_self_distillation_loss`", trl_self_distillation(_SDPO, "SDPOTrainer")
    ),
    Library("trl-server", "trl", "`ServerDistillationTrainer._compute_server_forward_kl_loss`", trl_server),
    Library("liger-chunked", "liger-kernel", "`LigerFusedLinearJSDLoss` (chunked, torch)", _liger_chunked, ("triton",)),
    Library("liger-jsd", "liger-kernel", "`LigerJSD` (Triton)", _liger_kernel, ("triton",)),
    Library(
        "verl-top-k", "verl", "`forward_kl_topk` (FSDP), clamped and aggregated as it is there", _verl_top_k, ("ray",)
    ),
    Library("repro-gkd-fkl", "distillability-repro", "`repro.distillation.losses.forward_kl`", _repro_gkd("forward")),
    Library("repro-gkd-rkl", "distillability-repro", "`repro.distillation.losses.reverse_kl`", _repro_gkd("reverse")),
    Library("repro-token-kl", "distillability-repro", "`repro.traps.token_kl`", _repro_token_kl),
    Library("repro-stream", "distillability-repro", "`repro.traps.stream_divergences`", _repro_stream),
)
"""In the order of the document."""
