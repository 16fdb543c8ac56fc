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
# # Schedulers
#
# A pipeline has a scheduler: a sampler and a step grid. With eight evaluations of the network it does not sample what
# the network knows. In high dimension one looks at pictures. In one dimension the law of the sampler itself is computed.
#
# **Question.** What does each scheduler of diffusers lose on two moons, in which steps, and what would better times gain?
#
# Neither torch nor diffusers is needed. The samplers are those of the libraries; `tests/test_practice.py` holds them
# against the libraries particle by particle.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import fpsolve as fp
from fpsolve import decomposition, design, kernels
from fpsolve.samplers import grids

plt.rcParams.update({"figure.dpi": 100, "font.size": 10})
blue, vermilion, green, purple = fp.plots.PALETTE[:4]

# %% [markdown]
# ## Two moons
#
# Two half circles of 24 round normal laws each, standardised. The table of betas is that of Stable Diffusion. The score
# is exact, so that all that is lost is lost by the scheduler.

# %%
angle = np.pi * (np.arange(24) + 0.5) / 24
upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)
means = np.concatenate([upper, [1.0, 0.5] - upper])
means = (means - means.mean(axis=0)) / means.std(axis=0)
plane = fp.GaussianMixture(np.full(48, 1 / 48), means, stds=0.15)
process, last = fp.VP.from_betas("scaled_linear"), 1e-3

whole = fp.Reverse(plane, process, eta=0.0)
cells = fp.Grid.uniform([(-5.5, 5.5), (-5.5, 5.5)], cells=96)


def sampled(sampler, times):
    """Cell averages of the law of a sampler in the plane."""
    run = kernels.sampler_operator(sampler, whole, cells, times[0], times[-1], times=times)
    return run.push(cells.cell_average(process.prior(2)))


trailing, even = (make(8, process, t_min=last) for make in (grids.trailing, grids.exponential))
pictures = {
    "two moons": cells.cell_average(whole.marginal(last)),
    "DDIM, trailing": sampled("ddim", trailing),
    "UniPC, trailing": sampled("unipc", trailing),
    "UniPC, log sigma": sampled("unipc", even),
}
fig, axes = plt.subplots(1, 4, figsize=(11.0, 3.0), layout="constrained", sharey=True)
for ax, (name, values) in zip(axes, pictures.items(), strict=True):
    ax.pcolormesh(*cells.axes, values.T, cmap="Blues", vmin=0.0, vmax=float(pictures["two moons"].max()))
    ax.set(title=name, xlim=(-2.7, 2.7), ylim=(-2.9, 2.9), aspect="equal", xlabel="$x$")
_ = axes[0].set_ylabel("$y$")

# %% [markdown]
# Eight evaluations each. The numbers below are those of the $y$ coordinate, whose law is a mixture on a line: there the
# errors are known to many digits.
#
# ## What does each scheduler lose?

# %%
target = fp.GaussianMixture(plane.weights, means[:, 1], stds=0.15)
reverse = fp.Reverse(target, process, eta=0.0)
grid = fp.Grid.uniform((-8.0, 8.0), cells=400)
ask = {"grid": grid, "t_min": last}
schedulers = {
    "DDPM": "ddpm", "DDIM": "ddim", "Heun": "heun", "DPM-Solver++(2M)": "dpm-solver++(2m)", "UniPC": "unipc",
}  # fmt: skip
named = {label: design.named(reverse, name, 4 if name == "heun" else 8, **ask) for label, name in schedulers.items()}
columns = ["leading", "trailing", "karras", "exponential"]
table = pd.DataFrame({label: [one[name] for name in columns] for label, one in named.items()}, columns).T
bar = max(one[name].bar for one in named.values() for name in columns)
print(f"error bars at most {bar:.0e}")
table.map("{:.3f}".format)

# %% [markdown]
# The numbers are $\int V |q - p|\,dy$ with $V = 1 + y^2$, between the law $q$ at the end of eight evaluations (four steps
# of Heun) and the law $p$ that it should be. The grid matters more than the sampler: UniPC is the worst on the libraries'
# default grids and the best on the one that is even in $\log \sigma$.
#
# ## In which steps?
#
# The error of every step, carried to the end by the exact dynamics.

