"""The reference values that `fpsolve verify` checks, group by group, and masses of cells at t by Bayes' rule.

Masses are exact in the cells, for normal mixtures: a quadrature over the start alone, which shares no code with what it
judges. The reverse kernel of a mixture target is a mixture, ``P(y, .) = sum_k pi_k(y) N(mu_k(y), v_k)`` with
``pi_k(y) ~ w_k N(y; alpha M_k, alpha^2 V_k + s)``, ``mu_k = (alpha V_k y + s M_k)/(alpha^2 V_k + s)`` and
``v_k = V_k s/(alpha^2 V_k + s)``, where M_k, V_k belong to p_t, alpha and s to the way from t to T. So a cell's mass is
``int nu(y) sum_k pi_k(y) [Phi((b - mu_k)/v_k^(1/2)) - Phi((a - mu_k)/v_k^(1/2))] dy``, however coarse the cell. The
integrand is analytic and the trapezoidal rule converges exponentially. For eta other than 1 and one Gaussian the
transition is Gaussian with gain ``(v_t/v_T)^(1/2) rho^(eta^2/2)`` and variance ``v_t (1 - rho^(eta^2))``. Starts with
jumps or a kink are integrated over by Gauss's rule between these. The flow (eta = 0) on a line keeps ranks:
``F_T^(-1)(F_t(x))`` is where x came from.

References
----------
Anderson 1982, doi:10.1016/0304-4149(82)90051-5; Trefethen and Weideman 2014, doi:10.1137/130932132 (trapezoidal rule).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import log_ndtr, ndtr

import fpsolve as fp
from fpsolve import bounds, closed_form, flows, kernels, weights
from fpsolve._checks import FloatArray
from fpsolve.dynamics import Reverse
from fpsolve.laws import Laplace, Law, Uniform
from fpsolve.studies.report import Check
from fpsolve.studies.score_noise import oracle

if TYPE_CHECKING:
    import xarray as xr


#: Standard deviations of a start that are integrated over, and nodes per narrowest width to begin with.
REACH, NODES_PER_WIDTH, PLANE_NODES = 9.0, 1.7, 2.5
#: Nodes are doubled so often, or until the masses change by less than this together.
DOUBLINGS, SETTLED = 6, 1e-13
#: Scales of a Laplace law that are integrated over, nodes per panel, and narrowest widths per panel.
LAPLACE_REACH, PANEL_NODES, PANEL_WIDTHS = 40.0, 16, 2.0
#: Nodes of the start looked at together.
CHUNK = 4096


@dataclass(frozen=True)
class _Mixture:
    """Weights (k), means (k, d) and one variance per component (k): round ones are all that is asked for here."""

    weights: FloatArray
    means: FloatArray
    variances: FloatArray

    @classmethod
    def of(cls, law: Law) -> _Mixture:
        mixture = law.components
        assert mixture is not None and np.allclose(
            mixture.component_covs, mixture.component_covs[:, :1, :1] * np.eye(law.dim)
        )
        return cls(np.exp(mixture.log_weights), mixture.component_means, mixture.component_covs[:, 0, 0])

    def masses(self, faces: list[FloatArray]) -> FloatArray:
        """Masses of the cells of a tensor grid."""
        return np.asarray(sum(w * _outer(_cells(faces, m, v)) for w, m, v in self._rows()))

    def log_tail(self, x: FloatArray, side: float) -> FloatArray:
        """Logarithm of the mass on a line beyond x, to the right (side 1) or to the left (-1)."""
        rows = [np.log(w) + log_ndtr(side * (m[0] - x) / v**0.5) for w, m, v in self._rows()]
        return np.asarray(np.logaddexp.reduce(rows, axis=0))

    def _rows(self) -> Iterator[tuple[float, FloatArray, float]]:
        yield from zip(self.weights.tolist(), self.means, self.variances.tolist(), strict=True)


def masses(reverse: Reverse, start: Law, t: float, faces: list[FloatArray]) -> FloatArray:
    """Masses that the dynamics, started from `start` at T, has at t in cells with the given faces per axis.

    Parameters
    ----------
    reverse : Reverse
        Normal mixture (round components) as target and the exact score; eta other than 1 for one Gaussian, or from p_T,
        or 0 on a line.
    start : Law
        A normal mixture of round components; before T and with eta = 1 on a line also a uniform or Laplace law.
    t : float
    faces : list of arrays
        Increasing, one per axis.
    """
    horizon = reverse.process.T
    alpha, s = float(reverse.process.scale(t, horizon)), float(reverse.process.variance(t, horizon))
    if isinstance(start, Uniform | Laplace):
        assert reverse.eta == 1.0 and t < horizon
        return _from_law(_Mixture.of(reverse.marginal(t)), alpha, s, start, faces)
    if t == horizon:
        return _Mixture.of(start).masses(faces)
    here, there, begin = (_Mixture.of(law) for law in (reverse.marginal(t), reverse.marginal(horizon), start))
    if begin.weights.shape == there.weights.shape and np.array_equal(begin.means, there.means):
        return here.masses(faces)
    if len(here.weights) == 1 and not callable(reverse.eta):
        # a Gaussian is carried to a Gaussian, whatever eta
        v, v_end = float(here.variances[0]), float(there.variances[0])
        rho = alpha**2 * v / v_end
        gain = float(np.sqrt(v / v_end)) * rho ** (reverse.eta**2 / 2.0)
        means = here.means + gain * (begin.means - there.means)
        return _Mixture(
            begin.weights, means, v * -np.expm1(reverse.eta**2 * np.log(rho)) + gain**2 * begin.variances
        ).masses(faces)
    if reverse.eta == 0.0:
        return _from_flow(here, there, begin, faces[0])
    assert reverse.eta == 1.0
    total = np.zeros(tuple(len(f) - 1 for f in faces))
    for w, mean, variance in begin._rows():
        total += w * _from_gaussian(here, alpha, s, mean, variance, faces)
    return total


def _from_flow(here: _Mixture, there: _Mixture, begin: _Mixture, faces: FloatArray) -> FloatArray:
    """Masses that ranks carry from the start to here, on a line: by bisection, in the smaller of both tails."""
    came = np.empty_like(faces)
    right = here.log_tail(faces, 1.0) < here.log_tail(faces, -1.0)
    reach = 40.0 * there.variances.max() ** 0.5
    for side, some in ((1.0, right), (-1.0, np.logical_not(right))):
        goal = here.log_tail(faces[some], side)
        low = np.full(goal.shape, there.means.min() - reach)
        high = np.full(goal.shape, there.means.max() + reach)
        for _ in range(70):
            middle = 0.5 * (low + high)
            more = side * (there.log_tail(middle, side) - goal) > 0.0
            low, high = np.where(more, middle, low), np.where(more, high, middle)
        came[some] = 0.5 * (low + high)
    return begin.masses([came])


def _from_gaussian(
    here: _Mixture, alpha: float, s: float, mean: FloatArray, variance: float, faces: list[FloatArray]
) -> FloatArray:
    """Masses from the start N(mean, variance), by the trapezoidal rule over it; in the plane nodes are not doubled."""
    narrow = min(variance**0.5, _narrowest(here, alpha, s))
    per_width = NODES_PER_WIDTH if len(faces) == 1 else PLANE_NODES
    count = int(np.ceil(2.0 * REACH * variance**0.5 / narrow * per_width))

    def masses(times: int) -> FloatArray:
        z = np.linspace(-REACH, REACH, times * count + 1)
        p = np.exp(-0.5 * z**2)
        return _over_nodes(here, alpha, s, mean[:, None] + variance**0.5 * z, p / p.sum(), faces)

    return _settled(masses) if len(faces) == 1 else masses(1)


def _from_law(here: _Mixture, alpha: float, s: float, start: Law, faces: list[FloatArray]) -> FloatArray:
    """Masses from a uniform or Laplace law on a line, by Gauss's rule on panels that end at its jumps or its kink."""
    narrow = PANEL_WIDTHS * _narrowest(here, alpha, s)
    nodes, gauss = np.polynomial.legendre.leggauss(PANEL_NODES)

    def panels(times: int) -> FloatArray:
        if isinstance(start, Uniform):
            low, high = float(np.ravel(start.low)[0]), float(np.ravel(start.high)[0])
            return np.linspace(low, high, times * int(np.ceil((high - low) / narrow)) + 1)
        assert isinstance(start, Laplace)
        middle, scale = float(np.ravel(start.mean)[0]), float(np.ravel(start.scale)[0])
        count = times * int(np.ceil(LAPLACE_REACH * max(scale / narrow, 0.5)))
        side = np.linspace(0.0, LAPLACE_REACH, count + 1) * scale
        return np.asarray(middle + np.concatenate([-side[:0:-1], side]))

    def masses(times: int) -> FloatArray:
        edges = panels(times)
        half = 0.5 * np.diff(edges)[:, None]
        y = (0.5 * (edges[1:] + edges[:-1])[:, None] + half * nodes).ravel()
        p = (half * gauss).ravel()
        if isinstance(start, Laplace):
            p = p * np.exp(-np.abs(y - float(np.ravel(start.mean)[0])) / float(np.ravel(start.scale)[0]))
        return _over_nodes(here, alpha, s, y[None], p / p.sum(), faces)

    return _settled(masses)


