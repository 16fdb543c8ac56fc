"""Smooth increasing maps and their inverses."""

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from fpsolve.dynamics import MonotoneMap


def test_inverse_undoes_forward_to_round_off():
    x = np.sort(np.concatenate([np.linspace(0, 3, 200), 3 - np.geomspace(1e-9, 1, 100)]))
    x = np.unique(x)
    table = MonotoneMap(x, np.expm1(2 * x))
    there = np.linspace(0, 3, 1001)
    assert np.abs(table.inverse(table.forward(there)) - there).max() <= 1e-14 * 30
    assert np.all(np.diff(table.inverse(np.linspace(0, table.y[-1], 5000))) > 0)


def test_a_table_that_turns_back_is_refused():
    with pytest.raises(ValueError, match="increasing"):
        MonotoneMap(np.array([0.0, 1.0, 2.0]), np.array([0.0, 2.0, 1.0]))


def test_forward_is_scipys_spline_within_and_beyond_the_table():
    x = np.cumsum(np.linspace(0.1, 1.0, 30))
    table = MonotoneMap(x, np.log1p(x) + x)
    points = np.concatenate([x, np.linspace(x[0] - 0.5, x[-1] + 0.5, 301)])
    np.testing.assert_allclose(table.forward(points), CubicSpline(x, np.log1p(x) + x)(points), rtol=1e-13)
    assert float(table.forward(2.0)) == float(table.forward([2.0])[0])


def test_a_corner_at_a_joint_stays_a_corner():
    """``y = x`` up to 1 and ``y = 1 + 3 (x - 1)`` after it: two straight pieces, without ringing on either side."""
    x = np.linspace(0.0, 2.0, 21)
    y = np.where(x < 1.0, x, 3.0 * x - 2.0)
    points = np.linspace(0.0, 2.0, 401)
    exact = np.where(points < 1.0, points, 3.0 * points - 2.0)
    sharp, smooth = MonotoneMap(x, y, (float(x[10]),)), MonotoneMap(x, y)
    np.testing.assert_allclose(sharp.forward(points), exact, atol=1e-14)
    np.testing.assert_allclose(sharp.inverse(exact), points, atol=1e-13)
    assert np.abs(smooth.forward(points) - exact).max() > 1e-3
