"""The explorer: sliders for target, process, eta, end, start and score error; density, forgetting curve, bounds, live.

`State` is what the sliders say, `answer` what is computed of it, `page` what is seen in a browser or notebook (panel,
the extra ``fpsolve[explore]``). The first two need no browser.
"""

from __future__ import annotations

import io
import time
import warnings
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fpsolve import _checks, bounds, plots
from fpsolve.data import read, standardise
from fpsolve.distances import forgetting_curve
from fpsolve.dynamics import Reverse
from fpsolve.evolution import evolve
from fpsolve.grid import Grid
from fpsolve.laws import Gaussian, GaussianMixture, KernelDensity, Laplace, Law
from fpsolve.processes import EDM, VE, VP, CosineVP, OrnsteinUhlenbeck, Process, RectifiedFlow, SubVP
from fpsolve.scores import errors, exact, perturbed
from fpsolve.weights import PolynomialWeight

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

#: The only address that is listened on: nobody else's browser.
ADDRESS = "127.0.0.1"
TARGETS: dict[str, Law] = {
    "two modes": GaussianMixture([0.4, 0.6], [-1.5, 1.0], stds=[0.3, 0.4]),
    "three modes": GaussianMixture([0.3, 0.4, 0.3], [-2.0, 0.0, 1.5], stds=[0.3, 0.25, 0.3]),
    "one mode": Gaussian(0.5, std=0.5),
    "Laplace": Laplace(0.0, 0.5),
    "two modes, plane": GaussianMixture([0.4, 0.6], [[-1.5, -0.5], [1.0, 0.6]], covs=[0.36 * np.eye(2)] * 2),
    "three modes, plane": GaussianMixture([0.4, 0.3, 0.3], [[-1.6, -1], [1.6, -1], [0, 2]], covs=[np.eye(2) / 3] * 3),
}
PROCESSES: dict[str, Process] = {
    "VP": VP(),
    "OU": OrnsteinUhlenbeck(T=3.0),
    "cosine VP": CosineVP(),
    "sub-VP": SubVP(),
    "VE": VE(),
    "EDM": EDM(),
    "rectified flow": RectifiedFlow(),
}
#: Name of the target of a file.
YOURS = "your data"
#: Cells and steps of a run, times of its curve; cells and blocks of the ladder.
CELLS, STEPS, TIMES, RUNGS = 400, 96, 24, (200, 4)
#: The same in the plane, cells along each axis; a third of a second.
PLANE = (64, 48, 12)
#: Cells are those of the scaled coordinate where scales change, and reach so many of its units to each side.
_SCALED, _REACH = ("VE", "EDM"), {1: 8.0, 2: 5.5}
_WEIGHT = PolynomialWeight(power=2, beta=1.0)


