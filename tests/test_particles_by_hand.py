"""The statistics of particles against a grid, with numbers small enough to be worked out by hand."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from fpsolve.particles import _agreement


def test_chi_square_of_three_cells():
    """Expected 25, 25, 50, seen 30, 20, 50: the statistic is 1 + 1 + 0 on 2 degrees, whose tail is exp(-x/2)."""
    counts, probability = np.array([30.0, 20.0, 50.0]), np.array([0.25, 0.25, 0.5])
    found = _agreement.chi_square(counts, probability, np.zeros(3), 100, 0.05, 5.0)
    assert (found.statistic, found.dof) == (pytest.approx(2.0), 2)
    assert found.p_value == pytest.approx(math.exp(-1.0), rel=1e-9)
    assert found.critical == pytest.approx(-2.0 * math.log(0.05), rel=1e-9)


def test_z_scores_are_allowed_the_error_of_the_grid_once(monkeypatch):
    """Mean 1, variance 4, 100 draws with mean 1.5: z = 2.5; errors 0.16 in all are 0.8 standard deviations."""
    means = {"coarse": 0.97, "fine": 1.0}
    monkeypatch.setattr(
        _agreement, "expectations", lambda _, cells, *frame: (np.array([means[cells]]), np.array([4.0]))
    )
    monkeypatch.setattr(_agreement, "on_cells", lambda probability, *cells: probability)
    cells = type("Cells", (str,), {"refine": lambda self: "fine"})("coarse")
    # the grid's, what is outside of the run, what halved cells change, the tail
    grid = SimpleNamespace(probability=None, cells=cells, error=0.05, outside=np.array([0.02]), tail=0.06)
    sample = SimpleNamespace(n=100, function_mean=np.array([1.5]), centre=None, width=None)
    found = _agreement._z_scores(grid, sample, 0.05)
    assert found["z"] == pytest.approx([2.5])
    assert found["z_band"] == pytest.approx(1.959963984540054 + 0.8, abs=1e-9)
    assert found["z_p"] == pytest.approx(math.erfc(1.7 / math.sqrt(2.0)), rel=1e-9)
