"""Full sharding (FSDP2): weights, gradients and optimiser states are sharded over the ranks of a stage.

accelerate, transformers and TRL do the sharding. This module holds their settings and what they leave to the caller:
the frozen teacher, synchronised generation, and gathering the model to save it.
"""

from typing import Any

import torch


def shard_arguments() -> dict[str, Any]:
    """Return arguments for TrainingArguments: layers are gathered one by one; each rank checkpoints its own shard."""
    return {
        "fsdp": True,
        "fsdp_config": {
            "version": 2,
            "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "reshard_after_forward": True,
            "state_dict_type": "SHARDED_STATE_DICT",
        },
    }


def prepare_sharding(arguments: Any, *models: Any) -> None:
    """Prepare sharding. Call it after creating the arguments and before the trainer; no effect without sharding.

    The forward pass runs in bfloat16, gradients are reduced in float32, outputs are not rounded: by default accelerate
    would also reduce in bfloat16 and round what the outermost module returns, including the log-probabilities of r_cal.

    Args:
        arguments: TrainingArguments.
        models: trained and frozen models. Their `generate` continues until the last rank has finished, because every
            forward pass is collective.
    """
    if not arguments.fsdp:
        return
    from torch.distributed.fsdp import MixedPrecisionPolicy

    if arguments.bf16:
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
        arguments.fsdp_plugin_args["mixed_precision_policy"] = policy
    for model in models:
        model._is_fsdp_managed_module = True  # checked by transformers, but set only by its own loader
    if not torch.cuda.is_available():
        # accelerate ignores sharding on CPUs, although torch can do it: make it believe there are several GPUs
        from accelerate import PartialState
        from accelerate.utils import DistributedType

        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU


def shard_frozen(accelerator: Any, model: Any) -> Any:
    """Shard a frozen model in the same way as the trained one; return it unchanged without sharding.

    TRL shards only the trained model and leaves an unsharded teacher on every rank.
    """
    if not accelerator.is_fsdp2:
        return model
    from accelerate.utils.fsdp_utils import fsdp2_prepare_model

    model.requires_grad_(False)  # else accelerate would store it in float32
    plugin = accelerator.state.fsdp_plugin
    before = plugin.auto_wrap_policy, plugin.transformer_cls_names_to_wrap
    fsdp2_prepare_model(accelerator, model)
    plugin.auto_wrap_policy, plugin.transformer_cls_names_to_wrap = (
        before  # the trained model's layer classes may differ
    )
    return model.eval()


def unsharded_state(model: Any) -> dict[str, torch.Tensor] | None:
    """Gather the trained weights of a sharded model on the first rank's CPU; None if the model is not sharded.

    Empty on the other ranks. Every rank must call it.
    """
    from torch.distributed.fsdp import FSDPModule

    if not isinstance(model, FSDPModule):
        return None
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
    state = get_model_state_dict(model, options=options)
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    return {
        name: weight for name, weight in state.items() if name in trained or name not in parameters
    }  # tied weights once


def first_not_finite(model: Any) -> str | None:
    """Return the name of the first weight that is not finite, on any rank, else None. Every rank must call it."""
    from accelerate.utils import gather_object
    from torch.distributed.tensor import DTensor

    for name, parameter in model.named_parameters():
        local = parameter.to_local() if isinstance(parameter, DTensor) else parameter
        if not local.isfinite().all():
            names = [name]
            break
    else:
        names = []
    return next(iter(gather_object(names)), None)
