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
# # The set of the minorization
#
# Harris' theorem asks how much the transitions from a set $\{V \le R\}$ have in common. The user chooses R. A small set
# overlaps well but must hold what the drift sends back, $R > 2K/(1 - \gamma)$; a large one overlaps little.
#
# **Question.** How sensitive is the certified contraction to that choice?
#
# Four laws of variance 1, linear VP process, exact score, block $t = 0.6 \to 0.3$, weight $1 + 0.1\, x^2$.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import fpsolve as fp
from fpsolve import bounds, kernels

plt.rcParams.update({"figure.dpi": 100, "font.size": 10})

laws = {
    "normal": fp.Gaussian(0.0, std=1.0),
    "two modes": fp.GaussianMixture([0.5, 0.5], [-0.9, 0.9], stds=[0.19**0.5, 0.19**0.5]),
    "three modes": fp.GaussianMixture([0.25, 0.5, 0.25], [-1.2, 0.0, 1.2], stds=[0.28**0.5] * 3),
    "a rare far one": fp.GaussianMixture([0.95, 0.05], [-0.2, 3.8], stds=[0.24**0.5, 0.24**0.5]),
}
block, weight = (0.6, 0.3), fp.PolynomialWeight(power=2, beta=0.1)
grid = fp.Grid.uniform((-12.0, 12.0), cells=480)

# %%
found = {
    name: bounds.localization(
        kernels.exact(fp.Reverse(law, fp.VP()), grid, *block, source="point"), weight=weight, levels=np.geomspace(0.1, 30.0, 300)
    )
    for name, law in laws.items()
}
fig, ax = plt.subplots(figsize=(7.0, 4.0), layout="constrained")
rows = {}
for (name, one), colour in zip(found.items(), fp.plots.PALETTE, strict=False):
    curve = np.where(one.levels <= one.held, one.unguarded, np.nan)
    ax.semilogx(one.levels, curve, color=colour, linestyle="--", label=name)
    near = one.levels[curve <= one.value + 0.1 * (1.0 - one.value)]
    ax.plot(one.levels[np.nanargmin(curve)], np.nanmin(curve), "o", color=colour)
    rows[name] = float(one.value), float(one.levels[np.nanargmin(curve)]), float(near[0]), float(near[-1])
ax.axhline(1.0, color="0.2", linewidth=1.0)
ax.set(xlabel="level $R$", ylabel=r"contraction $\bar a$ that is certified", ylim=(0.0, 1.3))
_ = ax.legend(frameon=False)

# %%
table = pd.DataFrame(rows, ["best contraction", "at R", "9/10 of its gain from R =", "to R ="]).T
table["factor in R"] = table["to R ="] / table["9/10 of its gain from R ="]
table.map("{:.3g}".format)

# %% [markdown]
# **Answer.** It is sensitive, but the best choice hardly depends on the law. The best R is a kink: below it the drift's
# term decides, above it the overlap's. Nine tenths of the best gain are kept over a factor of **1.3** in R only, while
# there is some certificate from $R = 0.2$ to 6. Three laws with the same mean and variance have nearly the same curve,
# since the overlap of the transitions is set by the forward noise. A rare far mode moves it to the right. On these four
# laws the best R of the normal one keeps nine tenths of the gain, on the last of them only just.
#
# More levels, boxes and weights: `fpsolve study localization-set`.

# %%
headline = {name: list(row) for name, row in rows.items()}
print("nine tenths of the gain over factors in R of", ", ".join(f"{value:.2f}" for value in table["factor in R"]))
