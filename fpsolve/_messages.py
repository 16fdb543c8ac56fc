"""What is told: warnings, what a number is in one of four words (the same in records, Datasets, figures and reports),
tqdm behind one name, a bar in a terminal or notebook and nothing elsewhere, every variable of a result in words, and
the text of what the code of others raises.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from html import escape
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, TypeVar, cast, overload

if TYPE_CHECKING:
    import xarray as xr


class ToleranceWarning(UserWarning):
    """A run with `tol` ended before its error estimate was below it."""


class ScoreWarning(UserWarning):
    """A score model is further from the exact score than any plausible model error."""


class UnresolvedWarning(UserWarning):
    """Cells or steps are too coarse for an error estimate of what was computed."""


#: The four words, and what stands where there is no number.
Status = Literal["proved", "certified", "estimated", "Monte Carlo", "no certificate"]

#: From the strongest to the weakest. An attribute `status` of a Dataset speaks for all its numbers, that of a variable
#: or a coordinate `status` for what is otherwise.
MEANING: dict[Status, str] = {
    "proved": "an interval or bound that is a theorem, by ball arithmetic",
    "certified": "a statement gives it; its hypotheses were checked on a grid, in floating point, or are listed",
    "estimated": "computed, with an error estimate where there is one",
    "Monte Carlo": "made of random samples",
    "no certificate": "no number",
}


def weakest(words: Iterable[Status]) -> Status:
    """Return the weakest word of several numbers; where there is no number at all, "no certificate".

    Examples
    --------
    >>> weakest(["proved", "no certificate", "certified"]), weakest([])
    ('certified', 'no certificate')
    """
    order = list(MEANING)
    known = [order.index(word) for word in words if word != "no certificate"]
    return order[max(known)] if known else "no certificate"


_T_co = TypeVar("_T_co", covariant=True)
_T = TypeVar("_T")


class Progress(Protocol[_T_co]):
    """What fpsolve uses of a tqdm bar; a context manager that closes the bar."""

    def __iter__(self) -> Iterator[_T_co]: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def update(self, n: float = 1) -> Any:
        """Advance the bar by `n` steps."""

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None:
        """Show a short text behind the bar."""

    def close(self) -> None:
        """End the bar."""


@overload
def progress(iterable_or_total: int, description: str, enabled: bool | None = None) -> Progress[int]: ...
@overload
def progress(iterable_or_total: Iterable[_T], description: str, enabled: bool | None = None) -> Progress[_T]: ...
def progress(iterable_or_total: Iterable[Any] | int, description: str, enabled: bool | None = None) -> Progress[Any]:
    """Return a progress bar over an iterable, or one to be advanced by hand up to a total.

    Parameters
    ----------
    iterable_or_total : iterable or int
        What to iterate over, or the number of steps to be reported with ``bar.update(n)``.
    description : str
        Text in front of the bar.
    enabled : bool, optional
        Show the bar; by default only when standard error is a terminal or in a notebook.

    Examples
    --------
    >>> [k for k in progress(range(3), "counting", enabled=False)]
    [0, 1, 2]
    """
    shown = interactive() if enabled is None else enabled
    options = {"desc": description, "disable": not shown, "leave": False, "dynamic_ncols": True}
    if isinstance(iterable_or_total, int):
        return cast(Progress[Any], _tqdm()(total=iterable_or_total, **options))
    return cast(Progress[Any], _tqdm()(iterable_or_total, **options))


def interactive() -> bool:
    """Return whether somebody is watching: standard error is a terminal, or this is a notebook."""
    return in_notebook() or bool(getattr(sys.stderr, "isatty", lambda: False)())


def in_notebook() -> bool:
    """Return whether the code runs in a Jupyter kernel, without importing IPython."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"


def _tqdm() -> Any:
    # tqdm.auto warns in a notebook without ipywidgets: choose by what is there
    if in_notebook() and find_spec("ipywidgets") is not None:
        from tqdm.notebook import tqdm as notebook_bar

        return notebook_bar
    from tqdm.std import tqdm

    return tqdm


