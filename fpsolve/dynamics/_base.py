"""What a solver may ask of a dynamics ``dY = b(t, Y) dr + c(t) dB``: drift, noise, direction of time, step density."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve._checks import error, one_of
from fpsolve.laws import Law

Array = NDArray[np.float64]
Boundary = Literal["no-flux", "periodic"]


class BaseDynamics:
    """Common protocol of all dynamics; the times handed in are always forward diffusion times t.

    Attributes
    ----------
    boundary : "no-flux" or "periodic"
        What happens at the ends of the grid.
    reversed_time : bool
        True where the dynamics runs from T down to ``t_min`` (reverse dynamics), False where it runs from 0 up.
    unbounded : bool
        True where the state space is R^d and the box only truncates it, so that the mass beyond the box is an error.
    """

    boundary: Boundary = "no-flux"
    reversed_time: bool = False
    unbounded: bool = False
    autonomous: bool = False

    @property
    def horizon(self) -> float:
        """Last forward time at which the dynamics is defined."""
        return float("inf")

    @property
    def breaks(self) -> tuple[float, ...]:
        """Forward times at which the noise jumps, or begins or ceases to be zero; steps end there."""
        return ()

    @property
    def small_noise(self) -> bool:
        """Whether the noise may be small for the cells, so that the scheme's own diffusion has to be looked at."""
        return False

    @property
    def noiseless(self) -> bool:
        """Whether there is no noise at any time, and densities move along characteristics."""
        return False

    def drift(self, t: float, x: ArrayLike) -> Array:
        """b(t, x), the same shape as x."""
        raise NotImplementedError

    def drift_and_divergence(self, t: float, x: Array) -> tuple[Array, Array]:
        """b(t, x) of shape (n, 2) and div b of shape (n,) at points (n, 2): what transport in the plane needs."""
        raise NotImplementedError

    def noise(self, t: ArrayLike) -> Array:
        """c(t) >= 0, vectorised over t."""
        raise NotImplementedError

    def diffusivity(self, times: Array) -> Array:
        """``D = c(t)^2 / 2``, shape (times, 1): the same along every axis."""
        return np.atleast_1d(np.broadcast_to(0.5 * np.square(self.noise(times)), times.shape))[:, None]

    def log_gibbs_on_axes(self, times: Array, *axes: Array) -> Array | None:
        """``-Phi(t, x)/D(t)`` where ``b = -grad Phi``, shape (times, nx[, ny]); None where no potential is known."""
        return None

    def laws_at(self, t: float, starts: list[Law]) -> list[Law]:
        """Laws that live at time t besides the starts: what an automatic box has to hold.

        Raises
        ------
        ValueError
            For a general dynamics, of which nothing is known: it needs a grid.
        """
        raise error("grid", "a Grid for a general dynamics, whose state space is the box", "None")

    def clock(self, t: ArrayLike) -> Array:
        """A monotone function of t in which equal steps are about equally hard; time itself unless known better."""
        return np.asarray(t, dtype=float)

    def clock_inverse(self, tau: ArrayLike) -> Array:
        """Inverse of `clock`."""
        return np.asarray(tau, dtype=float)


@dataclass(frozen=True, init=False)
class Dynamics(BaseDynamics):
    """A general diffusion ``dY = b(t, Y) dr + c(t) dB`` on a box or a ring.

    Parameters
    ----------
    drift : callable ``drift(t, x)``
        b; points x of shape (...) in 1D, (..., 2) in 2D, the same shape back. Evaluated at every step at the time of
        that step: a time-dependent drift is never frozen.
    noise : callable ``noise(t)`` or float
        c > 0.
    boundary : {"no-flux", "periodic"}
        The grid is the state space: its ends reflect, or are joined.
    potential : callable ``potential(t, x)``, optional
        Phi with ``b = -grad Phi``, in place of `drift`. The fluxes then take differences of Phi at the cell centres,
        so ``exp(-2 Phi/c^2)`` is stationary to round-off.
    autonomous : bool
        Coefficients do not depend on t (`steady_state` asks for it).

    Raises
    ------
    ValueError
        Neither or both of `drift` and `potential` given, an unknown boundary.

    Examples
    --------
    >>> ou = Dynamics(lambda t, x: -x, 2**0.5)
    >>> float(ou.drift(0.0, 2.0))
    -2.0
    """

    drift_function: Callable[[float, Array], Array] | None
    noise_function: Callable[[float], float] | float
    boundary: Boundary
    potential: Callable[[float, Array], Array] | None
    autonomous: bool

    def __init__(
        self,
        drift: Callable[[float, Array], Array] | None = None,
        noise: Callable[[float], float] | float = 2**0.5,
        boundary: Boundary = "no-flux",
        *,
        potential: Callable[[float, Array], Array] | None = None,
        autonomous: bool = False,
    ) -> None:
        if (drift is None) == (potential is None):
            raise ValueError(
                "drift: expected exactly one of drift and potential, got "
                f"{'both' if drift is not None else 'neither'}; give one of them (drift = -grad potential)."
            )
        one_of("boundary", boundary, ("no-flux", "periodic"))
        for name, value in (
            ("drift_function", drift),
            ("noise_function", noise),
            ("boundary", boundary),
            ("potential", potential),
            ("autonomous", autonomous),
        ):
            object.__setattr__(self, name, value)

    def drift(self, t: float, x: ArrayLike) -> Array:
        """b(t, x); ValueError where only the potential is known."""
        if self.drift_function is None:
            raise ValueError(
                "drift: expected a drift function, got a dynamics defined by its potential; use potential."
            )
        points = np.asarray(x, dtype=float)
        value = np.broadcast_to(np.asarray(self.drift_function(t, points), dtype=float), points.shape)
        if not np.all(np.isfinite(value)):
            raise ValueError(
                f"drift: expected finite values, got NaN or infinity at t = {t:g}; check the drift function there."
            )
        return value

    def noise(self, t: ArrayLike) -> Array:
        """c(t), vectorised over t."""
        times = np.asarray(t, dtype=float)
        function = self.noise_function
        if not callable(function):
            return np.full(times.shape, float(function))
        return np.array([float(function(float(s))) for s in times.ravel()]).reshape(times.shape)

    def log_gibbs_on_axes(self, times: Array, *axes: Array) -> Array | None:
        """``-Phi/D`` at the points of the tensor grid for every time, or None without a potential."""
        if self.potential is None:
            return None
        points = axes[0] if len(axes) == 1 else np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        phi = np.stack([np.broadcast_to(self.potential(float(t), points), [len(a) for a in axes]) for t in times])
        return -phi / self.diffusivity(times).reshape((-1,) + (1,) * len(axes))
