"""Figures of distances over time: forgetting curves with bounds, truth and particles; what every error contributes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fpsolve import _checks, _runs
from fpsolve._checks import FloatArray as Array
from fpsolve.plots._style import (
    KEY,
    LINES,
    MARKERS,
    PALETTE,
    Legend,
    Style,
    TimeAxis,
    bound_label,
    finished,
    hatch,
    line_of,
    new_axes,
    parent,
    positive,
    require,
    styles,
    time_axis,
    weight_formula,
    words_of,
)

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

_INK, LINE_WIDTH = "0.25", 1.5
_BOUND_DASHES: tuple[Any, ...] = ((0, (8, 2)), (0, (4, 2)), (0, (2, 2)), (0, (8, 2, 2, 2)), (0, (1, 1)))


def forgetting(
    curve: xr.Dataset,
    *,
    ladder: xr.Dataset | None = None,
    check: xr.Dataset | Iterable[xr.Dataset] | None = None,
    closed_form: xr.DataArray | None = None,
    legend: Literal["right", "below"] = "right",
    axis: TimeAxis = "auto",
    ax: Axes | None = None,
) -> Axes:
    r"""Draw forgetting curves: the weighted total variation of every start to the reference, on a log scale.

    .. math:: r \mapsto \|\nu P_{T \to T-r} - \nu' P_{T \to T-r}\|_V

    Parameters
    ----------
    curve : Dataset
        What `fpsolve.forgetting_curve` returned: ``distance(start, t)``, ``error(start, t)`` drawn as a band. Or what
        `fpsolve.proofs.verify` or `fpsolve.proofs.forgetting_curve` returned: ``lower`` and ``upper`` are drawn as a
        solid line, a band where it is wide, and a hatched strip at the top where the upper end is infinite.
        Starts without a positive distance, such as the reference itself, are left out. Lines are solid where they are
        proved, dashed where certified, dotted where estimated (attribute `status`).
    ladder : Dataset, optional
        Bounds: every variable with dims ``(bound, t)`` is drawn, one line per bound, with the same meaning of lines;
        NaN (no certificate) leaves a gap, and a hatched strip at the top.
    check : Dataset or several, optional
        What `fpsolve.particles.compare` returned, one per start. With a reference the points are the distance
        that a histogram of the particles shows, and the band is what it should show, mean and two standard
        deviations, if the grid is right; without one they are its distance to the grid's own density. The
        histogram's floor is drawn with either.
    closed_form : DataArray, optional
        True distances ``(start, t)``, drawn as open circles.
    legend : {"right", "below"}
        Where the legend goes, always off the axes.
    axis : {"auto", "r", "t", "clock", "log-snr"}
        Reverse time, or forward time on a log scale; "auto" takes the latter where half of the times crowd at the end.
    ax : Axes, optional
        Where to draw; default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The legend is outside of it: save with ``layout="constrained"`` (as new figures have) or
        ``bbox_inches="tight"``.

    Raises
    ------
    ValueError
        `curve` lacks ``distance(start, t)``, no start has a positive distance, or a ladder, check or closed form says
        that it is one of other dynamics.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> t = np.array([1.0, 0.5, 0.1])
    >>> distance = xr.DataArray([[1.0, 0.1, 0.02]], dims=("start", "t"), coords={"start": ["prior"], "t": t})
    >>> ax = forgetting(xr.Dataset({"distance": distance, "error": 0.01 * distance}))
    >>> ax.get_yscale()
    'log'
    """
    curve, measured = _check_curve(curve)
    ax = new_axes(7.0, 4.0) if ax is None else ax
    style = styles([str(label) for label in curve["start"].values])
    # T, where reverse time is 0
    known = "reverse_time" in curve.coords
    horizon = float(curve["reverse_time"][0] + curve["t"][0] if known else curve["t"].max())
    checks = _listed(check)
    for one in checks:
        require("check", one, ("floor_exact",), "fpsolve.particles.compare")
        _runs.require_same_dynamics(one.attrs, curve.attrs, ("check", "curve"))
    if closed_form is not None and "start" not in getattr(closed_form, "coords", ()):
        raise _checks.error("closed_form", "a DataArray over starts and times", repr(closed_form)[:60])
    if closed_form is not None:
        _runs.require_same_dynamics(closed_form.attrs, curve.attrs, ("closed_form", "curve"))
    if ladder is not None:
        require("ladder", ladder, ("bound",), "fpsolve.bounds.ladder")
        _runs.require_same_dynamics(ladder.attrs, curve.attrs, ("ladder", "curve"))
    handles = [_draw_curve(ax, curve, label, style[label], horizon) for label in _visible(curve)]
    if measured is not None:
        for label in _visible(curve):
            _draw_curve(ax, measured, label, style[label], horizon)
    if closed_form is not None:
        handles += _draw_closed_form(ax, closed_form, style, horizon)
    for one in checks:
        handles += _draw_check(ax, one, style.get(str(one.attrs.get("start")), Style(_INK, "-")), horizon)
    if ladder is not None:
        handles += _draw_ladder(ax, ladder, horizon)
    ax.set(yscale="log", ylabel=f"weighted total variation, {weight_formula(curve)}")
    ax.margins(x=0.02)
    time_axis(ax, horizon - _times(curve, horizon), axis, curve)
    _stop_at_the_digits(ax, curve)
    ax.grid(True, which="major", color="0.9", linewidth=0.6)
    ax.set_axisbelow(True)
    told = "status" in curve.attrs or (ladder is not None and "status" in ladder.coords)
    _legend(ax, handles, legend, (KEY * told, _thin_bands(ax, curve)))
    return ax


def _check_curve(curve: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset | None]:
    """The curve, and where it is proved the measured one beside it, if any; ValueError where it is neither."""
    if {"lower", "upper"} <= set(getattr(curve, "data_vars", ())):
        middle, half = 0.5 * (curve["upper"] + curve["lower"]), 0.5 * (curve["upper"] - curve["lower"])
        known = np.isfinite(curve["upper"])
        proved = curve[[]].assign(distance=middle.where(known), error=half.where(known)).assign_attrs(status="proved")
        beside = curve[["distance", "error"]] if "distance" in curve else None
        _check_curve(proved)
        return proved, None if beside is None else beside.assign_attrs(curve.attrs | {"status": "estimated"})
    if "distance" not in getattr(curve, "data_vars", ()) or set(curve["distance"].dims) != {"start", "t"}:
        raise _checks.error(
            "curve", "a Dataset with distance(start, t)", type(curve).__name__, "pass fp.forgetting_curve(run)"
        )
    if not _visible(curve):
        raise _checks.error("curve", "a start with a positive distance to the reference", "none")
    return curve, None


def _visible(curve: xr.Dataset) -> list[str]:
    """Labels of the starts that can be drawn on a log scale."""
    positive = (curve["distance"] > 0.0).any("t")
    return [str(label) for label in curve["start"].values[positive.values]]


def _times(data: xr.Dataset | xr.DataArray, horizon: float) -> Array:
    known = "reverse_time" in data.coords
    return np.asarray(data["reverse_time"].values if known else horizon - data["t"].values, dtype=np.float64)


def _listed(check: xr.Dataset | Iterable[xr.Dataset] | None) -> list[xr.Dataset]:
    if check is None:
        return []
    import xarray as xr

    if isinstance(check, str) or not isinstance(check, Iterable):
        raise _checks.error("check", "a Dataset as fpsolve.particles.compare returns, or several", repr(check)[:60])
    # a Dataset is an iterable too, of the names of its variables
    return [check] if isinstance(check, xr.Dataset) else list(check)


def _draw_curve(ax: Axes, curve: xr.Dataset, label: str, style: Style, horizon: float) -> Line2D:
    """Draw one start: line and error band."""
    one = curve.sel(start=label)
    r, distance = _times(curve, horizon), positive(one["distance"])
    described = f"{label}: {one['description'].item()}" if "description" in curve.coords else label
    status, place = str(curve.attrs.get("status", "")), [str(s) for s in curve["start"].values].index(label)
    look = line_of(status, place, otherwise=style.dashes)
    (line,) = ax.plot(r, distance, color=style.colour, linestyle=look, label=described, linewidth=LINE_WIDTH, zorder=3)
    if status == "proved":
        missing = (np.isnan(distance[1:]) | np.isnan(distance[:-1])) if r.size > 1 else np.zeros(0)
        hatch(ax, r, {label: np.where(missing, np.nan, 0.0)}, {label: style.colour})
    if "error" in one:
        error = np.asarray(one["error"].values, dtype=np.float64)
        smallest = 1e-3 * np.nanmin(distance)
        low, high = np.fmax(distance - error, smallest), distance + error
        ax.fill_between(r, low, high, color=style.colour, alpha=0.2, linewidth=0, zorder=2)
    return line


def _draw_closed_form(ax: Axes, truth: xr.DataArray, style: dict[str, Style], horizon: float) -> list[Line2D]:
    labels = [str(label) for label in truth["start"].values if str(label) in style]
    for label in labels:
        ax.plot(
            _times(truth, horizon), positive(truth.sel(start=label)), linestyle="none", marker="o",
            markersize=5, markerfacecolor="none", markeredgecolor=style[label].colour, zorder=4,
        )  # fmt: skip
    return [_sample(ax, "closed form", marker="o", markerfacecolor="none", linestyle="none")]


def _draw_check(ax: Axes, check: xr.Dataset, style: Style, horizon: float) -> list[Line2D]:
    """Draw particles: points, the band a correct grid would give, the floor of their histogram."""
    referred = "reference_distance" in check
    names = ("reference_distance", "reference_expected", "reference_spread")
    names = names if referred else ("histogram_distance", "floor_exact", "floor_spread")
    seen, expected, spread = (np.asarray(check[name].values, dtype=np.float64) for name in names)
    r = _times(check, horizon)
    ax.fill_between(r, expected - 2.0 * spread, expected + 2.0 * spread, color=style.colour, alpha=0.25, linewidth=0)
    ax.plot(r, seen, linestyle="none", marker="x", markersize=4, color=style.colour, zorder=4)
    ax.plot(r, check["floor"].values, linestyle=":", linewidth=1.0, color=_INK, zorder=1)
    n = int(check.attrs.get("n", 0))
    exponent = len(str(n)) - 1
    factor = "" if n == 10**exponent else f"{n / 10**exponent:g}\\times "
    what = f"particles, $n = {factor}10^{{{exponent}}}$" if n else "particles"
    return [
        _sample(ax, f"{what} (band: expected $\\pm$ 2 sd)", marker="x", linestyle="none", markersize=4),
        _sample(ax, "floor of their histogram", linestyle=":", linewidth=1.0),
    ]


def _draw_ladder(ax: Axes, ladder: xr.Dataset, horizon: float) -> list[Line2D]:
    """Draw every variable over (bound, t), one line per bound."""
    tables = {name: values for name, values in ladder.data_vars.items() if set(values.dims) == {"bound", "t"}}
    lines: list[Line2D] = []
    words, r = words_of(ladder), _times(ladder, horizon)
    for name, values in tables.items():
        for bound in values["bound"].values:
            lines += ax.plot(
                r,
                positive(values.sel(bound=bound)),
                color=_INK,
                linestyle=LINES.get(words[str(bound)], _BOUND_DASHES[len(lines) % len(_BOUND_DASHES)]),
                linewidth=1.0,
                drawstyle="steps-post",
                # known at the block boundaries; shapes tell lines of one ink apart
                marker=MARKERS[len(lines) % len(MARKERS)],
                markersize=4.5,
                markerfacecolor="white",
                label=f"{'bound' if len(tables) == 1 else name}: {bound_label(ladder, bound)}",
            )
    lacking = {
        str(bound): np.sum([values.sel(bound=bound).values[1:] for values in tables.values()], axis=0)
        for bound in ladder["bound"].values
    }
    hatch(ax, r, lacking, dict.fromkeys(lacking, _INK))
    return lines


def _thin_bands(ax: Axes, curve: xr.Dataset) -> str:
    """Which error bands nobody sees: those that are nowhere as high as their line is thick."""
    if "error" not in curve:
        return ""
    decades = float(np.diff(np.log10(ax.get_ylim()))[0])
    points = ax.get_window_extent().height * 72.0 / parent(ax).dpi / decades
    # a band that reaches down to zero, and one that is not known, is seen
    share = (curve["error"] / curve["distance"].where(curve["distance"] > 0.0)).max("t")
    heights = {
        str(one.start.item()): points * np.log10((1 + one.item()) / (1 - one.item())) for one in share if one < 1.0
    }
    thin = [label for label, height in heights.items() if height < LINE_WIDTH]
    return f"error thinner than the line: {', '.join(thin)}" if thin else ""


def _stop_at_the_digits(ax: Axes, curve: xr.Dataset) -> None:
    """End the axis two decades below the smallest distance: an error band may reach down to zero."""
    distance = curve["distance"].values
    smallest = float(np.min(distance[distance > 0.0]))
    low, high = ax.get_ylim()
    ax.set_ylim(max(low, 0.2 * smallest), high)


def _sample(ax: Axes, label: str, **how: Any) -> Line2D:
    """Return a line for the legend only, in the neutral colour."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=_INK, label=label, **how)