#: By name; a name in which a result differs carries its own words. Everything is in units of its own axis: "1".
WORDS: dict[str, str] = {
    # where
    "t": "time $t$",
    "reverse_time": "reverse time $r = T - t$",
    "r": "time of the flow $r$",
    "x": "position $x$",
    "y": "position $y$",
    "z": "position over scale $z$",
    "z_x": "position over scale $z_x$",
    "z_y": "position over scale $z_y$",
    "start": "start",
    "axis": "axis",
    "other_axis": "axis",
    "component": "axis",
    "side": "side of the box",
    "step": "step",
    "t_from": "time at which it begins",
    "t_to": "time at which it ends",
    "t_between": "time between those of the table",
    "path": "path of the noise",
    "node_t": "time of the node",
    "strength": "variance of the mode",
    "share": "share of the trajectory",
    # densities
    "density": "probability density, cell averages",
    "exact": "density of the forward law, cell averages",
    "sampled": "density of the samples, cell averages",
    "mass": "mass in the box",
    "tail": "weighted mass beyond the box, the largest so far",
    "error_estimate": "error estimate in the weighted norm",
    "unresolved": "error estimate not known",
    "negative_mass": "mass of the negative part",
    "smallest_density": "smallest cell average",
    "smallest_density_ever": "smallest cell average over all steps",
    # noise
    "functional": r"$\langle u, \phi \rangle$",
    "variation": r"$c^2 \sum \lambda \langle u, e \cdot \nabla \phi \rangle^2 dr$ over the step",
    "brownian": "Brownian motion at the step times",
    "formula": "quadratic variation by its formula",
    "realised": "quadratic variation of the path",
    "spread": "standard deviation of the realised one",
    "metric": "SIEM-like metric",
    "contribution": "contribution of the step",
    # distances and their errors
    "distance": "distance",
    "error": "error estimate of it",
    "rate": "rate $-d \\log(\\mathrm{distance})/dr$",
    "level_error": "error of the discretisation",
    "quadrature_error": "error of the quadrature",
    "tail_error": "error beyond the box",
    "rounding_error": "rounding error",
    "left_out": "mass left out",
    "standard_error": "standard error of the sample",
    "bias": "bias of the sample",
    # bounds and proofs
    "bound": "bound",
    "status": "what the bound is",
    "harris": "bound with a beta",
    "measured": "measured distance",
    "measured_error": "error estimate of the measured distance",
    "factor": "contraction of the block",
    "beta": "beta of the weight $1 + \\beta V$",
    "lower": "proved lower end",
    "upper": "proved upper end",
    "seconds": "seconds of the proof",
    "reason": "why it is not narrower",
    "agrees": "measured and proved meet",
    "verdict": "what the proof says",
    # sweeps
    "target": "target law",
    "process": "process",
    "score_error": "score error",
    "eta": "share of noise $\\eta$",
    "tol": "tolerance",
    "grid": "grid",
    "save": "saved time",
    "weighted_tv": "weighted total variation at t_min",
    "model_error": "distance to the forward law at t_min",
    "run_error": "largest error estimate of the run",
    "tol_met": "tolerance met",
    # where errors come from
    "source": "source of the error",
    "local": "error made in the step",
    "propagated": "what is left of it at the end",
    "discount": "share left at the end",
    "alive": "error alive",
    "total": "distance of the sampler to the forward law",
    "total_error": "error estimate of the total",
    "contraction": "contraction that bounds what is left",
    "closure": "sum of all errors against the total",
    "reference_error": "error of the reference",
    "remainder": "error left at the end",
    "averaged": "share of sources averaged over their cells",
    "beyond": "largest mass that a source throws out of the box",
    "thrown": "mass that the sampler throws out of the box",
    "negative": "negative mass of the kernel",
    # scores
    "score": "score at the cell centres",
    # particles and flows
    "mean": "mean of the particles",
    "cov": "covariance of the particles",
    "function": "function averaged",
    "function_mean": "mean of the function",
    "centre": "centre of the sums",
    "width": "width of the sums",
    "position": "position",
    "count": "particles per cell",
    "outside": "particles beyond the box",
    "log_potential": "logarithm of the potential",
    "basin": "attractor that the orbit ends in",
    "attractor": "attracting point",
    "test": "test",
    "chi2": "chi-square over the cells",
    "chi2_dof": "degrees of freedom of chi-square",
    "chi2_critical": "largest chi-square of an agreement",
    "dkw": "largest difference of the distribution functions",
    "dkw_band": "largest one of an agreement",
    "z_band": "largest one of an agreement",
    "p_value": "p-value",
    "level": "level that the p-value is held against",
    "outside_expected": "share expected beyond the box",
    "particles": "number of particles",
    "histogram_distance": "weighted distance of the histogram to the grid",
    "floor": "what sampling alone makes of it",
    "floor_exact": "what sampling alone makes of it, binomial cells",
    "floor_spread": "standard deviation of it",
    "grid_error": "error of the grid in the weighted norm",
    "reference_distance": "weighted distance of the histogram to the reference",
    "reference_expected": "what a correct grid would give",
    "reference_spread": "standard deviation of it",
}
#: Of those that are not in units of their own axis.
UNITS: dict[str, str] = {"seconds": "s"}


