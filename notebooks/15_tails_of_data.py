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
# # Tails of data
#
# Theory asks two things of the data's score $s = \nabla \log p$: that it pulls inward, and does not grow too fast,
#
# $$ x \cdot s(x) \le -A |x|^2 + B, \qquad |s(x)| \le C (1 + |x|^k). $$
#
# The first needs a tail $-\log p \sim |x|^p$ with $p \ge 2$, the second then has $k = p - 1$. A kernel density with
# bandwidth $h$ has both by construction: $p = 2$, $A = 1/(2h^2)$, $k = 1$ (`fp.bounds.assumptions`), whatever it was made of.
#
# **Question.** Do data have a tail exponent of 2?
#
# Four bundled data sets, standardised: minutes between eruptions of Old Faithful, body mass of penguins, sunspots per
# year, rain on wet days in Seattle (`fp.data.read` says where they come from). They are rounded, and equal values would
# ask for kernels of width 0: every value is spread evenly over what it was rounded from.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.special import gammaincc, gammaln, logsumexp
from scipy.stats import chi2, norm

import fpsolve as fp

plt.rcParams.update({"figure.dpi": 100, "font.size": 10})

columns = {"old_faithful": "waiting_min", "penguins": "body_mass_g", "sunspots": "sunspots", "seattle_rain": "precipitation_mm"}
rounded_to = {"old_faithful": 1.0, "penguins": 50.0, "sunspots": 0.1, "seattle_rain": 0.254}
rng, samples = np.random.default_rng(0), {}
for file, column in columns.items():
    x = fp.data.read(file, [column]).samples
    spread = fp.data.from_array(x + rounded_to[file] * rng.uniform(-0.5, 0.5, len(x)), source=file)
    samples[file] = fp.data.standardise(spread).samples

# %% [markdown]
# **Exponent.** The upper 40 percent of each data set, or what is above the mean if that is less, are taken as draws with density
# $\propto \exp(-c\, x^p)$: maximum likelihood, with the 95 percent interval of the profile likelihood. Samples of 300
# from a normal, an exponential and a Laplace law fall into such intervals 92 to 95 times in a hundred. Sunspots and wet
# days follow each other and are not independent: their intervals are rather too short.

# %%
powers, scales = np.geomspace(0.3, 30.0, 120)[:, None], np.linspace(-30.0, 6.0, 500)


def tail_exponent(x):
    """Estimate and ends of its interval."""
    tail = np.sort(x[x >= max(np.quantile(x, 0.6), 0.02)])
    sums = np.array([np.sum(tail**p) for p in powers[:, 0]])[:, None]
    with np.errstate(all="ignore"):
        beyond = np.log(gammaincc(1.0 / powers, np.exp(scales) * tail[0] ** powers)) + gammaln(1.0 / powers)
        fits = -np.exp(scales) * sums - len(tail) * (beyond - scales / powers - np.log(powers))
    profile = np.where(np.isfinite(fits), fits, -np.inf).max(axis=1)
    kept = powers[profile >= profile.max() - 0.5 * chi2.ppf(0.95, 1), 0]
    return float(powers[profile.argmax(), 0]), float(kept[0]), float(kept[-1])


exponents = {file: tail_exponent(x) for file, x in samples.items()}

# %% [markdown]
# **Bandwidth.** Each half of the data is scored by the kernel density of the other half, for five random halvings. Kept
# are the bandwidths that lose at most 0.05 nats per held-out point against the best.

# %%
bandwidths = np.geomspace(0.02, 1.0, 40)
radii, best, kept = np.geomspace(0.1, 60.0, 300), {}, {}
for file, x in samples.items():
    halves = [np.array_split(rng.permutation(x), 2) for _ in range(5)]
    held_out = [
        np.mean([fp.KernelDensity(a, h).log_density(b).mean() for a, b in halves + [pair[::-1] for pair in halves]])
        for h in bandwidths
    ]
    best[file] = bandwidths[np.argmax(held_out)]
    kept[file] = bandwidths[held_out >= np.max(held_out) - 0.05][[0, -1]]

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(11.0, 4.2), layout="constrained")
for k, (file, x) in enumerate(samples.items()):
    colour, upper = fp.plots.PALETTE[k], np.sort(x[x > 0.0])
    share = (len(upper) - np.arange(len(upper)) - 0.5) / len(x)
    left.loglog(upper, -np.log(share), ".", color=colour, markersize=4, label=file)
    survival = logsumexp(norm.logsf((radii[:, None] - x) / best[file]), axis=1) - np.log(len(x))
    left.loglog(radii, -survival, color=colour, linewidth=1.0)
    estimate, low, high = exponents[file]
    right.plot([low, high], [k, k], color=colour, linewidth=3.0)
    right.plot(estimate, k, "o", color=colour)
left.set(xlim=(0.1, 60.0), ylim=(0.5, 2e4), xlabel="$x$ in standard deviations from the mean", ylabel=r"$-\log P(X > x)$")
left.set_title("data (dots), kernel density of best bandwidth (lines)")
left.legend(frameon=False)
right.axvline(2.0, color="0.2", linewidth=1.0)
right.set(xscale="log", xlabel="tail exponent $p$, 95 percent interval", yticks=range(4), yticklabels=samples)
right.set_xticks([0.5, 1.0, 2.0, 4.0, 8.0], ["0.5", "1", "2", "4", "8"])
_ = right.set_title("dissipative from 2 on")

# %%
rows = {}
for file, x in samples.items():
    wide, narrow = (fp.bounds.assumptions(fp.KernelDensity(x, h)) for h in kept[file][::-1])
    rows[file] = len(x), "{:.2f} [{:.2f}, {:.2f}]".format(*exponents[file]), *kept[file], wide.value, narrow.value, narrow.growth / wide.growth
names = ["rows", "tail exponent p", "bandwidth from", "to", "A from", "to", "C times"]
table = pd.DataFrame(rows, names).T
table.map(lambda value: value if isinstance(value, str) else f"{value:.3g}")

# %% [markdown]
# **Answer.** Rain does not: its exponent is **0.96 [0.73, 1.21]**, an exponential tail, whose score pulls with a constant
# force. Penguins do, with 2.9 or more. Sunspots and Old Faithful leave it open. That is about upper tails; rain and
# sunspots end at 0 below, where a score does not exist.
#
# The kernel density says 2 for all four, and says it from the last data point outwards: its lines turn up where the dots
# end. Its constants are no property of the data either. Bandwidths that held-out data hardly tell apart give an $A$ that
# differs by factors of 6 to 30. A certificate for a kernel density is right for that law, and says nothing of the law
# that the data came from.

# %%
headline = {
    "exponents": exponents,
    "kept": {file: ends.tolist() for file, ends in kept.items()},
    "A": {file: [float(row[4]), float(row[5])] for file, row in rows.items()},
}
print("rain: tail exponent {:.2f} [{:.2f}, {:.2f}]".format(*exponents["seattle_rain"]))
