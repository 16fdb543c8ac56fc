"""One point, wherever it runs: the same floating-point state, one BLAS thread, errors kept as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

import fpsolve
from fpsolve._failure import Failure
from fpsolve.campaign._results import as_dataset

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Outcome", "Task", "compute", "one_thread"]


@dataclass(frozen=True)
class Task:
    """A call to be made: function, keyword arguments, labels of the point, ``np.geterr()`` of the caller, version."""

    number: int
    function: Callable[..., Any]
    arguments: Mapping[str, Any]
    labels: Mapping[str, Any]
    floating_point: Mapping[str, Any]
    version: str


@dataclass(frozen=True)
class Outcome:
    """What became of a task: its Dataset, or None and the text of the error."""

    number: int
    dataset: xr.Dataset | None
    error: str


def compute(task: Task) -> Outcome:
    """Call the function of a task and return its result, or its error."""
    if fpsolve.__version__ != task.version:
        theirs = f"this worker has fpsolve {fpsolve.__version__}, the sweep was started with {task.version}"
        return Outcome(task.number, None, f"VersionError: {theirs}")
    dataset = None
    with Failure() as failure, one_thread(), np.errstate(**task.floating_point):
        dataset = as_dataset(task.function(**task.arguments), task.labels)
    return Outcome(task.number, dataset, failure.text)


def one_thread() -> AbstractContextManager[Any]:
    """Return a context in which BLAS and OpenMP use one thread.

    With two, OpenBLAS splits sums elsewhere and the last bits of ``a @ b`` change: results would depend on `n_jobs`.
    """
    # its own copy of BLAS has to be loaded before it can be limited
    import_module("scipy.linalg")
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(limits=1)
    return limits