@dataclass(frozen=True)
class State:
    """What the sliders say.

    Attributes
    ----------
    target, process : str
        Keys of `TARGETS` (or "your data") and `PROCESSES`.
    eta : float
        Stochasticity.
    t_min : float
        End of the run, as a share of T.
    mean, std : float
        Of the Gaussian start, in standard deviations of the prior.
    error : float
        Share by which the score is too large.
    data, column : str
        The file of "your data" and its column, default the first.

    Raises
    ------
    ValueError
        A name that is none, a number out of range.
    """

    target: str = "two modes"
    process: str = "VP"
    eta: float = 1.0
    t_min: float = 0.01
    mean: float = 0.5
    std: float = 1.0
    error: float = 0.0
    data: str = ""
    column: str = ""

    def __post_init__(self) -> None:
        _checks.one_of("target", self.target, (*TARGETS, *([YOURS] if self.data else [])))
        _checks.one_of("process", self.process, tuple(PROCESSES))
        _checks.non_negative("eta", self.eta)
        _checks.interval("t_min", self.t_min, 0.0, 1.0, ends="()")
        _checks.finite("mean", self.mean)
        _checks.positive("std", self.std)
        _checks.finite("error", self.error)

    @property
    def law(self) -> Law:
        """The target."""
        return _file_law(self.data, self.column) if self.target == YOURS else TARGETS[self.target]

    @property
    def reverse(self) -> Reverse:
        """The dynamics."""
        law, process = self.law, PROCESSES[self.process]
        score = perturbed(exact(law, process), errors.Scaling(self.error)) if self.error else None
        return Reverse(law, process, score=score, eta=self.eta)

    @property
    def start(self) -> Gaussian:
        """The start that is wrong; in the plane its mean is off along the first axis."""
        s = float(PROCESSES[self.process].prior_std)
        if self.law.dim == 1:
            return Gaussian(self.mean * s, std=self.std * s)
        return Gaussian([self.mean * s, 0.0], cov=(self.std * s) ** 2 * np.eye(2))

    @property
    def work(self) -> tuple[int, int, int]:
        """Cells along each axis and steps of the run, times of the curve."""
        return (CELLS, STEPS, TIMES) if self.law.dim == 1 else PLANE

    @property
    def frame(self) -> Literal["fixed", "scaled"]:
        """Coordinate of the cells."""
        return "scaled" if self.process in _SCALED else "fixed"

    @property
    def grid(self) -> Grid:
        """Cells that hold target, marginals and start."""
        reverse, prior = self.reverse, float(PROCESSES[self.process].prior_std)
        (cells, *_), dim = self.work, reverse.dim
        if self.frame == "scaled":
            reach = max(_REACH[dim], 6.0 * self.std + abs(self.mean))
            ends = [(-reach, reach)] * dim
        else:
            laws = [*(reverse.marginal(u * reverse.horizon) for u in (self.t_min, 0.3, 1.0)), self.start]
            middle = np.array([np.atleast_1d(law.mean) for law in laws])
            spread = np.array([_REACH[dim] * np.sqrt(np.diagonal(np.atleast_2d(law.cov))) for law in laws])
            spread[-1] = 6.0 * max(self.std, 1.0) * prior
            ends = [*zip((middle - spread).min(axis=0).tolist(), (middle + spread).max(axis=0).tolist(), strict=True)]
        return Grid(tuple(ends), (cells,) * dim)

    def python(self) -> str:
        """The same run and curve as a program."""
        law, process, (cells, steps, times) = repr(self.law), repr(PROCESSES[self.process]), self.work
        if self.target == YOURS:
            column = f"[{self.column!r}]" if self.column else "[0]"
            law = f"KernelDensity(fp.data.standardise(fp.data.read({self.data!r}, {column})).samples)"
        score = f", score=fp.scores.perturbed(exact, fp.scores.errors.Scaling({self.error!r}))" if self.error else ""
        bounds = self.grid.bounds if self.law.dim == 2 else self.grid.bounds[0]
        return f"""import numpy as np
import fpsolve as fp

target  = fp.{law}
process = fp.{process}
exact   = fp.scores.exact(target, process)
reverse = fp.Reverse(target, process{score}, eta={self.eta!r})
start   = fp.{self.start!r}
starts  = {{"exact": reverse.marginal(process.T), "start": start}}
ends    = reverse.clock(np.array([process.T, {self.t_min!r} * process.T]))
times   = reverse.clock_inverse(np.linspace(*ends, {times}))[1:-1]
run     = fp.evolve(reverse, starts, grid=fp.Grid.uniform({bounds!r}, cells={cells}), steps={steps},
                    t_min={self.t_min!r} * process.T, save_at=times, frame={self.frame!r})
curve   = fp.forgetting_curve(run, reference="exact", weight=fp.PolynomialWeight(power=2, beta=1.0))
fp.plots.forgetting(curve).figure.savefig("forgetting.png")
"""


@dataclass(frozen=True, eq=False)
class Answer:
    """What is computed of a state: run, curve, what was warned of, and the seconds that it took."""

    run: xr.Dataset
    curve: xr.Dataset
    told: tuple[str, ...]
    seconds: float

    def density(self, start: str, at: int) -> tuple[NDArray[np.float64], ...]:
        """Positions along each axis and cell averages of a start at a saved time."""
        one = self.run["density"].sel(start=start).isel(t=at)
        return *(np.asarray(one[name].values) for name in ("x", "y")[: one.ndim]), np.asarray(one.values)


