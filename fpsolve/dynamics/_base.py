"""What a solver may ask of a dynamics ``dY = b(t, Y) dr + c(t) dB``: drift, noise, boundary, direction of time, step
density.

Forward and Langevin dynamics, dynamics of the user's own, and the divergence of a drift known by its values only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve import marginals
from fpsolve._callables import refuse_signature, values_of
from fpsolve._checks import dimension, error, finite, finite_array, flag, instances, non_negative, one_of, real_array
from fpsolve._kinks import joints
from fpsolve._times import Joints
from fpsolve.grid import Grid
from fpsolve.laws import Law
from fpsolve.processes import Process, checked_process

Array = NDArray[np.float64]
Boundary = Literal["no-flux", "periodic"]

_NOISE = "noise is c in c dB, the same along every axis and at every x: rescale or transform x until it is"
#: Jump of a potential between the joined ends that is rounding: per spread and per size of its values.
_CLIFF, _ROUNDING = 1e-9, 1e-13
#: Where along the axes of a grid functions are looked at for kinks in time, as shares of the box; see `joints`.
_POINTS, _LOOKS = (0.11, 0.32, 0.5, 0.71, 0.9), 150


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
        """Forward times at which drift or noise jumps or has a kink, or the noise begins or ceases to be zero.

        Steps end there, and the solution is kept.
        """
        return self.joints.times

    @property
    def joints(self) -> Joints:
        """Those times, and whether coefficients are rough everywhere."""
        return Joints()

    def hidden(self, low: float, high: float, grid: Grid | None) -> Joints:
        """Further ones in (low, high), looked for in functions of t and x that did not announce theirs.

        `grid` has points of interest, where there is one.
        """
        return Joints()

    @property
    def noiseless(self) -> bool:
        """Whether there is no noise at any time, and densities move along characteristics."""
        return False

    @property
    def held_from(self) -> float:
        """Time from which on coefficients that are infinite at the horizon are held; elsewhere the horizon."""
        return self.horizon

    def origins(self, times: Array, x: Array) -> tuple[Array, Array] | None:
        """Where paths without noise, on a line at positions x (n,) at `times`, are at ``times[0]``; None where unknown.

        Positions in closed form and what they may be wrong by, each (times, n).
        """
        return None

    def forgotten(self, saves: Array) -> tuple[int, Law] | None:
        """Number of the save time (0 or 1) from which on nothing is left of the start, and the law there; else None."""
        return None

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
        found = 0.5 * np.square(self.noise(times))
        return np.atleast_1d(found if found.shape == times.shape else np.broadcast_to(found, times.shape))[:, None]

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


def break_times(name: str, times: ArrayLike, horizon: float) -> tuple[float, ...]:
    """Announced times of jumps and kinks in (0, horizon), in order and once each; ValueError for what is no time."""
    known = finite_array(name, times).ravel()
    if known.size and known.min() < 0.0:
        raise error(name, "forward times >= 0", f"{known.min():.17g}")
    return tuple(np.unique(known[(known > 0.0) & (known < horizon)]).tolist())


@dataclass(frozen=True, init=False)
class Dynamics(BaseDynamics):
    """A general diffusion ``dY = b(t, Y) dr + c(t) dB`` on a box or a ring.

    Parameters
    ----------
    drift : callable ``drift(t, x)``
        b; points x of shape (...) in 1D, (..., 2) in 2D, the same shape back. Evaluated at every step at the time of
        that step: a time-dependent drift is never frozen.
    noise : callable ``noise(t)`` or float
        c > 0, the same along every axis and at every x.
    boundary : {"no-flux", "periodic"}
        The grid is the state space: its ends reflect, or are joined.
    potential : callable ``potential(t, x)``, optional
        Phi with ``b = -grad Phi``, in place of `drift`. The fluxes then take differences of Phi at the cell centres,
        so ``exp(-2 Phi/c^2)`` is stationary to round-off.
    autonomous : bool
        Coefficients do not depend on t (`steady_state` asks for it).
    breaks : sequence of float
        Times > 0 at which drift or noise jumps or has a kink: steps end there, and the solution is kept. Others are
        looked for, at five points along each axis and a thousand times.

    Raises
    ------
    ValueError
        Neither or both of `drift` and `potential` given, an unknown boundary, a noise that is neither a number >= 0 nor
        a function of t, breaks that are not times >= 0. When they are called: arguments in the other order, values of
        another shape, not real or not finite, a value at a point that depends on the other points, a potential that is
        not periodic on a periodic grid.

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
    _breaks: tuple[float, ...]

    def __init__(
        self,
        drift: Callable[[float, Array], Array] | None = None,
        noise: Callable[[float], float] | float = 2**0.5,
        boundary: Boundary = "no-flux",
        *,
        potential: Callable[[float, Array], Array] | None = None,
        autonomous: bool = False,
        breaks: Sequence[float] = (),
    ) -> None:
        self._check(drift, noise, potential)
        one_of("boundary", boundary, ("no-flux", "periodic"))
        flag("autonomous", autonomous)
        for name, value in (
            ("drift_function", drift),
            ("noise_function", noise),
            ("boundary", boundary),
            ("potential", potential),
            ("autonomous", autonomous),
            ("_breaks", break_times("breaks", breaks, np.inf)),
        ):
            object.__setattr__(self, name, value)

    @property
    def joints(self) -> Joints:
        """The times that were announced."""
        return Joints(self._breaks)

    def hidden(self, low: float, high: float, grid: Grid | None) -> Joints:
        """Kinks of the noise, and of the drift or potential at five points of the grid along each axis."""
        if self.autonomous or grid is None:
            return Joints()
        axes = [low_end + (high_end - low_end) * np.array(_POINTS) for low_end, high_end in grid.bounds]
        points = axes[0] if grid.dim == 1 else np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        dim = None if self.potential is None else grid.dim
        name, field = ("drift", self.drift_function) if self.potential is None else ("potential", self.potential)

        def values(t: float) -> Array:
            assert field is not None
            return values_of(name, field, points, t=t, vector=dim is None, dim=dim, constant=True, look=False).ravel()

        def every(times: Array) -> Array:
            return np.vstack([self.noise(times), np.transpose([values(t) for t in times.tolist()])])

        return joints(every, low, high, announced=self._breaks, looks=_LOOKS, together=len(values(low)))

    @staticmethod
    def _check(drift: Any, noise: Any, potential: Any) -> None:
        """Refuse what cannot be a drift or potential of (t, x), or a noise that is a number or a function of t."""
        if (drift is None) == (potential is None):
            raise ValueError(
                "drift: expected exactly one of drift and potential, got "
                f"{'both' if drift is not None else 'neither'}; give one of them (drift = -grad potential)."
            )
        name, function = ("drift", drift) if potential is None else ("potential", potential)
        refuse_signature(name, function, "t, x", f"write lambda t, x: {name}(...), also where it does not depend on t")
        if callable(noise):
            refuse_signature("noise", noise, "t", _NOISE)
        else:
            non_negative("noise", noise, _NOISE)

    @cached_property
    def _looked(self) -> set[str]:
        """Which of the functions were looked at closely: once each, at the first points they are asked for."""
        return set()

    def _values(self, name: str, function: Any, t: float, x: Array, *, dim: int | None = None) -> Array:
        look = name not in self._looked
        values = values_of(name, function, x, t=t, vector=dim is None, dim=dim, constant=True, look=look)
        if x.size > 4:
            self._looked.add(name)
        return values

    def drift(self, t: float, x: ArrayLike) -> Array:
        """b(t, x); ValueError where only the potential is known."""
        if self.drift_function is None:
            raise ValueError(
                "drift: expected a drift function, got a dynamics defined by its potential; use potential."
            )
        return self._values("drift", self.drift_function, finite("t", t), real_array("x", x))

    def noise(self, t: ArrayLike) -> Array:
        """c(t), vectorised over t."""
        times = real_array("t", t)
        function = self.noise_function
        if not callable(function):
            return np.full(times.shape, float(function))
        values = [non_negative(f"noise at t = {s:g}", function(s), _NOISE) for s in times.ravel().tolist()]
        return np.array(values).reshape(times.shape)

    def log_gibbs_on_axes(self, times: Array, *axes: Array) -> Array | None:
        """``-Phi/D`` at the points of the tensor grid for every time, or None without a potential."""
        if self.potential is None:
            return None
        points = axes[0] if len(axes) == 1 else np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        phi = np.stack([self._values("potential", self.potential, float(t), points, dim=len(axes)) for t in times])
        if self.boundary == "periodic":
            self._refuse_cliff(times, axes, np.ptp(phi), np.abs(phi).max())
        return -phi / self.diffusivity(times).reshape((-1,) + (1,) * len(axes))

    def _refuse_cliff(self, times: Array, axes: tuple[Array, ...], spread: float, largest: float) -> None:
        """Refuse a potential of another value at the two ends that a ring joins."""
        for k, axis in enumerate(axes):
            half = 0.5 * (axis[-1] - axis[0]) / max(len(axis) - 1, 1)
            sides = list(axes)
            sides[k] = np.array([axis[0] - half, axis[-1] + half])
            ends = sides[0] if len(axes) == 1 else np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1)
            for t in times.tolist():
                phi = self._values("potential", self.potential, t, ends, dim=len(axes))
                jump = float(np.abs(np.diff(phi, axis=k)).max())
                if jump > _CLIFF * spread + _ROUNDING * largest:
                    raise error(
                        "potential",
                        f"the same values at both ends, {sides[k][0]:.6g} and {sides[k][1]:.6g}, of a periodic grid",
                        f"values that differ by {jump:.3g} at t = {t:g}",
                        "give the drift instead, whose law has a current, or a grid of one period",
                    )


