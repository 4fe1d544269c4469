"""Compiled loops behind the cells: counting, restricting and summing by context."""

import numba as nb
import numpy as np


@nb.njit(cache=True, nogil=True)
def count_kernel(  # type: ignore[no-untyped-def] # numba infers the types of kernels
    indptr, pair, u, weight, pair_indptr, pair_context, group, discordant, rows, start, stop
):
    """Rows and discordant prompt groups of each unit in each context."""
    last = np.full(discordant.shape[1], -1, np.int64)
    for m in range(start, stop):
        last[:] = -1
        for r in range(indptr[m], indptr[m + 1]):
            i = pair[r]
            if weight[i] <= 0:
                continue
            for place in range(pair_indptr[i], pair_indptr[i + 1]):
                k = pair_context[place]
                rows[m, k] += 1
                if u[r] != 0 and last[k] != group[i]:
                    last[k] = group[i]
                    discordant[m, k] += 1


@nb.njit(cache=True, nogil=True)
def enclosed_kernel(  # type: ignore[no-untyped-def] # numba infers the types of kernels
    indptr, pair, u, weight, pair_indptr, pair_context, group, enclosed, everywhere, start, stop
):
    """Discordant prompt groups of each unit, and in each context those whose every such pair lies inside."""
    inside = np.zeros(enclosed.shape[1], np.int64)
    touched = np.empty(enclosed.shape[1], np.int64)
    for m in range(start, stop):
        r = indptr[m]
        while r < indptr[m + 1]:
            g = group[pair[r]]
            n_rows, n_touched = 0, 0
            while r < indptr[m + 1] and group[pair[r]] == g:
                i = pair[r]
                if u[r] != 0 and weight[i] > 0:
                    n_rows += 1
                    for place in range(pair_indptr[i], pair_indptr[i + 1]):
                        k = pair_context[place]
                        if inside[k] == 0:
                            touched[n_touched] = k
                            n_touched += 1
                        inside[k] += 1
                r += 1
            everywhere[m] += n_rows > 0
            for t in range(n_touched):
                if inside[touched[t]] == n_rows:
                    enclosed[m, touched[t]] += 1
                inside[touched[t]] = 0


@nb.njit(cache=True, nogil=True)
def restrict_kernel(  # type: ignore[no-untyped-def] # numba infers the types of kernels
    indptr, pair, u, weight, pair_indptr, pair_context, start_of, out_pair, out_u, start, stop
):
    """Copy each unit's rows into the cells that are kept (start ≥ 0)."""
    for m in range(start, stop):
        at = start_of[m].copy()
        for r in range(indptr[m], indptr[m + 1]):
            i = pair[r]
            if weight[i] <= 0:
                continue
            for place in range(pair_indptr[i], pair_indptr[i + 1]):
                k = pair_context[place]
                if at[k] >= 0:
                    out_pair[at[k]] = i
                    out_u[at[k]] = u[r]
                    at[k] += 1


@nb.njit(cache=True, nogil=True)
def side_kernel(  # type: ignore[no-untyped-def] # numba infers the types of kernels
    indptr, pair, u, z, eta0, weight, group, beta, delta, ratio, tilt, pair_indptr, pair_context,
    group_indptr, group_context, group_length, first, contexts, n_sets, far, out, totals, start, stop,
):  # fmt: skip
    """Sums of every concept for each of its cells, columns as named in ``cells._SIDE_SUMS``.

    Inside a context a pair's odds at the fitted effect are those everywhere times ``tilt``, so no exponential
    is taken per context. ``totals``: Σ t, Σ_g t², Σ w·u² everywhere.
    """
    open_sums = np.zeros((n_sets, 3))  # of the open group: Σ e_k·u, Σ e·u, Σ (e_k − e0_k)·ℓ
    table = np.zeros((n_sets, 13))
    is_cell = np.zeros(n_sets, np.bool_)
    for m in range(start, stop):
        if first[m] == first[m + 1]:
            continue
        for b in range(first[m], first[m + 1]):
            is_cell[contexts[b]] = True
        r, last = indptr[m], indptr[m + 1]
        while r < last:
            g, t = group[pair[r]], 0.0
            is_open = False
            while r < last and group[pair[r]] == g:
                i, d = pair[r], np.float64(u[r])
                r += 1
                if d == 0 or weight[i] <= 0:
                    continue
                is_open = True
                eta = eta0[i] + beta[m] * d
                for c in range(z.shape[1]):
                    eta += z[i, c] * delta[m, c]
                odds, odds0 = np.exp(min(max(eta, -far), far)), np.exp(min(max(eta0[i], -far), far))
                p = 1 / (1 + odds)
                e = weight[i] * p
                own = e * odds * p * d * d
                t += e * d
                totals[m, 2] += own
                for place in range(pair_indptr[i], pair_indptr[i + 1]):
                    k = pair_context[place]
                    if not is_cell[k]:
                        continue
                    x = odds * tilt[place]
                    p = 1 / (1 + x)
                    x0 = odds0 * tilt[place]
                    p0 = 1 / (1 + x0)
                    ek, e0 = weight[i] * p, weight[i] * p0
                    wu = ek * x * p * d
                    open_sums[k, 0] += ek * d
                    open_sums[k, 1] += e * d
                    open_sums[k, 2] += (ek - e0) * ratio[i]
                    table[k, 2] += wu * d
                    table[k, 3] += wu * ratio[i]
                    table[k, 11] += wu * d - own
                    table[k, 12] += (ek * x * p - e0 * x0 * p0) * ratio[i] * ratio[i]
            if not is_open:
                continue
            totals[m, 0] += t
            totals[m, 1] += t * t
            for place in range(group_indptr[g], group_indptr[g + 1]):
                k = group_context[place]
                if is_cell[k]:
                    _close_group(table[k], open_sums[k], t, group_length[place])
        for b in range(first[m], first[m + 1]):
            k = contexts[b]
            out[b] = table[k]
            table[k] = 0.0
            is_cell[k] = False


@nb.njit(inline="always")
def _close_group(row, of_group, t, base):  # type: ignore[no-untyped-def] # as above
    """Add the open group's products to a context's sums; its own start anew."""
    a, plain, moved = of_group[0], of_group[1], of_group[2]
    own, here = t + a - plain, base + moved
    row[0] += a
    row[1] += plain
    row[4] += moved
    row[5] += a * a
    row[6] += a * own
    row[7] += a * here
    row[8] += own * own - t * t
    row[9] += own * here
    row[10] += here * here - base * base
    of_group[:] = 0.0
