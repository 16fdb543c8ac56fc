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
# # Product-form scores
#
# A score network does not have to take the noise level as an input: NCSNv2 (Song and Ermon 2020, arXiv:2006.09011)
# divides the output of an unconditional network by $\sigma$, so its score is a product, $s(\sigma, x) = S(x)/\sigma$.
# The score of a diffusion is never such a product.
#
# **Question.** What is the best product there is, where do samplers end that follow it, and does noise help them?
#
# The notebook is motivated by arXiv 2601.12965 and does not reproduce its results.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.optimize import brentq

import fpsolve as fp
from fpsolve import data

plt.rcParams.update({"figure.dpi": 90, "font.size": 10})

# %% [markdown]
# ## The best product
#
# With data law $p_0$, noise levels $\sigma_i$, loss weights $\lambda_i$ and $p_i = p_0 * N(0, \sigma_i^2)$, the weighted
# denoising loss $\sum_i \lambda_i E_{p_i} |g_i S - \nabla \log p_i|^2$ is least for
#
# $$ S^* = \frac{\nabla \Psi}{D}, \qquad \Psi = \sum_i \lambda_i g_i p_i, \qquad D = \sum_i \lambda_i g_i^2 p_i . $$
#
# We take $g = 1/\sigma$, $\lambda = \sigma^2$, all levels between 0.02 and 3, and two data points, $-1$ and $1$.

# %%
process = fp.EDM(sigma_min=0.02, sigma_max=3.0)
points = fp.GaussianMixture([0.5, 0.5], [-1.0, 1.0], stds=1e-6)
score, exact = fp.scores.product_form(points, process), fp.scores.exact(points, process)

fig, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.6), layout="constrained")
x = np.linspace(-3.0, 3.0, 601)
for colour, t in zip(plt.get_cmap("viridis")([0.1, 0.4, 0.65, 0.85]), [3.0, 1.0, 0.5, 0.2], strict=True):
    left.plot(x, t * exact(t, x), color=colour, label=rf"$\sigma = {t:g}$")
left.plot(x, score.field(x), color="black", linewidth=2.0, label="$S^*$")
left.set(xlabel="$x$", ylabel=r"$\sigma \nabla \log p_\sigma$", ylim=(-3.0, 3.0))
left.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
right.plot(x, np.exp(score.field.log_potential(x)), color="black")
_ = right.set(xlabel="$x$", ylabel=r"$\Psi$", ylim=(0.0, None))

# %% [markdown]
# One curve has to stand for all the others. Where the levels disagree, it is a compromise weighted by how often each
# level has been there.

# %% [markdown]
# ## Orbits
#
# With $g = 1/\sigma$ a sampler without noise follows $dx/d\sigma = -S^*(x)$: an autonomous flow that runs for
# $\sigma_{\max} - \sigma_{\min}$. Along its orbits $\Psi$ grows, so they head for critical points of $\Psi$.

# %%
found = fp.flows.stationary_points(score, (-4.0, 4.0))
starts = np.array([-6.0, -3.0, -0.3, 0.1, 0.5, 2.0, 5.0])
product = fp.flows.orbits(score, starts, duration=score.duration(0.02))
flow = fp.flows.orbits(fp.Reverse(points, process), starts, t_min=0.02)

