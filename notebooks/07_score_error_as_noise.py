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
# **Question.** Does that number, taken over the first tenth of the run, tell how wrong the samples will be?

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import bootstrap, spearmanr

import fpsolve as fp
from fpsolve import stochastic
from fpsolve.scores import errors

plt.rcParams.update({"figure.dpi": 100, "font.size": 10})

# %% [markdown]
# Forty *given* errors of five families, constant in time, each in a run of its own on one time grid. Target: two modes.
# Process: linear VP, $\eta = 1$. For a given error the metric is
# $Q = \sum_n (c_n h_n)^2 \langle u_n, e_n\cdot\nabla\varphi\rangle^2$ with $\varphi = |x|^2/2$. What the error does is
# the distance of the final law to the one without it.

# %%
target = fp.GaussianMixture(weights=[0.5, 0.5], means=[-1.2, 1.4], stds=[0.4, 0.5])
reverse = fp.Reverse(target, fp.VP())
p_T = reverse.marginal(1.0)
grid = fp.Grid.uniform((-7, 7), cells=240)
times = np.geomspace(1.1, 0.12, 61) - 0.1
times[[0, -1]] = 1.0, 0.02
rng = np.random.default_rng(5)


def drawn_error(family):
    size = float(np.exp(rng.uniform(*np.log([0.03, 0.5])))) * float(rng.choice([-1.0, 1.0]))
    if family == "bias":
        return errors.Bias(size)
    if family == "scaling":
        return lambda t, x: size * reverse.score(t, x)
    if family == "sine":
        return errors.Sine(size, wave=float(rng.uniform(0.8, 4.0)), phase=float(rng.uniform(0.0, 6.0)))
    if family == "bump":
        return errors.Bump(size, at=float(rng.uniform(-2.5, 2.5)), width=float(rng.uniform(0.3, 0.9)))
    return errors.RandomField(abs(size), length=float(rng.uniform(0.5, 1.5)), dim=1, seed=int(rng.integers(9999)), waves=32)


def run_with(error):
    wrong = fp.Reverse(target, reverse.process, score=fp.scores.perturbed(reverse.score, error))
    return fp.evolve(wrong, p_T, grid=grid, steps=120, t_min=0.02, save_at=times)


without = run_with(errors.Bias(0.0)).density.isel(start=0, t=-1, drop=True)
families = ["bias", "scaling", "sine", "bump", "field"] * 8
outcome = []
for family in families:
    error = drawn_error(family)
    run = run_with(error)
    last = run.density.isel(start=0, t=-1, drop=True)
    entropy = fp.bounds.reverse_kl(run, reverse, error, information=False)
    outcome.append(
        stochastic.siem_like(run, reverse, error)[["metric"]]
        .isel(start=0, drop=True)
        .assign(weighted_tv=fp.weighted_tv(last, without).distance, size=entropy.value - entropy.kl_start)
    )
cases = xr.concat(outcome, dim="case").assign_coords(family=("case", families))

# %%
fig, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
fp.plots.metric_against_distance(cases, ax=axes[0]).set_title("Metric over the whole run")
fp.plots.metric_against_distance(cases, share=0.1, ax=axes[1]).set_title("Over its first tenth")
for ax in axes:
    ax.set_ylabel(r"$\|q - q_{\mathrm{clean}}\|_V$ at $t = 0.02$")
_ = axes[1].legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))

# %% [markdown]
# Spearman's rank correlation with the distance, with 95 percent bootstrap intervals over the errors. The difference
# between the two metrics is resampled in *pairs*, both on the same errors.

# %%
orders = {
    "metric, whole run": cases.metric.sel(share=1.0),
    "metric, first tenth": cases.metric.sel(share=0.1),
    "size: E|e|² along the run": cases["size"],
}
ranked = {name: stochastic.rank_correlation(x, cases.weighted_tv, seed=0) for name, x in orders.items()}


def difference(whole, first, distance):
    return spearmanr(whole, distance).statistic - spearmanr(first, distance).statistic


data = [cases.metric.sel(share=1.0).values, cases.metric.sel(share=0.1).values, cases.weighted_tv.values]
pairs = bootstrap(data, difference, paired=True, vectorized=False, n_resamples=2000, method="percentile", rng=0)
lost = float(difference(*data)), *(float(end) for end in pairs.confidence_interval)
rows = {name: str(value) for name, value in ranked.items()}
rows["whole less first tenth, in pairs"] = "{:.2f} [{:.2f}, {:.2f}]".format(*lost)
pd.Series(rows, name="rank correlation").to_frame()

# %% [markdown]
# **Answer.** In part, and later it tells more. The first tenth orders these errors at 0.65, the whole run at 0.78. The
# difference is 0.13 [0.05, 0.25]: not large, but no accident.
#
# Even the whole run does not put them in the right order. Families lie apart: a bias does three to seven times the harm
# of a scaling at the same metric. A radial $\varphi$ sees an error through $\langle u, e \cdot x\rangle$, which a
# shift of a nearly symmetric law hardly touches. The plain size of the error orders this collection better, at 0.90.
#
# More errors, errors that come late (the first tenth cannot see them), noise, other targets and the plane:
# `fpsolve study score-noise`.

# %%
names = ("value", "low", "high")
headline = {
    "whole": [getattr(ranked["metric, whole run"], name) for name in names],
    "first": [getattr(ranked["metric, first tenth"], name) for name in names],
    "size": ranked["size: E|e|² along the run"].value,
    "lost": lost,
    "metric": [values.tolist() for values in data],
}
print("the first tenth orders {:.2f} [{:.2f}, {:.2f}] worse".format(*lost))