def _settled(masses: Callable[[int], FloatArray]) -> FloatArray:
    """Masses by 1, 2, 4, ... times as many nodes, until they stay.

    How fast they converge is up to the poles of the posterior weights, where components switch, which may be much
    nearer than anything is narrow.
    """
    before = masses(1)
    for k in range(1, DOUBLINGS + 1):
        after = masses(2**k)
        if np.abs(after - before).sum() <= SETTLED:
            return after
        before = after
    return before


def _narrowest(here: _Mixture, alpha: float, s: float) -> float:
    """Narrowest along the start: the switch between components, the edge of a cell."""
    spread = alpha**2 * here.variances + s
    gain, v = alpha * here.variances / spread, here.variances * s / spread
    return min(float(np.sqrt(spread.min())), float((np.sqrt(v) / gain).min()))


def _over_nodes(
    here: _Mixture, alpha: float, s: float, y: FloatArray, p: FloatArray, faces: list[FloatArray]
) -> FloatArray:
    """Masses from nodes y (axes, nodes) of the start with weights p along each axis."""
    spread = alpha**2 * here.variances + s
    gain, v = alpha * here.variances / spread, here.variances * s / spread
    total = np.zeros(tuple(len(f) - 1 for f in faces))
    for first in range(0, len(p), CHUNK):
        part = slice(first, first + CHUNK)
        shares = p[part] if len(y) == 1 else np.multiply.outer(p[part], p)
        posterior = _posterior(here, alpha, spread, [y[0, part], *y[1:]])
        for k in range(len(v)):
            cells = [
                _cells([f], gain[k] * (q - alpha * here.means[k, a]) + here.means[k, a], v[k])[0]
                for a, (f, q) in enumerate(zip(faces, [y[0, part], *y[1:]], strict=True))
            ]
            weights = shares * posterior[k]
            total += cells[0] @ weights if len(cells) == 1 else cells[0] @ weights @ cells[1].T
    return total


