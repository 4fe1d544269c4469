"""Compiled loops behind the cells: counting, restricting and summing by context."""

import numba as nb
import numpy as np


@nb.njit(cache=True, nogil=True)
def lookup_kernel(  # type: ignore[no-untyped-def] # numba infers the types of kernels
    indptr, context, length, group, k
):
    """``length`` of context k in each group, 0 where the group is not in it."""
    out = np.zeros(len(group))
    for i in range(len(group)):
        for place in range(indptr[group[i]], indptr[group[i] + 1]):
            if context[place] == k:
                out[i] = length[place]
                break
    return out


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
    indptr, pair, u, weight, pair_indptr, pair_context, group, enclosed, start, stop
):
    """Prompt groups whose every discordant pair lies inside the context, of each unit in each context."""
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
def cell_kernel(  # type: ignore[no-untyped-def] # numba infers the types of kernels
    pair, u, eta, eta0, weight, ratio, group, pair_indptr, pair_context, group_indptr, group_context,
    group_length, slope, out,
):  # fmt: skip
    """Sums of one concept for every context: columns as named in ``_side_sums``."""
    n_sets = len(slope)
    inside = np.zeros(n_sets)  # Σ e_k·u of the current group, slope included
    plain = np.zeros(n_sets)  # the same without the context's slope
    length = np.zeros(n_sets)  # Σ (e_k − e0_k)·ℓ
    start = np.zeros(n_sets)  # Σ e0_k·u
    total, squares, information = 0.0, 0.0, 0.0
    n = len(u)
    i = 0
    while i < n:
        g = group[i]
        t = 0.0
        while i < n and group[i] == g:
            e = weight[i] / (1 + np.exp(eta[i]))
            t += e * u[i]
            information += e / (1 + np.exp(-eta[i])) * u[i] * u[i]
            for place in range(pair_indptr[pair[i]], pair_indptr[pair[i] + 1]):
                k = pair_context[place]
                tilt = slope[k] * ratio[i]
                ek = weight[i] / (1 + np.exp(eta[i] + tilt))
                wk = ek / (1 + np.exp(-eta[i] - tilt))
                e0 = weight[i] / (1 + np.exp(eta0[i] + tilt))
                w0 = e0 / (1 + np.exp(-eta0[i] - tilt))
                inside[k] += ek * u[i]
                plain[k] += e * u[i]
                length[k] += (ek - e0) * ratio[i]
                start[k] += e0 * u[i]
                out[k, 2] += wk * u[i] * u[i]
                out[k, 3] += wk * u[i] * ratio[i]
                out[k, 12] += w0 * u[i] * u[i]
                out[k, 13] += w0 * u[i] * ratio[i]
            i += 1
        total += t
        squares += t * t
        for place in range(group_indptr[g], group_indptr[g + 1]):
            k = group_context[place]
            base = group_length[place]
            a, own = inside[k], t + inside[k] - plain[k]
            here = base + length[k]
            out[k, 0] += a
            out[k, 1] += plain[k]
            out[k, 4] += length[k]
            out[k, 5] += a * a
            out[k, 6] += a * own
            out[k, 7] += a * here
            out[k, 8] += own * own - t * t
            out[k, 9] += own * here
            out[k, 10] += here * here - base * base
            out[k, 11] += start[k]
            out[k, 14] += start[k] * start[k]
            out[k, 15] += start[k] * base
            inside[k], plain[k], length[k], start[k] = 0.0, 0.0, 0.0, 0.0
    return total, squares, information
