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
# # Grid against particles
#
# The usual way to look at the law of a sampler is to draw from it and make a histogram. In one dimension one may as
# well solve the Fokker-Planck equation on a grid.
#
# **Question.** How many particles see what one grid run sees?
#
# The problem is that of the first notebook: two modes, linear VP process, exact score, reverse SDE from $t = 1$ to
# $t = 0.01$. Errors and distances are in the norm with $V = 1 + x^2$.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import fpsolve as fp

plt.rcParams.update({"figure.dpi": 100, "font.size": 10})
blue, vermilion, green = fp.plots.PALETTE[:3]

target = fp.GaussianMixture(weights=[0.5, 0.5], means=[-2.0, 2.0], stds=[0.3, 0.5])
process = fp.VP(beta_min=0.1, beta_max=20.0, T=1.0)
reverse = fp.Reverse(target, process)
starts = {"exact": reverse.marginal(process.T), "prior": process.prior(), "far": fp.Gaussian(3.0, std=0.5)}
t_min = 0.01

# %% [markdown]
# Two things are compared. First the *error of a density*: one grid run against its closed form, and a histogram of
# $n$ particles, whose noise alone is
#
# $$E \sum_i V_i\, |\hat p_i - p_i| \;\approx\; \sum_i V_i \sqrt{\frac{2\, p_i (1 - p_i)}{\pi n}}$$
#
# on cells of probability $p_i$. Then a *distance*: how far the law from a wrong start still is from the right one,
# on the grid and in histograms of 20,000 particles.

# %%
cells = fp.Grid.uniform((-6.0, 6.0), cells=400)


def error(values, grid):
    """Weighted distance of cell averages to the closed form at t_min, from the prior."""
    exact = fp.closed_form.cell_averages(reverse, starts["prior"], t_min, grid)
    return float(np.sum((1.0 + grid.x**2) * np.abs(values - exact)) * grid.volume)


ask = {"t_min": t_min, "save_at": [t_min]}
plain = fp.evolve(reverse, {"prior": starts["prior"]}, grid=cells, steps=200, estimate=False, **ask)
paired = fp.evolve(reverse, {"prior": starts["prior"]}, grid=cells.refine(), steps=400, **ask)
solves = {
    "400 cells": error(plain.density.values[0, -1], cells),
    "400 and 800, extrapolated": error(paired.fpsolve.extrapolated.values[0, -1], cells),
}
rng = np.random.default_rng(2)
final = reverse.marginal(t_min)  # within 2e-8 of the law from the prior
drawn = {}
for n in (100, 1_000, 10_000, 100_000, 1_000_000):
    counts = np.histogram(final.sample(n, rng), cells.faces)[0]
    drawn[n] = error(counts / n / cells.volume, cells)
floor = fp.particles.histogram_floor(cells.cell_average(final), 1, cells)

# %%
times = [1.0, 0.9, 0.8, 0.65, 0.5, 0.35, 0.2, 0.1, 0.05, t_min]
run = fp.evolve(reverse, starts, t_min=t_min, tol=1e-6, save_at=np.union1d(times, np.linspace(t_min, 1.0, 40)))
curve = fp.forgetting_curve(run, reference="exact")
steps = np.round(np.linspace(1.0, t_min, 496), 3)
clouds = {
    label: fp.particles.simulate(reverse, starts[label], n=20_000, times=steps, save_at=times, seed=seed)
    for seed, label in enumerate(("prior", "far"))
}
checks = [fp.particles.compare(run, cloud, start=label, reference="exact") for label, cloud in clouds.items()]

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(11.0, 4.4), layout="constrained")
n = np.logspace(2, 17, 2)
left.loglog(n, floor / np.sqrt(n), color="0.25", linestyle=":", label="noise of a histogram, 400 cells")
left.loglog(list(drawn), list(drawn.values()), "o", color=blue, mfc="none", label="exact draws")
for k, (name, found) in enumerate(solves.items()):
    needed = (floor / found) ** 2
    left.plot([n[0], needed], [found, found], color=green, linewidth=1.0, label="grid runs" if k == 0 else None)
    left.plot(needed, found, "s", color=green, markersize=4)
    left.annotate(f"{name}: {needed:.0e}", (150.0, found), xytext=(0, 3), textcoords="offset points", color=green)
left.set(xlabel="number of particles $n$", ylabel=r"error of the density, $V = 1 + x^2$", xlim=(50.0, n[1]))
left.legend(frameon=False, fontsize="small", loc="upper right")
fp.plots.forgetting(curve, check=checks, ax=right)
_ = right.set_title("lines: grid, crosses: histograms of 20,000 particles", fontsize="medium")

# %% [markdown]
# Left: one run on 400 cells is as exact as half a billion particles, two runs extrapolated as $5 \cdot 10^{15}$. Right:
# the histograms see nothing below 0.5, whatever the distance. That is where their noise is.
#
# A histogram is not the best one can do. To see *that one distance*, one number is enough: the mean of the function
# that sees most, $f = V\, \mathrm{sign}(q - p)$. And particles can be drawn in two ways: independently for both
# starts, or once, from $p_T$, with the likelihood ratio $w = \nu/p_T$ of the starts as a weight. That ratio is nearly
# 1, so $(w - 1) f$ has little noise. Two standard deviations of the mean of $f$ are $2 (2 E V^2/n)^{1/2}$ in the first
# way and $2 (E (w - 1)^2 V^2/n)^{1/2}$ in the second. Where they are the prior's distance at $t = 0.01$:

# %%
last = curve.sel(start="prior").isel(t=-1)
distance, bar = float(last.distance), float(last.error)
x = final.sample(1_000_000, rng)
# from p_T, (x_t, x_T) of the exact reverse SDE is that of the forward process
y = process.scale(t_min, 1.0) * x + np.sqrt(process.variance(t_min, 1.0)) * rng.standard_normal(x.shape)
w = starts["prior"].density(y) / starts["exact"].density(y)
needed = {
    "a histogram of 400 cells": (floor / distance) ** 2,
    "f, independent particles of both starts": 8.0 * np.mean((1.0 + x**2) ** 2) / distance**2,
    "f, one set of particles with likelihood ratios": 4.0 * np.mean((w - 1.0) ** 2 * (1.0 + x**2) ** 2) / distance**2,
}
pd.Series({name: f"{value:.1e}" for name, value in needed.items()}, name="particles").to_frame()

# %% [markdown]
# **Answer.** Independent particles: $5 \cdot 10^{17}$, even with the best function. Particles with likelihood ratios:
# $2.4 \cdot 10^9$. That takes starts whose ratio is known and the same score for both, and gives one number instead of
# a density. The grid run takes half a second, and its bar is 5 digits below the distance.
#
# Particles are still the better judge of a sampler: they share no cells with the grid, and `fp.particles.compare` tests
# whether both are the same law, at a stated false-alarm rate. Here they agree.

# %%
headline = {
    "particles_like_400_cells": (floor / solves["400 cells"]) ** 2,
    "particles_like_extrapolated": (floor / solves["400 and 800, extrapolated"]) ** 2,
    "prior": distance,
    "prior_error": bar,
    "prior_histogram": float(checks[0].reference_distance[-1]),
    "verdicts": [check.attrs["verdict"] for check in checks],
    "needed": list(needed.values()),
}
print("{1:.1e} independent particles, {2:.1e} with weights".format(*headline["needed"]))
