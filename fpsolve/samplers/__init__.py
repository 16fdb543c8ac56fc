"""One step of a sampler as formulas: no loop, no grid, no particles.

Each method is a file with one function ``step(process, eta, t_from, t_to, ...)``; `step` here finds it by name. The
transition kernels on a grid and the particles share them, so that both are the same method.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fpsolve import _checks, _times
from fpsolve.processes import Process
from fpsolve.samplers import ddim, ddpm, edm, euler_maruyama, exponential_integrator, heun
from fpsolve.samplers._step import GaussianStep, Step, draw, nothing_left
from fpsolve.samplers.heun import HeunStep

__all__ = ["SAMPLERS", "GaussianStep", "HeunStep", "Step", "draw", "euler_maruyama", "exponential_integrator", "step"]

SAMPLERS: dict[str, Callable[..., Step]] = {
    "euler-maruyama": euler_maruyama.step,
    "exponential-integrator": exponential_integrator.step,
    "ddpm": ddpm.step,
    "ddim": ddim.step,
    "heun": heun.step,
    "edm": edm.step,
}


def step(name: str, process: Process, eta: float, t_from: float, t_to: float, **options: Any) -> Step:
    """Return the step of the sampler called `name` from forward time `t_from` down to `t_to`.

    Parameters
    ----------
    name : {"euler-maruyama", "exponential-integrator", "ddpm", "ddim", "heun", "edm"}
    process : Process
    eta : float
        Noise knob of the first two and of DDIM; the others carry their own noise.
    t_from, t_to : float
        Forward times in [0, T], ``t_from > t_to``.
    **options
        Of the method: `variance` (ddpm), `frozen` (exponential-integrator), `churn`, `steps`, `s_min`, `s_max`,
        `s_noise` (edm).

    Raises
    ------
    ValueError
        A name that is not in the list, times out of order or outside of [0, T].

    Examples
    --------
    >>> import fpsolve as fp
    >>> step("ddpm", fp.EDM(), 1.0, 2.0, 1.0).linear
    1.0
    """
    make = SAMPLERS[_checks.one_of("name", name, tuple(SAMPLERS))]
    start, end = _times.block("t_from", t_from, "t_to", t_to, process.T, wanted="a time below {start}")
    if not (process.scale(end, start) > 0.0 and np.isfinite(process.drift_rate(start))):
        raise nothing_left(start)
    return make(process, eta, start, end, **options)