#: Central difference of the first derivative, sixth order: offsets 1, 2, 3 with opposite signs on the other side.
_COEFFICIENTS = (3.0 / 4.0, -3.0 / 20.0, 1.0 / 60.0)


def central_divergence(field: Callable[[Array], Array], x: Array, step: float) -> Array:
    """Return ``sum_k d f_k/d x_k`` at points (n, d), error ``step^6 f^(7)/140`` and rounding of ``eps f/step``.

    Parameters
    ----------
    field : callable
        Points (n, d) in, vectors (n, d) out.
    x : array, shape (n, d)
    step : float

    Examples
    --------
    >>> central_divergence(lambda x: x**2, np.array([[1.0, 2.0]]), 0.01).round(9)
    array([6.])
    """
    total = np.zeros(len(x))
    for axis in range(x.shape[1]):
        shift = np.zeros(x.shape[1])
        for k, coefficient in enumerate(_COEFFICIENTS, start=1):
            shift[axis] = k * step
            total += coefficient * (field(x + shift)[:, axis] - field(x - shift)[:, axis])
    return total / step


def square_norm_on_axes(*axes: Array) -> Array:
    """``|x|^2`` on the tensor grid of the axes."""
    return np.add.reduce(np.ix_(*[a**2 for a in axes])) if len(axes) == 1 else np.add.outer(axes[0] ** 2, axes[1] ** 2)


