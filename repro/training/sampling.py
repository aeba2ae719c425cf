"""Sampling of training completions by the model itself: the loop that every other stage samples with."""

import functools
from typing import Any

from repro.generation.decoding import Decoding


class SamplesByDecoding:
    """Mixin for TRL's trainers: where transformers samples, it does so by `Decoding`, with the same tokens.

    Left to TRL: vLLM, and sharded models, whose ranks have to make the same number of forwards.
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
            del model.generate  # the class's own again