def answer(state: State) -> Answer:
    """Run and curve of a state, with error bars; what fpsolve warns of is part of it."""
    began = time.perf_counter()
    reverse = state.reverse
    last = state.t_min * reverse.horizon
    ends = reverse.clock(np.array([reverse.horizon, last]))
    _, steps, count = state.work
    times = np.asarray(reverse.clock_inverse(np.linspace(ends[0], ends[1], count)))[1:-1]
    starts = {"exact": reverse.marginal(reverse.horizon), "start": state.start}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run = evolve(
            reverse, starts, grid=state.grid, steps=steps, t_min=last, save_at=times, frame=state.frame, progress=False
        )
        curve = forgetting_curve(run, reference="exact", weight=_WEIGHT)
    return Answer(run, curve, tuple(str(one.message) for one in told), time.perf_counter() - began)


@lru_cache(maxsize=16)
def ladder(state: State) -> xr.Dataset | str:
    """Bounds on the start's distance, or why there are none; a second or two of work."""
    if state.error or state.eta != 1.0:
        return "bounds are of the exact score and eta = 1"
    if state.law.dim == 2:
        return "bounds are drawn for targets on a line only"
    cells, blocks = RUNGS
    try:
        return bounds.ladder(
            state.reverse, grid=Grid(state.grid.bounds, (cells,)), blocks=blocks, start=state.start, norm=_WEIGHT,
            t_min=state.t_min * state.reverse.horizon, weight=PolynomialWeight(power=2, beta=0.1), frame=state.frame,
        )  # fmt: skip
    except ValueError as reason:
        return str(reason)


