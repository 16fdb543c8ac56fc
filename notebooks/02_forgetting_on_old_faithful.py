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
# # Forgetting on Old Faithful
#
# The Old Faithful geyser erupts for two to five minutes and then waits one hour or so; 272 pairs of eruption and
# waiting time were recorded (Azzalini and Bowman 1990, doi:10.2307/2347385). They make a small data set with two
# clusters, in one dimension (waiting times) or two.
#
# **Question.** A reverse diffusion trained on these data starts from the wrong law. How much of that is left at the end?

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr

import fpsolve as fp
from fpsolve import data

plt.rcParams.update({"figure.dpi": 100, "font.size": 10})

# %% [markdown]
# ## The data as a law
#
# Real data enter as a kernel density estimate: one Gaussian per sample, with Scott's bandwidth. Its diffused
# marginals $p_t$ and their scores are then known in closed form. Columns are standardised to mean 0 and standard
# deviation 1, as one would for a diffusion model.

# %%
plane_data = data.standardise(data.old_faithful())
line_data = data.standardise(data.old_faithful().select(["waiting_min"]))
line, plane = (fp.KernelDensity(source.samples) for source in (line_data, plane_data))
print(f"{line}, {plane}")

# %% [markdown]
# ## How much is left
#
# Linear VP process, exact score of $p_t$, reverse SDE down to $t = 0.01$. Beside the law $p_T$ that would be right,
# three starts: the prior $N(0, I)$, a shifted one, and a narrow one far away. One run per dimension holds them all.
# Distances are $\|q_t - p_t\|_V$ with $V = 1 + |x|^2$.

# %%
process = fp.VP(beta_min=0.1, beta_max=20.0, T=1.0)
others = ["prior", "shifted", "far"]
reverse = {"1D": fp.Reverse(line, process), "2D": fp.Reverse(plane, process)}
starts = {
    "1D": {"shifted": fp.Gaussian(1.5, std=0.5), "far": fp.Gaussian(4.0, std=0.25)},
    "2D": {"shifted": fp.Gaussian([1.5, -1.5], std=0.5), "far": fp.Gaussian([3.0, -3.0], std=0.25)},
}
for dim, name in enumerate(starts, 1):
    starts[name] = {"exact": reverse[name].marginal(1.0), "prior": process.prior(dim=dim)} | starts[name]

save_at = [1.0, 0.95, 0.9, 0.82, 0.75, 0.68, 0.6, 0.5, 0.42, 0.33, 0.25, 0.17, 0.1, 0.05, 0.01]
tol = {"1D": 1e-5, "2D": 1e-2}
runs = {
    name: fp.evolve(reverse[name], starts[name], t_min=0.01, tol=tol[name], save_at=save_at) for name in reverse
}
curves = {name: fp.forgetting_curve(run, reference="exact") for name, run in runs.items()}
for name, run in runs.items():
    axes = zip("xy" if name == "2D" else "x", ["eruption time", "waiting time"][name == "1D" :], strict=True)
    for axis, quantity in axes:
        run[axis].attrs.update(long_name=quantity, units="standardised")
    cells = " x ".join(str(n) for n in run.fpsolve.levels[-1]["cells"])
    print(f"{name}: {cells} cells, tolerance met: {run.attrs['tol_met']}, in {run.attrs['wall_time_s']:.1f} s")

# %% [markdown]
# The closed form needs no solver: with the exact score the reverse transition is Bayes' rule, and `fp.closed_form`
# does the integral by quadrature. At every second time its cell averages give the same distances again.

# %%
truth = {}
for name, run in runs.items():
    grid, some = run.fpsolve.grid.coarsen(), curves[name].t[::-3]
    known = xr.zeros_like(run.density.sel(t=some)[..., : grid.shape[0], : grid.shape[-1]])
    known = known.assign_coords(dict(zip("xy", grid.axes, strict=False)))
    for label, start in starts[name].items():
        for t in some.values:
            known.loc[{"start": label, "t": t}] = fp.closed_form.cell_averages(reverse[name], start, t, grid, order=4)
    truth[name] = fp.weighted_tv(known.drop_sel(start="exact"), known.sel(start="exact", drop=True)).distance

fig, axes = plt.subplots(1, 2, figsize=(10.0, 4.0), layout="constrained", sharey=True)
for ax, name in zip(axes, curves, strict=True):
    fp.plots.forgetting(curves[name], closed_form=truth[name], ax=ax)
    ax.set_title(f"Old Faithful in {name}", fontsize="medium")
    ax.set_ylim(1e-10, 1e2)
axes[0].get_legend().remove()
_ = axes[1].set_ylabel("")

