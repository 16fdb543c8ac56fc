"""Densities of an ensemble at one time: a line per path, their mean, and what they are held against."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpsolve import _checks
from fpsolve.laws import Law
from fpsolve.plots._style import PALETTE, axis_label, new_axes, require

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

__all__ = ["ensemble"]


def ensemble(run: xr.Dataset, *, t: float | None = None, exact: Law | None = None, ax: Axes | None = None) -> Axes:
    """Draw the densities of an ensemble in 1D at one time: thin lines per path, their mean, the law without noise.

    Parameters
    ----------
    run : Dataset
        What `fpsolve.stochastic.evolve` returned.
    t : float, optional
        Forward time, the nearest saved one is shown; default the last of the run.
    exact : Law, optional
        Drawn dashed: the marginal without noise, say.
    ax : Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        A run without paths, or in 2D.

    Examples
    --------
    >>> import fpsolve as fp
    >>> ou, noise = fp.Dynamics(lambda t, x: -x, 2**0.5), fp.stochastic.constant(0.09)
    >>> grid = fp.Grid.uniform((-8, 8), cells=80)
    >>> start = fp.Gaussian(1.0, std=0.8)
    >>> run = fp.stochastic.evolve(ou, start, noise, grid=grid, steps=20, paths=3, seed=0, t_max=0.5)
    >>> len(ensemble(run).lines)
    4
    """
    require("run", run, ("density",), "fpsolve.stochastic.evolve")
    if run["density"].dims != ("path", "t", "x"):
        got = ", ".join(map(str, run["density"].dims))
        raise _checks.error(
            "run", "an ensemble in 1D, density (path, t, x)", got, "pass what stochastic.evolve returned"
        )
    if exact is not None:
        _checks.instances(exact=(exact, Law))
    at = run["t"][-1] if t is None else _checks.finite("t", t)
    ax = new_axes() if ax is None else ax
    shown = run["density"].sel(t=at, method="nearest")
    ax.plot(run["x"], shown.T, color=PALETTE[5], linewidth=0.6, alpha=0.6)
    ax.plot(run["x"], shown.mean("path"), color=PALETTE[1], linewidth=1.8, label=f"mean over {run.sizes['path']} paths")
    if exact is not None:
        ax.plot(
            run["x"], exact.density(run["x"].values), color="k", linestyle="--", linewidth=1.0, label="without noise"
        )
    ax.set(xlabel=axis_label(run, "x"), ylabel=f"density at $t = {float(shown['t']):.3g}$")
    ax.margins(x=0.0)
    return ax
