"""What every peer's script shares: read the settings, time the solve, print seconds and the true error as JSON.

Scripts run in the peer's own environment, which holds the peer and what it needs, never fpsolve.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import problem

Array = NDArray[np.float64]


def times(steps: int) -> Array:
    """Forward times from T to t_min, geometric in t + 0.05: the score sharpens towards the end."""
    return np.geomspace(problem.T + 0.05, problem.T_MIN + 0.05, steps + 1) - 0.05


def main(line: Callable[[int, int], Callable[[], Array]], plane: Callable[[int, int], Callable[[], Array]]) -> None:
    """Prepare, solve and judge; arguments: dimension, cells per axis, steps, rounds.

    `line` and `plane` prepare what does not have to be done again and return the function that is timed; what it
    returns are the cell averages at t_min, (cells,) or (cells, cells).
    """
    dim, cells, steps, rounds = (int(a) for a in sys.argv[1:5])
    prepared = time.process_time()
    solve = (line if dim == 1 else plane)(cells, steps)
    seconds = []
    for _ in range(rounds):
        began = time.process_time()
        values = solve()
        seconds.append(time.process_time() - began)
    exact = (problem.line_averages if dim == 1 else problem.plane_averages)(problem.T_MIN, cells)
    area = ((problem.BOX[1] - problem.BOX[0]) / cells) ** dim
    found = {
        "seconds": min(seconds),
        "error": problem.tv(np.asarray(values), exact, area),
        "total": time.process_time() - prepared,
    }
    print(json.dumps(found))