fig, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
fp.plots.orbits(flow, label="exact score", colour=fp.plots.PALETTE[1], dashes=(0, (5, 1.5)), ax=left)
fp.plots.orbits(product, points=found, label="product form", ax=left)
left.legend(frameon=False, fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
right.plot(product.r, product.log_potential.T, color=fp.plots.PALETTE[0])
right.set(xlabel="time of the flow $r$ (units of process time)", ylabel=r"$\log \Psi$ along the orbit")
print("indices add up to", int(found.index.sum()), "- complete:", found.complete)
pd.DataFrame({"at": found.at.round(5) + 0.0, "kind": found.kind, "slope of S*": found.eigenvalues[:, 0].real}).round(5)

# %%
ends = {"product form": product.position[:, -1].values, "exact score": flow.position[:, -1].values}
pd.DataFrame(ends, index=pd.Index(starts, name="start")).round(4)

# %% [markdown]
# **Answer.** The flow of the best product has two attracting points, $\pm 0.98614$, which are not the data, and in the
# time there is only two of these seven orbits get there. The exact flow ends within 0.04 of the data from everywhere.

# %% [markdown]
# ## When two data points become one
#
# The lowest level decides whether the flow tells the data points apart. At 0, between them,
#
# $$ \Psi''(0) \;\propto\; \int_{\sigma_{\min}}^{\sigma_{\max}} (\sigma^{-4} - \sigma^{-2}) e^{-1/(2\sigma^2)} d\sigma
#    = h(\sigma_{\max}) - h(\sigma_{\min}), \qquad h(\sigma) = \frac{1}{\sigma} e^{-1/(2\sigma^2)} , $$
#
# so 0 turns from repelling to attracting where $h(\sigma_{\min}) = h(\sigma_{\max})$. The package knows nothing of
# this formula: it finds all stationary points for every $\sigma_{\min}$.

# %%
def h(sigma):
    """The antiderivative above."""
    return np.exp(-0.5 / sigma**2) / sigma


def slope_between(low):
    """dS*/dx at 0 for levels from `low` to 3."""
    return float(fp.scores.product_form(points, process, span=(low, 3.0)).field.jacobian(0.0)[0, 0])


measured = brentq(slope_between, 0.3, 0.9, xtol=1e-13)
predicted = brentq(lambda low: h(low) - h(3.0), 0.3, 0.9, xtol=1e-14)

fig, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
markers = {"attracting": ("o", "black"), "repelling": ("o", "white")}
for low in np.geomspace(0.02, 1.0, 45):
    branch = fp.flows.stationary_points(fp.scores.product_form(points, process, span=(low, 3.0)), (-2.0, 2.0))
    for kind, (marker, face) in markers.items():
        places = branch.of_kind(kind)
        ax.plot(np.full(len(places), low), places, marker, color="black", markerfacecolor=face, markersize=4)
ax.axvline(predicted, color=fp.plots.PALETTE[1], linestyle=(0, (5, 1.5)))
ax.set(xscale="log", xlabel=r"lowest noise level $\sigma_{\min}$", ylabel="stationary points")
print(f"merge at sigma_min = {measured:.10f}, by the formula {predicted:.10f}")

# %% [markdown]
# **Answer.** Filled: attracting, open: repelling. Above $\sigma_{\min} = 0.5281$, about half of the distance from a data
# point to the middle, the two attracting points have merged into one between the data.

# %% [markdown]
# ## Old Faithful in the plane
#
# Eruption and waiting times, standardised, as a kernel density. All stationary points in the box are found from
# winding numbers and Newton's method; the sum of their indices tells that none is missing.

# %%
source = data.standardise(data.old_faithful())
law = fp.KernelDensity(source.samples, bins=0.5)
plane = fp.EDM(sigma_min=0.25, sigma_max=2.0)
model = fp.scores.product_form(law, plane, rtol=1e-4)
rest = fp.flows.stationary_points(model, [(-3.0, 3.0), (-3.0, 3.0)])
basins = fp.flows.basins(model, rest, cells=32)
ax = fp.plots.phase_portrait(model, rest, basins=basins, data=source.samples)
print("complete:", rest.complete, "- outside the hull of the data by", fp.flows.outside_hull(rest.at, law.component_means).round(2))

# %% [markdown]
# ## Where samplers end, without and with noise
#
# Both samplers start from $p_T$, with which the exact score would end in $p_t$, whatever the noise. Distances are
# $\|q - p_t\|_V$ with $V = 1 + |x|^2$. Without noise the density is carried by characteristics, with noise it is evolved
# by finite volumes. Beside them the same in 1D, for the two data points and for the waiting times.

# %%
line = fp.EDM(sigma_min=0.1, sigma_max=3.0)
waiting = fp.KernelDensity(data.standardise(data.old_faithful().select(["waiting_min"])).samples)
cases = {
    "two data points": (points, line, fp.Grid.uniform((-17.0, 17.0), cells=1700), 2048),
    "waiting times": (waiting, line, fp.Grid.uniform((-17.0, 17.0), cells=1200), 256),
    "Old Faithful in 2D": (law, plane, fp.Grid.uniform([(-12.5, 12.5)] * 2, cells=256), 64),
}
rows, measured_tv = {}, {}
for name, (target, noise, grid, intervals) in cases.items():
    one = fp.scores.product_form(target, noise, rtol=1e-4)
    reverse, t = fp.Reverse(target, noise, score=one, eta=1.0), noise.sigma_min
    start, end = reverse.marginal(noise.sigma_max), reverse.marginal(t)
    quiet = fp.flows.distance(one, start, end, duration=one.duration(t), cells=intervals, rtol=1e-6)
    run = fp.evolve(reverse, {"exact": start}, t_min=t, grid=grid, steps=150, save_at=[t])
    last = run.density.isel(start=0, t=-1)
    noisy = fp.weighted_tv(last, last.copy(data=grid.cell_average(end)))
    error = float(noisy.error + run.error_estimate[0, -1])
    measured_tv[name] = (quiet.value, quiet.error, float(noisy.distance), error)
    rows[name] = [f"{v:.4f} ± {e:.0e}" for v, e in (measured_tv[name][:2], measured_tv[name][2:])]
pd.DataFrame.from_dict(rows, orient="index", columns=["without noise", "with noise (eta = 1)"])

# %%
fig, axes = plt.subplots(1, 2, figsize=(8.6, 3.9), layout="constrained", sharey=True)
for ax, cells, name in zip(axes, (grid.cell_average(end), last.values), ("exact score", "product form, with noise"), strict=True):
    mesh = ax.pcolormesh(*grid.axes, cells.T, cmap="viridis", vmin=0.0, vmax=0.28, shading="gouraud", rasterized=True)
    ax.plot(*rest.of_kind("attracting").T, "o", color="white", markeredgecolor="black", markersize=6)
    ax.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal", title=name, xlabel="eruption time (standardised)")
axes[0].set_ylabel("waiting time (standardised)")
fig.colorbar(mesh, ax=list(axes)).set_label("density (per unit of area)")

# %% [markdown]
# **Answer.** The best product is far from the exact score, farthest for separate data points, where it ends between
# them and beyond them; for smooth data the law it ends with has the right modes at about the right places, but
# they are blurred into one another. Noise helps in every case, by 7 to 20 percent: it forgets on the way some of what
# the wrong score has done, and cannot repair what it does last.

# %%
headline = {"merge": measured, "merge_formula": predicted, "attracting": float(found.at[-1]), **measured_tv}
headline["kinds_2D"] = sorted(rest.kind)
print(f"attracting at {headline['attracting']:.6f}; two points merge at {measured:.6f}")
