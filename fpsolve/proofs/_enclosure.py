"""Distances between evolved laws as intervals that are theorems, and measured curves held against them: the proof that
a run's error bars hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fpsolve import _checks, _runs, weights
from fpsolve._checks import FloatArray
from fpsolve._messages import Status, described
from fpsolve.dynamics import Reverse, identity
from fpsolve.laws import Law
from fpsolve.proofs._balls import Ball, BudgetSpent, Stopwatch, exact, float_above, float_below, precision
from fpsolve.proofs._block import Problem, distance
from fpsolve.proofs._mixtures import Sides, mixture, path, signed_norm

if TYPE_CHECKING:
    import xarray as xr


#: First precision in bits and first absolute width.
BITS, SMALL = 160, 1e-18
#: Attempts, each with a width from the last one's lower end.
ATTEMPTS = 8
#: The least that may be left out: doubles end there.
LEAST = 1e-290

HYPOTHESES = (
    "the components of every law are the stored ones: weights exp(log_weights) over their sum, means and variances the "
    "doubles in component_means and component_covs",
    "the parameters of the process are the doubles it was given",
    "the ball arithmetic of Arb (python-flint) is correct",
)


@dataclass(frozen=True)
class Enclosure:
    """An interval that contains a number: a computer-assisted proof, not an estimate.

    Attributes
    ----------
    lower, upper : float
        ``lower <= number <= upper``; rounded outwards. ``upper`` is infinite where nothing was proved.
    statement : str
        What lies in the interval.
    hypotheses : tuple of str
        What the proof takes for granted.
    seconds : float
        Processor time spent.
    reason : str
        Why the interval is wider than it was asked for; empty where it is not.
    """

    lower: float
    upper: float
    statement: str
    hypotheses: tuple[str, ...]
    seconds: float
    reason: str = ""

    @property
    def status(self) -> Status:
        """Proved; no certificate where nothing is known but that a distance is not negative."""
        return "proved" if self.lower > 0.0 or math.isfinite(self.upper) else "no certificate"

    @property
    def width(self) -> float:
        """``upper - lower``."""
        return self.upper - self.lower

    @property
    def relative_width(self) -> float:
        """The width against the lower end; infinite where that is 0."""
        return self.width / self.lower if self.lower > 0.0 else math.inf

    def __contains__(self, number: float) -> bool:
        return self.lower <= number <= self.upper

    def __str__(self) -> str:
        """Return the interval and what it holds, one line per fact."""
        lines = [f"{self.status}: {self.statement}", f"  in [{self.lower!r}, {self.upper!r}] ({self.seconds:.2g} s)"]
        lines += [f"  not as narrow as asked: {self.reason}"] if self.reason else []
        return "\n".join([*lines, *(f"  given: {text}" for text in self.hypotheses)])


def weighted_tv(
    reverse: Reverse,
    nu: Law,
    mu: Law | None = None,
    *,
    t: float,
    t_max: float | None = None,
    weight: Any = None,
    rtol: float = 1e-10,
    budget: float = 600.0,
) -> Enclosure:
    r"""Prove an interval for the weighted total variation between two laws evolved by the reverse dynamics.

    .. math:: \|\nu P_{T \to t} - \mu P_{T \to t}\|_V = \int V\, p_t\, |D|\, dx, \qquad
       D(x) = \int \frac{d\nu - d\mu}{dp_T}(y)\, N(y; \alpha x, \sigma^2)\, dy

    by Bayes' rule, ``alpha`` and ``sigma^2`` those of the forward process from t to T. D is a polynomial on panels,
    with a bound for every remainder; its signs are proved by bisection; integrals against p_t are closed form. Nothing
    of the finite-volume solver, of the distances or of the oracle is used.

    Parameters
    ----------
    reverse : Reverse
        Target a Gaussian, GaussianMixture or KernelDensity in 1D, a built-in process, the exact score, eta = 1.
    nu, mu : laws
        Starts at t_max, mixtures of normal laws in 1D; `mu` None is the exact law there.
    t : float
        Forward time in [0, t_max].
    t_max : float or None
        Forward time at which the laws begin; None is T.
    weight : UnitWeight, PolynomialWeight of an integer power, ExponentialWeight or None (1 + x^2)
        V. With V = 1 the number is twice the usual total variation.
    rtol : float, default 1e-10
        Width to aim at, against the lower end.
    budget : float, default 600
        Processor seconds after which the best interval so far is returned, with the reason.

    Returns
    -------
    Enclosure

    Raises
    ------
    ValueError
        A law that is no mixture of normal laws, 2D, eta != 1, a score model, a process or weight without closed forms,
        t outside of [0, t_max].
    ImportError
        Without python-flint.

    References
    ----------
    Anderson 1982, doi:10.1016/0304-4149(82)90051-5; Tucker 2011, Validated Numerics, ISBN 978-0-691-14781-9.
    """
    check_reverse(reverse)
    T = float(reverse.process.T)
    end = T if t_max is None else _checks.interval("t_max", t_max, 0.0, T)
    time = _checks.interval("t", t, 0.0, end)
    _checks.positive("rtol", rtol)
    Sides(weight)
    for name, law in (("reverse.target", reverse.target), ("nu", nu), ("mu", nu if mu is None else mu)):
        mixture(name, law)

    def attempt(small: Ball, watch: Stopwatch) -> Ball:
        law, sides = mixture("reverse.target", reverse.target), Sides(weight)
        first = mixture("nu", nu)
        second = None if mu is None else mixture("mu", mu)
        last = law.diffused(path(reverse.process, 0.0, end))
        if time == end:
            return signed_norm(first.minus(second or last), sides, small, watch)
        here = law.diffused(path(reverse.process, 0.0, time))
        between = path(reverse.process, time, end)
        return distance(Problem(here, last, first, second, between, sides), small, watch)

    other = "mu P" if mu is not None else "p_T P" if end == T else "p_t"
    statement = f"||nu P - {other}||_V from {'T' if end == T else 't_max'} = {end!r} to t = {time!r}"
    statement += f", V = {_named(weight)}"
    return _enclose(attempt, statement, rtol, budget)


def early_stopping(
    reverse: Reverse, *, t_min: float, weight: Any = None, rtol: float = 1e-10, budget: float = 600.0
) -> Enclosure:
    r"""Prove an interval for :math:`\|p_{t_{min}} - p_0\|_V`: what stopping at t_min costs, whatever the sampler.

    Parameters
    ----------
    reverse : Reverse
        Target and process as for `weighted_tv`; score and eta do not matter.
    t_min : float
        Forward time in [0, T]; at 0 the distance is 0.
    weight, rtol, budget
        As for `weighted_tv`.

    Returns
    -------
    Enclosure

    Raises
    ------
    ValueError
        A target that is no mixture of normal laws in 1D, a process or weight without closed forms.
    """
    if not isinstance(reverse, Reverse):
        raise _checks.error("reverse", "a Reverse dynamics", f"a {type(reverse).__name__}")
    time = _checks.interval("t_min", t_min, 0.0, float(reverse.process.T))
    _checks.positive("rtol", rtol)
    Sides(weight)
    mixture("reverse.target", reverse.target)

    def attempt(small: Ball, watch: Stopwatch) -> Ball:
        if time == 0.0:
            return exact(0.0)
        law = mixture("reverse.target", reverse.target)
        return signed_norm(law.diffused(path(reverse.process, 0.0, time)).minus(law), Sides(weight), small, watch)

    return _enclose(attempt, f"||p_t - p_0||_V at t = {time!r}, V = {_named(weight)}", rtol, budget)


def forgetting_curve(
    reverse: Reverse,
    starts: dict[str, Law],
    *,
    t: Any,
    weight: Any = None,
    reference: str | None = None,
    rtol: float = 1e-10,
    budget: float = 600.0,
) -> xr.Dataset:
    """Prove an interval for the distance of every start at many times.

    Parameters
    ----------
    reverse, weight, rtol
        As for `weighted_tv`.
    starts : dict of str to law
        Laws at time T.
    t : array_like
        Forward times in [0, T].
    reference : str or None
        Label of the start the others are held against; None is the exact law.
    budget : float, default 600
        Processor seconds for each interval.

    Returns
    -------
    xarray.Dataset
        ``lower``, ``upper`` and ``seconds`` over (start, t), and ``reason``, empty where the width was reached.

    Raises
    ------
    ValueError
        As `weighted_tv`; a reference that is no label.
    """
    import xarray as xr

    times = np.atleast_1d(_checks.finite_array("t", t))
    if times.ndim != 1:
        raise _checks.error("t", "one time or a list of them", f"shape {times.shape}")
    if reference is not None and not isinstance(reference, str):
        raise _checks.error("reference", "the label of a start or None", f"a {type(reference).__name__}")
    if not isinstance(starts, dict) or not set(starts) - {reference} or not times.size:
        got = f"{list(starts) if isinstance(starts, dict) else type(starts).__name__} and {times.size} times"
        raise _checks.error("starts", "a dict of labels to laws, one besides the reference, and a time", got)
    if reference is not None:
        _checks.one_of("reference", reference, tuple(starts))
    mu = None if reference is None else starts[reference]
    names = [name for name in starts if name != reference]
    found = [
        [weighted_tv(reverse, starts[name], mu, t=float(s), weight=weight, rtol=rtol, budget=budget) for s in times]
        for name in names
    ]
    columns = {
        field: (("start", "t"), np.array([[getattr(one, field) for one in row] for row in found]))
        for field in ("lower", "upper", "seconds", "reason")
    }
    notes = {"status": "proved", "hypotheses": "; ".join(HYPOTHESES), "reference": reference or "exact law"}
    notes["weight"] = weights.to_json(weight)
    return described(xr.Dataset(columns, coords={"start": names, "t": times}, attrs=notes))


def check_reverse(reverse: Any) -> None:
    """ValueError for dynamics whose kernel is not closed form."""
    if not isinstance(reverse, Reverse):
        raise _checks.error("reverse", "a Reverse dynamics", f"a {type(reverse).__name__}")
    if not reverse.exact or reverse.eta != 1.0:
        got = f"eta = {reverse.eta_label}" if reverse.exact else "a score model"
        raise _checks.error("reverse", "the exact score and eta = 1", got, "only then is the kernel Bayes' rule")


def _named(weight: Any) -> str:
    return "1 + x^2" if weight is None else repr(weight)


def _enclose(attempt: Callable[[Ball, Stopwatch], Ball], statement: str, rtol: float, budget: float) -> Enclosure:
    """The narrowest interval of a few attempts, each with more bits and a width that the last one suggests."""
    watch = Stopwatch(budget)
    lower, upper, small, bits = 0.0, math.inf, SMALL, BITS
    reason = f"the width asked for was not reached in {ATTEMPTS} attempts"
    for _ in range(ATTEMPTS):
        with precision(bits):
            try:
                ball = attempt(exact(small), watch)
            except BudgetSpent as spent:
                reason = str(spent)
                break
            lower, upper = max(lower, float_below(ball)), min(upper, float_above(ball))
        if lower > upper:
            raise RuntimeError(f"two enclosures of one number do not overlap: {statement}; please report this")
        if upper - lower <= rtol * lower:
            reason = ""
            break
        if not float_above(ball.rad()) <= 1e3 * small:
            # what is left is rounding, not what was left out
            bits *= 2
            continue
        small = min(small * 1e-3, 0.05 * rtol * lower if lower > 0.0 else small * small)
        if not small > LEAST:
            reason = f"what may be left out fell below {LEAST:g}"
            break
        bits = max(bits, BITS + int(math.log2(SMALL / small)))
    if reason and lower == 0.0 and upper < math.inf:
        reason += "; the distance may be 0"
    return Enclosure(lower, upper, statement, HYPOTHESES, watch.seconds, reason)


def verify(
    curve: xr.Dataset, reverse: Reverse, starts: dict[str, Law], *, rtol: float = 1e-10, budget: float = 600.0
) -> xr.Dataset:
    """Say of every start and time whether a measured distance and its error bar agree with an enclosure of it.

    Dynamics and starts are given again; ``fpsolve prove RUN.nc`` reads them from the file of a run. Weight and
    reference are those of the curve; the reference "exact" is the exact law p_T unless `starts` says another.

    Parameters
    ----------
    curve : Dataset
        What `fpsolve.forgetting_curve` returns.
    reverse : Reverse
        The dynamics of the run, as for `weighted_tv`.
    starts : dict of str to law
        The laws of the run at time T, at least those of the curve and the reference if it is not "exact".
    rtol, budget : float
        As for `forgetting_curve`.

    Returns
    -------
    Dataset
        ``distance``, ``error`` of the curve, ``lower``, ``upper``, ``reason`` of the enclosure, and ``agrees`` over
        (start, t): ``[distance - error, distance + error]`` meets ``[lower, upper]``. Where the error bar is not finite
        nothing agrees: there is no claim. ``verdict``: "holds" where the error bar is proved to cover the distance (it
        contains ``[lower, upper]``), "does not hold" where it is proved not to (they are apart), else "undecided". The
        attribute ``all_agree`` is "yes" or "no".

    Raises
    ------
    ValueError
        As `weighted_tv`; a curve of another kind or of other dynamics, labels without a law, a run that did not begin
        at T.
    """
    check_reverse(reverse)
    if not isinstance(starts, dict):
        raise _checks.error("starts", "a dict of labels to laws", f"a {type(starts).__name__}")
    # reference and weight of a curve; ValueError where it is none
    held = getattr(curve, "data_vars", ())
    if "distance" not in held or "error" not in held or not {"reference", "weight"} <= set(curve.attrs):
        remedy = "pass what fpsolve.forgetting_curve returns"
        raise _checks.error("curve", "a Dataset of distance and error with a reference", type(curve).__name__, remedy)
    end = float(reverse.process.T)
    if "reverse_time" in curve.coords:
        # t + r is the time at which the run began
        began = float((curve["t"] + curve["reverse_time"]).max())
        if not math.isclose(began, end, rel_tol=1e-12):
            raise _checks.error("curve", f"distances of a run from T = {end!r}", f"one from {began!r}", "begin at T")
    reference, weight = str(curve.attrs["reference"]), weights.from_json(str(curve.attrs["weight"]))
    _runs.require_same_dynamics(curve.attrs, identity(reverse), ("curve", "reverse"))
    labels = [str(label) for label in curve["start"].values]
    laws = dict(starts)
    missing = [label for label in labels if label not in laws]
    if missing or (reference != "exact" and reference not in laws):
        got = f"none for {missing or reference}"
        raise _checks.error("starts", "a law for every start of the curve and its reference", got)
    given = reference if reference in laws else None
    wanted = {label: laws[label] for label in [*labels, *([] if given is None else [given])]}
    times = np.atleast_1d(curve["t"].values)
    proved = forgetting_curve(reverse, wanted, t=times, weight=weight, reference=given, rtol=rtol, budget=budget)
    place = [list(proved["start"].values).index(label) for label in labels]
    found = {name: proved[name].values[place] for name in ("lower", "upper", "reason")}
    distance, error = (curve[name].transpose("start", "t").values for name in ("distance", "error"))
    known = np.isfinite(distance) & np.isfinite(error)
    meets = (distance - error <= found["upper"]) & (distance + error >= found["lower"])
    columns: dict[str, Any] = {"distance": distance, "error": error, "agrees": known & meets} | found
    columns["verdict"] = _verdicts(distance, error, found["lower"], found["upper"])
    notes = proved.attrs | {"reference": reference, "all_agree": "yes" if bool((known & meets).all()) else "no"}
    measured = {"distance", "error"}
    words = {name: {"status": "estimated" if name in measured else "proved"} for name in columns if name != "reason"}
    rows = {name: (("start", "t"), values, words.get(name, {})) for name, values in columns.items()}
    return described(proved[["reason"]].isel(start=place).assign(rows).assign_attrs(notes))


def _verdicts(distance: FloatArray, error: FloatArray, lower: FloatArray, upper: FloatArray) -> NDArray[np.str_]:
    """Whether ``[distance - error, distance + error]`` contains an enclosure, is apart from it, or neither is known."""
    known = np.isfinite(distance) & np.isfinite(error)
    low, high = distance - error, distance + error
    # the ends are rounded: a verdict has to stand for both neighbours of each
    covers = (np.nextafter(low, np.inf) <= lower) & (np.nextafter(high, -np.inf) >= upper)
    apart = (np.nextafter(low, -np.inf) > upper) | (np.nextafter(high, np.inf) < lower)
    return np.where(known & covers, "holds", np.where(known & apart, "does not hold", "undecided"))
