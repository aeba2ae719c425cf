"""Sampling of training completions with transformers, by the decoding loop of every other stage."""

import functools
from typing import Any

from repro.generation.decoding import Decoding


class SamplesByDecoding:
    """Mixin for TRL trainers: sampling with transformers uses `Decoding`, which gives the same tokens.

    vLLM is left to TRL, and so are sharded models, because their ranks must run the same number of forward passes.
    """

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
        accelerator = self.accelerator  # type: ignore[attr-defined]
        if self.use_vllm or accelerator.is_fsdp2:  # type: ignore[attr-defined]
            return super()._generate_single_turn(*args, **kwargs)  # type: ignore[misc]
        model = accelerator.unwrap_model(self.model_wrapped)  # type: ignore[attr-defined]
        model.generate = functools.partial(model.generate, custom_generate=Decoding())
        try:
            return super()._generate_single_turn(*args, **kwargs)  # type: ignore[misc]
        finally:
            del model.generate  # restores the class's method