def described(made: xr.Dataset, **own: str) -> xr.Dataset:
    """Return a result whose coordinates and variables say what they are, as far as they do not yet.

    ``_previous`` and ``_error`` at the end of a name are words of their own; `own` goes before the table.
    """
    return labelled(made.copy(deep=False), **own)


def labelled(made: xr.Dataset, **own: str) -> xr.Dataset:
    """The same in place, of a Dataset that shares its variables with no other."""
    for name, variable in made.variables.items():
        text = own.get(str(name), words(str(name)))
        if text:
            variable.attrs.setdefault("long_name", text)
        variable.attrs.setdefault("units", UNITS.get(str(name), "1"))
    return made


def words(name: str) -> str:
    """Return the words for a name, "" where there are none."""
    if name in WORDS:
        return WORDS[name]
    for ending, added in {"_previous": "on half of the cells", "_error": ""}.items():
        stem = WORDS.get(name.removesuffix(ending), "")
        if stem and name.endswith(ending):
            return f"{stem}, {added}" if added else f"error estimate of the {stem}"
    return ""


#: Colours of a picture's lines: Okabe and Ito's blue, vermilion, green, purple.
_LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
_WIDE, _HIGH = 320, 90


def page(text: str, lines: Iterable[tuple[Any, Any]] = (), *, log: bool = False) -> str:
    """Return what a notebook shows: a text with its first line, the answer, in bold; beneath it a picture of lines.

    Lines are pairs of equally long x and y; `log` draws the logarithms of those y that are positive.
    """
    answer, _, rest = text.partition("\n")
    shown = f"<b>{escape(answer)}</b>" + (f'<pre style="white-space:pre-wrap">{escape(rest)}</pre>' if rest else "")
    return f"<div>{shown}{_picture(list(lines), log=log)}</div>"


def _picture(lines: list[tuple[Any, Any]], *, log: bool) -> str:
    """Lines as SVG: no axes, the ends of x and y in words."""
    import numpy as np

    drawn = []
    for x, y in lines:
        at, values = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        known = np.isfinite(values) & (values > 0.0 if log else True)
        drawn.append((at[known], np.log10(values[known]) if log else values[known]))
    drawn = [(at, values) for at, values in drawn if at.size]
    if not drawn:
        return ""
    ends = [(min(map(np.min, part)), max(map(np.max, part))) for part in zip(*drawn, strict=True)]
    (left, right), (low, high) = ends
    parts = []
    for k, (at, values) in enumerate(drawn):
        across, down = (at - left) / ((right - left) or 1.0), (high - values) / ((high - low) or 1.0)
        points = " ".join(f"{_WIDE * a:.1f},{_HIGH * b:.1f}" for a, b in zip(across, down, strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{_LINES[k % len(_LINES)]}" stroke-width="1.5"/>')
    bottom, top = (10.0**low, 10.0**high) if log else (low, high)
    told = f"{left:.4g} to {right:.4g} across, {bottom:.3g} to {top:.3g} upwards" + (", log" if log else "")
    box = f'viewBox="-4 -4 {_WIDE + 8} {_HIGH + 8}" width="{_WIDE}"'
    return f'<div><svg xmlns="http://www.w3.org/2000/svg" {box}>{"".join(parts)}</svg><small>{told}</small></div>'


class Failure(AbstractContextManager["Failure"]):
    """Keep the text of any error of the block and go on behind it.

    For code of others that may raise anything: one point of a sweep, whatever its function raises, must not cost the
    other points; a worker, what answers at a network address, or a damaged cache is to be told of in one sentence.
    Interrupts pass.
    """

    text = ""
    cause: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if kind is None or not issubclass(kind, Exception | SystemExit):
            return False
        self.text, self.cause = f"{kind.__name__}: {value}", value
        return True
