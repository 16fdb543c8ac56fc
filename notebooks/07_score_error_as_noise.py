# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Score error as noise
#
# A learned score is wrong, and nobody knows where. One way to think of it: the error is *noise*, a random field in the
# drift that all samples feel alike. The density then follows a stochastic Fokker-Planck equation,
#
# $$ du = \Big[-\nabla\cdot(b\,u) + \tfrac{\eta^2 g^2}{2}\Delta u\Big] dr
#      - \sum_k c\,\sqrt{\lambda_k}\,\nabla\cdot(u\,e_k)\circ dW^k, \qquad c = \tfrac{1+\eta^2}{2} g^2 , $$
#
# with modes $e_k$ and strengths $\lambda_k$ (`fp.stochastic.evolve` solves it). How hard the noise stirs a radial test
# function $\varphi$ can be watched while sampling:
#
# $$ [\langle u, \varphi\rangle] = \int c^2 \sum_k \lambda_k\, \langle u, e_k\cdot\nabla\varphi\rangle^2\, dr . $$
#
# This is our reading of a metric proposed in arXiv:2602.08579, whose formulas we do not know: "SIEM-like", no more.
#
# **Question.** Does that number tell how wrong the samples will be, and is the first tenth of the run enough?

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr

import fpsolve as fp
from fpsolve import stochastic
from fpsolve.scores import errors

plt.rcParams.update({"figure.dpi": 100, "font.size": 10})

# %% [markdown]
# Three targets, each on the line and in the plane. On each of them 25 *given* errors of five families, constant in time,
# each in a run of its own on one time grid. Process: linear VP, $\eta = 1$. For a given error the metric is
# $Q = \sum_n (c_n h_n)^2 \langle u_n, e_n\cdot\nabla\varphi\rangle^2$ with $\varphi = |x|^2/2$. What the error does is
# the distance of the final law to the one without it.

# %%
process, times, unit = fp.VP(), np.linspace(1.0, 0.05, 31), np.eye(2)
line = fp.Grid.uniform((-6.5, 6.5), cells=160)
plane = fp.Grid.uniform([(-6.0, 6.0), (-6.0, 6.0)], cells=(40, 40))
targets = {
    "two modes": fp.GaussianMixture([0.5, 0.5], [-1.2, 1.4], stds=[0.4, 0.5]),
    "skewed": fp.GaussianMixture([0.7, 0.3], [-0.6, 1.4], stds=[0.4, 0.9]),
    "three modes": fp.GaussianMixture([0.25, 0.5, 0.25], [-2.0, 0.0, 2.0], stds=[0.5, 0.5, 0.5]),
    "two modes, 2D": fp.GaussianMixture([0.5, 0.5], [[-1.2, 0.4], [1.4, -0.5]], covs=[0.25 * unit, np.diag([0.25, 0.36])]),
    "skewed, 2D": fp.GaussianMixture([0.7, 0.3], [[-0.6, -0.4], [1.4, 0.9]], covs=[0.25 * unit, [[0.8, 0.3], [0.3, 0.6]]]),
    "three modes, 2D": fp.GaussianMixture([0.3, 0.3, 0.4], [[-1.5, -1.0], [1.5, -1.0], [0.0, 1.6]], covs=[0.25 * unit] * 3),
}
families = ["bias", "scaling", "sine", "bump", "field"] * 5


def drawn_error(family, dim, rng):
    """A direction (a sign on the line) times a size, and where and how it varies."""
    size, turn = float(np.exp(rng.uniform(*np.log([0.03, 0.5])))), rng.uniform(0.0, 6.28, 2)
    along = size * float(np.sign(np.cos(turn[0]))) if dim == 1 else tuple(size * np.array([np.cos(turn[0]), np.sin(turn[0])]))
    wave, at, width = rng.uniform(0.8, 4.0), rng.uniform(-2.5, 2.5, 2), float(rng.uniform(0.3, 0.9))
    if family == "bias":
        return errors.Bias(along)
    if family == "scaling":
        return errors.Scaling(size * float(np.sign(np.cos(turn[0]))))
    if family == "sine":
        direction = wave if dim == 1 else (wave * np.cos(turn[1]), wave * np.sin(turn[1]))
        return errors.Sine(along, wave=direction, phase=float(turn[0]))
    if family == "bump":
        return errors.Bump(along, at=float(at[0]) if dim == 1 else tuple(at), width=width)
    return errors.RandomField(size, length=1.7 * width, dim=dim, seed=int(rng.integers(9999)), waves=6)


def as_function(error, score):
    """An error of the score as a function of t and x, a relative one too."""
    return (lambda t, x: error.share * score(t, x)) if isinstance(error, errors.Scaling) else error


