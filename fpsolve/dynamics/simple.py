"""Forward noising and Langevin dynamics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve import marginals
from fpsolve._checks import dimension, instances, real_array
from fpsolve.dynamics._base import BaseDynamics, break_times
from fpsolve.laws import Law
from fpsolve.processes import Process, checked_process

Array = NDArray[np.float64]


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

    @property
    def breaks(self) -> tuple[float, ...]:
        """Kinks of the process."""
        return break_times("kinks", self.process.kinks, self.horizon)

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
