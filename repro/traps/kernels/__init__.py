"""Triton kernels of the streaming pass on a GPU. Imported only where a pass runs on them: Triton may be absent."""
