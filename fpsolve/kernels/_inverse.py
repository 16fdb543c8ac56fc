"""Faces pulled back through a monotone map on a line."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fpsolve.samplers import Score, Step

Array = NDArray[np.float64]

#: Rounds of the Illinois method: its order is 1.44, so a bracket of a sample's width is at rounding long before.
_ROUNDS = 40
#: How far beyond the box preimages are looked for, in lengths of the box; further out they are infinite.
_BEYOND = 1.0
_SAMPLES = 4001


def pulled_back(
    step: Step, score: Score, faces: Array, box: tuple[float, float], reach: float = 0.0
) -> Array | None:
    """Return where the map of a step comes from for every face; None where the map is not increasing.

    A step that knows its own inverse, as a flow does, is asked for it: ``step.back(score, x)``. `box` holds what comes
    before the step, `reach` is how far its noise before the map goes.
    """
    if step.back is not None:
        return np.asarray(step.back(score, faces))
    low, high = (step.scale_before * end for end in box)
    length = high - low
    # a score may be wild far out, where nothing comes from: then it is enough that the map increases on the box
    for beyond in (max(_BEYOND * length, reach), reach):
        found = preimages(lambda u: step.move(score, u), faces, (low - beyond, high + beyond))
        if found is not None:
            return found
    return None


def preimages(move: Callable[[Array], Array], faces: Array, box: tuple[float, float]) -> Array | None:
    """Return u in the box with ``move(u) = face`` for every face, of the shape of `faces`.

    None where the map is not increasing; preimages beyond the box become -inf or inf.
    """
    samples = np.linspace(box[0], box[1], _SAMPLES)
    images = move(samples)
    if not np.all(np.diff(images) > 0.0):
        return None
    wanted = faces.ravel()
    place = np.searchsorted(images, wanted)
    inside = (place > 0) & (place < _SAMPLES)
    found = np.where(place == 0, -np.inf, np.inf)
    k = place[inside]
    found[inside] = _illinois(move, wanted[inside], samples[k - 1], samples[k], images[k - 1], images[k])
    return np.asarray(found.reshape(faces.shape))


def _illinois(
    move: Callable[[Array], Array], wanted: Array, low: Array, high: Array, at_low: Array, at_high: Array
) -> Array:
    """Roots of ``move(u) - wanted`` in brackets, by regula falsi that halves a stale end (Dowell and Jarratt 1971)."""
    low, high, below, above = low.copy(), high.copy(), at_low - wanted, at_high - wanted
    side = np.zeros(wanted.shape)
    tolerance = 4.0 * np.finfo(float).eps * np.max(np.abs(np.concatenate([low, high])), initial=1.0)
    for _ in range(_ROUNDS):
        share = below / (below - above)
        middle = np.clip(low + share * (high - low), low, high)
        value = move(middle) - wanted
        up = value >= 0.0
        below = np.where(up & (side > 0), 0.5 * below, below)
        above = np.where(~up & (side < 0), 0.5 * above, above)
        step = np.where(up, high - middle, middle - low)
        low, below = np.where(up, low, middle), np.where(up, below, value)
        high, above = np.where(up, middle, high), np.where(up, value, above)
        side = np.where(up, 1.0, -1.0)
        # equal ends are exact roots: keep the quotient defined
        done = (below == 0.0) | (above == 0.0) | (high - low <= tolerance)
        if np.all(done | (step <= tolerance)):
            break
        above = np.where(above == 0.0, np.finfo(float).tiny, above)
    return np.asarray(middle)
