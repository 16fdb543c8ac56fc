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
# **Question.** Where do samplers end that follow the best product there is?
#
# The notebook is motivated by arXiv 2601.12965 and does not reproduce its results.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

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
# We take $g = 1/\sigma$, $\lambda = \sigma^2$, all levels between 0.02 and 3, and two data points, $-1$ and $1$. One field has
# to stand for all levels. Where they disagree, it is a compromise weighted by how often each level has been there.

# %%
process = fp.EDM(sigma_min=0.02, sigma_max=3.0)
points = fp.GaussianMixture([0.5, 0.5], [-1.0, 1.0], stds=1e-6)
score, exact = fp.scores.product_form(points, process), fp.scores.exact(points, process)

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
print("indices add up to", int(found.index.sum()), "- complete:", found.complete)
pd.DataFrame({"at": found.at.round(5) + 0.0, "kind": found.kind, "slope of S*": found.eigenvalues[:, 0].real}).round(5)

# %%
ends = {"product form": product.position[:, -1].values, "exact score": flow.position[:, -1].values}
pd.DataFrame(ends, index=pd.Index(starts, name="start")).round(4)

# %% [markdown]
# The flow of the best product has two attracting points, $\pm 0.98614$, which are not the data, and in the time there is
# only two of these seven orbits get there. The exact flow ends within 0.04 of the data from everywhere.

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
print(", ".join(rest.kind), "- complete:", rest.complete, "- inside the hull of the data by", -fp.flows.outside_hull(rest.at, law.component_means).round(2))

# %% [markdown]
# ## Where samplers end, without and with noise
#
# Both samplers start from $p_T$, with which the exact score would end in $p_t$, whatever the noise. Distances are
# $\|q - p_t\|_V$ with $V = 1 + |x|^2$. Without noise the density is carried by characteristics, with noise it is evolved
# by finite volumes.

# %%
line = fp.EDM(sigma_min=0.1, sigma_max=3.0)
cases = {
    "two data points": (points, line, fp.Grid.uniform((-17.0, 17.0), cells=1700), 2048),
    "Old Faithful in 2D": (law, plane, fp.Grid.uniform([(-11.0, 11.0)] * 2, cells=224), 64),
}
rows, measured_tv = {}, {}
for name, (target, noise, grid, intervals) in cases.items():
    one = fp.scores.product_form(target, noise, rtol=1e-4)
    reverse, t = fp.Reverse(target, noise, score=one, eta=1.0), noise.sigma_min
    start, end = reverse.marginal(noise.sigma_max), reverse.marginal(t)
    quiet = fp.flows.distance(one, start, end, duration=one.duration(t), cells=intervals, rtol=1e-6)
    run = fp.evolve(reverse, {"exact": start}, t_min=t, grid=grid, steps=120, save_at=[t])
    last = run.density.isel(start=0, t=-1)
    noisy = fp.weighted_tv(last, last.copy(data=grid.cell_average(end)))
    error = float(noisy.error + run.error_estimate[0, -1])
    measured_tv[name] = (quiet.value, quiet.error, float(noisy.distance), error)
    rows[name] = [f"{v:.4f} ± {e:.0e}" for v, e in (measured_tv[name][:2], measured_tv[name][2:])]
pd.DataFrame.from_dict(rows, orient="index", columns=["without noise", "with noise (eta = 1)"])

# %%
fig, (left, *axes) = plt.subplots(1, 3, figsize=(12.6, 3.9), layout="constrained", width_ratios=(1.0, 1.0, 1.15))
fp.plots.orbits(flow, label="exact score", colour=fp.plots.PALETTE[1], dashes=(0, (5, 1.5)), ax=left)
fp.plots.orbits(product, points=found, label="product form", ax=left)
left.set_title("two data points: orbits without noise", fontsize="medium")
left.legend(frameon=False, fontsize="small", loc="lower right")
for ax, cells, name in zip(axes, (grid.cell_average(end), last.values), ("exact score", "product form, with noise"), strict=True):
    mesh = ax.pcolormesh(*grid.axes, cells.T, cmap="viridis", vmin=0.0, vmax=0.28, shading="gouraud", rasterized=True)
    ax.plot(*rest.of_kind("attracting").T, "o", color="white", markeredgecolor="black", markersize=6)
    ax.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal", xlabel="eruption time (standardised)")
    ax.set_title(f"Old Faithful: {name}", fontsize="medium")
axes[0].set_ylabel("waiting time (standardised)")
fig.colorbar(mesh, ax=axes[-1]).set_label("density (per unit of area)")

# %% [markdown]
# **Answer.** Between the data, and beyond them. Without noise, orbits head for $\pm 0.98614$ in place of $\pm 1$, and most
# are still on their way when the time is over. The law at the end is **2.7** from the right one for two data points and
# 1.1 for Old Faithful, where the modes are at about the right places, but blurred into one another. Noise takes 7 to 8
# percent of that away: it forgets some of what the wrong score did on the way, not what it does last.
#
# When two data points merge into one, and more laws: `fpsolve study product-form`.

# %%
headline = {"attracting": float(found.at[-1]), "kinds_2D": sorted(rest.kind), "ends": ends["product form"].tolist(), **measured_tv}
print("attracting at {attracting:.6f}; two data points without noise: {0[0]:.3f} +- {0[1]:.0e}".format(
    measured_tv["two data points"], **headline
))  # fmt: skip
