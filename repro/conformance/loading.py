"""Wrap a user's function as a `Loss`: by its argument names, or through its own adapter."""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from torch import Tensor

from repro.conformance.calls import Feature, Loss, LossCall, Reduction
from repro.errors import InputError

DIVERGENCES = ("forward", "reverse")
NAMES: dict[str, tuple[str, ...]] = {
    "student_logits": ("student_logits", "student", "logits", "student_scores"),
    "teacher_logits": ("teacher_logits", "teacher", "target_logits", "teacher_scores"),
    "mask": ("mask", "loss_mask", "completion_mask", "response_mask"),
    "labels": ("labels", "shift_labels", "target_ids"),
    "beta": ("beta",),
    "temperature": ("temperature", "tau"),
    "num_items": ("num_items_in_batch", "num_items", "tokens", "num_tokens"),
    "top_k": ("top_k", "topk", "k"),
    "add_tail": ("add_tail", "tail"),
    "chunk_size": ("chunk_size",),
    "input_ids": ("input_ids",),
    "attention_mask": ("attention_mask",),
}
"""`LossCall` attribute -> accepted argument names."""
FEATURE_OF: dict[str, Feature] = {
    "mask": "mask",
    "labels": "mask",
    "temperature": "temperature",
    "num_items": "num_items",
    "top_k": "top_k",
    "add_tail": "tail",
    "chunk_size": "chunk",
}


def load_loss(
    reference: str,
    *,
    divergence: str | None = None,
    reduction: str = "token",
    temperature_squared: bool = False,
    shifts: bool = False,
) -> Loss:
    """Import MODULE:FUNCTION, or FILE.py:FUNCTION, as a loss; the working directory is searched first.

    Args:
        reference: FUNCTION may be dotted (Trainer.loss), and may be a `Loss`.
        divergence, reduction, temperature_squared, shifts: as in `as_loss`.

    Raises:
        InputError: it cannot be imported, or its arguments are not understood.
    """
    module_name, _, path = reference.partition(":")
    if not module_name or not path:
        raise InputError(f"{reference!r} is not MODULE:FUNCTION, as in my_package.losses:kl or my_losses.py:kl")
    value: Any = _module(module_name)
    for part in path.split("."):
        if not hasattr(value, part):
            raise InputError(f"{module_name} has no {path}: {part!r} not found. Check the name")
        value = getattr(value, part)
    return as_loss(
        value,
        name=reference,
        divergence=divergence,
        reduction=reduction,
        temperature_squared=temperature_squared,
        shifts=shifts,
    )


def _module(name: str) -> Any:
    try:
        if name.endswith(".py"):
            return _module_of_file(Path(name))
        if str(Path.cwd()) not in sys.path:
            sys.path.insert(0, str(Path.cwd()))
        return importlib.import_module(name)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{name} cannot be imported: {type(error).__name__}: {error}") from error


def _module_of_file(file: Path) -> Any:
    if not file.is_file():
        raise InputError(f"{file}: no such file")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def as_loss(
    function: Any,
    *,
    name: str | None = None,
    divergence: str | None = None,
    reduction: str = "token",
    temperature_squared: bool = False,
    shifts: bool = False,
) -> Loss:
    """Adapt a function by the names of its arguments (`NAMES`); a `Loss` is returned as it is.

    Args:
        divergence: "forward" or "reverse", for a function without a beta.
        reduction: what a scalar is: "token" (mean over tokens), "sequence" (mean of means) or "sum".
        temperature_squared: the loss is multiplied by the squared temperature on purpose.
        shifts: the function gets unshifted logits and labels and shifts them itself.

    Raises:
        InputError: it cannot be called with what a case has; the message names the argument and the fix.
    """
    if isinstance(function, Loss):
        return function
    label = name or str(getattr(function, "__qualname__", function))
    if not callable(function):
        raise InputError(f"{label} is of type {type(function).__name__}, not a function")
    if reduction not in get_args(Reduction):
        raise InputError(f"reduction {reduction!r}: choose from {', '.join(get_args(Reduction))}")
    arguments = _arguments(function, label)
    features = {FEATURE_OF[attribute] for attribute in arguments if attribute in FEATURE_OF} | {"gradient", "logits"}
    features |= _divergence_features(label, "beta" in arguments, divergence)
    if "mask" not in features and shifts:
        raise InputError(f"{label} has no labels or mask to shift: leave out --shifts, or add one of these arguments")
    return Loss(
        name=label,
        function=_caller(function, arguments, has_mask="mask" in features),
        features=frozenset(features),  # type: ignore[arg-type]
        reduction=reduction,  # type: ignore[arg-type]
        shifts=shifts,
        temperature_squared=temperature_squared,
    )


def _arguments(function: Callable[..., Any], label: str) -> dict[str, str]:
    """Return the function's argument for each attribute of a call."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError) as error:
        raise InputError(f"{label} has no readable signature ({error}): wrap it in a Python function") from error
    known = {alias: attribute for attribute, aliases in NAMES.items() for alias in aliases}
    arguments: dict[str, str] = {}
    for parameter in parameters:
        attribute = known.get(parameter.name)
        if attribute is not None:
            arguments.setdefault(attribute, parameter.name)
        elif parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            raise InputError(
                f"{label} has the argument {parameter.name!r}, which no case fills: give it a default, or wrap the loss in a function; see repro conform --help"
            )
    for attribute in ("student_logits", "teacher_logits"):
        if attribute not in arguments:
            raise InputError(
                f"{label} has no argument for the {attribute.replace('_', ' ')}: name it "
                f"{' or '.join(NAMES[attribute][:2])}, or wrap the loss in a function; see repro conform --help"
            )
    return arguments


def _divergence_features(label: str, has_beta: bool, divergence: str | None) -> set[Feature]:
    if has_beta:
        return {"beta", "forward", "reverse"}
    if divergence not in DIVERGENCES:
        raise InputError(
            f"{label} has no beta: say which divergence it is, --divergence forward (KL(teacher||student)) or reverse"
        )
    return {"forward"} if divergence == "forward" else {"reverse"}


def _caller(function: Callable[..., Any], arguments: dict[str, str], *, has_mask: bool) -> Callable[[LossCall], Tensor]:
    parameters = inspect.signature(function).parameters
    required = {
        attribute for attribute, name in arguments.items() if parameters[name].default is inspect.Parameter.empty
    }

    def call_function(call: LossCall) -> Tensor:
        values: dict[str, Any] = {attribute: getattr(call, attribute) for attribute in arguments}
        defaults = {"num_items": max(1, int(call.mask.sum())), "top_k": call.student_logits.shape[-1], "chunk_size": 64}
        for attribute, default in defaults.items():
            if attribute in values and values[attribute] is None:
                values[attribute] = default
                if attribute not in required:
                    del values[attribute]
        if not has_mask:  # a plain function of two logit tensors only gets the positions that count
            for attribute in ("student_logits", "teacher_logits"):
                values[attribute] = values[attribute][call.mask]
        return function(**{arguments[attribute]: value for attribute, value in values.items()})

    return call_function
