"""The subcommand ``fpsolve sweep FILE.toml``."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpsolve._checks import error
from fpsolve._failure import Failure

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["add_sweep_command", "run_sweep"]

#: Seconds a scheduler has to answer.
PATIENCE = 5.0

#: Lines of results that are printed.
LINES = 40


def add_sweep_command(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add ``sweep`` to the commands of the command line and return its parser."""
    parser = subparsers.add_parser("sweep", help="forgetting curves over targets, processes, eta and accuracies")
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
