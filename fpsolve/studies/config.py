"""What studies share: processes in their own units, by their own clock, settings, boxes, and the stages of a run.

What suits one process in its own units suits all: there each is the Ornstein-Uhlenbeck process on the clock
``tau = log(1 + sigma^2/alpha^2)/2``. Settings are read from TOML by pydantic: unknown keys are errors, all errors are
told at once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    PositiveFloat,
    PositiveInt,
    StrictInt,
    StrictStr,
)

import fpsolve as fp
from fpsolve import data, samplers
from fpsolve._checks import FloatArray, error
from fpsolve._messages import interactive, progress
from fpsolve.laws import Law
from fpsolve.processes import OwnUnits, Process
from fpsolve.samplers import Composed, GaussianStep, MapStep, Sampler, Score, Step
from fpsolve.settings import Seed, Table, build
from fpsolve.settings import Settings as Settings
from fpsolve.weights import Weight

#: Where nothing of the data is left at T, processes end at this noise level ``sigma/alpha``, about that of VP.
LAST_LEVEL = 150.0
#: Nodes of the clock's table.
NODES = 20_001
#: How to read lengths and weights.
NOTE = (
    "Lengths at time t are in units of sqrt(alpha(t)^2 + sigma(t)^2), the standard deviation at t of data of standard "
    "deviation 1, and so are V, boxes, starts and score errors; total variation does not depend on them."
)
#: Keys of boxes, and of numbers of cells, which grow with them.
BOXES, CELLS = ("box", "boxes", "half", "kernel_half"), ("cells", "kernel_cells")
#: Boxes leave this mass of another target outside, and grow at most so many times.
OUTSIDE, WIDEST = 1e-7, 5.0
#: Cells that a box which grows within that has at most; whether they are enough the checks of a study say.
MOST_CELLS = 2000


def reach(table: dict[str, Any]) -> float:
    """Return how far a law on the line reaches from 0, but for `OUTSIDE` of its mass; 0 for what is no law."""
    try:
        law = build({"kind": "gaussian-mixture"} | table, Law)
    except ValueError:
        return 0.0  # told with all that does not fit
    radii = np.geomspace(1e-3, 1e6, 4001)
    faces = np.concatenate([-radii[::-1], radii])
    mass = law.cell_probabilities(faces) if law.dim == 1 else None
    if mass is None:
        density = law.density(faces) if law.dim == 1 else np.zeros_like(faces)
        mass = 0.5 * (density[1:] + density[:-1]) * np.diff(faces)
    rings = (mass[: len(radii) - 1][::-1] + mass[len(radii) :])[::-1]
    beyond = np.append(np.cumsum(rings)[::-1], 0.0)
    return float(radii[np.argmax(beyond <= OUTSIDE)])


def widen(table: dict[str, Any], radius: float, before: float = 0.0, kept: Sequence[str] = ()) -> None:
    """Make boxes that hold what reaches `before` hold what reaches so far, but for those that are to be kept.

    In own units x_t = alpha x_0 + s eps is in ``sqrt(reach^2 + half^2)`` if eps is in half.
    """
    more = np.sqrt(max(0.0, radius**2 - before**2))
    for key in BOXES:
        if key in table and key not in kept:
            half = np.abs(table[key]).max()
            ratio = float(np.hypot(half, more) / half)
            if kept and ratio > WIDEST:
                expected = f"a law with all but {OUTSIDE:g} of its mass within {half * WIDEST:.3g} of 0"
                raise error("target", expected, f"one that has it within {radius:.3g}", f"set {key} and its cells too")
            table[key] = (np.array(table[key]) * ratio).round(2).tolist()
            for count in CELLS:
                if count in table and count.startswith("kernel") == key.startswith("kernel"):
                    most = max(MOST_CELLS, table[count]) if ratio <= WIDEST else np.inf
                    table[count] = int(min(np.ceil(ratio * table[count] / 8) * 8, most))  # to be halved thrice


def own_units(process: Process) -> Process:
    """Return a process as studies look at it: in its own units, and ending where something is left of the data.

    Examples
    --------
    >>> import fpsolve as fp
    >>> own_units(fp.VP()), own_units(fp.EDM())
    (VP(beta_min=0.1, beta_max=20.0, T=1.0, sigma=1.0, curvature=0.0), OwnUnits(process=EDM(...), T=80.0))
    """
    if process.plain is not process:
        return process
    high = float(process.T)
    if process.scale(0.0, high) == 0.0:
        high = time_at(process, LAST_LEVEL)
    t = high * np.array([0.01, 0.1, 0.5, 1.0])
    lengths = np.square(process.scale(0.0, t)) + process.variance(0.0, t)
    # in its own units already
    return process if high == process.T and np.abs(lengths - 1.0).max() < 1e-9 else OwnUnits(process, high)


def time_at(process: Process, level: float) -> float:
    """Return the time of a noise level, to six digits; T where it is not reached.

    Examples
    --------
    >>> import fpsolve as fp
    >>> time_at(fp.EDM(), 3.0), time_at(fp.EDM(), 100.0)
    (3.0, 80.0)
    """
    low, high = 0.0, float(process.T)
    if process.scale(0.0, high) > 0.0 and noise_level(process, high) <= level:
        return high
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if noise_level(process, middle) > level else (middle, high)
    return float(f"{low:.6g}")


def noise_level(process: Process, t: Any) -> Any:
    """Return ``sigma/alpha``, infinite where no data are left."""
    with np.errstate(divide="ignore"):
        return np.sqrt(process.variance(0.0, t)) / process.scale(0.0, t)


def level_time(old: Process, new: Process) -> Callable[[float], float]:
    """Return the map from times of one process to those of the same ``sigma/alpha`` of another, the ends kept.

    Examples
    --------
    >>> import fpsolve as fp
    >>> level_time(fp.VP(), fp.EDM())(1.0)
    80.0
    """

    nodes = np.geomspace(1e-6, 1.0, 20_001) * new.T
    levels = noise_level(new, nodes)

    def mapped(t: float) -> float:
        if t in (0.0, old.T):
            return new.T if t else 0.0
        # four digits: nobody reads more, and the same level may be the end itself
        return float(f"{np.interp(noise_level(old, t), levels, nodes):.4g}")

    return mapped


def called(process: Process) -> str:
    """Return the name of a process.

    Examples
    --------
    >>> import fpsolve as fp
    >>> called(own_units(fp.EDM()))
    'EDM'
    """
    return type(process.plain).__name__


def by_clock(process: Process, t_min: float, shares: ArrayLike, *, offset: float = np.inf) -> FloatArray:
    """Return times from T (share 0) to t_min (share 1), even in tau, or in log(tau + offset).

    Examples
    --------
    >>> import fpsolve as fp
    >>> by_clock(fp.OrnsteinUhlenbeck(T=3.0), 1.0, [0.0, 0.5, 1.0]).round(6).tolist()
    [3.0, 2.0, 1.0]
    """
    nodes = np.unique(np.r_[np.geomspace(t_min, process.T, NODES), np.linspace(t_min, process.T, NODES)])
    tau = 0.5 * np.log1p(np.square(noise_level(process, nodes)))
    clock = tau if np.isinf(offset) else np.log(tau + offset)
    share = np.asarray(shares, dtype=np.float64)
    times = np.interp(clock[-1] + share * (clock[0] - clock[-1]), clock, nodes)
    return np.where(share == 0.0, process.T, np.where(share == 1.0, t_min, times))


def seen(sampler: Sampler, process: Process) -> Sampler:
    """Return a sampler whose steps are those of the process itself, looked at in its own units.

    Multistep methods are written in data and noise levels, which are the same in all units.
    """
    return sampler if process.plain is process or sampler.memory else InOwnUnits(sampler)


class InOwnUnits(Sampler):
    """Steps of a sampler in x, as steps in ``y = x/c(t)``."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler
        # of the object, not of the class
        for name in ("name", "order", "evaluations", "from_noise"):
            setattr(self, name, getattr(sampler, name))

    @property
    def eta(self) -> float | None:
        """That of the sampler."""
        return self.sampler.eta

    @property
    def deterministic(self) -> bool:
        """That of the sampler."""
        return self.sampler.deterministic

    def in_steps(self, n: int) -> Sampler:
        """Return the sampler for a run of n steps."""
        return InOwnUnits(self.sampler.in_steps(n))

    def step(self, process: Process, eta: float, t_from: float, t_to: float) -> Step:
        """Return the step, see `Sampler.step`."""
        return _looked_at(self.sampler.step(process.plain, eta, t_from, t_to), process)


