"""Order-preserving map from float32 to integers, so that bisection terminates; sums and constants shared by kernels."""

import triton
import triton.language as tl

# Value beyond the end of the vocabulary: its exp is 0, and 0 times it is 0 (0 times -inf would be NaN)
FAR = tl.constexpr(-3.0e38)
LOWEST = tl.constexpr(-2139095041)  # order(-inf)
HIGHEST = tl.constexpr(0x7FFFFFFF)


@triton.jit
def order(z):
    """Map float32 to int32 so that the integers compare as the floats do; +0 and -0 are equal."""
    bits = tl.where(z == 0.0, 0.0, z).to(tl.int32, bitcast=True)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


@triton.jit
def value_of(key):
    """Invert `order`."""
    return (key ^ ((key >> 31) & 0x7FFFFFFF)).to(tl.float32, bitcast=True)


@triton.jit
def middle(low, high):
    """Return the mean, rounded down, without overflow; it equals `low` once nothing lies in between."""
    return (low & high) + ((low ^ high) >> 1)


@triton.jit
def total(x):
    """Sum in float64."""
    return tl.sum(x.to(tl.float64), 0)
