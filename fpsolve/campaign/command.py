"""`sweep`: a function at every point of a grid of parameters, here or on a cluster, kept and resumed; and the
subcommand ``fpsolve sweep FILE.toml``.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import socket
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import fpsolve
from fpsolve import _checks
from fpsolve._checks import error
from fpsolve._messages import Failure, Progress
from fpsolve._messages import progress as progress_bar
from fpsolve.campaign._identity import digest
from fpsolve.campaign._points import Axis, Point, Target, axes, combine, points, target
from fpsolve.campaign._store import Outcome, Store, Task, compute, end_with, one_thread
from fpsolve.settings import result_folder

if TYPE_CHECKING:
    import xarray as xr


#: (function, name) of objects that functions were seen to change themselves, in this process.
_OWN: set[tuple[str, str]] = set()


def sweep(
    function: Callable[..., Any],
    /,
    n_jobs: int = 1,
    seed: int = 0,
    out: str | Path | None = None,
    progress: bool | None = None,
    **grid: Any,
) -> xr.Dataset:
    """Call a function at every point of the product of lists, and return the results as one Dataset.

    Parameters
    ----------
    function : callable
        Called with one keyword per swept name, and ``seed=`` if it has a parameter of that name. Returns a number, a
        dict of numbers, a DataArray or a Dataset. Has to be picklable by cloudpickle for more than one job.
    n_jobs : int, default 1
        Processes, -1 for one per core. With 1, ``joblib.parallel_config`` decides: serial unless it says otherwise, and
        all of a dask cluster inside of ``with joblib.parallel_config(backend="dask"):``.
    seed : int >= 0, default 0
        The seed that a point gets is a 63-bit number from the sha256 of its own configuration and this one, so it
        depends on neither the order, nor the other points, nor where it is computed.
    out : path, optional
        Folder of one NetCDF file per finished point, made if need be. Every file is written beside its place and then
        renamed, so it is there completely or not at all. Points that have their file are not computed again; failed
        ones are. A file is named by the hash of its configuration (the function's name, the point, the defaults of the
        parameters that are not swept, the seed, the numbers, strings, arrays, laws and so on that the function and
        those of yours it calls read from closures and globals) and the package version. *Code* is not part of the
        name, so that it can be repaired without losing what is finished, nor are lists, dicts and objects that the
        function might change itself: a warning tells when they have changed.
    progress : bool, optional
        Progress bar over points; default: only in a terminal or notebook.
    **grid : list or mapping
        Values by name, the names of parameters of `function`: numbers, strings, arrays, laws, processes, weights,
        grids, other (nested) dataclasses, or functions that can be imported by name. A dict from labels to values sets
        the labels of the coordinate; otherwise they are the values, or the repr of what is no number or string.

    Returns
    -------
    xarray.Dataset
        One dimension per swept name, in the given order and with the values in the given order, in front of the
        dimensions of what the function returns. Numbers are in the variable `value`. A point that failed is NaN, with
        the text of its error in the variable `error` (`error_text`, if the results have an `error` of their own), which
        is "" elsewhere. Along inner dimensions on which the points differ the union of the labels is taken.
        Attributes: `function`, `seed`, `version`, `swept` (JSON), `failed` (number of points), and those of the results
        on which all points agree.

    Raises
    ------
    ValueError
        A name that is no parameter of the function; an empty list; a value without a stable identity (a lambda); a
        folder that cannot be written; a file in it that cannot be read; a function that cannot be sent to workers, or
        workers that died. What was finished before is kept.

    Notes
    -----
    Results are the same bit for bit whether serial, in processes or on a cluster of like machines: all points run with
    the caller's ``np.errstate`` and one BLAS thread (with several, the order of sums changes).

    Examples
    --------
    >>> import fpsolve as fp
    >>> def spread(process, std):
    ...     return fp.Gaussian(0.0, std=std).diffused(process.scale(0, 1), process.variance(0, 1)).cov
    >>> result = fp.sweep(spread, process={"OU": fp.OrnsteinUhlenbeck(T=1.0), "VP": fp.VP()}, std=[0.5, 2.0])
    >>> result.value.dims
    ('process', 'std')
    >>> result.value.sel(process="OU").values
    array([0.89849854, 1.40600585])
    """
    below = isinstance(n_jobs, int) and not isinstance(n_jobs, bool) and n_jobs < 0
    given = n_jobs if below else _checks.integer("n_jobs", n_jobs, remedy="-1 is one per core")
    # None leaves the number to `joblib.parallel_config`
    jobs = None if given == 1 else given
    base = _checks.integer("seed", seed, minimum=0, remedy="repetitions are swept by another name, repeat=[0, 1]")
    if base >= 2**63:
        raise _checks.error("seed", "an integer below 2^63, as files can hold", f"one of {base.bit_length()} bits")
    job = target(function, tuple(grid))
    along = axes(grid)
    listed = points(along, base)
    if out is None:
        outcomes = _run(job, along, listed, jobs, progress, None)
    else:
        before = job.states
        states = {name: state for name, state in before.items() if (job.name, name) not in _OWN}
        store = Store(result_folder(out, remedy="choose another"), fpsolve.__version__, job.code, states)
        try:
            # hash of everything a stored result depends on, per point
            identity = job.identity()
            keys = [digest([identity, point.configuration, point.seed if job.seeded else None]) for point in listed]
            outcomes = _run(job, along, listed, jobs, progress, (store, keys))
        finally:
            # what changes while the function runs is its own doing (a counter, a memory), and no change of input
            _OWN.update((job.name, name) for name, state in job.states.items() if before.get(name) != state)
    ordered = [outcomes[k] for k in range(len(listed))]
    combined = combine(along, [outcome.dataset for outcome in ordered], [outcome.error for outcome in ordered])
    return combined.assign_attrs(
        function=job.name,
        seed=base,
        version=fpsolve.__version__,
        swept=json.dumps([axis.name for axis in along]),
        failed=sum(outcome.dataset is None for outcome in ordered),
    )


def _run(
    job: Target,
    along: tuple[Axis, ...],
    listed: Sequence[Point],
    jobs: int | None,
    progress: bool | None,
    kept: tuple[Store, list[str]] | None,
) -> dict[int, Outcome]:
    """Outcomes by number: read what is finished, compute the rest and write it as it comes."""
    done = [False] * len(listed) if kept is None else kept[0].finished(kept[1])
    with progress_bar(len(listed), "sweep", enabled=progress) as bar:
        outcomes = {} if kept is None else _read(*kept, listed, done, bar)
        tasks = [_task(job, along, k, point) for k, point in enumerate(listed) if not done[k]]
        with warnings.catch_warnings(), closing(_computed(tasks, jobs)) as computed:
            # joblib's advice when a sweep is interrupted
            warnings.filterwarnings("ignore", ".* tasks have been successfully executed")
            for outcome in computed:
                outcomes[outcome.number] = outcome
                if kept is not None and outcome.dataset is not None:
                    store, keys = kept
                    store.write(keys[outcome.number], listed[outcome.number].configuration, outcome.dataset)
                bar.update(1)
    return outcomes


def _read(
    store: Store, keys: list[str], listed: Sequence[Point], done: list[bool], bar: Progress[int]
) -> dict[int, Outcome]:
    """Outcomes of finished points; one warning if they were computed by other code."""
    outcomes, changed, count = {}, set[str](), 0
    for k in np.flatnonzero(done).tolist():
        dataset, other = store.read(keys[k], listed[k].configuration)
        outcomes[k] = Outcome(k, dataset, "")
        changed |= other
        count += bool(other)
        bar.update(1)
    if changed:
        warnings.warn(
            f"out: expected results of the function as it is now, got {count} finished points in {store.folder} from "
            f"before {' and '.join(sorted(changed))} was changed; they are kept and used, choose another folder to "
            "compute them anew.",
            stacklevel=4,
        )
    return outcomes


def _task(job: Target, along: tuple[Axis, ...], number: int, point: Point) -> Task:
    labels = {axis.name: axis.labels[k].item() for axis, k in zip(along, point.index, strict=True)}
    arguments = point.arguments | ({"seed": point.seed} if job.seeded else {})
    return Task(number, job.call, arguments, labels, np.geterr(), fpsolve.__version__)


def _computed(tasks: list[Task], jobs: int | None) -> Generator[Outcome, None, None]:
    """Yield outcomes as they come, in any order."""
    if not tasks:
        return
    import joblib

    # limited here too: threads of this process must not restore two threads while another one computes
    with one_thread(), Failure() as failure:
        # one task a batch: a result that has come is a result that can be kept
        parallel = joblib.Parallel(
            n_jobs=jobs, batch_size=1, return_as="generator_unordered", initializer=end_with, initargs=(os.getpid(),)
        )
        yield from parallel(joblib.delayed(compute)(task) for task in tasks)
    if failure.text:
        # no error of the function, those are results
        wanted = "workers that can be sent the function, import what it needs and live to the end"
        remedy = "what was finished is in `out`, if one was given; fewer jobs need less memory"
        raise _checks.error("n_jobs", wanted, failure.text.partition("\n")[0], remedy) from failure.cause


#: Seconds a scheduler has to answer.
PATIENCE = 5.0

#: Lines of results that are printed.
LINES = 40


#: What a sweep may look like.
EXAMPLE = """\
t_min = 0.05
tol = [1e-2]
eta = [0.5, 1.0]
processes = [{ kind = "vp" }, { kind = "ornstein-uhlenbeck", T = 3.0 }]
starts = [{ kind = "prior" }, { name = "far", kind = "gaussian", mean = 3.0, std = 0.5 }]

