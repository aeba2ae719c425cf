"""TRL's distillation losses as `Loss` objects.

A trainer's method is called with a stand-in trainer and stand-in models that return the given logits.
"""

import importlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from torch import Tensor

from repro.conformance.calls import JSD, LOGITS, Feature, Loss, LossCall, identity_head


def _trl(module: str, name: str) -> Any:
    return getattr(importlib.import_module(f"trl.{module}"), name)


def trl_stable(name: str) -> Loss:
    chunked = _trl("trainer.distillation_trainer", "_chunked_divergence_loss")

    def compute(call: LossCall) -> Tensor:
        heads = [identity_head(logits) for logits in (call.student_logits, call.teacher_logits)]
        result: Tensor = chunked(
            call.student_logits, call.teacher_logits, *heads, call.mask, call.beta,
            num_items_in_batch=call.num_items, temperature=call.temperature,
        )[0]  # fmt: skip
        return result

    return Loss(name, compute, JSD | {"temperature", "num_items"})


def trl_static(module: str, trainer: str) -> Callable[[str], Loss]:
    def build(name: str) -> Loss:
        jsd = _trl(module, trainer).generalized_jsd_loss
        has_top_k = trainer == "IWOPDTrainer"

        def compute(call: LossCall) -> Tensor:
            more = {"top_k": call.top_k or 0, "add_tail": call.add_tail} if has_top_k else {}
            result: Tensor = jsd(
                call.student_logits, call.teacher_logits, labels=call.labels, beta=call.beta,
                temperature=call.temperature, num_items_in_batch=call.num_items, **more,
            )  # fmt: skip
            return result

        extra: frozenset[Feature] = frozenset({"top_k", "tail"}) if has_top_k else frozenset()
        return Loss(name, compute, LOGITS.union({"temperature", "num_items"}, extra))

    return build


class _StandIn:
    """A model that returns the logits of a call for its inputs."""

    training = True

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits

    def __call__(self, **inputs: Any) -> Any:
        return SimpleNamespace(logits=self.logits.clone())  # a copy, so that no_grad around the call has its effect

    def eval(self) -> None:
        return None


def trl_trainer(module: str, trainer: str) -> Callable[[str], Loss]:
    def build(name: str) -> Loss:
        kind = _trl(module, trainer)
        uses_temperature = trainer == "GOLDTrainer"  # GKD's is for sampling only

        def compute(call: LossCall) -> Tensor:
            trainer_stand_in = SimpleNamespace(
                teacher_model=_StandIn(call.teacher_logits),
                generalized_jsd_loss=kind.generalized_jsd_loss,
                beta=call.beta,
                temperature=call.temperature,
                use_uld_loss=False,
                teacher_tokenizer=None,
                _get_model_forward_kwargs=lambda inputs: {},
            )
            inputs = {"input_ids": call.input_ids, "attention_mask": call.attention_mask, "labels": call.labels}
            result: Tensor = kind.compute_loss(
                trainer_stand_in, _StandIn(call.student_logits), inputs, num_items_in_batch=call.num_items
            )
            return result

        extra: frozenset[Feature] = frozenset({"temperature"}) if uses_temperature else frozenset()
        return Loss(name, compute, LOGITS.union({"num_items"}, extra), shifts=True)

    return build


def trl_self_distillation(module: str, trainer: str) -> Callable[[str], Loss]:
    def build(name: str) -> Loss:
        kind = _trl(module, trainer)

        def compute(call: LossCall) -> Tensor:
            settings = SimpleNamespace(
                distillation_mode="full_logits" if call.top_k is None else "topk_logits",
                distillation_topk=call.top_k,
                distillation_alpha=call.beta,
                distillation_add_tail=call.add_tail,
                distillation_is_clip=None,
            )
            trainer_stand_in = SimpleNamespace(
                args=settings,
                accelerator=SimpleNamespace(gather=lambda value: value),
                _log_self_distillation_metric=lambda mode, value: None,
            )
            logits = SimpleNamespace(
                student_logits=call.student_logits,
                teacher_logits=call.teacher_logits.detach(),  # its caller computes them without gradient
                loss_mask=call.mask.to(call.student_logits.dtype),
                completion_ids=call.labels.clamp(min=0),
            )
            result: Tensor = kind._compute_self_distillation_loss(
                trainer_stand_in, SimpleNamespace(training=True), {}, logits
            )
            return result

        return Loss(name, compute, LOGITS | {"top_k", "tail"}, reduction="sequence", top_k_of="student")

    return build


def trl_server(name: str) -> Loss:
    kind = _trl("experimental.server_distillation.server_distillation_trainer", "ServerDistillationTrainer")

    def compute(call: LossCall) -> Tensor:
        # What a server returns: the teacher's K likeliest tokens. Without K the whole vocabulary stands in for them.
        K = call.top_k or call.teacher_logits.shape[-1]
        top = call.teacher_logits.detach().log_softmax(-1).topk(K, dim=-1)
        stand_in = SimpleNamespace(
            loss_add_tail=call.add_tail or call.top_k is None, _reduce_divergence_loss=kind._reduce_divergence_loss
        )
        result: Tensor = kind._compute_server_forward_kl_loss(
            stand_in,
            {"topk_logprobs": top.values, "topk_token_ids": top.indices},
            call.student_logits.log_softmax(-1),
            call.labels,
        )
        return result

    return Loss(
        name, compute, frozenset({"forward", "mask", "gradient", "top_k", "tail", "logits"}), top_k_of="teacher"
    )