def _posterior(here: _Mixture, alpha: float, spread: FloatArray, y: list[FloatArray]) -> FloatArray:
    """pi_k(y), shape (components, nodes[, nodes])."""
    logs = []
    for w, m, one in zip(here.weights, here.means, spread, strict=True):
        square = [np.square(q - alpha * m[a]) / one for a, q in enumerate(y)]
        both = square[0] if len(square) == 1 else np.add.outer(*square)
        logs.append(np.log(w) - 0.5 * len(y) * np.log(one) - 0.5 * both)
    stacked = np.stack(logs)
    stacked -= stacked.max(axis=0)
    weights = np.exp(stacked)
    return np.asarray(weights / weights.sum(axis=0))


def _cells(faces: list[FloatArray], mean: FloatArray, variance: float) -> list[FloatArray]:
    """Masses of N(mean, variance) in the cells of each axis, (cells,), or (cells, means) on a single axis."""
    if len(faces) == 1:
        z = np.subtract.outer(faces[0], np.atleast_1d(mean)) / variance**0.5
        return [_differences(z)] if np.ndim(mean) and np.size(mean) > 1 else [_differences(z)[:, 0]]
    return [_differences((f - m) / variance**0.5) for f, m in zip(faces, mean, strict=True)]


def _differences(z: FloatArray) -> FloatArray:
    """``Phi(z_{i+1}) - Phi(z_i)`` along the first axis, from the tail that is small."""
    low, high = z[:-1], z[1:]
    right = low + high > 0.0
    return np.asarray(np.where(right, ndtr(-low) - ndtr(-high), ndtr(high) - ndtr(low)))