[[targets]]
name = "two modes"
kind = "gaussian-mixture"
weights = [0.5, 0.5]
means = [-2.0, 2.0]
stds = [0.3, 0.5]

[[targets]]
name = "mine"
kind = "kernel-density"
file = "old_faithful"      # or mine.csv, mine.npy
columns = ["waiting_min"]
"""


def add_sweep_command(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add ``sweep`` to the commands of the command line and return its parser."""
    from argparse import RawDescriptionHelpFormatter

    parser = subparsers.add_parser(
        "sweep",
        help="forgetting curves over targets, processes, eta and accuracies",
        epilog=f"A file that runs, all its keys are in 'fpsolve schema sweep':\n\n{EXAMPLE}",
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="what to sweep over (TOML)")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--jobs", type=int, default=1, metavar="N", help="processes, -1 for one per core (default: 1)")
    cluster_help = (
        "scheduler of a dask cluster, such as tcp://host:8786. Whoever can reach it can run code here and there: dask "
        "sends pickles both ways. tls://host:8786 takes the certificates of dask's settings (distributed.comm.tls)"
    )
    where.add_argument("--cluster", metavar="ADDRESS", help=cluster_help)
    parser.add_argument("--out", metavar="DIR", help="folder of the results (default: results/FILE)")
    parser.add_argument("--traceback", action="store_true", help="show where in the code an error was raised")
    parser.set_defaults(run=run_sweep)
    return parser


