"""Weight updates for a vLLM server without GPUs. vLLM imports this module in each worker."""

from typing import Any


def keep_weights() -> None:
    """Make vLLM's CPU build keep its weights, so that new ones can be loaded into them; no effect on a GPU.

    Its packed kernels repack every linear layer and drop the original weight.
    """
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return
    import vllm._custom_ops as ops
    import vllm.model_executor.layers.utils as layers

    ops._supports_onednn = False
    layers.check_cpu_sgl_kernel = lambda *args: False


class WeightsFromFile:
    """Extends vLLM's worker class (`--worker-extension-cls`); vLLM's own weight transfer needs NCCL."""

    model_runner: Any

    def load_weights_file(self, path: str) -> None:
        """Load a safetensors file of weights under their checkpoint names."""
        from safetensors import safe_open

        with safe_open(path, framework="pt") as stored:
            names = stored.keys()
            self.model_runner.model.load_weights((name, stored.get_tensor(name)) for name in names)


keep_weights()