def _outer(cells: list[FloatArray]) -> FloatArray:
    return cells[0] if len(cells) == 1 else np.outer(*cells)


def ou_mixture() -> fp.Reverse:
    """0.5 N(-2, 0.3^2) + 0.5 N(2, 0.5^2) under the Ornstein-Uhlenbeck process, T = 3."""
    target = fp.GaussianMixture(weights=[0.5, 0.5], means=[-2.0, 2.0], stds=[0.3, 0.5])
    return fp.Reverse(target, fp.OrnsteinUhlenbeck(T=3.0))


def rotated_five() -> fp.Reverse:
    """Five Gaussians on a circle, each turned differently, so not separable in any coordinates; OU, T = 3."""
    angles = 2 * np.pi * np.arange(5) / 5
    means = 2.0 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    c, s = np.cos(angles + 0.4), np.sin(angles + 0.4)
    turns = np.moveaxis(np.array([[c, -s], [s, c]]), -1, 0)
    covs = turns @ np.diag([0.5**2, 0.3**2]) @ turns.transpose(0, 2, 1)
    target = fp.GaussianMixture(weights=[0.1, 0.15, 0.2, 0.25, 0.3], means=means, covs=covs)
    return fp.Reverse(target, fp.OrnsteinUhlenbeck(T=3.0))


T_MIN = 0.01


def densities() -> tuple[Check, ...]:
    """OU mixture from three starts at t = 0.01, cell averages against Bayes' rule."""
    reverse = ou_mixture()
    starts = {"exact": reverse.marginal(3.0), "shifted": fp.Gaussian(1.5, std=0.5), "prior": fp.Gaussian(0.0, std=1.0)}
    fine, half = fp.Grid.uniform((-6, 6), cells=800), fp.Grid.uniform((-6, 6), cells=400)
    single = fp.evolve(reverse, starts, grid=half, steps=400, t_min=T_MIN, progress=False)
    pair = fp.evolve(reverse, starts, grid=fine, steps=400, t_min=T_MIN, progress=False)
    truth = np.stack([closed_form.cell_averages(reverse, law, T_MIN, half) for law in starts.values()])
    gap = single.density.values[:, -1] - truth
    weighted = (weights.evaluate(None, half) * np.abs(gap)).sum(axis=1) * half.volume
    covered = float((weighted / single.error_estimate.values[:, -1]).max())
    extrapolated = pair.fpsolve.extrapolated.values[:, -1]
    return (
        Check.at_most("OU mixture, 400 cells, one level: TV to the closed form", _tv(gap, half), 3e-4),
        Check.at_most("the same: true error / estimate, largest", covered, 1.0),
        Check.at_most("pair of 400 and 800 cells: TV", _tv(extrapolated - truth, half), 2e-7),
        Check.at_most("mass: largest change", float(np.abs(pair.mass - pair.mass.isel(t=0)).max()), 1e-12),
    )


def plane() -> tuple[Check, ...]:
    """Five rotated Gaussians in the plane, a pair of 128^2 and 256^2 cells, against p_t."""
    reverse = rotated_five()
    grid = fp.Grid.uniform([(-6, 6), (-6, 6)], cells=256)
    start = {"exact": reverse.marginal(3.0)}
    run = fp.evolve(reverse, start, grid=grid, steps=200, t_min=0.02, save_at=[0.02], progress=False)
    half = grid.coarsen()
    gap = run.fpsolve.extrapolated.values[:, -1] - half.cell_average(reverse.marginal(0.02))
    return (Check.at_most("five rotated Gaussians, pair of 128^2 and 256^2 cells: TV", _tv(gap, half), 1e-5),)


def _tv(gap: FloatArray, grid: fp.Grid) -> float:
    """Half the L1 norm of cell averages, the largest over the starts."""
    return float(0.5 * np.abs(gap).sum(axis=tuple(range(-grid.dim, 0))).max() * grid.volume)