def figure(state: State, found: Answer | None = None) -> Figure:
    """Curve and densities as a figure of `fpsolve.plots`, to be saved."""
    from matplotlib.figure import Figure

    found = answer(state) if found is None else found
    made = Figure(figsize=(9.0, 7.0), layout="constrained")
    if state.law.dim == 1:
        above, *below = made.subplots(2, 1)
        plots.density(found.run, start="start", ax=below[0])
    else:
        above, *below = made.subplot_mosaic([["curve"] * 3, ["first", "middle", "last"]]).values()
        times = found.run["t"].values[[0, PLANE[2] // 2, -1]]
        plots.density(found.run, start="start", times=times, ax=below)
    plots.forgetting(found.curve, ax=above)
    return made


def explore(data: str | Path | None = None, *, column: str = "") -> Any:
    """Return the explorer: sliders, and what a run with these settings forgets, computed as they move.

    In a notebook it is shown where it is the last line of a cell; ``fpsolve explore`` opens it in a browser, served on
    this machine alone (127.0.0.1).

    Parameters
    ----------
    data : path, optional
        A CSV or .npy file: its kernel density becomes one of the targets, "your data".
    column : str, optional
        Column of the file, default the first.

    Returns
    -------
    panel.viewable.Viewable
        One page: density at a time, forgetting curve with its error band, ladder of bounds where there is one, the time
        that the last change took, the same run as a program, and its figure as a file.

    Raises
    ------
    ValueError
        panel is not installed (``pip install 'fpsolve[explore]'``), or a file that cannot be read.
    """
    state = State()
    if data is not None:
        state = replace(state, target=YOURS, data=str(data), column=column)
        _file_law(state.data, column)
    return Page(state).view


def serve(data: str | Path | None = None, column: str = "", port: int = 0, show: bool = True) -> None:
    """Serve the explorer on this machine alone until interrupted; port 0 takes a free one."""
    panel = _panel()
    explore(data, column=column)  # what is wrong is said before a server starts
    panel.serve(
        lambda: explore(data, column=column), address=ADDRESS, port=port, show=show, title="fpsolve", threaded=False
    )


class Page:
    """Widgets and figures of one visitor; `update` is what every widget calls."""

    def __init__(self, state: State) -> None:
        panel = _panel()
        from bokeh.layouts import row

        self.state = state
        wide = {"width": 300}
        names = [*([YOURS] if state.data else []), *TARGETS]
        kinds = panel.widgets
        self.widgets = {
            "target": kinds.Select(label="target", options=names, value=state.target, **wide),
            "process": kinds.Select(label="process", options=list(PROCESSES), value=state.process, **wide),
            "eta": kinds.FloatSlider(label="eta", start=0.0, end=2.0, step=0.1, value=state.eta, **wide),
            "t_min": kinds.FloatSlider(label="t_min / T", start=0.005, end=0.3, step=0.005, value=state.t_min, **wide),
            "mean": kinds.FloatSlider(label="start: mean", start=-3.0, end=3.0, step=0.1, value=state.mean, **wide),
            "std": kinds.FloatSlider(label="start: std", start=0.3, end=1.5, step=0.05, value=state.std, **wide),
            "error": kinds.FloatSlider(label="score error", start=-0.5, end=0.5, step=0.02, value=state.error, **wide),
        }
        self.at = kinds.FloatSlider(label="density at this share of the clock", end=1.0, step=0.02, value=1.0)
        self.bounds = kinds.Checkbox(label="ladder of bounds (a second after every change)", value=False)
        self.told = panel.pane.Markdown("", width=300)
        self.code = kinds.TextAreaInput(label="as Python", value="", width=900, height=230)
        self.copy = kinds.Button(label="copy as Python", **wide)
        self.copy.js_on_click(args={"code": self.code}, code="navigator.clipboard.writeText(code.value)")
        self.save = kinds.FileDownload(callback=self.saved, filename="forgetting.png", label="save figure", **wide)
        self._plots()
        for widget in self.widgets.values():
            widget.param.watch(self.update, "value")
        self.at.param.watch(self.move, "value")
        self.bounds.param.watch(self.update, "value")
        self.update()
        side = panel.Column(*self.widgets.values(), self.at, self.bounds, self.copy, self.save, self.told)
        pictures = (self.above, self.below, row(*self.images))
        self.view = panel.Row(side, panel.Column(*map(panel.pane.Bokeh, pictures), self.code))

    def _plots(self) -> None:
        """Empty figures, whose sources are filled by `update`."""
        from bokeh.models import ColumnDataSource
        from bokeh.plotting import figure as new

        self.line, self.rungs, self.law, self.plane = (ColumnDataSource() for _ in range(4))
        self.line.data = {name: [] for name in ("tau", "t", "distance", "low", "high")}
        self.rungs.data = {"xs": [], "ys": [], "name": []}
        self.law.data = {name: [] for name in ("x", "start", "y", "exact")}
        self.plane.data = {name: [] for name in ("x", "y", "width", "height", "start", "exact")}
        tips = [("t", "@t"), ("distance", "@distance"), ("error", "@low to @high")]
        self.above = new(
            width=900, height=330, y_axis_type="log", tooltips=tips, title="weighted distance to the exact law",
            x_axis_label="clock of the run: T at the left, t_min at the right", y_axis_label="int (1 + x^2) |q - p| dx",
        )  # fmt: skip
        self.above.varea("tau", "low", "high", source=self.line, fill_alpha=0.3)
        self.above.line("tau", "distance", source=self.line, line_width=2, legend_label="measured, with its error band")
        self.above.multi_line("xs", "ys", source=self.rungs, color="black", line_dash="dashed", legend_label="bounds")
        self.below = new(width=900, height=270, title="density", x_axis_label="x", y_axis_label="per unit of x")
        self.below.line("x", "start", source=self.law, line_width=2, legend_label="from the start")
        self.below.line("y", "exact", source=self.law, color="black", line_dash="dashed", legend_label="exact")

        self.images = [new(width=450, height=450, visible=False, match_aspect=True) for _ in range(2)]
        for picture, name in zip(self.images, ("start", "exact"), strict=True):
            picture.image(name, "x", "y", "width", "height", source=self.plane, palette="Viridis256")

    def update(self, *_: Any) -> None:
        """Compute what the widgets ask for, and draw it."""
        values = {name: widget.value for name, widget in self.widgets.items()}
        self.state = replace(self.state, **values)
        try:
            self.answer = answer(self.state)
        except ValueError as reason:
            self.told.object = f"**{reason}**"
            return
        began = time.perf_counter()
        # the curve and its band on a log axis: what is below the axis is not drawn
        one = self.answer.curve.sel(start="start")
        value, bar = one["distance"].values, one["error"].values
        floor = np.maximum(value * 1e-3, np.finfo(float).tiny)
        high = np.where(np.isfinite(bar), value + bar, np.nan)
        tau = _clock(self.state, one["t"].values)
        low = np.maximum(value - bar, floor)
        self.line.data = {"tau": tau, "t": one["t"].values, "distance": value, "low": low, "high": high}
        self.rungs.data = {"xs": [], "ys": [], "name": []}
        self.move()
        self.code.value = self.state.python()
        last = self.answer.curve.sel(start="start").isel(t=-1)
        seconds = self.answer.seconds + time.perf_counter() - began
        cells = " x ".join(str(n) for n in self.state.grid.shape)
        lines = [f"**{1e3 * seconds:.0f} ms** for this change ({cells} cells)"]
        lines += [f"distance at t_min: {float(last.distance):.3g} +- {float(last.error):.1g}", *self.answer.told]
        self.told.object = "\n\n".join(lines)
        if self.bounds.value:
            document = _panel().state.curdoc
            # the browser gets the curve first
            document.add_next_tick_callback(self.climb) if document else self.climb()

    def move(self, *_: Any) -> None:
        """Draw the densities at the time that the slider says."""
        k = round(self.at.value * (self.answer.run.sizes["t"] - 1))
        (*x, start), (*y, exact_one) = self.answer.density("start", k), self.answer.density("exact", k)
        at, flat = f"t = {float(self.answer.run['t'][k]):.4g}", start.ndim == 2
        self.below.visible, self.images[0].visible, self.images[1].visible = not flat, flat, flat
        if not flat:
            self.law.data = {"x": x[0], "start": start, "y": y[0], "exact": exact_one}
            self.below.title = f"density at {at}"
            return
        corner, sides = zip(*((axis[0], axis[-1] - axis[0]) for axis in x), strict=True)
        ends = {"x": [corner[0]], "y": [corner[1]], "width": [sides[0]], "height": [sides[1]]}
        # images have their rows along y
        self.plane.data = ends | {"start": [start.T], "exact": [exact_one.T]}
        self.images[0].title, self.images[1].title = f"from the start, {at}", f"exact, {at}"

    def climb(self, *_: Any) -> None:
        """Compute the ladder of bounds, which takes a second or two, and draw it."""
        found = ladder(self.state)
        if isinstance(found, str):
            self.told.object += f"\n\n{found}"
            return
        self.rungs.data = _rungs(found, self.state)

    def saved(self) -> io.BytesIO:
        """The figure as a file."""
        buffer = io.BytesIO()
        figure(self.state, self.answer).savefig(buffer, format="png", dpi=150)
        buffer.seek(0)
        return buffer


def _rungs(found: xr.Dataset, state: State) -> dict[str, list[Any]]:
    """Every bound of a ladder with a number, as lines over the clock."""
    drawn: dict[str, list[Any]] = {"xs": [], "ys": [], "name": []}
    tau = _clock(state, found["t"].values)
    for name, variable in found.data_vars.items():
        if variable.dims != ("bound", "t"):
            continue
        for label in found["bound"].values:
            values = variable.sel(bound=label).values.astype(float)
            if np.any(np.isfinite(values)):
                drawn["xs"].append(tau.tolist())
                drawn["ys"].append(values.tolist())
                drawn["name"].append(f"{name}: {label}")
    return drawn


def _clock(state: State, t: NDArray[np.float64]) -> NDArray[np.float64]:
    reverse = state.reverse
    return np.abs(np.asarray(reverse.clock(t)) - float(reverse.clock(reverse.horizon)))


@lru_cache(maxsize=4)
def _file_law(path: str, column: str) -> KernelDensity:
    table = read(path, [column] if column else [0])
    return KernelDensity(standardise(table).samples)


def _panel() -> Any:
    try:
        import panel
    except ImportError as reason:
        raise _checks.error("explore", "panel", "none installed", "pip install 'fpsolve[explore]'") from reason
    panel.extension()
    return panel
