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
# # Dimension
#
# Densities on a grid end at two dimensions. Product laws do not: where target, start and noise are products, so is the law
# of the sampler, and distances in dimension $d$ follow from those of one coordinate, exactly.
#
# $$\mathrm{KL}_d = d\, \mathrm{KL}_1, \qquad 1 + \chi^2_d = (1 + \chi^2_1)^d, \qquad 1 - H^2_d = (1 - H^2_1)^d, \qquad
#   H^2_d \le \mathrm{TV}_d \le H_d \sqrt{2 - H^2_d}$$
#
# with $H^2 = 1 - \int \sqrt{p q}$.
#
# **Question.** Is a start forgotten more slowly in high dimension?
#
# Each coordinate: $0.3\, N(-1.5, 0.3^2) + 0.7\, N(0.8, 0.4^2)$, linear VP process, exact score, $\eta = 1$, started from
# $N(0, 1)$ and from $N(1, 1)$.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import fpsolve as fp
from fpsolve import bounds

plt.rcParams.update({"figure.dpi": 100, "font.size": 10})

target = fp.GaussianMixture(weights=[0.3, 0.7], means=[-1.5, 0.8], stds=[0.3, 0.4])
process = fp.VP(beta_min=0.1, beta_max=20.0, T=1.0)
reverse = fp.Reverse(target, process)
starts = {"prior": process.prior(), "shifted by 1": fp.Gaussian(1.0, std=1.0)}
dims = np.array([1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000])
x, h = np.linspace(-9.0, 9.0, 1801, retstep=True)

# %% [markdown]
# One coordinate by Bayes' rule, $q_t/p_t - 1 = \int (\nu/p_T - 1)(y)\, N(y; \alpha x, \sigma^2)\, dy$, with trapezoids: no
# difference of nearly equal numbers, so small distances keep their digits.

# %%
def of_one_coordinate(start, t):
    """KL and H^2 between the law from a start and the exact one."""
    p = np.exp(reverse.marginal(t).log_density(x))
    excess = np.expm1(start.log_density(x) - reverse.marginal(1.0).log_density(x))
    if t < 1.0:
        alpha, variance = process.scale(t, 1.0), process.variance(t, 1.0)
        excess = np.exp(-0.5 * (x - alpha * x[:, None]) ** 2 / variance) @ excess * h / np.sqrt(2.0 * np.pi * variance)
    ratio = 1.0 + excess
    kl = np.sum(p * (ratio * np.log1p(excess) - excess)) * h
    return float(kl), float(0.5 * np.sum(p * (excess / (1.0 + np.sqrt(ratio))) ** 2) * h)


times = np.array([1.0, 0.9, 0.8, 0.65, 0.5, 0.35, 0.2, 0.1, 0.05, 0.01])
ones = {label: np.array([of_one_coordinate(start, t) for t in times]) for label, start in starts.items()}
ends = {}
for label, found in ones.items():
    kl, h2 = found[-1]
    hellinger = -np.expm1(dims * np.log1p(-h2))
    ends[label] = dims * kl, hellinger, np.sqrt(hellinger * (2.0 - hellinger))

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(11.0, 4.0), layout="constrained")
for label, colour in zip(starts, fp.plots.PALETTE, strict=False):
    kl = ones[label][:, 0]
    for d, style in ((1, "-"), (1000, "--")):
        left.semilogy(1.0 - times, d * kl, style, color=colour, label=f"{label}, d = {d}")
    low, high = ends[label][1:]
    right.fill_between(dims, low, high, color=colour, alpha=0.3, label=f"{label}: total variation is in here")
left.set(xlabel="reverse time $r = T - t$", ylabel=r"$\mathrm{KL}(q_t\,|\,p_t)$")
right.set(xscale="log", yscale="log", xlabel="dimension $d$", ylabel="at $t = 0.01$")
for ax in (left, right):
    ax.legend(frameon=False, fontsize="small")

# %%
rows = {}
for label, found in ones.items():
    bound = bounds.log_sobolev(reverse, 1.0, 0.01, start=starts[label])
    rows[label] = found[0, 0], found[-1, 0], found[-1, 0] / found[0, 0], bound.contraction, 1000 * found[-1, 0], *(e[-1] for e in ends[label][1:])
names = ["KL at T, d = 1", "at t = 0.01", "factor", "log-Sobolev bound of it", "KL, d = 1000", "TV, d = 1000: from", "to"]
table = pd.DataFrame(rows, names).T
table.map("{:.2g}".format)

# %% [markdown]
# **Answer.** No. The entropy starts $d$ times larger and ends $d$ times larger: the factor by which it falls is that of one
# coordinate, for every $d$, and so is the log-Sobolev bound of it, since constants of products are those of the factors.
# What grows is the mistake itself. The prior leaves a total variation of at most $8 \cdot 10^{-5}$ in 1000 dimensions. A
# start that is off by 1 in every coordinate leaves at most 0.004 in one dimension and between 0.007 and 0.12 in a thousand.
#
# Coordinates of real data depend on each other: then the constants are those of the joint law.

# %%
headline = {label: {"one": found.tolist(), "ends": [e.tolist() for e in ends[label]]} for label, found in ones.items()}
print("factor on the entropy: {:.2g} and {:.2g}, in every dimension".format(*table["factor"]))