def _looked_at(made: Step, process: Any) -> Step:
    """A step in x as one in ``y = x/c(t)``."""
    if isinstance(made, Composed):
        return Composed(tuple(_looked_at(part, process) for part in made.parts))
    longer = process if made.t_top <= process.T else process.longer(made.t_top)

    def unit(t: float) -> float:
        return float(longer.length(t))

    first, top, last = unit(made.t_from), unit(made.t_top), unit(made.t_to)
    ends = made.t_from, made.t_to
    if isinstance(made, GaussianStep):
        return GaussianStep(*ends, made.linear * first / last, made.score / (first * last), made.std / last)

    def move(score: Score, y: FloatArray) -> FloatArray:
        return made.move(lambda t, x: score(t, x / unit(t)) / unit(t), top * y) / last

    return MapStep(
        *ends, move, made.t_top, scale_before=made.scale_before * first / top, std_before=made.std_before / top,
        std_after=made.std_after / last,
    )  # fmt: skip


#: Where every stage is a line when there is no bar.
LOG = logging.getLogger("fpsolve.studies")
PROCESS = "Forward process: its kind and the options of that kind."
WEIGHT = "Weight V(x) of the norm: 1 + beta |x|^power, or another kind."
#: Objects that a file describes by tables with a kind; without one it is the kind that is named here.
AnyProcess: TypeAlias = Annotated[Process, Table(Process), Field(description=PROCESS)]
#: A process in its own units.
OwnProcess: TypeAlias = Annotated[Process, Table(Process), AfterValidator(own_units), Field(description=PROCESS)]
AnyWeight: TypeAlias = Annotated[Weight, Table(Weight, default="polynomial"), Field(description=WEIGHT)]
Polynomial: TypeAlias = Annotated[fp.PolynomialWeight, Table(fp.PolynomialWeight), Field(description=WEIGHT)]
AnyLaw: TypeAlias = Annotated[Law, Table(Law, default="gaussian")]
LineStart: TypeAlias = Annotated[Law, Table(Law, default="gaussian", dim=1)]
LineTarget: TypeAlias = Annotated[
    Law, Table(Law, default="gaussian-mixture", dim=1), Field(description="Law on the line that the process noises.")
]
#: Numbers that many studies have.
TMin: TypeAlias = Annotated[float, Field(gt=0.0, description="Forward time at which runs end.")]
Tol: TypeAlias = Annotated[float, Field(gt=0.0, description="Error that runs may have, in the weighted norm.")]
Cells: TypeAlias = Annotated[int, Field(ge=50, le=2000, description="Cells of the box.")]
Box: TypeAlias = Annotated[tuple[float, float], Field(description="Ends of the box.")]


