"""Functionals of a density that drive the noise, and their coupling to it.

Radial test functions, and integrals of them against cell averages.

What the modes do on a grid: velocities of the remap, and the rates at which they stir a test function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpsolve import _checks
from fpsolve._callables import values_of
from fpsolve.dynamics import BaseDynamics, Reverse
from fpsolve.grid import Grid
from fpsolve.stochastic._noise import ScoreNoise

Array = NDArray[np.float64]

_NODES = 32
#: Share of 1 + radius that a difference quotient of the profile spans.
_STEP = 1e-3


@dataclass(frozen=True, eq=False)
class RadialFunction:
    """A test function of the radius, ``phi(x) = f(|x|)``; the default is ``f(rho) = rho^2/2``.

    Parameters
    ----------
    profile : callable, optional
        f on arrays of radii >= 0.
    slope : callable, optional
        f'. Given alone, f is its integral from 0; left out beside `profile`, it is a fourth-order difference.
    description : str, optional
        What stands in the attributes of results.

    Examples
    --------
    >>> phi = RadialFunction(slope=lambda rho: rho**3)
    >>> round(float(phi.value(np.array(2.0), 1)), 12), phi.gradient(np.array([3.0, 4.0]), 2).tolist()
    (4.0, [75.0, 100.0])
    """

    profile: Callable[[Array], Any] | None = None
    slope: Callable[[Array], Any] | None = None
    description: str = ""

    def __post_init__(self) -> None:
        for name in ("profile", "slope"):
            function = getattr(self, name)
            if function is not None and not callable(function):
                raise _checks.error(name, "a callable on radii", repr(function)[:60])
        if not self.description:
            given = [name for name in ("profile", "slope") if getattr(self, name) is not None]
            own = [f"{name} {getattr(getattr(self, name), '__qualname__', 'callable')}" for name in given]
            object.__setattr__(self, "description", ", ".join(own) if own else "|x|^2/2")

    def value(self, x: Array, dim: int) -> Array:
        """phi at points (...) in 1D, (..., 2) in 2D."""
        rho = _radius(x, dim)
        if self.profile is not None:
            return values_of("profile", self.profile, rho, dim=1)
        if self.slope is None:
            return 0.5 * rho**2
        nodes, weights = np.polynomial.legendre.leggauss(_NODES)
        inner = rho[..., None] * (0.5 + 0.5 * nodes)
        return np.asarray(rho * (values_of("slope", self.slope, inner, dim=1) @ (0.5 * weights)))

    def gradient(self, x: Array, dim: int) -> Array:
        """grad phi at the points, of their shape; 0 at the origin."""
        if self.profile is None and self.slope is None:
            return np.asarray(x, dtype=float)
        rho = _radius(x, dim)
        ratio = self._slope(rho) / np.where(rho > 0.0, rho, 1.0)
        return np.asarray(x * (ratio if dim == 1 else ratio[..., None]))

    def _slope(self, rho: Array) -> Array:
        if self.slope is not None:
            return values_of("slope", self.slope, rho, dim=1)
        assert self.profile is not None  # gradient has dealt with neither
        h = _STEP * (1.0 + rho)
        f = [values_of("profile", self.profile, np.abs(rho + k * h), dim=1) for k in (-2.0, -1.0, 1.0, 2.0)]
        return np.asarray((8.0 * (f[2] - f[1]) - (f[3] - f[0])) / (12.0 * h))


def radial(given: Any) -> RadialFunction:
    """Return a test function, the default for None; refuse what is none."""
    wanted = "a RadialFunction or None"
    return RadialFunction() if given is None else _checks.instance("test_function", given, RadialFunction, wanted)


def _radius(x: Array, dim: int) -> Array:
    return np.abs(x) if dim == 1 else np.hypot(x[..., 0], x[..., 1])


def extended_points(grid: Grid) -> Array:
    """Cell centres and one more on every side: (nx + 2,) in 1D, (nx + 2, ny + 2, 2) in 2D."""
    axes = [
        np.concatenate([[axis[0] - h], axis, [axis[-1] + h]]) for axis, h in zip(grid.axes, grid.spacing, strict=True)
    ]
    return axes[0] if grid.dim == 1 else np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def against_averages(values: Array, grid: Grid) -> Array:
    """Factors w so that ``int u f = sum w u`` for cell averages u, to fourth order in the cell width.

    Averaging over cells and sampling commute with each other, so f enters with the average taken out of it:
    ``f - h^2/24 f''``.

    Parameters
    ----------
    values : array, shape (..., nx + 2[, ny + 2])
        f at the `extended_points`.

    Returns
    -------
    array, shape (..., nx[, ny]); the volume of a cell is in it.
    """
    inner = values[..., 1:-1] if grid.dim == 1 else values[..., 1:-1, 1:-1]
    if grid.dim == 1:
        bend = np.diff(values, n=2, axis=-1)
    else:
        bend = np.diff(values, n=2, axis=-2)[..., 1:-1] + np.diff(values, n=2, axis=-1)[..., 1:-1, :]
    return np.asarray((inner - bend / 24.0) * grid.volume)


#: Change of the displacement from cell to cell that one piece of the flow may cover.
STEEPEST = 0.25


def gain(dynamics: BaseDynamics, t: float) -> float:
    """c(t): drift per score, ``(1 + eta^2)/2 g^2`` for reverse dynamics, 1 for every other."""
    if isinstance(dynamics, Reverse):
        return 0.5 * (float(dynamics.process.diffusion(t)) ** 2 + float(dynamics.noise(t)) ** 2)
    return 1.0


@dataclass(frozen=True, eq=False)
class Coupling:
    """Modes on a grid, each times the root of its strength; what does not depend on time is computed once."""

    noise: ScoreNoise
    grid: Grid
    function: RadialFunction
    periodic: bool
    _kept: dict[str, tuple[Array, Array]] = field(default_factory=dict, repr=False)

    def at(self, t: float) -> tuple[Array, Array]:
        """Velocities and rates at time t.

        Returns
        -------
        velocity : array, shape (modes, nx + 1) in 1D, (modes, 2, nx, ny) in 2D
            ``sqrt(lambda_k) e_k`` in cells: at the faces in 1D, at the centres in 2D.
        rate : array, shape (modes, cells)
            ``sum rate u = sqrt(lambda_k) <u, e_k . grad phi>`` for cell averages u.
        """
        if "fixed" in self._kept:
            return self._kept["fixed"]
        found = self._compute(t)
        if self.noise.autonomous:
            self._kept["fixed"] = found
        return found

    def _compute(self, t: float) -> tuple[Array, Array]:
        root = np.sqrt(self.noise.variances)
        points = extended_points(self.grid)
        gradient = self.function.gradient(points, self.grid.dim)
        if self.grid.dim == 1:
            at_faces = self.noise.values(t, self.grid.face_axes[0])
            rate = against_averages(root[:, None] * self.noise.values(t, points) * gradient, self.grid)
            return root[:, None] * at_faces / self.grid.spacing[0], rate
        modes = root[:, None, None, None] * self.noise.values(t, points)
        rate = against_averages((modes * gradient).sum(axis=-1), self.grid)
        velocity = np.moveaxis(modes[:, 1:-1, 1:-1] / np.array(self.grid.spacing), -1, 1)
        return np.ascontiguousarray(velocity), rate.reshape(len(rate), -1)

    def kick(self, q: Array, velocity: Array, amounts: Array, t: float) -> None:
        """Move the densities q (paths, nx[, ny]) along the modes by amounts (paths, modes), in place.

        Raises
        ------
        ValueError
            A map that folds the grid over, with the time: the steps are too large for the noise.
        """
        from fpsolve.stochastic._lines import remap_lines, remap_planes

        moved = np.tensordot(amounts, velocity, axes=1)
        if self.grid.dim == 1:
            gap = remap_lines(q, moved, STEEPEST, self.periodic)
        else:
            vx, vy = np.ascontiguousarray(moved[:, 0]), np.ascontiguousarray(moved[:, 1])
            change = max(float(np.abs(np.diff(v, axis=k)).max()) for v in (vx, vy) for k in (1, 2))
            gap = remap_planes(q, vx, vy, max(1, int(np.ceil(change / STEEPEST))))
        if not gap > 0.0:
            raise _checks.error(
                "steps",
                "steps small enough for the noise to move the grid without folding it",
                f"a fold at t = {t:g}",
                "take more steps, smoother modes or smaller strengths",
            )
