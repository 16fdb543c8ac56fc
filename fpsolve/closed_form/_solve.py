"""Which closed form applies: one function from (reverse, start, t) to a log density."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from fpsolve import _times
from fpsolve._checks import error, same_dim
from fpsolve.closed_form._bayes import bayes, marginal_mixture, posterior
from fpsolve.closed_form._fields import Field, LawField
from fpsolve.closed_form._linear import linear
from fpsolve.closed_form._mixture import Mixture, as_mixture
from fpsolve.closed_form._transport import transport
from fpsolve.laws import Law, PointMass
from fpsolve.processes import Process

AVAILABLE = (
    "closed forms exist for eta = 1 (any start), for eta = 0 in 1D (any start with a density), for Gaussian targets "
    "(normal-mixture and point-mass starts at any eta > 0 or eta(t), other starts where the target is isotropic) and "
    "for the start p_T of a normal-mixture target (any eta)"
)


class ReverseLike(Protocol):
    """What the oracle reads of a `Reverse`."""

    @property
    def target(self) -> Law: ...
    @property
    def process(self) -> Process: ...
    @property
    def eta(self) -> float | Callable[[float], float]: ...
    @property
    def exact(self) -> bool: ...


def check(reverse: ReverseLike, start: Law, t: float) -> float:
    """Return t as a float; refuse score models, mixed dimensions and times outside of (0, T]."""
    check_exact(reverse)
    same_dim("start", start.dim, "the target", reverse.target.dim)
    remedy = "densities are known at forward times t > 0 up to T, where the start is"
    return _times.one("t", t, 0.0, reverse.process.T, ends="(]", remedy=remedy)


def require_law(name: str, start: Law) -> None:
    """Refuse what has no log density: any object with one and a dimension is a law to the oracle."""
    if isinstance(start, type) or not all(hasattr(start, part) for part in ("log_density", "dim")):
        raise error(name, "a law", f"a {type(start).__name__}", "data become one by fpsolve.KernelDensity(samples)")


def check_exact(reverse: ReverseLike) -> None:
    """Refuse a score model."""
    if not all(hasattr(reverse, name) for name in ("target", "process", "eta", "exact")):
        raise error("reverse", "a reverse dynamics", f"a {type(reverse).__name__}", "fpsolve.Reverse(target, process)")
    if not reverse.exact:
        remedy = "leave out score=; no closed form knows a model's law"
        raise error("reverse", "the exact score", "a score model", remedy)


def solve(reverse: ReverseLike, start: Law, t: float, rtol: float) -> Field:
    """Return the log density at t in (0, T] of the reverse dynamics started from `start` at T.

    Raises
    ------
    ValueError
        Where no closed form is available.
    """
    target, process, eta = reverse.target, reverse.process, reverse.eta
    if t == process.T:
        return _start(start)
    mixture = as_mixture(target)
    if mixture is not None and len(mixture.log_weights) == 1:
        known = linear(mixture, process, eta, start, t, rtol)
        if known is not None:
            return known
    if mixture is not None and is_marginal(start, marginal_mixture(mixture, process, process.T)):
        return marginal_mixture(mixture, process, t)
    if eta == 1.0:
        return doob(reverse, start, t, rtol)
    if eta == 0.0 and target.dim == 1 and not isinstance(start, PointMass):
        return transport(target, process, start, t, rtol)
    shown = "eta(t)" if callable(eta) else f"eta = {eta:g}"
    described = f"{shown} in {target.dim}D, start {type(start).__name__}, target {type(target).__name__}"
    raise error("reverse", "a case with a closed form", described, AVAILABLE)


def doob(reverse: ReverseLike, start: Law, t: float, rtol: float) -> Field:
    """Return Bayes' rule applied to any start, eta = 1, t < T."""
    if isinstance(start, PointMass):
        return posterior(reverse.target, reverse.process, np.atleast_1d(start.at), t, rtol)
    return bayes(reverse.target, reverse.process, start, t, rtol)


def is_marginal(start: Law, p_start: Mixture) -> bool:
    """Say whether a start is the mixture p_T, component by component, whatever object it is."""
    mixture = as_mixture(start)
    if mixture is None or mixture.means.shape != p_start.means.shape:
        return False
    return all(
        np.allclose(a, b, rtol=1e-12, atol=1e-14 * float(np.abs(b).max()))
        for a, b in zip(_sorted(mixture), _sorted(p_start), strict=True)
    )


def _sorted(mixture: Mixture) -> tuple[Any, Any, Any]:
    keys = np.column_stack([mixture.means, mixture.covs.reshape(len(mixture.means), -1), mixture.log_weights])
    # rounded keys: components that differ by rounding keep their order
    order = np.lexsort(np.round(keys / np.abs(keys).max(initial=1e-300), 9).T)
    return mixture.log_weights[order], mixture.means[order], mixture.covs[order]


def _start(start: Law) -> Field:
    if isinstance(start, PointMass):
        raise error("t", "a time t < T for a point mass, which has no density at T", "t = T")
    return LawField(start)
