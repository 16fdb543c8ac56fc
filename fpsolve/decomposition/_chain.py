"""The kernels of every step, and the march along them.

Three kernels: the sampler's K, the dynamics with its score Q, the exact dynamics P. The march: the sampler's density,
the exact one, every signed error on its way to the end, and what can be left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fpsolve import _messages, kernels, samplers
from fpsolve.dynamics import Frame, InFrame, Reverse
from fpsolve.kernels import Kernel
from fpsolve.samplers import Composed, MapStep

if TYPE_CHECKING:
    from fpsolve.grid import Grid
    from fpsolve.kernels import Operator
    from fpsolve.processes import Process
    from fpsolve.samplers import Sampler, Score, Step


Array = NDArray[np.float64]

#: Largest grids on which kernels are matrices, in 1D and 2D; beyond they are applied without one.
_MATRIX_CELLS = {1: 2000, 2: 48**2}
#: Classical Runge-Kutta steps per step of the sampler and along the run, at least: below 1e-3 of Heun's error.
SUBSTEPS, ALONG = 8, 64
#: Noise levels below this share of the data's narrowest width are equally spaced on the way to 0.
_LINEAR = 0.5
#: Width taken for data with jumps or kinks, as a share of their standard deviation.
_KINK = 0.1


@dataclass(frozen=True, eq=False)
class Steps:
    """What is needed to make the kernels of any step.

    Parameters
    ----------
    sampler : Sampler
    exact, model : Reverse
        With the exact score and with the approximate one (the same object where there is none), eta that of the method.
    grid : Grid
        In x, or in z of the frame.
    frame : Frame or None
        Mean and scale that the cells follow.
    substeps : int
        Steps of the probability flow in one of the sampler.
    """

    sampler: Sampler
    exact: Reverse
    model: Reverse
    grid: Grid
    frame: Frame | None = None
    substeps: int = SUBSTEPS

    @classmethod
    def of(cls, sampler: Sampler, reverse: Reverse, grid: Grid, frame: Frame | None = None, n: int = ALONG) -> Steps:
        """The two dynamics a sampler discretises, in n steps."""
        eta = reverse.eta if sampler.eta is None else sampler.eta
        exact = Reverse(reverse.target, reverse.process, eta=eta)
        model = exact if reverse.exact else Reverse(reverse.target, reverse.process, reverse.score, eta)
        return cls(sampler, exact, model, grid, frame, max(SUBSTEPS, -(-ALONG // n)))

    def cells(self, t: float) -> Grid:
        """The cells in x at time t."""
        return self.grid if self.frame is None else self.frame.grid(t, self.grid)

    @property
    def perturbed(self) -> bool:
        """Whether the score is not the exact one."""
        return not self.model.exact

    @property
    def matrices(self) -> bool:
        """Whether the grid is small enough for matrices."""
        return math.prod(self.grid.shape) <= _MATRIX_CELLS[self.grid.dim]

    @property
    def reference(self) -> str:
        """How the exact kernels are made."""
        if self.exact.noiseless:
            return "probability flow by Runge-Kutta"
        return "Bayes' rule" if self.exact.eta == 1.0 and self.matrices else "finite volumes"

    def step(self, t0: float, t1: float) -> Step:
        """The formulas of one step of the sampler."""
        return samplers.step(self.sampler, self.model.process, float(self.model.eta_at(t0)), t0, t1)

    def sampled(self, times: Array, k: int) -> tuple[Kernel | Operator, int]:
        """K, step k of the sampler with its score, and the step from whose start it goes.

        That is k; but 0 for a method with a memory, whose steps so far are one map of the start.
        """
        first = 0 if self.sampler.memory else k
        made = samplers.steps(self.sampler, self.model, times[first : k + 2])
        return self._moved(made[0] if first == k else Composed(made), self.model), first

    def exactly(self, t0: float, t1: float) -> Kernel | Operator:
        """P: the dynamics with the exact score."""
        if self.reference == "Bayes' rule":
            return kernels.exact(self.exact, self.cells(t0), t0, t1, to_grid=self.cells(t1))
        return self._continuous(self.exact, t0, t1)

    def score_error(self, mu: Array, exact_push: Array, t0: float, t1: float) -> Array:
        """``mu (Q - P)``: what the dynamics does to mu with the approximate score less what it does with the exact one.

        Where P is Bayes' rule, Q is P plus the difference of two finite-volume kernels, whose grid errors cancel.
        """
        with_model = moved(self._continuous(self.model, t0, t1), mu)
        if self.reference == "Bayes' rule":
            return with_model - moved(self._continuous(self.exact, t0, t1), mu)
        return with_model - exact_push

    def _continuous(self, dynamics: Reverse, t0: float, t1: float) -> Kernel | Operator:
        if dynamics.noiseless:
            return self._moved(flow_step(self.exact, self.step(t0, t1), self.substeps), dynamics)
        # in the frame its cells are those of z, with the same masses
        seen = dynamics if self.frame is None else InFrame(Frame(dynamics))
        return kernels.finite_volume_operator(seen, self.grid, t0, t1)

    def _moved(self, step: Step, reverse: Reverse) -> Kernel | Operator:
        """A step as a kernel: splines where they can, sources averaged over cells where the map folds the line."""
        t0, t1 = step.t_from, step.t_to
        cells, ends = self.cells(t0), self.cells(t1)
        if not self.matrices:
            return kernels.sampler_operator(step, reverse, cells, t0, t1, to_grid=ends)
        if self.grid.dim == 2:
            return kernels.sampler(step, reverse, cells, t0, t1, to_grid=ends)
        try:
            return kernels.sampler(step, reverse, cells, t0, t1, source="spline", to_grid=ends)
        except ValueError:
            # a map that folds the line; anything else that is wrong is refused again here
            return kernels.sampler(step, reverse, cells, t0, t1, to_grid=ends)


def moved(kernel: Kernel | Operator, masses: Array) -> Array:
    """Masses of cells after a kernel, shape (..., cells), whatever the coordinate its cells are in."""
    return kernel.push(masses / kernel.grid.volume) * kernel.target.volume


def flow_step(reverse: Reverse, made: Step, substeps: int = SUBSTEPS) -> MapStep:
    """Return the flow with the churn of a step of a sampler: noise up to ``made.t_top``, then the flow down.

    Without churn this is the kernel of the reverse dynamics at eta = 0; with churn it is what EDM's stochastic step
    would be if its flow were exact. Either carries p_{t_from} to p_{t_to} with the exact score.
    """
    top = made.t_top
    process = reverse.process.reaching(top)
    clocked = reverse if top <= reverse.horizon else Reverse(reverse.target, process, eta=0.0)
    if made.t_to > 0.0:
        clock = np.linspace(float(clocked.clock(top)), float(clocked.clock(made.t_to)), substeps + 1)
        times = np.asarray(clocked.clock_inverse(clock))
        times[[0, -1]] = top, made.t_to
    else:
        # times from `top` to 0 in noise levels that fall geometrically above the data's narrowest width, linearly
        # below. The clock of the dynamics is singular at 0
        target = clocked.target
        narrow = target.smallest_std or _KINK * float(np.sqrt(np.min(np.diag(np.atleast_2d(target.cov)))))
        width = _LINEAR * (narrow if np.isfinite(narrow) else 1.0)
        # where no data are left the level is infinite: from just below
        first = min(top, clocked.held_from)
        levels = width * np.sinh(np.linspace(np.arcsinh(_level(clocked.process, first) / width), 0.0, substeps + 1))
        inner = [_time_of(clocked.process, float(level), first) for level in levels[1:-1]]
        times = np.array([top, *inner, 0.0])
    down, back = (partial(_along, process, nodes) for nodes in (times, times[::-1]))
    noise = {"scale_before": made.scale_before, "std_before": made.std_before}
    return MapStep(made.t_from, made.t_to, down, float(times[0]), back=back, **noise)


def _along(process: Process, times: Array, score: Score, x: Array) -> Array:
    """The probability flow through `times`, down or back, by Runge-Kutta steps; of the shape of x."""
    for t, later in pairwise(times.tolist()):
        if t == 0.0 or later == 0.0:
            x = _beside_the_data(process, score, max(t, later), x, down=later == 0.0)
            continue
        h, middle = later - t, 0.5 * (t + later)
        first = _slope(process, score, t, x)
        second = _slope(process, score, middle, x + 0.5 * h * first)
        third = _slope(process, score, middle, x + 0.5 * h * second)
        last = _slope(process, score, later, x + h * third)
        x = x + h / 6.0 * (first + 2.0 * second + 2.0 * third + last)
    return x


def _beside_the_data(process: Process, score: Score, t: float, x: Array, *, down: bool) -> Array:
    """One step between t and 0 in ``y = x/alpha`` and ``sigma``: the predicted noise ``dy/dsigma`` is 0 at 0.

    The score itself may not exist there, and the coefficients in t and the clock may be singular.
    """
    alpha, sigma = float(process.scale(0.0, t)), _level(process, t)
    middle = _time_of(process, 0.5 * sigma, t)

    def noise(u: float, y: Array) -> Array:
        a, v = float(process.scale(0.0, u)), float(process.variance(0.0, u))
        return np.asarray(-math.sqrt(v) * score(u, a * y))

    y = x / alpha if down else x
    h = -sigma if down else sigma
    first = noise(t, y) if down else np.zeros_like(y)
    second = noise(middle, y + 0.5 * h * first)
    third = noise(middle, y + 0.5 * h * second)
    last = np.zeros_like(y) if down else noise(t, y + h * third)
    y = y + h / 6.0 * (first + 2.0 * second + 2.0 * third + last)
    return np.asarray(y if down else alpha * y)


def _slope(process: Process, score: Score, t: float, x: Array) -> Array:
    a, g = float(process.drift_rate(t)), float(process.diffusion(t))
    return np.asarray(a * x - 0.5 * g**2 * score(t, x))


def _level(process: Process, t: float) -> float:
    """The noise level ``sqrt(sigma2(0, t))/alpha(0, t)``."""
    return math.sqrt(float(process.variance(0.0, t))) / float(process.scale(0.0, t))


def _time_of(process: Process, level: float, top: float) -> float:
    """The time below `top` at which the noise level is `level`; a level that comes at once at 0 is met at its end."""
    from scipy.optimize import brentq

    least = 1e-12 * top
    if _level(process, least) >= level:
        return least
    return float(brentq(lambda t: _level(process, t) - level, least, top, xtol=1e-15 * top, rtol=1e-13))


#: Order of the sources everywhere.
SOURCES = ("initialization", "discretization", "score")


@dataclass(frozen=True, eq=False)
class Chain:
    """What a march leaves behind; n steps, laws and errors as masses of cells.

    Attributes
    ----------
    sampled, reference : array, shape (n + 1, *grid.shape)
        mu_k and p_T P_0 ... P_{k-1}.
    local : array, shape (3, n)
        V-norm of every signed error where it arises; initialization in step 0 only.
    propagated : array, shape (3, n)
        V-norm of what is left of it at the end.
    alive : array, shape (3, n + 1)
        V-norm of the sum of all errors of a source so far, at every time.
    remainders : array, shape (3, *grid.shape)
        That sum at the end, signed.
    closure : array, shape (n + 1,)
        V-norm of mu_k minus the reference minus the sum of all errors: rounding.
    steps : dict of str to array, shape (n,)
        Of the sampler's kernels: `width`, `averaged`, `beyond`, `negative`.
    exact : list
        The exact kernels.
    """

    sampled: Array
    reference: Array
    local: Array
    propagated: Array
    alive: Array
    remainders: Array
    closure: Array
    steps: dict[str, Array]
    exact: list[Kernel | Operator] = field(repr=False)


def march(steps: Steps, times: Array, start: Array, first: Array, v: Array, progress: bool | None) -> Chain:
    """Run the sampler's chain from `start` and the exact one from `first`, masses of cells; V on the cells at times."""
    n, shape = len(times) - 1, steps.grid.shape

    def norm(w: Array, k: int) -> Array:
        return np.asarray((np.abs(w) * v[k]).reshape(*w.shape[: w.ndim - len(shape)], -1).sum(axis=-1))

    # rows: mu, reference, then the errors in flight with their source and step
    rows, labels = np.stack([start, first, start - first]), [(0, 0)]
    sampled, reference, exact = [start], [first], []
    local, alive = np.zeros((3, n)), np.zeros((3, n + 1))
    local[0, 0] = alive[0, 0] = norm(rows[2], 0)
    closure, told = np.zeros(n + 1), []
    with _messages.progress(n, f"{steps.sampler.name}: errors", progress) as bar:
        for k, (t0, t1) in enumerate(pairwise(times.tolist())):
            (sampler, begun), kernel = steps.sampled(times, k), steps.exactly(t0, t1)
            told.append(_told(sampler, steps, t0, t1, np.abs(sampled[begun])))
            exact.append(kernel)
            mu, rows = moved(sampler, sampled[begun]), moved(kernel, rows)
            made = {1: mu - rows[0]}
            if steps.perturbed:
                made[2] = steps.score_error(sampled[-1], rows[0], t0, t1)
                made[1] -= made[2]
            for source, error in made.items():
                local[source, k] = norm(error, k + 1)
                labels.append((source, k))
            rows = np.concatenate([mu[None], rows[1:], *(error[None] for error in made.values())])
            # the sum of the errors of every source, shape (3, *grid.shape)
            sources = np.array([source for source, _ in labels])
            sums = np.stack([rows[2:][sources == source].sum(axis=0) for source in range(len(SOURCES))])
            alive[:, k + 1], closure[k + 1] = norm(sums, k + 1), norm(rows[0] - rows[1] - sums.sum(axis=0), k + 1)
            sampled.append(rows[0])
            reference.append(rows[1])
            bar.update()
    if steps.sampler.memory:
        # every kernel goes from the start: what its map throws out is all of it
        for now, before in zip(told[:0:-1], told[-2::-1], strict=True):
            now["thrown"] -= before["thrown"]
    propagated = np.zeros((3, n))
    for (source, k), left in zip(labels, norm(rows[2:], n), strict=True):
        propagated[source, k] = left
    told_by_name = {name: np.array([one[name] for one in told]) for name in told[0]}
    return Chain(np.stack(sampled), np.stack(reference), local, propagated, alive, sums, closure, told_by_name, exact)