# %%
end = {name: (curve.isel(t=-1), truth[name].sel(t=0.01)) for name, curve in curves.items()}
table = pd.concat(
    pd.DataFrame(
        {
            "t = 1": curves[name].distance.isel(t=0).to_series().map("{:.3g}".format),
            "t = 0.5": curves[name].distance.sel(t=0.5).to_series().map("{:.3g}".format),
            "t = 0.01": last.distance.to_series().map("{:.8g}".format),
            "reported error": last.error.to_series().map("{:.0e}".format),
            "closed form": known.to_series().map("{:.8g}".format),
        }
    )
    for name, (last, known) in end.items()
)
table.set_axis(pd.MultiIndex.from_product([curves, others]))

# %% [markdown]
# ## What decides the number
#
# Write $\alpha = \alpha(t, T)$ for the scale of the forward transition (0.0066 at $t = 0.01$), $m_t$ and $C_t$ for
# mean and covariance of $p_t$, and $\delta$, $\Delta$ for what is wrong with mean and covariance of the start.
# Expanding Bayes' rule in $\alpha$ gives, with $u = x - m_t$ and $C_T \approx I$,
#
# $$\frac{q_t(x)}{p_t(x)} - 1 \;\approx\; \alpha\, \langle \delta, u\rangle
#   + \tfrac12 \alpha^2 \,\big\langle \Delta + \delta\delta^\top,\; u u^\top - C_t \big\rangle .$$
#
# A wrong mean is forgotten like $\alpha$, everything else like $\alpha^2$ at least; the data enter only through
# moments of $p_t$ weighted by $V$.

# %%
def expansion(dynamics, start, t, grid):
    """The right-hand side above, as a distance in the weighted norm."""
    law, last = dynamics.marginal(t), dynamics.marginal(1.0)
    alpha = float(process.scale(t, 1.0))
    mean, cov = np.atleast_1d(law.mean), np.atleast_2d(law.cov)
    delta = np.atleast_1d(start.mean) - np.atleast_1d(last.mean)
    second = np.atleast_2d(start.cov) - np.atleast_2d(last.cov) + np.outer(delta, delta)
    x = grid.x.reshape(*grid.shape, grid.dim)
    u = x - mean
    quadratic = np.einsum("...i,ij,...j", u, second, u) - np.sum(second * cov)
    ratio = alpha * (u @ delta) + 0.5 * alpha**2 * quadratic
    weight = 1.0 + np.sum(x**2, axis=-1)
    return float(np.sum(weight * np.abs(ratio) * grid.cell_average(law)) * grid.volume)


covariance = np.cov(plane_data.samples.T)
values, vectors = np.linalg.eigh(covariance)
whitened = fp.KernelDensity(plane_data.samples @ vectors / np.sqrt(values))
white = fp.Reverse(whitened, process)
ask = {"exact": white.marginal(1.0), "prior": process.prior(dim=2)}
runs["2D, whitened"] = fp.evolve(white, ask, t_min=0.01, tol=1e-3, save_at=[0.01])
rows, left_of_prior = [], {}
for name, run in runs.items():
    dynamics = reverse.get(name, white)
    last = fp.forgetting_curve(run, reference="exact").sel(start="prior").isel(t=-1)
    left_of_prior[name] = float(last.distance)
    predicted = expansion(dynamics, process.prior(dim=dynamics.dim), 0.01, run.fpsolve.grid)
    rows.append([f"{float(last.distance):.4g}", f"{float(last.error):.0e}", f"{predicted:.4g}"])
pd.DataFrame(rows, list(left_of_prior), ["left of the prior at t = 0.01", "reported error", "expansion"])

# %% [markdown]
# **Answer.** From far away, $\|q_t - p_t\|_V$ falls from 19 to 0.065 in 1D and from 22 to 0.039 in 2D. From the prior it
# falls to $2.3 \cdot 10^{-10}$ in 1D and $5.8 \cdot 10^{-9}$ in 2D: nothing a sampler would notice, and yet known to several
# digits, in agreement with the closed form.
#
# It can be read off before any run, to half a percent: $\alpha$ times the error of the mean, and where the mean is right,
# $\alpha^2$ times the error of the covariance. The second dimension is not to blame for the factor of 25 between 1D and
# 2D. It is mostly the correlation of 0.90, which $N(0, I)$ ignores: whitening the data takes a factor of seven back.

# %%
headline = {
    f"{label} {name}": tuple(float(v.sel(start=label)) for v in (last.distance, last.error, known))
    for name, (last, known) in end.items()
    for label in others
}
headline["whitening"] = left_of_prior["2D"] / left_of_prior["2D, whitened"]
for name in ("far 1D", "prior 1D", "far 2D", "prior 2D"):
    print("{}: {:.6g} +- {:.0e}, closed form {:.6g}".format(name, *headline[name]))