#: Total variation at t = 0.01 between the runs from p_T and from N(0, 1).
SIX_MILLIONTHS = 6.558881828e-6


def distances() -> tuple[Check, ...]:
    """TV at t = 0.01 under the OU mixture: p_T against N(0, 1), and starts 2e-4 apart."""
    reverse = ou_mixture()
    starts = {
        "exact": reverse.marginal(3.0),
        "prior": fp.Gaussian(0.0, std=1.0),
        "right": fp.Gaussian(1e-4, std=1.0),
        "left": fp.Gaussian(-1e-4, std=1.0),
    }
    run = fp.evolve(reverse, starts, t_min=T_MIN, tol=1e-6, save_at=[T_MIN], progress=False)
    known = _tv_between(run, "prior", "exact")
    near = _tv_between(run, "right", "left")
    truth = 0.5 * closed_form.weighted_tv(reverse, starts["right"], starts["left"], T_MIN, fp.UnitWeight()).value
    return (
        Check("TV of the runs from p_T and N(0, 1)", known[0], SIX_MILLIONTHS, 1e-4 * SIX_MILLIONTHS),
        Check.at_most("the same: true error / error bar", abs(known[0] - SIX_MILLIONTHS) / known[1], 1.0),
        Check("TV of the runs from N(1e-4, 1) and N(-1e-4, 1)", near[0], truth, 1e-4 * truth),
        Check.at_most("the same: true error / error bar", abs(near[0] - truth) / near[1], 1.0),
    )


def _tv_between(run: xr.Dataset, start: str, reference: str) -> tuple[float, float]:
    """Total variation between two starts at the end of a run, and its error bar."""
    last = fp.forgetting_curve(run, reference=reference, weight=fp.UnitWeight()).sel(start=start).isel(t=-1)
    return 0.5 * float(last["distance"]), 0.5 * float(last["error"])


#: Data {-1, 1}, sigma uniform on [0.02, 3]: zeros of the best product-form score, and where orbits end from -6 and 2.
ZEROS = (-0.98614, 0.0, 0.98614)
ENDS = {-6.0: -1.8248, 2.0: 0.9861}


def probability_flow() -> tuple[Check, ...]:
    """OU mixture at eta = 0: the flow is a bijection, so the total variation of two laws does not move."""
    exact = ou_mixture()
    reverse = fp.Reverse(exact.target, exact.process, eta=0.0)
    starts = {"exact": reverse.marginal(3.0), "shifted": fp.Gaussian(1.5, std=0.5)}
    run = fp.evolve(reverse, starts, t_min=0.01, tol=1e-6, save_at=np.geomspace(0.01, 3.0, 8), progress=False)
    curve = fp.forgetting_curve(run, weight=fp.UnitWeight())
    cost = fp.distances.to_marginals(run, reverse).sel(start="exact")
    return (
        Check.at_most("probability flow: change of plain total variation", float(np.ptp(curve.distance.values)), 1e-8),
        Check.at_most("from p_T: distance to p_t / its error", float((cost.distance / cost.error).max()), 1.0),
    )


def product_form() -> tuple[Check, ...]:
    """Data points -1 and 1 under the best product-form score: stationary points and ends of orbits."""
    points = fp.GaussianMixture([0.5, 0.5], [-1.0, 1.0], stds=1e-6)
    score = fp.scores.product_form(points, fp.EDM(sigma_min=0.02, sigma_max=3.0))
    found = flows.stationary_points(score, (-4.0, 4.0))
    ends = flows.end_points(score, list(ENDS), duration=score.duration(0.02))
    zeros = [Check(f"product form: zero at {x:g}", float(at), x, 1e-3) for at, x in zip(found.at, ZEROS, strict=True)]
    return (
        *zeros,
        *(
            Check(f"product form: end of the orbit from {x:g}", float(end), known, 1e-3)
            for end, (x, known) in zip(ends, ENDS.items(), strict=True)
        ),
    )


def score_noise() -> tuple[Check, ...]:
    """Constant noise k = 0.3 on an Ornstein-Uhlenbeck process, 400 cells, 500 steps: mean, variance, variation."""
    found = oracle(strength=0.3**2, cells=400, steps=500, paths=8, seed=0)
    names = {"mean": "mean", "variance": "variance", "variation": "quadratic variation"}
    return (
        *(Check.at_most(f"score noise: {text} along every path", found[name], 1e-3) for name, text in names.items()),
        Check.at_most("score noise: mass along every path", found["mass"], 1e-12),
    )


