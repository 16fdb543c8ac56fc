"""What all figures share: colours, line styles, axes, labels with units."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from fpsolve import _checks
from fpsolve._checks import FloatArray as Array
from fpsolve._messages import words

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from fpsolve.processes import Process

#: Okabe and Ito (2008), Color universal design: blue, vermilion, green, purple, orange, sky blue.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")

#: A second cue beside the colour, for print in black and white.
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (1.5, 1)))

#: Lines of what is proved, certified and estimated; what is random is estimated too.
LINES: dict[str, str] = {"proved": "-", "certified": "--", "estimated": ":", "Monte Carlo": ":"}
#: Dashes and gaps of the same kinds, for several lines in one figure.
_SEVERAL: dict[str, tuple[Any, ...]] = {
    "proved": ("-",),
    "certified": ((0, (6, 2)), (0, (4, 2)), (0, (2.5, 1.5)), (0, (8, 2))),
    "estimated": ((0, (1, 1)), (0, (1, 2)), (0, (1, 3)), (0, (1, 4.5))),
}
#: What the lines mean.
KEY = "solid: proved, dashed: certified,\ndotted: estimated, hatched: no number"
#: Height of a hatched strip, as a share of the axes.
STRIP = 0.04

#: Shapes of bounds, the same in every figure.
MARKERS = "v^sDPX"

#: Height of tick labels and axis label below the axes, in inches.
_LABELS = 0.5

#: Where a legend goes, always off the axes.
Legend = Literal["right", "below", "none"]

REVERSE_TIME = "reverse time $r = T - t$"
FORWARD_TIME = "time $t$ (log scale)"

#: Which time is on the axis: reverse time r, forward time t on a log scale that falls to the right, the clock
#: ``log(1 + (s/alpha)^2)/2`` that falls to the right, ``log (alpha/s)^2``, or what suits.
TimeAxis = Literal["auto", "r", "t", "clock", "log-snr"]
CLOCK = r"clock $\tau = \frac{1}{2} \log(1 + s^2/\alpha^2)$"
LOG_SNR = r"log signal to noise $\log(\alpha^2/s^2)$"
#: Half of the times in less than this share of the axis of r leave nothing to be seen there.
_CROWDED = 0.125
#: How far right of the last time before it 0 stands on a log scale.
_ZERO = 3.0


@dataclass(frozen=True)
class Style:
    """Colour and line style of one start."""

    colour: str
    dashes: Any


def styles(labels: Sequence[str]) -> dict[str, Style]:
    """Return the style of every start, by its place in the list of labels.

    Parameters
    ----------
    labels : sequence of str
        Labels of starts, as in ``run.start.values``.

    Examples
    --------
    >>> styles(["exact", "prior"])["prior"].colour
    '#D55E00'
    """
    return {str(label): Style(PALETTE[k % len(PALETTE)], DASHES[k % len(DASHES)]) for k, label in enumerate(labels)}


def line_of(status: str, place: int = 0, otherwise: Any = "-") -> Any:
    """Return the line style of a number's word, one of several of the same kind; `otherwise` where it has no word."""
    kinds = _SEVERAL.get("estimated" if status == "Monte Carlo" else status, (otherwise,))
    return kinds[place % len(kinds)]


def words_of(found: xr.Dataset) -> dict[str, str]:
    """Return the word of every bound of a ladder, empty where it is not known."""
    known = found["status"].values if "status" in found.coords else [""] * found.sizes["bound"]
    return {str(bound): str(word) for bound, word in zip(found["bound"].values, known, strict=True)}


def hatch(ax: Axes, r: Any, values: dict[str, Any], colours: dict[str, Any]) -> int:
    """Hatch the slots between the places r of what has no number there, one strip per name from the top; how many."""
    lacking = {name: slots for name, one in values.items() if (slots := np.flatnonzero(np.isnan(one))).size}
    for place, name in enumerate(lacking):
        ends = {"ymin": 1.0 - STRIP * (place + 1), "ymax": 1.0 - STRIP * place}
        look = {"edgecolor": colours[name], "facecolor": "none", "hatch": "////", "linewidth": 0.0}
        for slot in lacking[name]:
            ax.axvspan(r[slot], r[slot + 1], **ends, **look, gid=f"no certificate: {name}")
    return len(lacking)


