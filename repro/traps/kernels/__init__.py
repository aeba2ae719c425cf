"""Triton kernels of the streaming pass on a GPU. Imported only when used, because Triton may not be installed."""