def _legend(ax: Axes, handles: list[Line2D], where: Literal["right", "below"], said: Sequence[str]) -> None:
    """Put the legend beside the axes, one entry per label."""
    once = {str(handle.get_label()): handle for handle in handles}
    places: dict[str, dict[str, Any]] = {
        "right": {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "borderaxespad": 0.0},
        "below": {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16), "ncols": 2},
    }
    _checks.one_of("legend", where, places)
    for handle in once.values():
        if where == "right":
            # a narrow legend leaves the axes wide
            handle.set_label(str(handle.get_label()).replace(" (band", "\n(band"))
    # a wide legend has a line for each sentence
    lines = [line if where == "right" else line.replace("\n", " ") for line in said if line]
    title = "\n".join(lines) or None
    places[where] |= {"title": title, "title_fontsize": "x-small"} | ({"alignment": "left"} if where == "right" else {})
    ax.legend(handles=list(once.values()), frameon=False, fontsize="small", **places[where])


_DARK = "0.15"
#: Colour of every source.
_COLOURS = {"initialization": PALETTE[0], "discretization": PALETTE[1], "score": PALETTE[2]}
#: A second cue beside the colour, for print in black and white.
_HATCHES = {"initialization": "////", "discretization": "", "score": "...."}
#: Of filled areas: lines of the same colour stay visible on them.
_ALPHA = 0.55
#: Estimated, so dotted.
_DASHES: dict[str, Any] = {"initialization": (0, (1, 4)), "discretization": (0, (1, 1)), "score": (0, (1, 2.5))}


