"""Compiled loops behind converged effects: Newton's steps of a unit beside the null model, its variances."""

import numba as nb
import numpy as np

from engine.stats.two_way import Crossed, crossed_meat

PRIOR = 0.5
"""Pseudo-wins and pseudo-losses each."""
HEAD = 7
"""What a kernel's row holds before Δ: β, 1/I in pairs of mean weight, then over I² the squares by prompt
group, by the models met and by both, and how many of the latter two there are."""


@nb.njit(cache=True, nogil=True)
def rows_kernel(  # type: ignore[no-untyped-def] # numba infers the types of kernels
    indptr, pair, u, wanted, z, eta, weight, group, group_scores, information, inverse, meat, prior,
    typical, crossed, has_errors, out, start, stop,
):  # fmt: skip
    """A row of ``out`` for every wanted unit that has a discordant pair of some weight."""
    q = z.shape[1]
    has_models = len(crossed.cluster) > 0
    for m in range(start, stop):
        if not wanted[m]:
            continue
        n = 0
        for r in range(indptr[m], indptr[m + 1]):
            n += u[r] != 0 and weight[pair[r]] > 0
        if n == 0:
            continue
        own_u, own_eta, own_weight = np.empty(n), np.empty(n), np.empty(n)
        own_z, own_scores = np.empty((n, q)), np.empty((n, q))
        own_group = np.empty(n, group.dtype)
        cluster, both = np.full(n, -1, np.int32), np.full(n, -1, np.int32)
        i = 0
        for r in range(indptr[m], indptr[m + 1]):
            p = pair[r]
            if u[r] == 0 or weight[p] <= 0:
                continue
            own_u[i], own_eta[i], own_weight[i], own_group[i] = u[r], eta[p], weight[p], group[p]
            own_z[i] = z[p]
            own_scores[i] = group_scores[group[p]]
            if has_models:
                cluster[i], both[i] = crossed.cluster[p], crossed.both[p]
            i += 1
        here = Crossed(cluster, both, crossed.by_models, crossed.by_both, crossed.meat)
        out[m] = fit_kernel(
            own_u, own_z, own_eta, own_weight, own_group, own_scores, information, inverse, meat, prior,
            typical[m], here, has_errors,
        )  # fmt: skip


@nb.njit(cache=True, nogil=True)
def fit_kernel(  # type: ignore[no-untyped-def] # numba infers the types of kernels
    u, z, eta, weight, group, group_score, information, inverse, meat, prior, typical, crossed, has_errors
):
    """One unit: a row of ``HEAD`` numbers and Δ; variances without corrections for few clusters.

    Where β and γ together do not converge (a unit that hardly ever loses and stands on every pair pushes both
    off), γ is held at the null's fit and the pseudo-observations keep β finite; NaN without them.
    """
    # Pseudo-observations weigh what an observation here does, and information is counted in such: where all
    # pairs of a unit weigh the same, it does not matter how much.
    mass = np.dot(weight, weight) / weight.sum()
    prior *= mass
    out = _joint_kernel(
        u, z, eta, weight, group, group_score, information, inverse, meat, prior, typical, crossed, has_errors
    )
    if np.isnan(out[0]) and prior > 0 and typical > 0:
        out = _held_kernel(u, z, eta, weight, group, prior, typical, crossed)
    out[1] *= mass
    return out


@nb.njit(cache=True, nogil=True)
def _held_kernel(u, z, eta, weight, group, prior, typical, crossed):  # type: ignore[no-untyped-def] # numba
    """As ``_joint_kernel`` with γ held: concave in β, so Newton's steps, cut, always arrive."""
    q = z.shape[1]
    out = np.full(HEAD + q, np.nan)
    beta, own = 0.0, 0.0
    n = len(u)
    for _ in range(500):
        s = 1 / (1 + np.exp(-beta * typical))
        gradient = prior * typical * (1 - 2 * s)
        own = 2 * prior * typical * typical * s * (1 - s)
        for i in range(n):
            e = weight[i] / (1 + np.exp(eta[i] + beta * u[i]))
            gradient += e * u[i]
            own += e / (1 + np.exp(-eta[i] - beta * u[i])) * u[i] * u[i]
        if own <= 0:
            return out
        step = min(max(gradient / own, -2.0 / typical), 2.0 / typical)
        beta += step
        if abs(step) * typical < 1e-9:
            break
    residual = weight / (1 + np.exp(eta + beta * u))
    squares, part = 0.0, 0.0
    for i in range(n):
        if i > 0 and group[i] != group[i - 1]:
            squares += part * part
            part = 0.0
        part += residual[i] * u[i]
    out[0], out[1], out[2] = beta, 1 / own, (squares + part * part) / (own * own)
    by_models, by_both, n_models, n_both = crossed_meat(u, z, residual, group, residual, np.zeros(q), crossed)
    out[3], out[4], out[5], out[6] = by_models / (own * own), by_both / (own * own), n_models, n_both
    out[HEAD:] = 0.0
    return out


