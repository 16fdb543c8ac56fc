"""When: the step grid of a run. Save times cut it into segments; in each the steps are equal in the run's clock."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fpsolve.dynamics import RunClock

Array = NDArray[np.float64]

#: Startup steps of the coarsest level.
STARTUP = 2
#: Save times, about, of the level on a quarter of the steps: orders change slowly along a run, and each costs a call.
QUARTER_SAVES = 6


@dataclass(frozen=True, eq=False)
class StepPlan:
    """Save times in the order of the run, and the number of steps in each segment between them.

    Attributes
    ----------
    saves : array, shape (segments + 1,)
        Forward times; decreasing for reverse dynamics.
    counts : int array, shape (segments,)
    startup : int
        Steps at the beginning that a scheme with a startup takes with it. Refined with the steps, so that all levels
        of a run use it over the same span of time and their errors stay comparable.
    """

    saves: Array
    counts: NDArray[np.int64]
    startup: int = 2 * STARTUP

    @property
    def steps(self) -> int:
        """Steps in total."""
        return int(self.counts.sum())

    def refined(self) -> StepPlan:
        """Twice the steps in every segment."""
        return StepPlan(self.saves, 2 * self.counts, 2 * self.startup)

    def coarsened(self) -> StepPlan:
        """Half the steps in every segment; where they are odd less than half, so that no segment is as fine as here."""
        return StepPlan(self.saves, np.maximum(self.counts // 2, 1), self.startup // 2)

    def quartered(self, fixed: Collection[float] = ()) -> tuple[StepPlan, NDArray[np.int64]] | None:
        """A quarter of the steps through some of the save times that it can meet, and which these are; None below 4.

        Save times in `fixed` are met whatever the number of steps before them.
        """
        done = [0, *np.cumsum(self.counts).tolist()]
        if done[-1] < 4:
            return None
        met = {k for k, t in enumerate(self.saves.tolist()) if t in fixed} if fixed else set()
        kept, end, enough = [0], len(done) - 1, 4
        for k in range(1, end + 1):
            ahead = done[k] - done[kept[-1]]
            if k == end and ahead < 8 and len(kept) > 1 and kept[-1] not in met:
                # too few for a segment of their own: joined to the one before
                kept.pop()
            if k == end or k in met or (ahead >= enough and ahead % 4 == 0):
                kept.append(k)
                # more of them at the beginning, where a narrow start spreads
                enough = max(4, min(done[k], done[-1] // QUARTER_SAVES))
        which = np.array(kept, dtype=np.int64)
        steps = np.diff(np.array(done, dtype=np.int64)[which])
        return StepPlan(self.saves[which], np.maximum(steps // 4, 1), self.startup // 4), which

    def nodes_in(self, finer: StepPlan, which: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which step times of a finer plan are those of this one, whose save times are `which` of the finer ones."""
        there = np.append(0, np.cumsum(finer.counts))[which]
        here = np.append(0, np.cumsum(self.counts))
        return np.asarray(np.rint(np.interp(np.arange(self.steps + 1), here, there)), dtype=np.int64)

    def times(self, clock: RunClock, tau: Array | None = None) -> Array:
        """All step times, shape (steps + 1,): smooth under refinement, save times hit exactly.

        `tau` is what the clock shows at the save times, where that is known.
        """
        tau = clock.at(self.saves) if tau is None else tau
        fractions = [np.arange(n) / n for n in self.counts]
        inner = np.concatenate([a + f * (b - a) for a, b, f in zip(tau[:-1], tau[1:], fractions, strict=True)])
        times = clock.inverse(np.append(inner, tau[-1]))
        times[np.append(0, np.cumsum(self.counts))] = self.saves
        if np.any(np.diff(times) * (self.saves[-1] - self.saves[0]) <= 0.0):
            raise ValueError(
                "clock: expected a strictly monotone one, got step times that turn back; check clock_inverse."
            )
        return times


def default_saves(clock: RunClock, count: int = 50) -> Array:
    """`count` times along the run, equally spaced in its clock, both ends included."""
    saves = clock.inverse(np.linspace(0.0, clock.at(clock.last), count))
    saves[[0, -1]] = clock.first, clock.last
    return saves


def plan_by_density(clock: RunClock, saves: Array, step: float) -> StepPlan:
    """Steps of at most `step` in the clock."""
    gaps = np.abs(np.diff(clock.at(saves)))
    return StepPlan(saves, np.maximum(1, np.ceil(gaps / step)).astype(np.int64), STARTUP)


def plan_by_count(clock: RunClock, saves: Array, steps: int) -> StepPlan:
    """Exactly `steps` steps, dealt out to the segments in proportion to their length in the clock.

    They are dealt in pairs wherever there are two for every segment, so that half the steps end on the same times; an
    odd one goes to the segment that has most. With fewer every segment gets one at least.
    """
    gaps = np.abs(np.diff(clock.at(saves)))
    unit = 2 if steps >= 2 * len(gaps) else 1
    pairs = steps // unit
    wish = gaps / gaps.sum() * pairs
    counts = np.maximum(1, np.floor(wish)).astype(np.int64)
    while counts.sum() != pairs:
        add = counts.sum() < pairs
        excess = counts - wish
        k = int(np.argmin(excess) if add else np.argmax(np.where(counts > 1, excess, -np.inf)))
        counts[k] += 1 if add else -1
    counts *= unit
    counts[int(np.argmax(counts))] += steps - unit * pairs
    return StepPlan(saves, counts)


def plan_on_nodes(clock: RunClock, steps: int, count: int = 50) -> StepPlan:
    """Exactly `steps` equal steps in the clock; about `count` of the step times are the save times.

    The segments hold an even number of steps, so that half the steps end on the same times; where the number is odd the
    last one has one more.
    """
    pairs = steps // 2
    segments = min(count - 1, max(pairs, 1))
    edges = 2 * np.round(np.linspace(0, pairs, segments + 1)).astype(np.int64)
    edges[-1] = steps
    saves = clock.inverse(clock.at(clock.last) * edges / steps)
    saves[[0, -1]] = clock.first, clock.last
    return StepPlan(saves, np.diff(edges))