# what `errors` returns
_DRAWN = ("local", "propagated", "discount", "alive", "total", "contraction")


def contributions(found: xr.Dataset, *, legend: Legend = "right", ax: Axes | None = None) -> Axes:
    r"""Draw what is left at the end of the error of every step, stacked by source, and the local errors as lines.

    Heights are weighted norms of single terms: where their signs differ the total is below the sum of the bars.

    Parameters
    ----------
    found : Dataset
        What `fpsolve.decomposition.errors` returned. Sources without any error are left out.
    legend : {"right", "below", "none"}
        Where the legend goes, always off the axes.
    ax : Axes, optional
        Where to draw; default a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(1.0, std=0.5), fp.OrnsteinUhlenbeck(T=3.0))
    >>> made = fp.decomposition.errors(reverse, "ddpm", start=fp.Gaussian(0.0, std=1.0), steps=8, t_min=0.05,
    ...                                grid=fp.Grid.uniform((-6, 6), cells=60), blocks=0)
    >>> contributions(made).get_xlabel()
    'step'
    """
    require("found", found, _DRAWN, "fpsolve.decomposition.errors")
    ax = new_axes(7.5, 3.6) if ax is None else ax
    below = np.zeros(found.sizes["step"])
    for source in _present(found):
        one = found.sel(source=source)
        height = np.asarray(one["propagated"].values, dtype=np.float64)
        ax.bar(
            found["step"], height, 1.0, below, color=_COLOURS[source], hatch=_HATCHES[source],
            alpha=_ALPHA, edgecolor="white", linewidth=0.0, label=f"{source}: left at the end",
        )  # fmt: skip
        below = below + height
        if source == "initialization":
            ax.plot(0, one["local"][0], "x", color=_COLOURS[source], label=f"{source}: local")
        else:
            ax.plot(found["step"], one["local"], color=_COLOURS[source], ls=_DASHES[source], label=f"{source}: local")
    ax.set(xlabel="step", ylabel=rf"$\|\cdot\|_V$ of the step's error, {weight_formula(found)}", ylim=(0.0, None))
    return finished(ax, legend)