class StudySettings(Settings):
    """What every study has."""

    title: str
    """Title of the report."""
    question: str
    """What it asks, in a sentence or two."""
    seed: Seed = 0
    """Seed of everything random."""


class DataSettings(Settings):
    """One or two columns of a CSV or .npy file, by name or by place from 0, or of a bundled table by its name.

    `bandwidth` in standard deviations, or Scott's rule; `bins` in bandwidths, default none.
    """

    file: str = "old_faithful"
    """CSV or .npy file, or a bundled table: old_faithful, penguins, seattle_rain or sunspots."""
    columns: Annotated[tuple[StrictStr | StrictInt, ...], Field(min_length=1, max_length=2)]
    """One or two of its columns, by name or by place from 0."""
    bandwidth: Literal["scott"] | PositiveFloat = "scott"
    """Standard deviation of the kernels in those of the data, or "scott"."""
    bins: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    """Width of the bins that kernels are put together in, in bandwidths; default none."""

    def table(self) -> data.Table:
        """Return the columns, read and checked."""
        return data.read(self.file, self.columns)

    def kernel_density(self, samples: Any) -> fp.KernelDensity:
        """Return the kernel density of standardised samples."""
        bandwidth = None if self.bandwidth == "scott" else self.bandwidth
        return fp.KernelDensity(samples, bandwidth=bandwidth, bins=self.bins)


