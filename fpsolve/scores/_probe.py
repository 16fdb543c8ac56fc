"""One look at a score model when it is handed in: does it answer at all, with the right shape, type and order of
arguments?

What must not pass is refused, what looks wrong is said.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import numpy as np

from fpsolve import _checks, marginals
from fpsolve._callables import refuse_company, refuse_swapped_names, told
from fpsolve._checks import USER_ERRORS, FloatArray
from fpsolve._messages import ScoreWarning, Status
from fpsolve.laws import Law
from fpsolve.processes import Process
from fpsolve.scores import _adapter
from fpsolve.scores._adapter import ADAPTERS, Adapter, transition
from fpsolve.scores._base import CheckedScore, ExactScore, answer, as_numpy, checked, name_of
from fpsolve.scores._modified import Clipped, Guided, Perturbed, Smoothed
from fpsolve.scores._product_form import ProductScore

Predict = Callable[[float, FloatArray], Any]


def first_values(
    name: str, predict: Predict, times: Sequence[float], points: Sequence[FloatArray], dim: int, swapped: Predict
) -> list[FloatArray]:
    """Return what the model gives at the points of every time, of their shape, finite floats.

    Raises
    ------
    ValueError
        If it raises, returns another shape, integers or values that are not finite, changes its points, or has another
        value at a point among others; the message says if the model answers properly with its arguments exchanged.
    """
    return [_one(name, predict, t, x, dim, swapped) for t, x in zip(times, points, strict=True)]


def _one(name: str, predict: Predict, t: float, x: FloatArray, dim: int, swapped: Predict) -> FloatArray:
    where, before = f"{name} at t = {t:g}", x.copy()
    try:
        raw = predict(t, x)
    except USER_ERRORS as reason:
        remedy = _remedy(swapped, t, x) or "points come as numpy arrays; wrap a torch module by from_torch"
        raise _checks.error(where, f"an answer for points of shape {x.shape}", told(reason), remedy) from reason
    array = as_numpy(where, raw)
    if array.shape != x.shape:
        remedy = _remedy(swapped, t, x) or "return one number (1D) or vector (2D) per point"
        raise _checks.error(where, f"the shape of x, {x.shape}", f"{array.shape}", remedy)
    values = answer(name, t, x, array, dim)
    if not np.array_equal(before, x):
        raise _checks.error(where, "a model that leaves its points alone", "one that changes x in place", "copy it")
    refuse_company(where, lambda points: predict(t, points), before, values)
    return values


def _remedy(swapped: Predict, t: float, x: FloatArray) -> str:
    """Say so where the model answers properly with the arguments exchanged."""
    try:
        array = np.asarray(as_numpy("", swapped(t, x)))
    except USER_ERRORS:
        return ""
    good = array.shape == x.shape and bool(np.isfinite(array).all())
    return "it answers when called with (x, t): exchange the arguments" if good else ""


#: Draws from every p_t where the exact score is known.
_DRAWS = 128

#: Scores somebody changed knowingly.
_ON_PURPOSE = (Perturbed, Clipped, Guided, Smoothed, ProductScore)

_Adapted = TypeVar("_Adapted", bound=Adapter)


class ProbeWarning(UserWarning):
    """A model looks like something else than it is said to be."""


@dataclass(frozen=True, eq=False)
class Probe:
    """What one look at a model found.

    Attributes
    ----------
    name : str
        Description of the model.
    declared : str
        What it is said to be: "score", "noise prediction", "denoiser", "velocity", "flow velocity".
    dim : int
        Dimension of the points.
    times : tuple of float
        Forward times looked at.
    inward : tuple of float
        ``x . s/|x|^2`` of its score at the outermost points, per time: negative for a score.
    misfits : dict of str to float
        By kind, how far the model is from being of that kind: the relative error of the score it would be where
        `exact`, else the logarithm of the factor by which that score is off far out.
    exact : bool
        Whether it was held against the exact score.
    looks_like : tuple of str
        Kinds that fit, common ones first; empty where none does. Tails alone often leave more than one.
    problem : str
        Empty, or one sentence.
    implausible : str
        Empty, or what no plausible model error explains, where it was held against the exact score.
    """

    status: ClassVar[Status] = "estimated"

    name: str
    declared: str
    dim: int
    times: tuple[float, ...]
    inward: tuple[float, ...]
    misfits: dict[str, float] = field(repr=False)
    exact: bool
    looks_like: tuple[str, ...]
    problem: str
    implausible: str = ""

    def __str__(self) -> str:
        """Return a few lines for reading."""
        kind = "relative error of the score" if self.exact else "log of the factor off far out"
        rows = [f"  {k:<26s}{v:10.3g}" for k, v in sorted(self.misfits.items(), key=lambda item: item[1])]
        verdict = self.problem or f"passes for a {self.declared}"
        return "\n".join([f"{self.name}: {verdict}", f"read as: {kind}", *rows])


def probe(
    score: Callable[[float, Any], Any],
    process: Process,
    *,
    dim: int | None = None,
    target: Law | None = None,
    data_std: float = 1.0,
) -> Probe:
    r"""Look at a score model once: shape, finiteness, order of arguments, sign far out, and what it looks like.

    With a target the model is held against the exact score at draws from p_t (a target of the plane only where its
    diffused laws are known in closed form). Without one its tails tell: far out
    :math:`x \cdot s/|x|^2 \to -1/(s_t^2 + a_t^2 v)`, v >= 0 the same at all times, :math:`a = \alpha(0, t)`,
    :math:`s^2 = \sigma^2(0, t)`; a denoiser or a noise prediction handed in as a score has the wrong sign there. Data
    without a variance have other tails: give their law as the target.

    Parameters
    ----------
    score : callable
        ``score(t, x)``, or what an adapter returned (the model inside is then looked at as what it is said to be).
    process : Process
        Forward process.
    dim : int, optional
        1 or 2. Default: that of the target, or whichever the model takes.
    target : Law, optional
        Data law.
    data_std : float, default 1
        Scale of the data, used without a target, or where that has no variance.

    Returns
    -------
    Probe
        ``print`` it; `problem` is empty where nothing looks wrong.

    Raises
    ------
    ValueError
        If the model raises, returns another shape, integers, NaN or infinities (with the place), or takes its
        arguments in the other order.

    Examples
    --------
    A denoiser handed in as a score:

    >>> import fpsolve as fp
    >>> found = probe(lambda t, x: x / (1.0 + t**2), fp.EDM())
    >>> found.looks_like
    ('denoiser', 'velocity', 'minus a score')
    >>> print(found.problem.replace("; ", "\n"))
    its score points outwards far out, x.s/|x|^2 = 0.99 at t = 0.1
    it looks like a denoiser or a velocity or minus a score: use from_denoiser or from_velocity

    The exact score tells more:

    >>> probe(lambda t, x: 4.0 * x / (4.0 + t**2), fp.EDM(), target=fp.Gaussian(0.0, std=2.0)).looks_like
    ('denoiser',)
    """
    _checks.instances(process=(process, Process))
    if target is not None:
        _checks.instances(target=(target, Law))
    if target is not None:
        dim = _checks.same_dim("target", target.dim, "dim", target.dim if dim is None else dim)
        own = float(np.sqrt(np.trace(np.atleast_2d(target.cov)) / target.dim))
        # a point mass has none, a Student's t may have no variance
        data_std = own if 0.0 < own < np.inf else data_std
    dims = (1, 2) if dim is None else (_checks.dimension("dim", dim),)
    failures = []
    for d in dims:
        try:
            return _probe(score, process, d, target, _checks.positive("data_std", data_std))
        except ValueError as reason:
            failures.append(reason)
    # a model for the plane answers no points of the line: what it does in the plane is then the news
    raise failures[-1] if "expected an answer for points" in str(failures[0]) else failures[0]


def admit(adapter: _Adapted, dim: int | None) -> _Adapted:
    """Return the adapter once its model was looked at; warn where that looks like another kind."""
    warn(probe(adapter, adapter.process, dim=dim), repr(adapter), level=4)
    return adapter


def warn(found: Probe, name: str, *, level: int) -> None:
    """Warn, `level` frames up where the adapter was called, if the probe found a problem."""
    if found.problem:
        warnings.warn(f"{name}: {found.problem}.", ProbeWarning, stacklevel=level)


def admitted(score: Callable[[float, Any], Any], process: Process, target: Law) -> CheckedScore:
    """Return a score model for a known target behind the check, once it was looked at.

    What comes behind the check already is taken as it is: ``checked`` is the way to insist. A score that was changed
    on purpose (`perturbed`, `clipped`, `smoothed`, `product_form`) is no reason to warn, the model inside of it may be.

    Raises
    ------
    ValueError
        As `probe`, and where the exact score says that the model is of another kind.

    Warns
    -----
    ScoreWarning
        The score does not fit the target, by more than any plausible model error: a wrong sign, a forgotten factor,
        another clock. Thresholds: see `fpsolve.scores._adapter`.
    """
    if isinstance(score, CheckedScore):
        return score
    border = checked(score, target.dim)
    _refuse_strangers(score, process, target)
    interval = getattr(score, "interval", None)
    if interval is not None and interval[0] >= process.T:
        expected, got = f"forward times that begin below T = {_checks.digits(process.T)}", f"{interval}: no guidance"
        warnings.warn(
            str(_checks.error("interval", expected, got, "noise levels are no times")), ScoreWarning, stacklevel=3
        )
    found = probe(score, process, target=target)
    others = [kind for kind in found.looks_like if kind in ADAPTERS and kind != found.declared]
    if found.problem and found.exact and others:
        raise ValueError(f"score: {found.problem}; scores.checked(score) insists on it.")
    inside = score
    while isinstance(inside, _ON_PURPOSE) and hasattr(inside, "score"):
        inside = inside.score
    if isinstance(inside, (CheckedScore, ExactScore, *_ON_PURPOSE)):
        return border
    if inside is not score:
        found = probe(inside, process, target=target)
    if found.implausible:
        remedy = "see scores.probe(score, process, target=target); scores.perturbed says that an error is meant"
        warnings.warn(f"score: {found.problem}; {remedy}.", ScoreWarning, stacklevel=3)
    return border


def _refuse_strangers(score: Any, process: Process, target: Law) -> None:
    """Refuse a score made for another dimension or another process."""
    dim, own = getattr(score, "dim", None), getattr(score, "process", None)
    if isinstance(dim, int):
        _checks.same_dim("score", dim, "the target", target.dim)
    if isinstance(own, Process) and own != process:
        times = np.array(_adapter.probe_times(process))
        inside = times[times <= float(own.T)]
        same = all(
            np.allclose(getattr(own, name)(0.0, inside), getattr(process, name)(0.0, inside), rtol=1e-9, atol=0.0)
            for name in ("scale", "variance")
        )
        if not same or not inside.size:
            remedy = "give both the same process; scores.checked(score) insists on it"
            raise _checks.error("score", f"one for the process {process!r}", f"one for {own!r}", remedy)


def _probe(score: Any, process: Process, dim: int, target: Law | None, data_std: float) -> Probe:
    declared, predict, swapped = _opened(score)
    window, box = getattr(score, "domain", None) or (None, None)
    times = _adapter.probe_times(process, window)
    points = [_adapter.probe_points(process, t, dim, data_std, box) for t in times]
    values = first_values(declared, predict, times, points, dim, swapped)
    convert = _adapter.CANDIDATES[declared]
    slopes = [_adapter.inward(x, convert(process, t, x, v), dim) for t, x, v in zip(times, points, values, strict=True)]
    exact, beyond = target is not None and (target.dim == 1 or target.diffused(1.0, 1.0) is not None), ""
    if exact and target is not None:
        misfits, looks, wrong, beyond = _against_exact(declared, predict, process, times, target, box)
    else:
        both = _adapter.tail_misfits(process, times, points, values, dim)
        misfits = {kind: plausible for kind, (_, plausible) in both.items()}
        looks = _fitting(misfits, _adapter.ALIKE, _adapter.TIE_TAILS)
        wrong = both[declared][0] > _adapter.UNLIKE
    problem = _problem(declared, times, slopes, misfits, looks, exact, beyond) if wrong or beyond else ""
    return Probe(name_of(score), declared, dim, tuple(times), tuple(slopes), misfits, exact, looks, problem, beyond)


def _opened(score: Any) -> tuple[str, Predict, Predict]:
    """What the model is said to be, how it is called, and how it would be with its arguments exchanged."""
    if isinstance(score, Adapter):
        other = score.exchanged()
        refuse_swapped_names("model", score.model, score.order, f"say order={other.order!r}")
        return score.kind, score.predict, other.predict
    if not callable(score):
        raise _checks.error("score", "a callable score(t, x)", repr(score)[:60])
    refuse_swapped_names("score", score, "t, x", "exchange them: lambda t, x: score(x, t)")
    return "score", score, lambda t, x: score(x, t)


def _against_exact(
    declared: str, predict: Predict, process: Process, times: list[float], target: Law, box: Any
) -> tuple[dict[str, float], tuple[str, ...], bool, str]:
    """Relative errors at draws from p_t, the kinds that fit, whether it is clearly not what it is said to be, and why
    no plausible model error explains it, if none does.
    """
    points, exact, family = [], [], marginals.family(target, process)
    for t in times:
        rng = np.random.default_rng(0)
        x = target.sample(_DRAWS, rng)
        a, s = transition(process, t)
        x = a * x + s * rng.standard_normal(x.shape)
        if box is not None:
            x = np.clip(x, *np.transpose(box)) if x.ndim == 2 else np.clip(x, *box[0])
        points.append(x)
        exact.append(family.score(t, x))
    values = first_values(declared, predict, times, points, target.dim, predict)
    misfits = _adapter.exact_errors(process, times, points, values, exact)
    looks = _fitting(misfits, _adapter.NEAR, _adapter.TIE_EXACT)
    ours, best = misfits[declared], min(misfits.values())
    doubtful = ours > _adapter.DOUBTFUL and ours > _adapter.FACTOR * best
    found = [_adapter.CANDIDATES[declared](process, t, x, v) for t, x, v in zip(times, points, values, strict=True)]
    beyond = _adapter.beyond_plausible(process, times, found, exact)
    if beyond and not beyond.endswith("the exact one"):
        beyond += _other_clock(declared, predict, process, times, points, exact)
    return misfits, looks, ours > _adapter.FAR or doubtful, beyond


def _other_clock(
    declared: str,
    predict: Predict,
    process: Process,
    times: list[float],
    points: list[FloatArray],
    exact: list[FloatArray],
) -> str:
    """Say with which other time the model would fit, if it does with one."""
    for name, clock in _adapter.CLOCKS.items():
        try:
            # most of these times are none of the model's
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                raw = [predict(clock(process, t), x) for t, x in zip(times, points, strict=True)]
                values = [np.asarray(as_numpy("", one), dtype=np.float64) for one in raw]
                off = _adapter.exact_errors(process, times, points, values, exact)[declared]
        except USER_ERRORS:
            continue
        if off < _adapter.NEAR:
            return f"; given {name} in place of t it fits, to {off:.2g}: its clock is another (time= of the adapters)"
    return ""


def _fitting(misfits: dict[str, float], limit: float, tie: float) -> tuple[str, ...]:
    """Kinds within the limit that cannot be told from the best: common ones first."""
    best = min(misfits.values())
    return tuple(kind for kind in misfits if misfits[kind] <= min(limit, best + tie))


def _problem(
    declared: str,
    times: list[float],
    slopes: list[float],
    misfits: dict[str, float],
    looks: tuple[str, ...],
    exact: bool,
    beyond: str,
) -> str:
    """One sentence: what is wrong, and what it looks like instead."""
    worst = int(np.argmax(slopes))
    if slopes[worst] >= 0.0:
        what = f"its score points outwards far out, x.s/|x|^2 = {slopes[worst]:.2g} at t = {times[worst]:.2g}"
    elif exact:
        what = f"read as a {declared}, its score has a relative error of {misfits[declared]:.2g}"
        what = f"{what}, {beyond}" if beyond else what
    else:
        what = f"read as a {declared}, its score has the wrong size far out"
    others = [kind for kind in looks if kind != declared]
    if not others:
        return what
    adapters = [ADAPTERS[kind] for kind in others if kind in ADAPTERS]
    remedy = f"use {' or '.join(adapters)}" if adapters else "turn its sign"
    if others[0] == "score":
        remedy = "hand it in as it is"
    alike = [kind if kind.startswith("minus") else f"a {kind}" for kind in others]
    return f"{what}; it looks like {' or '.join(alike)}: {remedy}"