def time_axis(ax: Axes, t: Any, axis: TimeAxis = "auto", made: xr.Dataset | None = None) -> None:
    """Give axes over reverse time their scale and label; the places drawn stay r = T - t.

    Parameters
    ----------
    ax : Axes
    t : array
        The forward times drawn, the largest is T.
    axis : {"auto", "r", "t", "clock", "log-snr"}
        "auto" takes t where half of the times crowd in an eighth of the axis of r, as under VE and EDM; a time 0 stands
        at the end of the log scale, a factor of `_ZERO` beyond the last before it.
    made : Dataset, optional
        What is drawn: "clock" and "log-snr" are those of the process that its attributes name.

    Raises
    ------
    ValueError
        Another axis; "t" or "log-snr" where a time is 0; a process that the attributes do not tell in full.
    """
    _checks.one_of("axis", axis, get_args(TimeAxis))
    times = np.asarray(t, dtype=np.float64)
    first, last = float(times.max()), float(times.min())
    crowded = float(np.median(times)) - last < _CROWDED * (first - last)
    if axis == "r" or (axis == "auto" and not crowded):
        ax.set_xlabel(REVERSE_TIME)
        return
    if axis not in ("auto", "clock") and not last > 0.0:
        raise _checks.error("axis", "'r' or 'clock' where a time is 0", repr(axis), "a log scale has no place for it")
    from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

    if axis in ("clock", "log-snr"):
        r, level = _levels(process_of(made), axis, first, last)
        sign = -1.0 if axis == "clock" else 1.0
        ends, along = (r[0], r[-1]), sign * level
        ax.set_xscale("function", functions=(partial(_through, x=r, y=along), partial(_through, x=along, y=r)))
        marks = np.array(MaxNLocator(6).tick_values(*sorted((level[0], level[-1]))))
        places = _through(sign * marks, along, r)
        inside = (places >= ends[0]) & (places <= ends[1])
        told = dict(zip(places[inside].tolist(), marks[inside].tolist(), strict=True))
        ax.xaxis.set_major_locator(FixedLocator(list(told)))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(lambda r, _: f"{told.get(r, 0.0):g}")
        ax.set_xlabel(CLOCK if axis == "clock" else LOG_SNR)
        return

    # room to the right of the last time; beyond it there is nothing, but for 0 itself
    zero = not last > 0.0
    last = float(times[times > 0.0].min())
    least = last / _ZERO if zero else 1e-3 * last
    ax.set_xscale("function", functions=(lambda r: -np.log(np.maximum(first - r, least)), lambda u: first - np.exp(-u)))
    decades = np.arange(np.floor(np.log10(last)), np.ceil(np.log10(first)) + 1)
    shares = (1.0,) if first / last > 100.0 else (1.0, 2.0, 5.0)
    marks = np.array([share * 10.0**k for k in decades for share in shares])
    marks = marks[(marks >= last * (1.0 - 1e-9)) & (marks <= first * (1.0 + 1e-9))]
    marks = np.append(marks, 0.0) if zero else marks
    ax.xaxis.set_major_locator(FixedLocator((first - marks).tolist()))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(lambda r, _: f"{first - r:.3g}")
    ax.set_xlabel(FORWARD_TIME)


#: Times at which the clock and the level are looked at.
_LOOKS = 2001


def process_of(made: xr.Dataset | None) -> Process:
    """Return the process of a result, read from its attribute; ValueError where that is not the call that makes it."""
    text = "" if made is None else str(made.attrs.get("process", ""))
    try:
        found: Process = _called(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError):
        expected = "'r' or 't' for a result that does not name its process in full"
        raise _checks.error("axis", expected, text or "none") from None
    return found


def _called(node: ast.expr) -> Any:
    """A process of fpsolve from the call that makes it, or a literal."""
    import fpsolve.processes as known

    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in known.__all__:
        return getattr(known, node.func.id)(**{str(each.arg): _called(each.value) for each in node.keywords})
    return ast.literal_eval(node)


def _levels(process: Process, axis: str, first: float, last: float) -> tuple[Array, Array]:
    """Reverse times, dense where the process is fast, and the clock or the log signal to noise at them."""
    least = max(last, 1e-9 * first)
    t = np.unique(np.concatenate([np.linspace(last, first, _LOOKS), np.geomspace(least, first, _LOOKS)]))[::-1]
    t = np.clip(t, last, first)
    ratio = process.variance(0.0, t) / process.scale(0.0, t) ** 2
    return first - t, 0.5 * np.log1p(ratio) if axis == "clock" else -np.log(ratio)