def _sampler(given: Any) -> samplers.Sampler:
    """A sampler by its name, or as a table with its kind and options: ``{kind = "edm", churn = 5.0}``."""
    options = dict(given) if isinstance(given, dict) else {"kind": given}
    try:
        return samplers.get(options.pop("kind", "a table without its kind"), "kind", **options)
    except ValueError as reason:
        raise ValueError(str(reason).removeprefix("kind: ")) from None


def _as_given(sampler: samplers.Sampler) -> str | dict[str, Any]:
    """The name of a sampler, or a table of its kind and the options that are not the default."""
    fields = getattr(sampler, "__dataclass_fields__", {})
    options = {name: getattr(sampler, name) for name, one in fields.items() if getattr(sampler, name) != one.default}
    return {"kind": sampler.name, **options} if options else sampler.name


SamplerSettings = Annotated[
    samplers.Sampler,
    PlainValidator(_sampler, json_schema_input_type=str | dict[str, Any]),
    PlainSerializer(_as_given),
]
SamplerName = Annotated[StrictStr, AfterValidator(lambda name: _sampler(name).name)]


class ParticleSettings(Settings):
    """How many particles, by which method, in how many steps; `false_alarm` of each comparison."""

    n: PositiveInt
    """Number of particles."""
    steps: PositiveInt
    """Number of their steps."""
    method: SamplerSettings
    """Sampler: its name, or a table of its kind and options."""
    false_alarm: Annotated[float, Field(gt=0.0, lt=1.0)] = 1e-3
    """Probability that a true match is called "disagree", per comparison."""


class Stages:
    """Names, counts and times the stages of a study.

    Parameters
    ----------
    study : str
        Text in front of the bar.
    enabled : bool, optional
        Show the bar; default only on a terminal or in a notebook.

    Examples
    --------
    >>> stages = Stages("forgetting", enabled=False)
    >>> with stages.total(1), stages("adding"):
    ...     total = 1 + 1
    >>> list(stages.seconds)
    ['adding']
    """

    def __init__(self, study: str, enabled: bool | None = None) -> None:
        self.study, self.enabled = study, enabled
        #: Wall time of every stage so far, in seconds.
        self.seconds: dict[str, float] = {}

    @contextmanager
    def total(self, count: int) -> Iterator[None]:
        """Show a bar of `count` stages while the block runs."""
        with progress(count, self.study, self.enabled) as self._bar:
            yield

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Run one stage."""
        self._bar.set_postfix_str(name)
        began = time.perf_counter()
        yield
        took = time.perf_counter() - began
        self.seconds[name] = self.seconds.get(name, 0.0) + took
        self._bar.update()
        if not (interactive() if self.enabled is None else self.enabled):
            LOG.info("%s: %s, %.1f s", self.study, name, took)