def _told(sampler: Kernel | Operator, steps: Steps, t0: float, t1: float, masses: Array) -> dict[str, float]:
    """What a kernel says of itself: noise in cell widths, averaged sources, mass beyond the box, negative entries."""
    made = steps.step(t0, t1)
    defects = getattr(sampler, "defects", None)
    return {
        "width": max(made.std_before / max(steps.cells(t0).spacing), made.std_after / max(steps.cells(t1).spacing)),
        "averaged": float(getattr(sampler, "averaged", 0.0)),
        "beyond": 0.0 if defects is None else float(np.max(defects)),
        "thrown": 0.0 if defects is None else float(np.ravel(defects) @ masses.ravel()),
        "negative": float(getattr(sampler, "negative", 0.0)),
    }


def coefficient(matrix: Array, v: Array, later: Array) -> float:
    r"""``max_{i \ne k} sum_j W_j |P_ij - P_kj| / (V_i + V_k)``, v = V before and later = W after, shapes (cells,).

    Examples
    --------
    >>> round(coefficient(np.array([[0.9, 0.1], [0.2, 0.8]]), np.ones(2), np.ones(2)), 12)
    0.7
    """
    from scipy.spatial.distance import pdist

    first, second = np.triu_indices(len(v), 1)
    return float(np.max(pdist(matrix * later, "cityblock") / (v[first] + v[second])))


