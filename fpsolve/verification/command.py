"""The subcommand ``fpsolve prove RUN.nc``: the error bars of a finished run held against proofs."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fpsolve import _checks, _times

if TYPE_CHECKING:
    import xarray as xr

    from fpsolve.dynamics import Reverse
    from fpsolve.laws import Law
    from fpsolve.weights import Weight

__all__ = ["add_prove_command", "prove"]

#: Digits that are printed of a distance, and of the ends of its interval, rounded outwards.
DIGITS = 10
_MISSING = "an earlier fpsolve made it, or no file can hold it; fpsolve.proofs.verify takes the objects themselves"


def add_prove_command(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add ``prove`` to the commands of the command line and return its parser."""
    parser = subparsers.add_parser("prove", help="prove whether the error bars of a run's distances hold")
    parser.add_argument("file", type=Path, metavar="RUN.nc", help="a run, written with run.to_netcdf")
    parser.add_argument("--start", nargs="+", metavar="LABEL", help="starts to look at (default: all)")
    told = "start that the others are held against (default: 'exact', or the exact law where none is so called)"
    parser.add_argument("--reference", metavar="LABEL", help=told)
    parser.add_argument("--times", nargs="+", type=float, metavar="T", help="saved forward times (default: all)")
    parser.add_argument("--budget", type=float, default=600.0, metavar="S", help="seconds for each interval at most")
    parser.add_argument("--out", metavar="FILE.nc", help="write distances, intervals and verdicts there")
    parser.add_argument("--traceback", action="store_true", help="show where in the code an error was raised")
    parser.set_defaults(run=run_prove)
    return parser


def run_prove(arguments: argparse.Namespace) -> int:
    """Prove and print; 0 if every error bar holds, 1 if one is proved wrong, else 2: something is undecided."""
    from fpsolve.evolution import load
    from fpsolve.settings import netcdf, result_file, write_all

    out = None if arguments.out is None else result_file(arguments.out, "choose another with --out FILE.nc")
    try:
        run = load(arguments.file)
    except OSError as reason:
        raise _checks.error("RUN.nc", "a netCDF file", f"{arguments.file}: {reason}") from None
    found = prove(run, arguments.start, arguments.reference, arguments.times, budget=arguments.budget)
    if out is not None:
        write_all(out.parent, {out.name: netcdf({"": found})}, "choose another with --out FILE.nc")
    print(_text(found))
    verdicts = found["verdict"].values
    for line in _undecided(found):
        print(f"fpsolve: cannot be proved: {line}", file=sys.stderr)
    return 1 if np.any(verdicts == "does not hold") else 2 if np.any(verdicts == "undecided") else 0


def prove(
    run: xr.Dataset,
    start: list[str] | None = None,
    reference: str | None = None,
    times: list[float] | None = None,
    *,
    budget: float = 600.0,
) -> xr.Dataset:
    """Hold the distances of a run and their error bars against proofs; laws and process are read from its attributes.

    Parameters
    ----------
    run : Dataset
        What `fpsolve.evolve` returned, or `fpsolve.load`.
    start : list of str or None
        Labels to look at; None is all but the reference.
    reference : str or None
        Label of the start that the others are held against. None is the start "exact", or without one of that name the
        exact laws p_t (`fpsolve.distances.to_marginals`).
    times : list of float or None
        Saved forward times; None is all.
    budget : float, default 600
        Processor seconds for each interval.

    Returns
    -------
    Dataset
        As `fpsolve.proofs.verify`.

    Raises
    ------
    ValueError
        Without python-flint; a run that does not hold its laws; what `fpsolve.proofs.weighted_tv` refuses: a law that
        is no mixture of normal laws, 2D, a score model, eta other than 1; labels and times that the run has not.
    """
    from fpsolve import distances
    from fpsolve.studies.proof import room

    proofs = room()
    reverse, labels = _reverse(run), [str(label) for label in run["start"].values]
    weight = _weight(run)
    if reference is None and "exact" not in labels:
        curve = distances.to_marginals(run, reverse, weight=weight).assign_attrs(reference="exact")
    else:
        curve = distances.forgetting_curve(run, reference=reference or "exact", weight=weight)
    own = [str(label) for label in curve["start"].values]
    chosen = own if start is None else [str(_checks.one_of("--start", label, own)) for label in start]
    curve = curve.sel(start=list(dict.fromkeys(chosen))).isel(t=_places(curve, times, reverse.process.T))
    needed = [*chosen, *({curve.attrs["reference"]} & set(labels))]
    found: xr.Dataset = proofs.verify(curve, reverse, {label: _start(run, label) for label in needed}, budget=budget)
    return found