@nb.njit(cache=True, nogil=True)
def _joint_kernel(  # type: ignore[no-untyped-def] # numba infers the types of kernels
    u, z, eta, weight, group, group_score, information, inverse, meat, prior, typical, crossed, has_errors
):
    """β and γ together; NaN when they do not converge."""
    n, q = z.shape
    out = np.full(HEAD + q, np.nan)
    e0 = weight / (1 + np.exp(eta))
    w0 = e0 / (1 + np.exp(-eta))
    beta = 0.0
    delta = np.zeros(q)
    b = np.zeros(q)
    kappa = np.zeros(q)
    own = 0.0
    shift = np.zeros(n)
    has_converged = False
    for _ in range(200):
        gradient = 0.0
        own = 0.0
        b[:] = 0.0
        gamma_gradient = -(information @ delta)
        for i in range(n):
            t = eta[i] + shift[i] + beta * u[i]
            e = weight[i] / (1 + np.exp(t))
            w = e / (1 + np.exp(-t))
            gradient += e * u[i]
            own += w * u[i] * u[i]
            moved = e - e0[i] + w0[i] * shift[i]
            for c in range(q):
                gamma_gradient[c] += moved * z[i, c]
                b[c] += w * u[i] * z[i, c]
        if prior > 0:
            s = 1 / (1 + np.exp(-beta * typical))
            gradient += prior * typical * (1 - 2 * s)
            own += 2 * prior * typical * typical * s * (1 - s)
        kappa = inverse @ b
        schur = own - np.dot(b, kappa)
        if not schur > 1e-12 * own:
            return out
        step = (gradient - np.dot(kappa, gamma_gradient)) / schur
        limit = 2.0 / typical
        step = min(max(step, -limit), limit)
        beta += step
        delta += inverse @ (gamma_gradient - b * step)
        shift = z @ delta
        if abs(step) * typical < 1e-9:
            has_converged = True
            break
        if abs(beta) * typical > 30:
            return out
    if not has_converged:
        return out
    if not has_errors:
        out[0], out[HEAD:] = beta, delta
        return out
    final = eta + shift + beta * u
    return _errors(
        u, z, final, weight, group, group_score, e0, w0, information, b, own, meat, beta, delta, crossed
    )


@nb.njit(cache=True, nogil=True)
def _errors(  # type: ignore[no-untyped-def] # numba infers the types of kernels
    u, z, eta, weight, group, group_score, e0, w0, information, b, own, meat, beta, delta, crossed
):
    """The kernel's row once β has converged: variances from the final Hessian."""
    n, q = z.shape
    out = np.full(HEAD + q, np.nan)
    residual = weight / (1 + np.exp(eta))
    change = residual / (1 + np.exp(-eta)) - w0
    hessian = information + z.T @ (z * change.reshape(n, 1))
    # The ridge is for columns without information (a source left out); it is far below rounding elsewhere.
    kappa = np.linalg.solve(hessian + 1e-13 * max(np.trace(hessian), 1e-300) * np.eye(q), b)
    schur = own - np.dot(b, kappa)
    if not schur > 1e-12 * own:
        return out
    by_group = _meat(u, z, residual, group, group_score, e0, kappa, meat)
    by_models, by_both, n_models, n_both = crossed_meat(u, z, residual, group, e0, kappa, crossed)
    out[0], out[1], out[2] = beta, 1 / schur, by_group / (schur * schur)
    out[3], out[4], out[5], out[6] = by_models / (schur * schur), by_both / (schur * schur), n_models, n_both
    out[HEAD:] = delta
    return out


@nb.njit(cache=True, nogil=True)
def _meat(u, z, residual, group, group_score, e0, kappa, meat):  # type: ignore[no-untyped-def] # numba
    """Σ_g (Σ_i e_i (u_i − κᵀz_i))², rows with u = 0 at the null's residuals."""
    total = np.dot(kappa, meat @ kappa)
    n = len(u)
    i = 0
    while i < n:
        g = group[i]
        base = -np.dot(group_score[i], kappa)
        t = 0.0
        while i < n and group[i] == g:
            projected = np.dot(z[i], kappa)
            t += residual[i] * (u[i] - projected) + e0[i] * projected
            i += 1
        total += 2 * base * t + t * t
    return total