@dataclass(frozen=True)
class Forward(BaseDynamics):
    """The forward (noising) process ``dX = a(t) X dt + g(t) dW`` of `process`, from time 0 up.

    Parameters
    ----------
    process : Process
    dim : {1, 2}

    Examples
    --------
    >>> import fpsolve as fp
    >>> float(Forward(fp.OrnsteinUhlenbeck(T=1.0)).drift(0.0, 3.0))
    -3.0
    """

    process: Process
    dim: int = 1
    unbounded = True

    def __post_init__(self) -> None:
        checked_process(self.process)
        dimension("dim", self.dim)

    @property
    def horizon(self) -> float:
        """T of the process."""
        return float(self.process.T)

    @cached_property
    def joints(self) -> Joints:
        """Kinks of the process."""
        return replace(self.process.joints, times=break_times("kinks", self.process.joints.times, self.horizon))

    def drift(self, t: float, x: ArrayLike) -> Array:
        """a(t) x."""
        return np.asarray(self.process.drift_rate(t) * real_array("x", x))

    def noise(self, t: ArrayLike) -> Array:
        """g(t)."""
        return np.asarray(self.process.diffusion(t))

    def laws_at(self, t: float, starts: list[Law]) -> list[Law]:
        """The starts diffused up to time t."""
        return [marginals.family(start, self.process).law(t) if t > 0.0 else start for start in starts]

    def log_gibbs_on_axes(self, times: Array, *axes: Array) -> Array | None:
        """``a |x|^2 / g^2``."""
        factor = self.process.drift_rate(times) / np.square(self.process.diffusion(times))
        return np.multiply.outer(factor, square_norm_on_axes(*axes))


@dataclass(frozen=True)
class Langevin(BaseDynamics):
    """Overdamped Langevin dynamics ``dX = grad log p(X) dt + sqrt(2) dB`` of a law with density p, its steady state.

    Parameters
    ----------
    law : Law

    References
    ----------
    Roberts and Tweedie 1996, doi:10.2307/3318418.
    """

    law: Law
    unbounded = True
    autonomous = True

    def __post_init__(self) -> None:
        instances(law=(self.law, Law))

    @property
    def dim(self) -> int:
        """Dimension of the law."""
        return self.law.dim

    def drift(self, t: float, x: ArrayLike) -> Array:
        """grad log p, the same at every time."""
        return self.law.score(x)

    def noise(self, t: ArrayLike) -> Array:
        """sqrt(2)."""
        return np.full(np.shape(t), 2.0**0.5)

    def laws_at(self, t: float, starts: list[Law]) -> list[Law]:
        """The law itself."""
        return [self.law]

    def log_gibbs_on_axes(self, times: Array, *axes: Array) -> Array | None:
        """log p, the same at every time."""
        value = self.law.log_density_on_axes(*axes)
        return np.broadcast_to(value, (len(times), *value.shape))
