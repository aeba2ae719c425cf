"""Kernels with one program per row, for its sums and its Top-K candidates.

Ranking needs no sort: a sample of the row gives a lower bound on its Top-K, the entries that reach the bound become
candidates in order of id, and `ranks.rank_kernel` finds the K-th ranks among them.
Shapes: R rows of a chunk with V logits each, `stride` apart; T positions of the pass; C candidates of a row at most.
"""

import triton
import triton.language as tl

from repro.traps.kernels.order import FAR, LOWEST, middle, order, total, value_of

# Sums are relative to a reference near each row's maximum. Rows that exceed the reference by more are summed again.
HEADROOM = tl.constexpr(60.0)


@triton.jit(do_not_specialize=["rank"])
def reference_kernel(
    p_ptr, q_ptr, stride, V, spacing, rank, refs_ptr, bound_ptr,
    RANKED: tl.constexpr, BY_Q: tl.constexpr, SAMPLE: tl.constexpr, RUN: tl.constexpr,
):  # fmt: skip
    """Read a sample of a row, in runs of RUN neighbours: its maxima, and a bound that about `rank` of them reach."""
    row = tl.program_id(0).to(tl.int64)
    i = tl.arange(0, SAMPLE)
    ids = (i // RUN) * spacing + i % RUN
    z_p = tl.load(p_ptr + row * stride + ids, mask=ids < V, other=FAR)
    z_q = tl.load(q_ptr + row * stride + ids, mask=ids < V, other=FAR)
    tl.store(refs_ptr + row * 2, tl.max(z_p, 0))
    tl.store(refs_ptr + row * 2 + 1, tl.max(z_q, 0))
    if RANKED:
        keys = order(z_q if BY_Q else z_p)
        high = tl.max(keys, 0) + 1
        low = high * 0 + LOWEST
        mid = middle(low, high)
        searching = mid > low
        while searching:
            count = tl.sum((keys >= mid).to(tl.int32), 0)
            low = tl.where(count >= rank, mid, low)
            high = tl.where(count >= rank, high, mid)
            mid = middle(low, high)
            searching = (mid > low) & ((count < rank) | (count > rank + rank // 16))
        tl.store(bound_ptr + row, value_of(low))


@triton.jit
def store_candidates(candidate_p, candidate_q, candidate_ids, C, count, chosen, z_p, z_q, ids):
    """Append the chosen entries to a row's candidates; those beyond C are only counted. Return the new count."""
    slot = count + tl.cumsum(chosen, 0) - chosen
    fits = (chosen == 1) & (slot < C)
    tl.store(candidate_p + slot, z_p, mask=fits)
    tl.store(candidate_q + slot, z_q, mask=fits)
    tl.store(candidate_ids + slot, ids, mask=fits)
    return count + tl.sum(chosen, 0)


@triton.jit
def fold_block(
    sums, count, z_p, z_q, ids, ref_p, ref_q, bound, candidates, inside, RANKED: tl.constexpr, BY_Q: tl.constexpr
):
    """Add a block of logits to the per-lane sums and maxima, and to the row's candidates."""
    sum_p, gap_p, shift_p, sum_q, gap_q, shift_q, top_p, top_q = sums
    x_p, x_q = z_p - ref_p, z_q - ref_q
    exp_p, exp_q = tl.exp(x_p), tl.exp(x_q)
    gap = x_p - x_q
    if RANKED:
        candidate_p, candidate_q, candidate_ids, C = candidates
        chosen = (((z_q if BY_Q else z_p) >= bound) & inside).to(tl.int32)
        count = store_candidates(candidate_p, candidate_q, candidate_ids, C, count, chosen, z_p, z_q, ids)
    sums = (
        sum_p + exp_p, gap_p + exp_p * gap, shift_p + exp_p * x_p, sum_q + exp_q, gap_q + exp_q * gap,
        shift_q + exp_q * x_q, tl.maximum(top_p, z_p), tl.maximum(top_q, z_q),
    )  # fmt: skip
    return sums, count


@triton.jit
def fold_row(
    p_row, q_row, V, ref_p, ref_q, bound, candidate_p, candidate_q, candidate_ids, C,
    RANKED: tl.constexpr, BY_Q: tl.constexpr, BLOCK: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Read a row once. Each lane keeps separate sums, which are combined in float64 at the end.

    With x = z - ref and gap = x_p - x_q, the sums under p, then q, are of exp(x), exp(x) gap and exp(x) x.
    """
    # A plain 0 lets the compiler move the final conversion to float64, which is slow, into the loop
    zero = tl.zeros([BLOCK], tl.float32) + 0.0 * ref_p
    sums = (zero, zero, zero, zero, zero, zero, zero + FAR, zero + FAR)
    candidates = (candidate_p, candidate_q, candidate_ids, C)
    count = 0
    lanes = tl.arange(0, BLOCK)
    full = V // BLOCK * BLOCK
    for start in tl.range(0, full, BLOCK, num_stages=STAGES):
        ids = start + lanes
        z_p, z_q = tl.load(p_row + ids), tl.load(q_row + ids)
        sums, count = fold_block(sums, count, z_p, z_q, ids, ref_p, ref_q, bound, candidates, True, RANKED, BY_Q)
    if full < V:
        ids = full + lanes
        inside = ids < V
        z_p, z_q = tl.load(p_row + ids, mask=inside, other=FAR), tl.load(q_row + ids, mask=inside, other=FAR)
        sums, count = fold_block(sums, count, z_p, z_q, ids, ref_p, ref_q, bound, candidates, inside, RANKED, BY_Q)
    return (
        total(sums[0]), total(sums[1]), total(sums[2]), total(sums[3]), total(sums[4]), total(sums[5]),
        tl.max(sums[6], 0), tl.max(sums[7], 0), count,
    )  # fmt: skip


@triton.jit
def store_row(sums_ptr, T, logs_ptr, row, sums):
    """Write a row's six sums and the logs of its two sums of exp(x) to sums[8, T]; the logs also to logs[R, 2]."""
    for i in tl.static_range(6):
        tl.store(sums_ptr + i * T + row, sums[i])
    tl.store(sums_ptr + 6 * T + row, tl.log(sums[0]))
    tl.store(sums_ptr + 7 * T + row, tl.log(sums[3]))
    tl.store(logs_ptr + 2 * row, tl.log(sums[0]).to(tl.float32))
    tl.store(logs_ptr + 2 * row + 1, tl.log(sums[3]).to(tl.float32))


@triton.jit(do_not_specialize=["T"])
def statistics_kernel(
    p_ptr, q_ptr, stride, V, refs_ptr, bound_ptr, sums_ptr, T, logs_ptr, tops_ptr,
    counts_ptr, candidate_p, candidate_q, candidate_ids, C,
    RANKED: tl.constexpr, BY_Q: tl.constexpr, BLOCK: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Read a row of both models' logits once: its sums, maxima, and Top-K candidates."""
    row = tl.program_id(0).to(tl.int64)
    ref_p, ref_q = tl.load(refs_ptr + 2 * row), tl.load(refs_ptr + 2 * row + 1)
    sums = fold_row(
        p_ptr + row * stride, q_ptr + row * stride, V, ref_p, ref_q, tl.load(bound_ptr + row),
        candidate_p + row * C, candidate_q + row * C, candidate_ids + row * C, C, RANKED, BY_Q, BLOCK, STAGES,
    )  # fmt: skip
    store_row(sums_ptr, T, logs_ptr, row, sums)
    tl.store(tops_ptr + 2 * row, sums[6])
    tl.store(tops_ptr + 2 * row + 1, sums[7])
    tl.store(counts_ptr + row, sums[8])


@triton.jit(do_not_specialize=["T", "most"])
def repair_kernel(
    p_ptr, q_ptr, stride, V, refs_ptr, bound_ptr, sums_ptr, T, logs_ptr, tops_ptr,
    counts_ptr, candidate_p, candidate_q, candidate_ids, C, most,
    RANKED: tl.constexpr, BY_Q: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Read a row again if its sample was misleading: a maximum far above the reference, too few or many candidates."""
    row = tl.program_id(0).to(tl.int64)
    p_row, q_row = p_ptr + row * stride, q_ptr + row * stride
    candidate_p, candidate_q, candidate_ids = candidate_p + row * C, candidate_q + row * C, candidate_ids + row * C
    top_p, top_q = tl.load(tops_ptr + 2 * row), tl.load(tops_ptr + 2 * row + 1)
    ref_p, ref_q = tl.load(refs_ptr + 2 * row), tl.load(refs_ptr + 2 * row + 1)
    if (top_p - ref_p > HEADROOM) | (top_q - ref_q > HEADROOM):
        sums = fold_row(
            p_row, q_row, V, top_p, top_q, 0.0, candidate_p, candidate_q, candidate_ids, C, False, BY_Q, BLOCK, 1
        )
        store_row(sums_ptr, T, logs_ptr, row, sums)
        tl.store(refs_ptr + 2 * row, top_p)
        tl.store(refs_ptr + 2 * row + 1, top_q)
    if RANKED:
        count = tl.load(counts_ptr + row)
        if (count < most) | (count > C):
            bound = order(tl.load(bound_ptr + row))
            top = order(top_q if BY_Q else top_p) + 1
            low, high = tl.where(count < most, LOWEST, bound), tl.where(count < most, bound, top)
            stored = collect_row(
                p_row, q_row, V, low, high, tl.where(count < most, count, 0),
                candidate_p, candidate_q, candidate_ids, C, most, BY_Q, BLOCK,
            )  # fmt: skip
            tl.store(counts_ptr + row, stored)


@triton.jit
def count_row(row_ptr, V, key, BLOCK: tl.constexpr):
    """Count the entries of a row that reach a key."""
    counts = tl.zeros([BLOCK], tl.int32)
    for start in range(0, V, BLOCK):
        ids = start + tl.arange(0, BLOCK)
        keys = order(tl.load(row_ptr + ids, mask=ids < V, other=FAR))
        counts += ((keys >= key) & (ids < V)).to(tl.int32)
    return tl.sum(counts, 0)


@triton.jit
def collect_row(
    p_row, q_row, V, low, high, above, candidate_p, candidate_q, candidate_ids, C, most,
    BY_Q: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Find a bound in [low, high) that `most` to C entries reach, store those as candidates and return their number.

    If ties make such a bound impossible, store the entries above the tie (`above` of them reach `high`) and the first
    of the tied ones.
    """
    row_ptr = q_row if BY_Q else p_row
    mid = middle(low, high)
    searching = mid > low
    while searching:
        count = count_row(row_ptr, V, mid, BLOCK)
        above = tl.where(count < most, count, above)
        high = tl.where(count < most, mid, high)
        low = tl.where(count < most, low, mid)
        mid = middle(low, high)
        searching = (mid > low) & ((count < most) | (count > C))
    quota = tl.where(mid > low, C, C - above)  # of tied entries; if the search ended early, all of them fit
    stored, equal_before = 0, 0
    for start in range(0, V, BLOCK):
        ids = start + tl.arange(0, BLOCK)
        inside = ids < V
        z_p = tl.load(p_row + ids, mask=inside, other=FAR)
        z_q = tl.load(q_row + ids, mask=inside, other=FAR)
        keys = order(z_q if BY_Q else z_p)
        equal = ((keys == low) & inside).to(tl.int32)
        is_first = equal_before + tl.cumsum(equal, 0) <= quota
        chosen = (((keys > low) | ((equal == 1) & is_first)) & inside).to(tl.int32)
        stored = store_candidates(candidate_p, candidate_q, candidate_ids, C, stored, chosen, z_p, z_q, ids)
        equal_before += tl.sum(equal, 0)
    return tl.minimum(stored, C)
