"""What a vLLM server's workers need to take new weights where there is no GPU. vLLM imports this in each of them."""

from typing import Any


def keep_weights() -> None:
    """Make vLLM's CPU build keep the weights that it is given: its packed kernels repack every linear layer and drop the
    weight, so new ones would find nothing to be loaded into. Idle on a GPU."""
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return
    import vllm._custom_ops as ops
    import vllm.model_executor.layers.utils as layers

    ops._supports_onednn = False
    layers.check_cpu_sgl_kernel = lambda *args: False


class WeightsFromFile:
    """Added to vLLM's worker class (`--worker-extension-cls`). vLLM's own ways of new weights into a server need NCCL."""

    model_runner: Any

    def load_weights_file(self, path: str) -> None:
        """Load a safetensors file of weights under their checkpoint names."""
        from safetensors import safe_open

        with safe_open(path, framework="pt") as stored:
            names = stored.keys()
            self.model_runner.model.load_weights((name, stored.get_tensor(name)) for name in names)


keep_weights()