def run_sweep(arguments: argparse.Namespace) -> int:
    """Run the sweep of a file and return the exit status: 0, or 1 if a point failed or missed its tolerance."""
    from fpsolve.campaign import settings
    from fpsolve.campaign._store import write_netcdf
    from fpsolve.settings import result_folder

    wanted = settings.read(arguments.file)
    given = Path("results") / arguments.file.stem if arguments.out is None else arguments.out
    out = result_folder(given, ["sweep.nc"])
    try:
        with cluster(arguments.cluster):
            result = settings.run(wanted, out=out, n_jobs=arguments.jobs)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"finished points are kept in {out}; run it again to go on") from None
    write_netcdf(result, out / "sweep.nc")
    print("\n".join(_table(result)))
    missed, points = result.attrs["tol_missed"], result["tol_met"].size
    if missed:
        print(
            f"\nThe tolerance was NOT MET at {missed} of {points} points: densities may be off by as much as is said."
        )
    print(f"\nAll results are in {out / 'sweep.nc'}, those of every point in a file beside it.")
    return 1 if result.attrs["failed"] or missed else 0


@contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """Context in which joblib computes on the dask cluster at `address`; None changes nothing.

    Raises
    ------
    ValueError
        dask.distributed is not installed; nothing answers at the address within seconds; no worker there.
    """
    if address is None:
        yield
        return
    import joblib

    with _client(address) as client:
        if not client.ncores():
            raise error("--cluster", "a scheduler with workers", f"{address} without any", "start dask workers there")
        with joblib.parallel_config(backend="dask", client=client):
            yield


def _client(address: str) -> Any:
    try:
        import distributed
        from distributed.comm.addressing import get_address_host_port
    except ImportError:
        raise error("--cluster", "dask.distributed", "none installed", "pip install 'fpsolve[dask]'") from None
    # what answers there may be no scheduler, and then anything can go wrong
    with Failure() as failure:
        # a plain connection first: it fails at once; then asked who it is: the client would go on trying, without an
        # end where something listens and is silent
        socket.create_connection(get_address_host_port(address), timeout=PATIENCE).close()
        asyncio.run(_identity(address))
        client: Any = distributed.Client
        return client(address, timeout=PATIENCE, set_as_default=False)
    wanted = "the address of a dask scheduler that answers, such as tcp://host:8786"
    got = f"{address} ({failure.text.partition(chr(10))[0]})"
    raise error("--cluster", wanted, got, "start one there or use --jobs") from failure.cause


async def _identity(address: str) -> None:
    import distributed

    there: Any = distributed
    secured = there.Security().get_connection_args("client")
    async with there.rpc(address, timeout=PATIENCE, connection_args=secured) as scheduler:
        await asyncio.wait_for(scheduler.identity(), PATIENCE)


def _table(result: xr.Dataset) -> Iterator[str]:
    """A line per point and start with the final distance and what a score error costs, or the error of the point."""
    swept = json.loads(result.attrs["swept"])
    places = list(itertools.product(*(range(result.sizes[name]) for name in swept)))
    for place in places[:LINES]:
        point = result.isel(dict(zip(swept, place, strict=True)))
        told = ", ".join(f"{name} {point[name].item()}" for name in swept)
        if point["error"].item():
            yield f"{told}: failed, {point['error'].item()}"
            continue
        missed = point.tol_met.item() == "no"
        mark = f" (tolerance NOT MET: the run's own estimate is {point.run_error.item():.1g})" if missed else ""
        for start in point["start"].values.tolist():
            here = point.sel(start=start)
            yield f"{told}, start {start}: {here.weighted_tv.item():.6g} +- {here.weighted_tv_error.item():.1g}{mark}"
        if "score_error" in swept:
            yield f"{told}, model error: {point.model_error.item():.6g} +- {point.model_error_error.item():.1g}{mark}"
    if len(places) > LINES:
        yield f"... and {len(places) - LINES} more points"