def contractions(chain: list[Kernel | Operator], v: Array, boundaries: list[int]) -> Array:
    r"""Return how much of a signed difference the exact kernels can leave at most: ``c_k``, k = 0, ..., n; ``c_n = 1``.

    .. math:: \|w P_k \cdots P_{n-1}\|_V \le c_k \|w\|_V, \qquad c_k = g_{k,j} \delta_j

    for every difference w of two probabilities: delta_j the weighted Dobrushin coefficient from a block boundary
    ``t_j`` to the end, ``g_{k,j} = sup_x (P_k \cdots P_{j-1} V)(x)/V(x)`` the growth of V from ``t_k`` to it; j is the
    boundary that gives the smallest product, the end (delta = 1) among them.

    Parameters
    ----------
    chain : list
        The exact kernels.
    v : array, shape (n + 1, *grid.shape)
        The weight on the cells at every time.
    boundaries : list of int
        Steps at which Dobrushin coefficients are computed, 0 to n - 1; matrices are needed for that.
    """
    n, rest = len(chain), None
    found = np.ones(n + 1)
    # images of V, one per boundary still ahead, and the coefficient from that boundary on
    images, ahead = [v[-1]], [1.0]
    for k in range(n - 1, -1, -1):
        images = list(pulled(chain[k], np.stack(images)))
        found[k] = min(float(np.max(image / v[k])) * delta for image, delta in zip(images, ahead, strict=True))
        kernel = chain[k]
        if not boundaries or not isinstance(kernel, Kernel):
            continue
        rest = kernel.matrix if rest is None else kernel.matrix @ rest
        if k in boundaries:
            delta = coefficient(rest, v[k].ravel(), v[-1].ravel())
            images.append(v[k])
            ahead.append(delta)
            found[k] = min(found[k], delta)
    return found


def pulled(kernel: Kernel | Operator, f: Array) -> Array:
    """``|P| f``: splines have small negative entries."""
    if isinstance(kernel, Kernel) and kernel.negative > 0.0:
        flat = f.reshape(len(f), -1) @ np.abs(kernel.matrix).T
        return flat.reshape(f.shape)
    return kernel.pull(f)