def discounts(found: xr.Dataset, *, legend: Legend = "right", axis: TimeAxis = "auto", ax: Axes | None = None) -> Axes:
    r"""Draw the share of every local error that is left at the end, and the contraction that bounds it.

    Parameters
    ----------
    found, legend, ax
        As for `contributions`. Above the line at 1 the weighted norm of an error grows on its way.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(1.0, std=0.5), fp.OrnsteinUhlenbeck(T=3.0))
    >>> made = fp.decomposition.errors(reverse, "ddpm", start=fp.Gaussian(0.0, std=1.0), steps=8, t_min=0.05,
    ...                                grid=fp.Grid.uniform((-6, 6), cells=60), blocks=0)
    >>> discounts(made).get_yscale()
    'log'
    """
    require("found", found, _DRAWN, "fpsolve.decomposition.errors")
    ax = new_axes(7.5, 3.6) if ax is None else ax
    r = np.asarray(found["reverse_time"].values, dtype=np.float64)
    ax.axhline(1.0, color="0.6", linewidth=0.8)
    for source in _present(found):
        share = np.asarray(found["discount"].sel(source=source).values, dtype=np.float64)
        if source == "initialization":
            ax.plot(r[0], share[0], "x", color=_COLOURS[source], label=source)
        else:
            # an error of step k is there from the end of that step on
            ax.plot(r[1:], share, color=_COLOURS[source], ls=_DASHES[source], label=source)
    ax.plot(r, found["contraction"], color=_DARK, linewidth=1.4, ls=":", label="a-priori contraction")
    ax.set(yscale="log", ylabel="left at the end / local")
    time_axis(ax, found["t"].values, axis, found)
    return finished(ax, legend)


