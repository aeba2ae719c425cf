"""Full shard (FSDP2): weights, gradients and optimiser states lie in parts on the ranks of a stage.

accelerate, transformers and TRL do it; here stands what they must be told, and what they leave to their caller: the
frozen teacher, generation in step, and a whole model to save.
"""

from typing import Any

import torch


def shard_arguments() -> dict[str, Any]:
    """For TrainingArguments: every layer a unit of its own, gathered where it computes; each rank checkpoints its part."""
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
    """Call between the trainer's arguments and the trainer; idle where they do not shard.

    bfloat16 in the forward pass, gradients summed in float32, outputs as they are: left alone, accelerate would also sum
    in bfloat16, and round what the outermost module returns, the log-probabilities of r_cal among it.

    Args:
        arguments: TrainingArguments.
        models: those that are trained or frozen beside: their `generate` goes on until the last rank has ended, since
            every forward pass gathers.
    """
    if not arguments.fsdp:
        return
    from torch.distributed.fsdp import MixedPrecisionPolicy

    if arguments.bf16:
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
        arguments.fsdp_plugin_args["mixed_precision_policy"] = policy
    for model in models:
        model._is_fsdp_managed_module = True  # what transformers asks; only its own loader sets it
    if not torch.cuda.is_available():
        # accelerate overlooks the wish on CPUs, where torch can: it shards for what it takes for several GPUs
        from accelerate import PartialState
        from accelerate.utils import DistributedType

        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU


def shard_frozen(accelerator: Any, model: Any) -> Any:
    """A model that is only scored with, sharded like the trained one; as it is where nothing is sharded.

    TRL shards the trained model alone and leaves a teacher whole on every rank.
    """
    if not accelerator.is_fsdp2:
        return model
    from accelerate.utils.fsdp_utils import fsdp2_prepare_model

    model.requires_grad_(False)  # else accelerate would store it in float32
    plugin = accelerator.state.fsdp_plugin
    kept = plugin.auto_wrap_policy, plugin.transformer_cls_names_to_wrap
    fsdp2_prepare_model(accelerator, model)
    plugin.auto_wrap_policy, plugin.transformer_cls_names_to_wrap = kept  # the trained model's layers may be others
    return model.eval()


def unsharded_state(model: Any) -> dict[str, torch.Tensor] | None:
    """The trained weights of a sharded model, whole, on the first rank's CPU (empty on the others); None where the model
    is whole anyway. Every rank must call it."""
    from torch.distributed.fsdp import FSDPModule

    if not isinstance(model, FSDPModule):
        return None
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
    state = get_model_state_dict(model, options=options)
    every = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    return {name: weight for name, weight in state.items() if name in trained or name not in every}  # a tied one once


def first_not_finite(model: Any) -> str | None:
    """Name of the first weight that is not a number, whichever rank holds it. Every rank must call it."""
    from accelerate.utils import gather_object
    from torch.distributed.tensor import DTensor

    for name, parameter in model.named_parameters():
        own = parameter.to_local() if isinstance(parameter, DTensor) else parameter
        if not own.isfinite().all():
            found = [name]
            break
    else:
        found = []
    return next(iter(gather_object(found)), None)
