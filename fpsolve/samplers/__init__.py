"""Samplers: one step of a method as formulas, without loop, grid or particles.

`SAMPLERS` holds the methods by name. Particles, transition kernels on a grid, decompositions of the error and settings
of studies take any of them by name with its options, as a class or as an object, those of one's own among them: a
subclass of `Sampler` is all there is to write.
"""

from __future__ import annotations

from collections.abc import Iterable
from inspect import signature
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from fpsolve import _checks, _times
from fpsolve.processes import Process
from fpsolve.samplers import grids as grids
from fpsolve.samplers._gaussian import (
    DDIM,
    DDPM,
    Euler,
    EulerAncestral,
    EulerMaruyama,
    ExponentialIntegrator,
    FlowMatchEuler,
)
from fpsolve.samplers._multistep import LMS, PLMS, DPMSolverPP2M, DPMSolverPP3M, SDEDPMSolverPP2M, UniPC
from fpsolve.samplers._singlestep import DPMSolver2, DPMSolverPP2S, Heun, Karras, PredictorCorrector
from fpsolve.samplers._step import (
    Composed,
    GaussianStep,
    MapStep,
    Memory,
    MemoryStep,
    Sampler,
    Score,
    Step,
    nothing_left,
)

if TYPE_CHECKING:
    from fpsolve.dynamics import Reverse

__all__ = ["SAMPLERS", "Composed", "GaussianStep", "MapStep", "Memory", "MemoryStep", "Method", "Sampler", "Score"]
__all__ += ["Step", "get", "grids", "names", "step", "steps"]

_KINDS: list[type[Sampler]] = [EulerMaruyama, ExponentialIntegrator, DDPM, DDIM, Euler, EulerAncestral, FlowMatchEuler]
_KINDS += [PredictorCorrector, LMS, PLMS, DPMSolver2, DPMSolverPP2S, DPMSolverPP2M, DPMSolverPP3M, SDEDPMSolverPP2M]
_KINDS += [UniPC, Heun, Karras]
#: The methods by name.
SAMPLERS: dict[str, type[Sampler]] = {kind.name: kind for kind in _KINDS}
__all__ += [kind.__name__ for kind in SAMPLERS.values()]
#: How a method is asked for: by name, as a class or as an object.
Method = str | type[Sampler] | Sampler


def names() -> tuple[str, ...]:
    """Return the names of all methods: those of diffusers, of k-diffusion and of the papers.

    Examples
    --------
    >>> [name for name in names() if name.startswith("dpm")]
    ['dpm-solver-2', 'dpm-solver++(2s)', 'dpm-solver++(2m)', 'dpm-solver++(3m)']
    """
    return tuple(SAMPLERS)


def get(method: Method, argument: str = "sampler", /, **options: Any) -> Sampler:
    """Return a sampler by its name and options, or the object itself.

    Parameters
    ----------
    method : str, class of Sampler, or Sampler
        One of `names`, or one's own.
    argument : str
        What `method` is called in messages.
    **options
        Arguments of the class: `eta` ("euler-maruyama", "exponential-integrator", "ddim", "euler-ancestral"), `frozen`
        ("exponential-integrator"), `variance` ("ddpm"), `churn`, `steps`, `s_min`, `s_max`, `s_noise` ("edm"), `slopes`
        ("lms"), `parabola` ("dpm-solver++(3m)"), `snr`, `corrections` ("predictor-corrector").

    Raises
    ------
    ValueError
        A name or an option that does not exist, with those that do; options beside an object.

    Examples
    --------
    >>> get("edm", churn=40.0)
    Karras(churn=40.0, steps=None, s_min=0.0, s_max=inf, s_noise=1.0)
    >>> get("ddmp")
    Traceback (most recent call last):
    ValueError: sampler: expected one of 'euler-maruyama', ..., got 'ddmp'; perhaps 'ddpm' is meant.
    """
    if isinstance(method, Sampler):
        for name, value in options.items():
            raise _checks.error(name, f"no options beside an object {method!r}", value, "make the object with it")
        return method
    own = isinstance(method, type) and issubclass(method, Sampler)
    near = "a method of one's own is an object of a subclass of fpsolve.samplers.Sampler"
    near = _checks.meant(method, SAMPLERS) if isinstance(method, str) else near
    kind: Any = method if own else SAMPLERS[_checks.one_of(argument, method, tuple(SAMPLERS), near)]
    known = list(signature(kind).parameters)
    for name, value in options.items():
        if name not in known:
            listed = ", ".join(known) if known else "none"
            raise _checks.error(name, f"an option of {kind.name!r} ({listed})", value, _checks.meant(name, known))
    made: Sampler = kind(**options)
    return made


def step(method: Method, process: Process, eta: float, t_from: float, t_to: float, **options: Any) -> Step:
    """Return the step of a sampler from forward time `t_from` down to `t_to`.

    Parameters
    ----------
    method, **options
        As for `get`.
    process : Process
    eta : float
        Noise knob of the dynamics; the sampler's own takes its place.
    t_from, t_to : float
        Forward times in [0, T], ``t_from > t_to``.

    Raises
    ------
    ValueError
        As `get`; times out of order or outside of [0, T]; a start where no data are left.

    Examples
    --------
    >>> import fpsolve as fp
    >>> step("ddpm", fp.EDM(), 1.0, 2.0, 1.0).linear
    1.0
    """
    sampler = get(method, "name", **options)
    _checks.instances(process=(process, Process))
    start, end = _times.block("t_from", t_from, "t_to", t_to, process.T, wanted="a time below {start}")
    return _step(sampler, process, eta, start, end)


def steps(sampler: Sampler, reverse: Reverse, times: Iterable[float]) -> tuple[Step, ...]:
    """Return the steps of a run on decreasing forward times, with the noise of the sampler or of the dynamics."""
    pairs = list(pairwise(float(t) for t in times))
    told = sampler.in_steps(len(pairs))
    return tuple(_step(told, reverse.process, float(reverse.eta_at(start)), start, end) for start, end in pairs)


def _step(sampler: Sampler, process: Process, eta: float, start: float, end: float) -> Step:
    if not (np.isfinite(process.drift_rate(start)) and (sampler.from_noise or process.scale(end, start) > 0.0)):
        raise nothing_left(start, sampler.name)
    made: object = sampler.step(process, eta if sampler.eta is None else sampler.eta, start, end)
    what = f"{sampler.name}.step"
    if not isinstance(made, Step):
        raise _checks.error(what, "a Step", _checks.shown(made), "return a GaussianStep or a MapStep")
    if (made.t_from, made.t_to) != (start, end):
        expected = f"a step from t = {_checks.digits(start)} to {_checks.digits(end)}"
        raise _checks.error(what, expected, f"one from {_checks.digits(made.t_from)} to {_checks.digits(made.t_to)}")
    for name in ("std_before", "std_after"):
        _checks.non_negative(f"{what}, {name}", getattr(made, name))
    return made
