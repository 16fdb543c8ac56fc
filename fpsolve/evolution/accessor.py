"""``run.fpsolve``: what a run's Dataset knows about itself."""

from __future__ import annotations

import json

import xarray as xr

from fpsolve import _runs, weights
from fpsolve._checks import error
from fpsolve.grid import Grid
from fpsolve.solver import scheme_named
from fpsolve.weights import Weight


class RunAccessor:
    """Grid, weight and levels of a run, read from its Dataset (also after saving and loading).

    Parameters
    ----------
    run : xarray.Dataset
        As returned by `evolve`.
    """

    def __init__(self, run: xr.Dataset) -> None:
        self._run = run

    @property
    def grid(self) -> Grid:
        """The grid of the cells that `density` has, also of a run cut in space; in the scaled frame it is in z."""
        return _runs.grid(self._run)

    @property
    def weight(self) -> Weight:
        """The weight of the run's error estimates."""
        return weights.from_json(self._attribute("weight"))

    @property
    def levels(self) -> list[dict[str, object]]:
        """Cells, steps and cell updates of every level, coarsest first."""
        return list(json.loads(self._attribute("levels")))

    @property
    def extrapolated(self) -> xr.DataArray:
        """Richardson extrapolation of a fixed-grid run and its companion, cell averages on the companion's cells.

        Fourth order for the second-order schemes. A run with `tol` is extrapolated already and refuses, as does one
        along characteristics, which has no level error in the cell width.
        """
        solved_once = self._attribute("scheme") == "characteristics"
        if solved_once or self._run.attrs.get("tol_met") != "not asked" or "density_previous" not in self._run:
            raise error("run", "a run with grid, steps, noise and estimate=True", "another", "use its density as it is")
        run = _runs.tidy(self._run, member=_runs.member_of(self._run))
        fine, coarse = run.variables["density"], run["density_previous"]
        share = 1.0 / (2.0 ** scheme_named(self._attribute("scheme")).order - 1.0)
        return coarse.copy(deep=False, data=(1.0 + share) * self.grid.restrict(fine.values) - share * coarse.values)

    def _attribute(self, name: str) -> str:
        return _runs.attribute(self._run, name)
