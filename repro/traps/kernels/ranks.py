"""Kernels of the Top-K: each row's K-th ranks and partial sums, and Eq 4's sums per vocabulary entry.

No atomics are used, so results are bit-reproducible.
Shapes: R rows of a chunk with V logits each, `stride` apart; T positions of the pass; C candidates of a row;
J values of K below V, ascending.
"""

# ruff: noqa: RUF005  (Triton does not know (*a, b))
import triton
import triton.language as tl

from repro.traps.kernels.order import FAR, HIGHEST, middle, order, total, value_of


@triton.jit(do_not_specialize=["T"])
def rank_kernel(
    candidate_p, candidate_q, candidate_ids, counts_ptr, refs_ptr, logs_ptr, T, ks_ptr,
    threshold_ptr, tie_ptr, last_ptr, tied_ptr, partial_ptr, J: tl.constexpr, BY_Q: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """Find each K-th rank of a row among its candidates, and the sum of the KL(p||q) terms down to it.

    The Top-K are the entries of at least threshold[j]. If a tie at rank K must be cut, they are instead the entries
    above tie[j], plus those equal to it with ids up to last[j], and `tied` is set for the row. Whichever of threshold
    and tie does not apply is infinite.
    """
    row = tl.program_id(0).to(tl.int64)
    slots = tl.arange(0, C)
    valid = slots < tl.load(counts_ptr + row)
    z_p = tl.load(candidate_p + row * C + slots, mask=valid, other=FAR)
    z_q = tl.load(candidate_q + row * C + slots, mask=valid, other=FAR)
    keys = order(z_q if BY_Q else z_p)
    x_p = z_p - tl.load(refs_ptr + 2 * row) - tl.load(logs_ptr + 2 * row)
    x_q = z_q - tl.load(refs_ptr + 2 * row + 1) - tl.load(logs_ptr + 2 * row + 1)
    term = tl.where(valid, tl.exp(x_p) * (x_p - x_q), 0.0)
    top = tl.max(keys, 0)
    low, at_low = tl.min(tl.where(valid, keys, top), 0), tl.sum(valid.to(tl.int32), 0)
    tied = 0
    for i in tl.static_range(J):
        j = J - 1 - i  # a smaller K has a threshold no lower: the search continues from here
        k = tl.load(ks_ptr + j)
        if k == 1:
            low, at_low = top, tl.sum((keys == top).to(tl.int32), 0)
        high, above = top + 1, 0
        mid = middle(low, high)
        searching = (mid > low) & (at_low != k)
        while searching:
            count = tl.sum((keys >= mid).to(tl.int32), 0)
            is_reached = count >= k
            low, at_low = tl.where(is_reached, mid, low), tl.where(is_reached, count, at_low)
            high, above = tl.where(is_reached, high, mid), tl.where(is_reached, above, count)
            mid = middle(low, high)
            searching = (mid > low) & (at_low != k)
        threshold, tie, last = value_of(low), float("inf"), HIGHEST
        partial = total(tl.where(keys >= low, term, 0.0))
        if at_low > k:
            ids = tl.load(candidate_ids + row * C + slots, mask=valid, other=0)
            equal = keys == low
            nth = tl.cumsum(equal.to(tl.int32), 0)
            last = tl.sum(tl.where(equal & (nth == k - above), ids, 0), 0)
            partial -= total(tl.where(equal & (nth > k - above), term, 0.0))
            tied = 1
            threshold, tie = float("inf"), value_of(low)
        tl.store(threshold_ptr + row * J + j, threshold)
        tl.store(tie_ptr + row * J + j, tie)
        tl.store(last_ptr + row * J + j, last)
        tl.store(partial_ptr + j * T + row, partial)
    tl.store(tied_ptr + row, tied)


@triton.jit
def load_terms(p_ptr, q_ptr, stride, row, ids, inside, refs_ptr, logs_ptr):
    """Return a row's logits and KL(p||q) terms at some ids."""
    z_p = tl.load(p_ptr + row * stride + ids, mask=inside, other=FAR)
    z_q = tl.load(q_ptr + row * stride + ids, mask=inside, other=FAR)
    x_p = z_p - tl.load(refs_ptr + 2 * row) - tl.load(logs_ptr + 2 * row)
    x_q = z_q - tl.load(refs_ptr + 2 * row + 1) - tl.load(logs_ptr + 2 * row + 1)
    return z_p, z_q, tl.exp(x_p) * (x_p - x_q)


@triton.jit
def share_of(R):
    """Return the index of this program's share of the rows, its first row, and its end."""
    per_share = tl.cdiv(R, tl.num_programs(1))
    begin = tl.program_id(1) * per_share
    return tl.program_id(1).to(tl.int64), begin, tl.minimum(begin + per_share, R)


@triton.jit
def add_at(into_ptr, values, inside):
    """Add without atomics; no other program may write to the same place."""
    tl.store(into_ptr, tl.load(into_ptr, mask=inside) + values, mask=inside)


@triton.jit(do_not_specialize=["R"])
def contribution_kernel(
    p_ptr, q_ptr, stride, V, R, refs_ptr, logs_ptr, threshold_ptr, terms_ptr, steps_ptr,
    J: tl.constexpr, BY_Q: tl.constexpr, BLOCK: tl.constexpr, FLUSH: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Add the KL(p||q) terms of the Top-K, and of all ids, to terms[share, J + 1, V]; their number to steps[share, J, V].

    Each program handles some columns of one share of the rows. Sums are float32 over FLUSH rows, then float64.
    """
    ids = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    share, begin, end = share_of(R)
    inside = ids < V
    # A plain 0 lets the compiler move the conversion to float64, which is slow, into the loop over rows
    zero = tl.zeros([BLOCK], tl.float32) + 0.0 * tl.load(refs_ptr)
    sums = (tl.zeros([BLOCK], tl.float64),) * (J + 1)
    steps = (tl.zeros([BLOCK], tl.int32),) * J
    for first in tl.range(begin, end, FLUSH):
        parts = (zero,) * (J + 1)
        for r in tl.range(first, tl.minimum(first + FLUSH, end), num_stages=STAGES):
            row = r + 0 * share  # int64: offsets into a chunk pass 2^31
            z_p, z_q, term = load_terms(p_ptr, q_ptr, stride, row, ids, inside, refs_ptr, logs_ptr)
            new_parts, new_steps = (), ()
            for j in tl.static_range(J):
                taken = (z_q if BY_Q else z_p) >= tl.load(threshold_ptr + row * J + j)
                new_parts = new_parts + (parts[j] + tl.where(taken, term, 0.0),)
                new_steps = new_steps + (steps[j] + taken.to(tl.int32),)
            parts = new_parts + (parts[J] + term,)
            steps = new_steps
        new_sums = ()
        for j in tl.static_range(J + 1):
            new_sums = new_sums + (sums[j] + parts[j].to(tl.float64),)
        sums = new_sums
    for j in tl.static_range(J + 1):
        add_at(terms_ptr + (share * (J + 1) + j) * V + ids, sums[j], inside)
    for j in tl.static_range(J):
        add_at(steps_ptr + (share * J + j) * V + ids, steps[j], inside)


@triton.jit(do_not_specialize=["R"])
def tie_kernel(
    p_ptr, q_ptr, stride, V, R, refs_ptr, logs_ptr, tie_ptr, last_ptr, tied_ptr, terms_ptr, steps_ptr,
    J: tl.constexpr, BY_Q: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Add what `contribution_kernel` skips: every Top-K with a tie at its last rank."""
    ids = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    share, begin, end = share_of(R)
    inside = ids < V
    sums = (tl.zeros([BLOCK], tl.float64),) * J
    steps = (tl.zeros([BLOCK], tl.int32),) * J
    for r in tl.range(begin, end):
        row = r + 0 * share
        if tl.load(tied_ptr + row):
            z_p, z_q, term = load_terms(p_ptr, q_ptr, stride, row, ids, inside, refs_ptr, logs_ptr)
            z = z_q if BY_Q else z_p
            new_sums, new_steps = (), ()
            for j in tl.static_range(J):
                tie = tl.load(tie_ptr + row * J + j)
                taken = (z > tie) | ((z == tie) & (ids <= tl.load(last_ptr + row * J + j)))
                new_sums = new_sums + (sums[j] + tl.where(taken, term, 0.0).to(tl.float64),)
                new_steps = new_steps + (steps[j] + taken.to(tl.int32),)
            sums = new_sums
            steps = new_steps
    for j in tl.static_range(J):
        add_at(terms_ptr + (share * (J + 1) + j) * V + ids, sums[j], inside)
        add_at(steps_ptr + (share * J + j) * V + ids, steps[j], inside)