# %%
line = {"start": process.prior(), "grid": grid, "blocks": 0, "progress": False}
parts = {
    (label, name): decomposition.errors(reverse, schedulers[label], times=times, **line)
    for label in ("DDIM", "UniPC")
    for name, times in (("trailing", trailing), ("even in log sigma", even))
}
fig, axes = plt.subplots(1, 2, figsize=(9.0, 3.4), layout="constrained", sharey=True)
for ax, label in zip(axes, ("DDIM", "UniPC"), strict=True):
    for shift, name, color in ((-0.2, "trailing", blue), (0.2, "even in log sigma", vermilion)):
        lost = parts[label, name].propagated.sel(source="discretization")
        ax.bar(lost.step + 1 + shift, lost, width=0.4, color=color, label=name)
    ax.set(title=label, xlabel="step", yscale="log")
axes[0].set_ylabel("what is left of its error at the end")
_ = axes[0].legend(frameon=False)

# %%
late = {key: float(one.propagated.sel(source="discretization")[-2:].sum()) for key, one in parts.items()}
share = late["UniPC", "trailing"] / float(parts["UniPC", "trailing"].propagated.sum())
print(f"UniPC on the trailing grid: {share:.0%} of all terms come from the last two steps")

# %% [markdown]
# The trailing grid loses it in its last steps, which are far too long in $\log \sigma$; what happens early is forgotten.
#
# ## What do better times gain?
#
# `design.steps` minimises the exact error over the times. The search stops at a local minimum: better than all named
# grids, not proved to be the best. The first time is free too, as it is on the leading grid: DDIM begins at
# $\sigma = 1$, since a standardised law under the prior's own variance has little to do above.

# %%
best = {label: design.steps(reverse, schedulers[label], 8, most=200, progress=False, **ask) for label in ("DDIM", "UniPC")}
rows = {
    label: [min(found.named.values()), found.error, found.error_bar, min(found.named.values()) / found.error]
    for label, found in best.items()
}
gains = pd.DataFrame(rows, ["best named", "designed", "error bar", "gain"]).T
formats = {"best named": "{:.4f}", "designed": "{:.4f}", "error bar": "{:.0e}", "gain": "{:.1f}"}
gains.apply(lambda column: column.map(formats[column.name].format))

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(10.0, 3.6), layout="constrained", width_ratios=(1.0, 1.2))
truth = grid.cell_average(reverse.marginal(last))
for label, color in (("DDIM", blue), ("UniPC", vermilion)):
    found = best[label]
    for times, style in ((even, ":"), (found.times, "-")):
        run = kernels.sampler_operator(schedulers[label], reverse, grid, times[0], times[-1], times=times)
        kind = "designed" if style == "-" else "even in log sigma"
        right.plot(grid.x, run.push(grid.cell_average(process.prior())) - truth, style, color=color,
                   label=f"{label}, {kind}")  # fmt: skip
    level = 0.0 if label == "DDIM" else 1.0
    left.plot(found.sigmas, np.full(9, level), "o", color=color)
    left.plot(np.sqrt(process.variance(0.0, even)) / process.scale(0.0, even), np.full(9, level + 0.25), "o", mfc="none",
              color=color)  # fmt: skip
left.set(xscale="log", xlabel=r"noise level $\sigma$ of the times", ylim=(-0.5, 1.8))
left.set_yticks([0.0, 0.25, 1.0, 1.25], ["DDIM, designed", "even in log sigma", "UniPC, designed", "even in log sigma"])
right.set(xlabel="$y$", ylabel="density less the right one", xlim=(-2.7, 2.7))
_ = right.legend(frameon=False, fontsize="small")

# %% [markdown]
# **Answer.** On the trailing grid eight evaluations of DDIM lose 0.60 and those of UniPC 1.51, and UniPC loses it in its
# last two steps. Times even in $\log \sigma$ take UniPC to 0.14, designed ones to 0.05. That takes no further evaluation
# and no training, only other times: `timesteps` for diffusers, `sigmas` for k-diffusion. It is the exact score of one
# target: a network has errors of its own, and `fpsolve study step-design` says how they move the best times.

# %%
unipc = best["UniPC"]
print("timesteps", unipc.timesteps.tolist())
headline = {
    "named": {label: {name: float(value) for name, value in one.items()} for label, one in named.items()},
    "bar": bar, "share": share, "gain": {label: row[-1] for label, row in rows.items()},
    "designed": {label: [found.error, found.error_bar] for label, found in best.items()},
    "times": {label: found.times.tolist() for label, found in best.items()},
}  # fmt: skip
trailed = named["UniPC"]["trailing"] / unipc.error
print(f"eight better times: {headline['gain']['UniPC']:.1f} times less error than the best named grid,")
print(f"{trailed:.0f} times less than the trailing one")