def steady_states() -> tuple[Check, ...]:
    """Langevin dynamics of a law with two wells, and OU between walls: ``exp(-Phi/D)`` at the cell centres."""
    wells = fp.GaussianMixture(weights=[0.4, 0.6], means=[-2.0, 2.0], stds=[0.5, 0.4])
    line, walls = fp.Grid.uniform((-6, 6), cells=400), fp.Grid.uniform((-1, 2), cells=150)
    ou = fp.Dynamics(noise=1.5, potential=lambda t, x: x**2 / 2, autonomous=True)
    langevin = np.abs(fp.steady_state(fp.Langevin(wells), line).values - _gibbs(wells.log_density(line.x), line))
    boxed = np.abs(fp.steady_state(ou, walls).values - _gibbs(-(walls.x**2) / 1.5**2, walls))
    return (
        Check.at_most("Langevin of two wells: largest difference to its Gibbs state", float(langevin.max()), 1e-12),
        Check.at_most("OU between walls: largest difference to its Gibbs state", float(boxed.max()), 1e-12),
    )


def _gibbs(log_values: FloatArray, grid: fp.Grid) -> FloatArray:
    values = np.exp(log_values - log_values.max())
    return np.asarray(values / (values.sum() * grid.volume))


#: Errors in ``1 + x^2`` of 25 and 50 uniform steps for N(1, 1/2) under the linear VP process from N(0, 1).
GAUSSIAN_STEPS = {"euler-maruyama": {25: 0.1493, 50: 0.0725}, "exponential-integrator": {25: 0.2402, 50: 0.1170}}


def theory() -> tuple[Check, ...]:
    """Sharp Dobrushin coefficient and Harris certificate of the OU mixture, t = 3 to 0.01; the order of a ladder."""
    reverse = ou_mixture()
    kernel = kernels.exact(reverse, fp.Grid.uniform((-10, 10), cells=500), 3.0, 0.01)
    sharp = bounds.dobrushin(kernel, weight=lambda x: 1.0 + 0.1 * (1.0 + x**2)).value
    harris = bounds.harris(kernel, weight=lambda x: 1.0 + 0.03 * (1.0 + x**2)).value
    coarse, weight = fp.Grid.uniform((-10, 10), cells=240), fp.PolynomialWeight(power=2, beta=0.1)
    ladder = bounds.ladder(reverse, grid=coarse, blocks=3, weight=weight)
    broken = sum(not check.holds for check in bounds.verify(ladder))
    return (
        Check("sharp Dobrushin coefficient, weight 1 + 0.1 (1 + x^2)", _number(sharp), 0.225, 0.003),
        Check.at_most("Harris certificate, weight 1 + 0.03 (1 + x^2)", _number(harris), 0.635),
        Check.at_most("inequalities of a ladder that do not hold", float(broken), 0.0),
    )


def sampler_errors() -> tuple[Check, ...]:
    """Euler-Maruyama and the exponential integrator as kernels on a Gaussian, whose errors are known."""
    target, grid = fp.Gaussian(1.0, cov=0.5), fp.Grid.uniform((-7, 7), cells=1000)
    checks = []
    for name, known in GAUSSIAN_STEPS.items():
        for steps, reference in known.items():
            reverse = fp.Reverse(target, fp.VP())
            q = grid.cell_average(fp.Gaussian(0.0, std=1.0))
            for t0, t1 in pairwise(np.linspace(1.0, 0.0, steps + 1)):
                q = kernels.sampler_operator(name, reverse, grid, t0, t1).push(q)
            gap = np.abs(q - grid.cell_average(reverse.target))
            value = float(np.sum(weights.evaluate(None, grid) * gap) * grid.volume)
            checks.append(Check(f"{name}, {steps} steps: weighted error at the end", value, reference, 1e-4))
    return tuple(checks)


def _number(value: float | None) -> float:
    """NaN, which fails every check, where there is no certificate."""
    return float("nan") if value is None else float(value)