def _reverse(run: xr.Dataset) -> Reverse:
    """The dynamics of a run with the exact score."""
    from fpsolve import _runs
    from fpsolve.dynamics import Reverse
    from fpsolve.laws import Law
    from fpsolve.processes import Process

    for name, wanted in (("dynamics", "Reverse"), ("score_model", "exact")):
        if (got := _runs.attribute(run, name)) != wanted:
            raise _checks.error("run", f"a run of {name} {wanted!r}", got, "only then is the kernel Bayes' rule")
    eta = run.attrs.get("eta")
    if not isinstance(eta, int | float | np.number) or float(eta) != 1.0:
        raise _checks.error("run", "a run with eta = 1", f"eta = {eta}", "only then is the kernel Bayes' rule")
    return Reverse(_held(run, "target", Law), _held(run, "process", Process))


def _held(run: xr.Dataset, name: str, kind: type) -> Any:
    """A part of the dynamics, of the JSON in the attributes."""
    from fpsolve import settings

    text = run.attrs.get(f"{name}_json")
    if text is None:
        got = f"only the text {run.attrs.get(name, '')!s:.100}"
        raise _checks.error("run", f"its {name} as JSON (attribute '{name}_json')", got, _MISSING)
    return settings.build(json.loads(str(text)), kind)


def _weight(run: xr.Dataset) -> Weight:
    """The weight of a run's own error estimates."""
    from fpsolve import weights

    text = str(run.attrs.get("weight"))
    if json.loads(text)["kind"] == "callable":
        raise _checks.error("run", "a run in a built-in weight", text, "proofs need integrals in closed form")
    return weights.from_json(text)


def _start(run: xr.Dataset, label: str) -> Law:
    """A start of a run, of the JSON in its attributes."""
    from fpsolve import settings
    from fpsolve.laws import Law

    tables = json.loads(str(run.attrs.get("starts_json") or "{}"))
    if label not in tables:
        got = str(json.loads(str(run.attrs.get("starts", "{}"))).get(label, "nothing"))
        raise _checks.error("run", f"the law of start {label!r} as JSON (attribute 'starts_json')", got[:100], _MISSING)
    law: Law = settings.build(tables[label], Law)
    return law


def _places(curve: xr.Dataset, times: list[float] | None, end: float) -> list[int]:
    """Where the saved times are that were asked for."""
    saved = [float(t) for t in curve["t"].values]
    if times is None:
        return list(range(len(saved)))
    found = [[k for k, t in enumerate(saved) if _times.same(t, asked, end)] for asked in times]
    for asked, places in zip(times, found, strict=True):
        if not places:
            listed = ", ".join(f"{t:.6g}" for t in saved[:20]) + (", ..." if len(saved) > 20 else "")
            raise _checks.error("--times", f"times that the run has saved ({listed})", f"{asked!r}")
    return [places[0] for places in found]


def _text(found: xr.Dataset) -> str:
    """The table and what it is about."""
    from fpsolve.studies.report import Table, number, outward

    columns = ("start", "t", "measured", "error bar", "proved, at least", "at most", "verdict")
    rows = []
    for label in found["start"].values:
        for k, t in enumerate(found["t"].values):
            one = found.sel(start=label).isel(t=k)
            ends = (outward(float(one[name]), up=name == "upper", digits=DIGITS) for name in ("lower", "upper"))
            told = number(float(one["distance"]), DIGITS), number(float(one["error"]), 2)
            rows.append((str(label), f"{float(t):.6g}", *told, *ends, str(one["verdict"].item())))
    about = f"Weighted total variation to {found.attrs['reference']!r}; error bars are estimates, intervals are proved."
    given = [textwrap.fill(f"Given: {text}.", 100) for text in str(found.attrs["hypotheses"]).split("; ")]
    return "\n".join([about, "", Table(columns, tuple(rows)).text(), "", *given])


def _undecided(found: xr.Dataset) -> list[str]:
    """Why each verdict is open."""
    lines = []
    for i, k in zip(*np.nonzero(found["verdict"].values == "undecided"), strict=True):
        one = found.isel(start=int(i), t=int(k))
        known = np.isfinite(float(one["error"]))
        open_ends = str(one["reason"].item()) or "the error bar ends inside of the proved interval"
        why = open_ends if known else "the run has no finite error bar, so there is no claim"
        lines.append(f"start {one['start'].item()!r}, t = {float(one['t']):.6g}: {why}.")
    return lines