def measured(name):
    """Metrics and distances of the errors on a target, one per error."""
    reverse, rng = fp.Reverse(targets[name], process), np.random.default_rng(list(targets).index(name))
    grid, p_T = line if reverse.dim == 1 else plane, reverse.marginal(1.0)

    def run_with(error):
        wrong = fp.Reverse(targets[name], process, score=fp.scores.perturbed(reverse.score, error))
        return fp.evolve(wrong, p_T, grid=grid, steps=30, t_min=0.05, save_at=times, estimate=False)

    def last(run):
        return run.density.isel(start=0, t=-1, drop=True)

    without, outcome = last(run_with(errors.Scaling(0.0))), []
    for family in families:
        error = drawn_error(family, reverse.dim, rng)
        run = run_with(error)
        added = as_function(error, reverse.score)
        metric = stochastic.siem_like(run, reverse, added).metric.isel(start=0, drop=True)
        outcome.append(xr.Dataset({"metric": metric, "weighted_tv": fp.weighted_tv(last(run), without).distance}))
    return xr.concat(outcome, dim="case").assign_coords(family=("case", families))


cases = {name: measured(name) for name in targets}

# %% [markdown]
# Spearman's rank correlation with the distance, with 95 percent intervals: the errors are resampled, and whole run and
# first tenth are compared on the same resampled errors.

# %%
rng = np.random.default_rng(0)


def correlations(x, y, rows):
    """Spearman's correlation in every row of indices; ties share their mean rank."""
    a, b = (pd.DataFrame(v[rows]).rank(axis=1).to_numpy() for v in (x, y))
    a, b = (v - v.mean(axis=1, keepdims=True) for v in (a, b))
    return (a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))


found = {}
for name, one in cases.items():
    drawn = rng.integers(0, len(families), (2000, len(families)))
    pairs = [(one.metric.sel(share=share).values, one.weighted_tv.values) for share in (1.0, 0.1)]
    whole, first = (np.append(correlations(*pair, np.arange(25)[None]), correlations(*pair, drawn)) for pair in pairs)
    found[name] = {"whole run": whole, "first tenth": first, "whole less first tenth": whole - first}
found["mean of the six"] = {kind: np.mean([one[kind] for one in found.values()], axis=0) for kind in found["two modes"]}
ranked = {
    name: {kind: [float(v) for v in (values[0], *np.quantile(values[1:], [0.025, 0.975]))] for kind, values in one.items()}
    for name, one in found.items()
}

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(11.0, 4.0), layout="constrained", width_ratios=(1.0, 1.3))
fp.plots.metric_against_distance(cases["two modes"], ax=left).set_title("two modes, metric over the whole run")
left.set_ylabel(r"$\|q - q_{\mathrm{clean}}\|_V$ at $t = 0.05$")
left.legend(frameon=False, fontsize="small")
for k, kind in enumerate(("whole run", "first tenth")):
    middle, low, high = np.array([one[kind] for one in ranked.values()]).T
    at = np.arange(len(ranked)) + 0.2 * k - 0.1
    right.errorbar(middle, at, xerr=[middle - low, high - middle], fmt="os"[k], color=fp.plots.PALETTE[k], label=kind)
right.set_yticks(range(len(ranked)), ranked)
right.invert_yaxis()
right.set(xlim=(0.0, 1.0), xlabel="rank correlation with the distance")
_ = right.legend(frameon=False, loc="lower left")

# %%
pd.DataFrame(ranked).T.map(lambda value: "{:.2f} [{:.2f}, {:.2f}]".format(*value))

# %% [markdown]
# **Answer.** In part, and the first tenth a little less. Over six targets the whole run orders errors at 0.70 [0.59, 0.77],
# the first tenth at 0.62. The difference is **0.08 [0.03, 0.14]**. Twenty-five errors on one target do not show it as a
# rule: two of the six intervals exclude zero.
#
# Even the whole run does not put them in the right order. Families lie apart: on the left a bias does about three times
# the harm of a scaling at the same metric. A radial $\varphi$ sees an error through $\langle u, e \cdot x\rangle$, which
# a shift of a nearly symmetric law hardly touches.
#
# More errors, errors that come late (the first tenth cannot see them) and noise: `fpsolve study score-noise`.

# %%
headline = {
    "ranked": ranked,
    "cases": {name: [*one.metric.values.T.tolist(), one.weighted_tv.values.tolist()] for name, one in cases.items()},
}
print("the first tenth orders {:.2f} [{:.2f}, {:.2f}] worse".format(*ranked["mean of the six"]["whole less first tenth"]))