def alive(found: xr.Dataset, *, legend: Legend = "right", axis: TimeAxis = "auto", ax: Axes | None = None) -> Axes:
    r"""Draw the errors alive along the run, stacked by source, and the measured total ``||mu_k - p_t||_V``.

    Every layer is the norm of the sum of all errors of that source made so far; the total lies below the stack where
    errors cancel.

    Parameters
    ----------
    found, legend, ax
        As for `contributions`.
    axis : {"auto", "r", "t", "clock", "log-snr"}
        Reverse time, or forward time on a log scale; "auto" takes the latter where half of the times crowd at the end.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(1.0, std=0.5), fp.OrnsteinUhlenbeck(T=3.0))
    >>> made = fp.decomposition.errors(reverse, "ddpm", start=fp.Gaussian(0.0, std=1.0), steps=8, t_min=0.05,
    ...                                grid=fp.Grid.uniform((-6, 6), cells=60), blocks=0)
    >>> alive(made).get_xlabel()
    'reverse time $r = T - t$'
    """
    require("found", found, _DRAWN, "fpsolve.decomposition.errors")
    ax = new_axes(7.5, 3.6) if ax is None else ax
    r, sources = np.asarray(found["reverse_time"].values, dtype=np.float64), _present(found)
    layers = [np.asarray(found["alive"].sel(source=source).values, dtype=np.float64) for source in sources]
    filled = ax.stackplot(r, layers, labels=sources, colors=[_COLOURS[source] for source in sources])
    for layer, source in zip(filled, sources, strict=True):
        layer.set(hatch=_HATCHES[source], alpha=_ALPHA, edgecolor="white", linewidth=0.0)
    ax.plot(r, found["total"], color="black", linewidth=1.5, ls=":", label="measured total")
    ax.set(ylabel=rf"$\|\mu_k - p_t\|_V$, {weight_formula(found)}", ylim=(0.0, None))
    ax.margins(x=0.0)
    time_axis(ax, found["t"].values, axis, found)
    return finished(ax, legend)


def _present(found: xr.Dataset) -> list[str]:
    """Sources with any error, in their order."""
    some = (found["local"] > 0.0).any("step")
    return [str(source) for source in found["source"].values if bool(some.sel(source=source))]
