"""The ladder: all bounds on one run from crude to sharp beside what is measured, in one Dataset over the block
boundaries.

Named checks hold every inequality between its rungs, with margins.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve import __version__, _checks, _runs, weights
from fpsolve._checks import flag, instances
from fpsolve._messages import Status, described, weakest
from fpsolve.bounds import _blocks
from fpsolve.bounds._blocks import Stages, named_starts, stages
from fpsolve.bounds._dobrushin import Dobrushin, dobrushin
from fpsolve.bounds._drift import Closed
from fpsolve.bounds._harris import Chain, Sharp
from fpsolve.bounds._poincare import poincare
from fpsolve.bounds._record import Hypothesis, Record
from fpsolve.dynamics import Reverse, identity
from fpsolve.grid import Grid
from fpsolve.laws import Law
from fpsolve.weights import WeightLike

if TYPE_CHECKING:
    import xarray as xr


Array = NDArray[np.float64]

SHARP, PRODUCT, POINCARE = "sharp Dobrushin", "product of sharp Dobrushin", "Poincare"
HARRIS, CLOSED, PROVED = "Harris", "Harris, closed form", "Harris, proved"


def ladder(
    reverse: Reverse,
    *,
    grid: Grid,
    blocks: int | ArrayLike = 5,
    weight: WeightLike = None,
    norm: WeightLike = None,
    start: Law | Mapping[str, Law] | None = None,
    t_min: float | None = None,
    frame: Literal["fixed", "scaled"] = "fixed",
    proved: bool = False,
) -> xr.Dataset:
    r"""Return the ladder of bounds on the forgetting of a start, block by block.

    For boundaries ``T = t_0 > ... > t_n = t_min`` and the distance d_0 of a start nu to the marginal p_T in the weight
    w, the distance at t_m is at most each of

    * "sharp Dobrushin": the coefficient of the kernel from T to t_m, times d_0;
    * "product of sharp Dobrushin": the product of the coefficients of the blocks up to t_m, times d_0;
    * "Harris": Harris' contraction with sharp constants, times d_0; for every t_m the better of one block from T and
      of the chain up to t_{m-1} followed by the last block, with the best common beta: the contraction in the weight
      ``1 + beta V`` costs a factor ``max(beta, 1/beta)`` in ``1 + V``;
    * "Harris, closed form": the same with constants in closed form;
    * "Poincare": the chi-square bound, which knows neither drift nor minorization. Where its constant is an estimate
      (attribute `poincare_constant` "spectral gap of a grid"), so is this rung: give ``constant="bracket"`` to
      `poincare` for a bound;
    * "Harris, proved" (with `proved`): the same as "Harris", with K, overlap and d_0 enclosed by ball arithmetic
      (`fpsolve.proofs`): a theorem, in the weight ``1 + beta V`` of the betas that serve the rung "Harris".

    Where nothing is certified there is NaN. `verify` checks the order: measured <= all of them, the sharp coefficient
    <= its product and <= Harris <= closed form.

    Parameters
    ----------
    reverse : Reverse
        Exact kernels by Bayes' rule where they apply (exact score, eta = 1), finite volumes otherwise.
    grid : Grid
        At most 2000 cells in 1D, 48 x 48 in 2D, for instance ``run.fpsolve.grid``.
    blocks : int or array
        Number of blocks, equally long in the clock of the dynamics, or their boundaries (decreasing forward times).
    weight : Weight or callable, optional
        w = 1 + V of all coefficients, default ``1 + |x|^2``. A smaller factor on V often gives a certificate where a
        larger one does not.
    norm : Weight or callable, optional
        Weight of the distance that is bounded, default w; another one costs the factor ``max norm/w``.
    start : Law or mapping of str to Law, optional
        nu, by label (a single law is called "given"); default the process' prior, called "prior".
    t_min : float, optional
        Where the run ends, default the last of `blocks` where those are times, else T/100.
    frame : {"fixed", "scaled"}
        "scaled": `grid` is in ``z = (x - m(t))/S(t)``, as for runs of VE and EDM.
    proved : bool, default False
        Add the rung of proofs, where they apply: target and starts mixtures of normal laws on the line, the exact
        score, eta = 1, V = beta |x|^p, p = 2, 4, 6. About a second for every factor that is proved, so up to a minute
        for five blocks; needs python-flint.

    Returns
    -------
    xarray.Dataset
        For each start a variable of its label over (bound, t), in the norm: what `fpsolve.plots.forgetting` draws;
        `measured` (start, t): the distance on the grid, `measured_error` its discretisation error (of finite volumes by
        runs on half of the steps and of the cells; infinite where their number is odd); `factor` (bound,
        block): the contraction of every single block in the weight as given, NaN for "no certificate" (for Poincare in
        chi-square); `beta` (harris, t): the factor behind the Harris rungs;
        coordinates `status` (bound): "proved", "certified", "estimated" or "no certificate", the weakest word on any
        number of that rung (what of it is not checked stands in the records); `reverse_time` (t), `t_from` and `t_to`
        (block); attribute `records`: JSON of all records with their constants, hypotheses and margins (see `records`).

    Raises
    ------
    ValueError
        Boundaries that do not decrease or leave [0, T], a box that does not hold p_T, a grid too large for matrices;
        `proved` without python-flint.

    References
    ----------
    Dobrushin 1956, doi:10.1137/1101006; Hairer and Mattingly 2011, doi:10.1007/978-3-0348-0021-1_7.

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(0.5, std=0.5), fp.VP())
    >>> found = ladder(reverse, grid=fp.Grid.uniform((-9, 9), cells=120), blocks=2, weight=fp.PolynomialWeight(2, 0.1))
    >>> found["prior"].dims, found.bound.values.tolist()
    (('bound', 't'), ['sharp Dobrushin', 'product of sharp Dobrushin', 'Harris', 'Harris, closed form', 'Poincare'])
    """
    instances(reverse=(reverse, Reverse), grid=(grid, Grid))
    parts = stages(reverse, grid, blocks, t_min, frame)
    distance = weight if norm is None else norm
    rungs = _Rungs.of(parts, weight, flag("proved", proved))
    factors, betas = rungs.factors()
    change = np.array([float(np.max(weights.evaluate(distance, g) / weights.evaluate(weight, g))) for g in parts.grids])
    rows, measured, errors, poincares, starts = {}, [], [], {}, {}
    for label, law in named_starts(reverse, start).items():
        sizes, error = parts.measured(law, distance)
        first = sum(float(part[0]) for part in parts.measured(law, weight))
        poincares[label] = [
            poincare(reverse, parts.times[0], t, grid=g, weight=distance, start=law)
            for t, g in zip(parts.times[1:], parts.grids[1:], strict=True)
        ]
        rows[label] = np.vstack([first * change * factors[:4], np.append(np.nan, _numbers(poincares[label]))])
        if proved:
            starts[label] = _blocks.distance(reverse, law, float(parts.times[0]), weight, distance)
            rows[label] = np.vstack([rows[label], _numbers([starts[label]]) * _blocks.OUTWARD * factors[4]])
        measured.append(sizes)
        errors.append(error)
    found = _dataset(parts, rungs, betas, (poincares, starts), rows, (np.stack(measured), np.stack(errors)))
    return found.assign_attrs(weight=weights.to_json(weight), norm=weights.to_json(distance))


@dataclass(frozen=True, eq=False)
class _Rungs:
    """What the rungs below Poincare are made of.

    Attributes
    ----------
    sharp_blocks, sharp_whole : sequences of Dobrushin
    chains : dict of str to Chain
        By the name of the rung.
    """

    sharp_blocks: Sequence[Dobrushin]
    sharp_whole: Sequence[Dobrushin]
    chains: dict[str, Chain]

    @classmethod
    def of(cls, parts: Stages, weight: WeightLike, proved: bool) -> _Rungs:
        """Analyse every kernel once; the first block is the same kernel in both lists."""
        times, later = parts.times.tolist(), parts.whole[1:]
        sharp = [dobrushin(kernel, weight=weight, whole_line=True) for kernel in parts.blocks]
        found = [Sharp.of(kernel, weight) for kernel in parts.blocks]
        chains = {
            HARRIS: Chain(found, [found[0], *(Sharp.of(kernel, weight) for kernel in later)]),
            CLOSED: Chain(
                [Closed.of(parts.reverse, *ends, weight) for ends in pairwise(times)],
                [Closed.of(parts.reverse, times[0], t, weight) for t in times[1:]],
            ),
        }
        if proved:
            _blocks.room()
            block = [_blocks.Proved(parts.reverse, *ends, weight) for ends in pairwise(times)]
            whole = [block[0], *(_blocks.Proved(parts.reverse, times[0], t, weight) for t in times[2:])]
            chains[PROVED] = Chain(block, whole)
        several = [sharp[0], *(dobrushin(kernel, weight=weight, whole_line=True) for kernel in later)]
        return cls(sharp, several, chains)

    def factors(self) -> tuple[Array, Array]:
        """Factors on the initial distance, shape (rungs, times), and the betas of the Harris rungs."""
        certified, betas = self.chains[HARRIS].factors()
        closed, closed_betas = self.chains[CLOSED].factors()
        rows, used = [certified, closed], [betas, closed_betas]
        if PROVED in self.chains:
            tried = np.unique(betas[np.isfinite(betas)])
            factors, proved_betas = self.chains[PROVED].factors(tried if tried.size else np.ones(1))
            rows, used = [*rows, factors], [*used, proved_betas]
        product = np.append(1.0, np.cumprod(self.sharp_of_blocks()))
        upper, least = zip(*((_upper(found), found.value) for found in self.sharp_whole), strict=True)
        # what is known of the coefficient from above is at most any other contraction of the kernel, if that is true
        direct = np.fmin(np.fmin(np.append(1.0, upper), product), certified)
        direct = np.maximum(np.append(1.0, least), direct)
        return np.stack([direct, product, *rows]), np.stack(used)

    def _upper(self, block: int) -> float:
        # the record looks at levels R between those of the chain: its number is what stands beside this one
        sharp, certified = self.sharp_blocks[block], self.of_blocks[HARRIS][block].value
        return max(sharp.value, min(_upper(sharp), np.inf if certified is None else certified))

    def sharp_of_blocks(self) -> Array:
        """Coefficients of the single blocks, from above."""
        return np.array([self._upper(n) for n in range(len(self.sharp_blocks))])

    @cached_property
    def of_blocks(self) -> dict[str, Sequence[Record]]:
        """Records of the single blocks, in the weight as given."""
        found: dict[str, Sequence[Record]] = {SHARP: self.sharp_blocks}
        return found | {name: [part.record(1.0) for part in chain.blocks] for name, chain in self.chains.items()}

    def of_whole(self, betas: Array) -> dict[str, Sequence[Record]]:
        """Records of the kernels from T to each boundary, with the beta that served there."""
        used = np.where(np.isfinite(betas), betas, 1.0)[:, 1:]
        found: dict[str, Sequence[Record]] = {SHARP: self.sharp_whole}
        for (name, chain), row in zip(self.chains.items(), used, strict=True):
            found[name] = [part.record(float(beta)) for part, beta in zip(chain.whole, row, strict=True)]
        return found


def _upper(found: Dobrushin) -> float:
    """The upper bound on the line; of other kernels the coefficient of the matrix, which is what carries the start."""
    return found.upper if np.isfinite(found.upper) else found.value


def _numbers(chain: Sequence[Record]) -> Array:
    """Values of records, NaN for "no certificate"."""
    return np.array([np.nan if r.value is None else r.value for r in chain], dtype=np.float64)


def _dataset(
    parts: Stages,
    rungs: _Rungs,
    betas: Array,
    of_starts: tuple[Mapping[str, Sequence[Record]], Mapping[str, Record]],
    rows: Mapping[str, Array],
    measured: tuple[Array, Array],
) -> xr.Dataset:
    import xarray as xr

    (poincares, starts), of_blocks = of_starts, rungs.of_blocks
    any_start = next(iter(poincares.values()))
    contraction = np.array([getattr(r, "contraction", np.nan) if r.certified else np.nan for r in any_start])
    sharp, certified, closed = rungs.sharp_of_blocks(), *(_numbers(of_blocks[name]) for name in (HARRIS, CLOSED))
    more = [PROVED] if starts else []
    before = np.append(1.0, contraction[:-1])
    # what is forgotten altogether (alpha(0, T) = 0) stays so
    shares = np.divide(contraction, before, out=np.zeros_like(contraction), where=before != 0.0)
    factor = np.stack([sharp, sharp, certified, closed, shares, *(_numbers(of_blocks[n]) for n in more)])
    variables: dict[str, Any] = {label: (("bound", "t"), values) for label, values in rows.items()}
    variables |= {
        "measured": (("start", "t"), measured[0]),
        "measured_error": (("start", "t"), measured[1]),
        "factor": (("bound", "block"), factor),
        "beta": (("harris", "t"), betas),
    }
    listed = [_row(name, "", "block", r) for name, chain in of_blocks.items() for r in chain]
    listed += [_row(name, "", "from T", r) for name, chain in rungs.of_whole(betas).items() for r in chain]
    listed += [_row(POINCARE, label, "from T", r) for label, chain in poincares.items() for r in chain]
    listed += [_row(PROVED, label, "start", r) for label, r in starts.items()]
    return described(
        xr.Dataset(
            variables,
            coords={
                "bound": [SHARP, PRODUCT, HARRIS, CLOSED, POINCARE, *more],
                "status": ("bound", _statuses(rungs, betas, *of_starts)),
                "harris": [HARRIS, CLOSED, *more],
                "t": parts.times,
                "reverse_time": ("t", parts.reverse.horizon - parts.times),
                "start": list(rows),
                "t_from": ("block", parts.times[:-1]),
                "t_to": ("block", parts.times[1:]),
            },
            attrs={
                "status": "estimated",
                "records": json.dumps(listed),
                "kernels": parts.blocks[0].name.split()[0],
                "poincare_constant": str(getattr(any_start[0], "method", "")),
                "version": __version__,
                **identity(parts.reverse),
            },
        ),
        **{label: f"bound of the distance of {label}" for label in rows},
    )


def _statuses(
    rungs: _Rungs, betas: Array, poincares: Mapping[str, Sequence[Record]], starts: Mapping[str, Record]
) -> list[Status]:
    """The weakest word on each rung: one number of it that is an estimate makes an estimate of the rung."""
    blocks, whole = rungs.of_blocks, rungs.of_whole(betas)
    sharp, product = ([_of_rung(one) for one in listed[SHARP]] for listed in (whole, blocks))
    chains = {name: [one.status for one in (*blocks[name], *whole[name])] for name in rungs.chains}
    last = [one.status for chain in poincares.values() for one in chain]
    found = [sharp, product, chains[HARRIS], chains[CLOSED], last]
    return [weakest(words) for words in (found + [chains[PROVED]] if starts else found)]


def _of_rung(found: Record) -> Status:
    """What the number of a sharp rung is: the bound of the whole line where there is one, else the maximum on cells."""
    return "certified" if np.isfinite(getattr(found, "upper", np.nan)) else found.status


def _row(bound: str, start: str, span: str, found: Record) -> dict[str, Any]:
    """A record as JSON: no NaN, which JSON does not know."""
    constants = {name: value if np.isfinite(value) else None for name, value in found.constants().items()}
    return {
        "bound": bound,
        "start": start,
        "span": span,
        "value": found.value,
        "status": found.status,
        "reason": found.reason,
        "statement": found.statement,
        "constants": constants,
        "checked": [_checked(h) for h in found.checked],
        "unchecked": list(found.unchecked),
    }


def _checked(hypothesis: Hypothesis) -> dict[str, Any]:
    margin = hypothesis.margin if np.isfinite(hypothesis.margin) else None
    words = {"verdict": hypothesis.verdict, "detail": hypothesis.detail, "source": hypothesis.source}
    return {"name": hypothesis.name, "margin": margin, "holds": hypothesis.holds} | words


def records(found: xr.Dataset) -> list[dict[str, Any]]:
    """Return the records of a ladder, one dictionary per bound and block (per start and time for Poincare).

    Parameters
    ----------
    found : Dataset
        What `ladder` returned, also after saving and loading.

    Returns
    -------
    list of dict
        ``bound, start, span`` ("block", "from T", or "start": the proved initial distance), ``value`` (None: no
        certificate), ``status, reason, statement, constants, checked, unchecked``.
    """
    return list(json.loads(str(found.attrs["records"])))


#: Relative slack for rounding and for the finite lists of gamma, R and beta that are tried.
SLACK = 2e-3
#: Relative rounding of a measured distance.
_ROUNDING = 1e-12
#: Times of the curve and of the ladder that agree to this share of the horizon are the same.
_SAME = 1e-9


def verify(ladder: xr.Dataset, curve: xr.Dataset | None = None) -> tuple[Hypothesis, ...]:
    """Return the inequalities that a ladder must satisfy, each as a named hypothesis with its margin.

    "measured <= B" for every bound B (at every boundary after the first, beyond the measured error), and "A <= B" for
    the rungs in order: the sharp coefficient and its product, the sharp coefficient, Harris, Harris in closed form (the
    bounds at the boundaries and the factors block by block, where both have a value). A negative margin is a bug, or a
    statement used without one of its hypotheses. Margins are relative: ``min (B - A)/B``, plus a slack of 0.2 % between
    rungs, for the finite lists of gamma, R and beta that are tried. Where a rung has no certificate anywhere there is
    nothing to compare: the margin is NaN, the verdict "not checked", and the check neither holds nor fails. The detail
    says how many pairs of numbers were compared.

    Parameters
    ----------
    ladder : Dataset
        From `fpsolve.bounds.ladder`.
    curve : Dataset, optional
        From `fpsolve.forgetting_curve`, with the same starts and weight: its distances are compared too, at the times
        that it shares with the ladder.

    Raises
    ------
    ValueError
        A curve of other dynamics or in another weight, or without a common start or time.

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(0.5, std=0.5), fp.VP())
    >>> found = fp.bounds.ladder(reverse, grid=fp.Grid.uniform((-9, 9), cells=120), blocks=2)
    >>> all(check.holds for check in verify(found))
    True
    """
    for name, table, wanted in (("ladder", ladder, "bound"), ("curve", curve, "distance")):
        if (table is not None or name == "ladder") and wanted not in getattr(table, "variables", ()):
            got = f"a {type(table).__name__} without it"
            raise _checks.error(name, f"a {name} as fpsolve returns it, with {wanted!r}", got)
    if curve is not None:
        _runs.require_same_dynamics(curve.attrs, ladder.attrs, ("curve", "ladder"))
    labels = [str(label) for label in ladder["start"].values]
    lower = ladder["measured"] - ladder["measured_error"]
    checks = []
    for bound in ladder["bound"].values:
        pairs = [(lower.sel(start=label)[1:], ladder[label].sel(bound=bound)[1:]) for label in labels]
        checks.append(_compared(f"measured <= {bound}", pairs, _ROUNDING, "block boundaries"))
    rungs = [ladder["factor"], *(ladder[label].isel(t=slice(1, None)) for label in labels)]
    above = [PROVED] if PROVED in ladder["bound"].values else []
    for small, large in ((SHARP, PRODUCT), (SHARP, HARRIS), (HARRIS, CLOSED), *((SHARP, name) for name in above)):
        pairs = [(rung.sel(bound=small), rung.sel(bound=large)) for rung in rungs]
        checks.append(_compared(f"{small} <= {large}", pairs, SLACK, "blocks and boundaries"))
    if curve is not None:
        checks += _against_curve(ladder, curve)
    return tuple(checks)


def _compared(name: str, pairs: Sequence[tuple[xr.DataArray, xr.DataArray]], slack: float, where: str) -> Hypothesis:
    """The check that the first of each pair is nowhere larger; a NaN margin where no pair has two numbers."""
    small, large = (np.concatenate([np.asarray(pair[k], dtype=np.float64).ravel() for pair in pairs]) for k in (0, 1))
    # an infinite bound, a missing number and one whose error is infinite say nothing; an infinite distance does
    both = np.isfinite(large) & (small > -np.inf)
    if not both.any():
        return Hypothesis(name, float("nan"), f"nothing to compare: {large.size} {where}, none with both numbers")
    margin = float(np.min((large[both] - small[both]) / np.maximum(large[both], 1e-300)))
    return Hypothesis(name, margin + slack, f"relative, over {int(both.sum())} of {large.size} {where}")


def _against_curve(ladder: xr.Dataset, curve: xr.Dataset) -> list[Hypothesis]:
    if curve.attrs.get("weight") != ladder.attrs["norm"]:
        got = str(curve.attrs.get("weight"))
        raise _checks.error("curve", f"distances in the ladder's norm {ladder.attrs['norm']}", got, "set norm= there")
    horizon = float(np.max(ladder["t"]))
    t, wanted = np.asarray(curve["t"], dtype=np.float64), np.asarray(ladder["t"], dtype=np.float64)
    at = [int(np.argmin(np.abs(t - s))) for s in wanted]
    shared = np.abs(t[at] - wanted) <= _SAME * horizon
    shared[0] = False  # equal by definition there
    labels = [str(s) for s in ladder["start"].values if s in curve["start"].values]
    if not labels or not shared.any():
        raise _checks.error("curve", "a start and a time in common with the ladder", "none", "save the run at ladder.t")
    checks = []
    for bound in ladder["bound"].values:
        pairs = []
        for label in labels:
            one = curve.sel(start=label).isel(t=[i for i, keep in zip(at, shared, strict=True) if keep])
            pairs.append((one["distance"] - one["error"], ladder[label].sel(bound=bound)[shared]))
        checks.append(_compared(f"curve <= {bound}", pairs, _ROUNDING, "times in common"))
    return checks