def _through(at: Any, x: Array, y: Array) -> Array:
    """Straight lines through increasing points, the first and the last line continued."""
    at = np.asarray(at, dtype=np.float64)
    inside = np.interp(at, x, y)
    below, above = (y[1] - y[0]) / (x[1] - x[0]), (y[-1] - y[-2]) / (x[-1] - x[-2])
    return np.asarray(inside + np.minimum(at - x[0], 0.0) * below + np.maximum(at - x[-1], 0.0) * above)


def new_axes(width: float = 6.4, height: float = 4.0) -> Axes:
    """Return the axes of a new pyplot figure whose layout leaves room for what stands outside of them."""
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def parent(ax: Axes) -> Figure | SubFigure:
    """Return the figure, or the part of one, that holds the axes."""
    figure = ax.get_figure()
    assert figure is not None  # axes that were removed have none
    return figure


def axis_label(run: xr.Dataset, name: str) -> str:
    """Return ``long_name (units)`` of a coordinate as far as it says so; units of 1 are left out."""
    attributes = run[name].attrs
    text, units = str(attributes.get("long_name", words(name) or f"${name}$")), str(attributes.get("units", "1"))
    return text if units == "1" else f"{text} ({units})"


def weight_formula(run: xr.Dataset, attribute: str = "weight") -> str:
    """Return V as mathematics from an attribute, ``V`` alone where it says nothing more."""
    try:
        weight = dict(json.loads(str(run.attrs.get(attribute, "{}"))))
    except (TypeError, ValueError):
        weight = {}
    kind = weight.get("kind")
    if kind == "polynomial":
        beta, power = float(weight["beta"]), float(weight["power"])
        factor = "" if beta == 1.0 else f"{beta:g}\\,"
        return f"$V = 1 + {factor}|x|$" if power == 1.0 else f"$V = 1 + {factor}|x|^{{{power:g}}}$"
    if kind == "exponential":
        return f"$V = e^{{{float(weight['rate']):g}|x|}}$"
    return "$V = 1$" if kind == "unit" else "$V$"


def positive(values: Any) -> Array:
    """Values as floats, NaN where a log scale has no place for them."""
    array = np.asarray(values, dtype=np.float64)
    return np.where(array > 0.0, array, np.nan)


def bound_label(found: xr.Dataset, bound: str) -> str:
    """Name of a bound in a legend: one that stands on an estimated constant is called an estimate."""
    estimated = bound == "Poincare" and str(found.attrs.get("poincare_constant", "")).startswith("spectral gap")
    return f"{bound} (estimated constant)" if estimated else str(bound)


def require(name: str, value: Any, variables: tuple[str, ...], maker: str) -> None:
    """Refuse what is no Dataset, or one without what the figure draws; `maker` returns the right ones."""
    lacks = [one for one in variables if one not in value] if hasattr(value, "data_vars") else list(variables)
    if lacks:
        got = f"a {type(value).__name__} without {', '.join(lacks)}"
        raise _checks.error(name, f"a Dataset as {maker} returns", got)


def label_of(run: xr.Dataset, start: str | None) -> str:
    """Return the label of a start; the only one where none is asked for."""
    labels = [str(label) for label in run["start"].values]
    if start is None:
        if len(labels) > 1:
            raise _checks.error("start", "the label of one start", "None", f"choose among {', '.join(labels)}")
        return labels[0]
    return str(_checks.one_of("start", start, labels))


def legend_beside(ax: Axes, where: Legend, *, columns: int = 2, title: str | None = None) -> None:
    """Put the legend of what the axes hold beside or below them, or nowhere."""
    from matplotlib.transforms import ScaledTranslation

    _checks.one_of("legend", where, ("right", "below", "none"))
    if where == "right":
        ax.legend(
            frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0,
            title=title, title_fontsize="x-small", alignment="left",
        )  # fmt: skip
    elif where == "below":
        # a distance in inches clears ticks and label whatever the height of the axes
        lower = ax.transAxes + ScaledTranslation(0.0, -_LABELS, parent(ax).dpi_scale_trans)
        ax.legend(
            frameon=False, fontsize="small", ncols=columns, borderaxespad=0.0, title=title, title_fontsize="x-small",
            loc="upper center", bbox_to_anchor=(0.5, 0.0), bbox_transform=lower,
        )  # fmt: skip


def finished(ax: Axes, legend: Legend, title: str | None = None) -> Axes:
    """Return the axes with a grid behind the data and the legend beside them."""
    ax.grid(True, which="major", color="0.9", linewidth=0.6)
    ax.set_axisbelow(True)
    legend_beside(ax, legend, title=title)
    return ax
