"""Every kind of number fpsolve computes, in one file; two such files compared bit for bit.

A change that only moves code must change no bit::

    python tests/same_numbers.py write before.npz
    ...
    python tests/same_numbers.py write after.npz
    python tests/same_numbers.py compare before.npz after.npz

``compare`` prints the largest relative change of every case that changed and ends with status 1 where there is one. A
change is measured against the largest number of its array (of the same start and time, for densities); NaN and
infinities have to stand in the same places.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import xarray as xr

import fpsolve as fp

Arrays = dict[str, np.ndarray]

MIXTURE = fp.GaussianMixture([0.3, 0.7], means=[-1.5, 0.8], stds=[0.3, 0.4])
PLANE = fp.GaussianMixture(
    [0.4, 0.6],
    means=[[-1.0, 0.5], [1.0, -0.5]],
    covs=[[[0.3, 0.1], [0.1, 0.2]], [[0.2, -0.05], [-0.05, 0.4]]],
)
SAMPLE = np.random.default_rng(5).normal(size=60) ** 3 / 4.0
LINE = fp.Grid.uniform((-6, 6), cells=240)
SQUARE = fp.Grid.uniform([(-5, 5), (-5, 5)], cells=(48, 40))
SMALL_SQUARE = fp.Grid.uniform([(-4, 4), (-4, 4)], cells=(16, 16))
RING = fp.Grid.uniform((0.0, 2.0 * np.pi), cells=120)

PROCESSES: dict[str, fp.Process] = {
    "ou": fp.OrnsteinUhlenbeck(T=3.0),
    "vp": fp.VP(),
    "curved": fp.VP(curvature=3.0, sigma=0.9),
    "cosine": fp.CosineVP(),
    "subvp": fp.SubVP(),
    "ve": fp.VE(sigma_min=0.02, sigma_max=20.0, T=1.0),
    "edm": fp.EDM(sigma_min=0.02, sigma_max=20.0),
}


def numbers(data: xr.Dataset | xr.DataArray) -> Arrays:
    """The numeric variables and coordinates; attributes (times of day, seconds) are left out."""
    data = data.to_dataset(name="value") if isinstance(data, xr.DataArray) else data
    return {str(name): v.values for name, v in data.variables.items() if v.dtype.kind in "fiub"}


def starts(reverse: fp.Reverse) -> dict[str, fp.Law]:
    law = reverse.marginal(reverse.process.T)
    wide = fp.Gaussian(np.asarray(law.mean) + 0.3 * np.sqrt(np.trace(np.atleast_2d(law.cov))), cov=law.cov)
    return {"exact": law, "prior": reverse.process.prior(), "wide": wide} if law.dim == 1 else {"exact": law, "w": wide}


def evolved(reverse: fp.Reverse, **given: object) -> Callable[[], Arrays]:
    """A run, its curve and its distances."""

    def compute() -> Arrays:
        run = fp.evolve(reverse, starts(reverse), **({"t_min": 0.05} | given))
        found = {f"run.{k}": v for k, v in numbers(run).items()}
        curve = fp.forgetting_curve(run, reference="exact")
        found |= {f"curve.{k}": v for k, v in numbers(curve).items()}
        p, q = run["density"].isel(start=0), run["density"].isel(start=1)
        for name in ("total_variation", "kl", "hellinger", "chi2") + (
            ("wasserstein",) if LINE.dim == p.ndim - 1 else ()
        ):
            if name in {"chi2", "kl"} and reverse.eta == 0.0:
                continue
            answer = getattr(fp.distances, name)(q, p)
            found |= {f"{name}.{k}": v for k, v in numbers(answer).items()}
        return found

    return compute


def own_drift(**given: object) -> Callable[[], Arrays]:
    def compute() -> Arrays:
        dynamics = fp.Dynamics(lambda t, x: 2.0 * np.sin(3.0 * t) - x, lambda t: 1.0 + 0.2 * np.sin(t))
        start = {"a": fp.Gaussian(1.0, std=0.5), "b": fp.Laplace(0.0, scale=0.6)}
        return numbers(fp.evolve(dynamics, start, t_max=1.0, **given))

    return compute


def driven_ring() -> Arrays:
    dynamics = fp.Dynamics(lambda t, x: 0.5 + np.cos(x), 0.9, boundary="periodic", autonomous=True)
    flat = {"a": fp.Gaussian(2.0, std=0.3), "b": fp.Gaussian(4.0, std=0.4)}
    run = fp.evolve(dynamics, flat, grid=RING, steps=80, t_max=1.0)
    return numbers(run) | {f"steady.{k}": v for k, v in numbers(fp.steady_state(dynamics, RING)).items()}


def runs() -> Iterator[tuple[str, Callable[[], Arrays]]]:
    for name, process in PROCESSES.items():
        yield f"run {name}", evolved(fp.Reverse(MIXTURE, process), t_min=0.05 * process.T, tol=1e-3)
    yield "run tight", evolved(fp.Reverse(MIXTURE, fp.VP()), tol=1e-6)
    yield "run fixed", evolved(fp.Reverse(MIXTURE, fp.VP()), grid=LINE, steps=96)
    for scheme in ("crank-nicolson", "backward-euler"):
        yield f"run {scheme}", evolved(fp.Reverse(MIXTURE, fp.VP()), grid=LINE, steps=96, scheme=scheme)
    yield "run half eta", evolved(fp.Reverse(MIXTURE, fp.VP(), eta=0.5), tol=1e-3)
    yield "run no eta", evolved(fp.Reverse(MIXTURE, fp.VP(), eta=0.0), tol=1e-3, save_at=[1.0, 0.3, 0.05])
    yield "run data", evolved(fp.Reverse(fp.KernelDensity(SAMPLE), fp.VP()), tol=1e-3)
    yield (
        "run tails",
        evolved(fp.Reverse(fp.StudentT(5.0), fp.VP()), tol=1e-2, weight=fp.PolynomialWeight(1, 1.0)),
    )
    truth = fp.Reverse(MIXTURE, fp.VP())
    score = fp.scores.perturbed(truth.score, lambda t, x: 0.1 * np.cos(x))
    yield "run own score", evolved(fp.Reverse(MIXTURE, fp.VP(), score=score), tol=1e-3)
    yield "run plane", evolved(fp.Reverse(PLANE, fp.VP()), grid=SQUARE, steps=48)
    yield "run plane to tol", evolved(fp.Reverse(PLANE, fp.VP()), tol=3e-2, t_min=0.2)
    yield "run own drift", own_drift(grid=LINE, tol=1e-4)
    yield "run own drift fixed", own_drift(grid=LINE, steps=64)
    yield "run ring", driven_ring


def ladders() -> Iterator[tuple[str, Callable[[], Arrays]]]:
    def ladder(target: fp.Law, process: fp.Process, beta: float, **given: object) -> Callable[[], Arrays]:
        options = dict(grid=LINE, blocks=4, weight=fp.PolynomialWeight(2, beta), t_min=0.05 * process.T) | given
        return lambda: numbers(fp.bounds.ladder(fp.Reverse(target, process), **options))

    yield "ladder ou", ladder(MIXTURE, fp.OrnsteinUhlenbeck(T=3.0), 0.1)
    yield "ladder vp", ladder(MIXTURE, fp.VP(), 0.1)
    yield "ladder norm", ladder(MIXTURE, fp.VP(), 0.03, norm=fp.PolynomialWeight(2, 1.0))
    yield "ladder cosine", ladder(MIXTURE, fp.CosineVP(), 0.1)
    yield "ladder gaussian", ladder(fp.Gaussian(0.5, std=0.7), fp.VP(), 0.2, blocks=2)


def kernels() -> Iterator[tuple[str, Callable[[], Arrays]]]:
    reverse = fp.Reverse(MIXTURE, fp.VP())
    p = LINE.cell_average(fp.Gaussian(0.3, std=0.8).density)
    f = 1.0 + LINE.x**2

    def used(make: Callable[[], fp.kernels.Kernel], p: np.ndarray = p, f: np.ndarray = f) -> Callable[[], Arrays]:
        def compute() -> Arrays:
            kernel = make()
            return {"matrix": np.asarray(kernel.matrix), "push": kernel.push(p), "pull": kernel.pull(f)}

        return compute

    yield "kernel exact", used(lambda: fp.kernels.exact(reverse, LINE, 0.8, 0.3))
    yield "kernel finite volume", used(lambda: fp.kernels.finite_volume(reverse, LINE, 0.8, 0.3, steps=40))
    plane = fp.Reverse(PLANE, fp.VP())
    square = SMALL_SQUARE.cell_average(fp.Gaussian([0.1, 0.2], std=0.8).density)
    bowl = 1.0 + (SMALL_SQUARE.x**2).sum(axis=-1)
    yield "kernel plane", used(lambda: fp.kernels.exact(plane, SMALL_SQUARE, 0.8, 0.3), square, bowl)
    for name, options in (
        ("euler-maruyama", {}),
        ("exponential-integrator", {}),
        ("ddpm", {}),
        ("ddim", {"eta": 1.0}),
        ("ddim", {"eta": 0.0}),
        ("heun", {}),
        ("edm", {}),
    ):
        label = f"kernel {name} {options}"
        yield label, used(lambda n=name, o=options: fp.kernels.sampler(n, reverse, LINE, 0.6, 0.4, **o))


def decompositions() -> Iterator[tuple[str, Callable[[], Arrays]]]:
    reverse = fp.Reverse(MIXTURE, fp.VP())
    prior = fp.Gaussian(0.0, std=1.0)
    times = np.linspace(1.0, 0.05, 13)
    for name in ("euler-maruyama", "ddpm"):
        yield (
            f"decomposition {name}",
            lambda name=name: numbers(fp.decomposition.errors(reverse, name, start=prior, grid=LINE, times=times)),
        )

    def wrong(t: float, x: np.ndarray) -> np.ndarray:
        return reverse.score(t, x) + 0.05 * np.sin(x)

    yield (
        "decomposition own score",
        lambda: numbers(
            fp.decomposition.errors(reverse, "exponential-integrator", start=prior, grid=LINE, times=times, score=wrong)
        ),
    )


def ensembles() -> Iterator[tuple[str, Callable[[], Arrays]]]:
    dynamics = fp.Dynamics(lambda t, x: -x, 2.0**0.5)
    start, s = fp.Gaussian(1.0, std=0.8), fp.stochastic
    given = dict(grid=LINE, steps=64, paths=4, seed=3)
    yield (
        "ensemble stratonovich",
        lambda: numbers(s.evolve(dynamics, start, s.constant(0.09), t_max=1.0, **given)),
    )
    yield (
        "ensemble ito",
        lambda: numbers(s.evolve(dynamics, start, s.constant(0.09), t_max=1.0, convention="ito", **given)),
    )
    reverse = fp.Reverse(MIXTURE, fp.VP())
    noise = s.random_fourier(0.01, length=1.0, modes=3, seed=2)
    yield (
        "ensemble reverse",
        lambda: numbers(s.evolve(reverse, reverse.marginal(1.0), noise, t_min=0.1, **given)),
    )


def clouds() -> Iterator[tuple[str, Callable[[], Arrays]]]:
    def cloud(method: str) -> Callable[[], Arrays]:
        def compute() -> Arrays:
            reverse = fp.Reverse(MIXTURE, fp.VP())
            run = fp.evolve(reverse, starts(reverse), t_min=0.05, tol=1e-3, save_at=[0.5, 0.05])
            given = dict(n=4000, steps=60, seed=4, save_at=[0.5, 0.05])
            found = fp.particles.simulate(reverse, starts(reverse)["prior"], method=method, **given)
            check = fp.particles.compare(run, found, start="prior")
            return {f"cloud.{k}": v for k, v in numbers(found).items()} | {
                f"check.{k}": v for k, v in numbers(check).items()
            }

        return compute

    yield "particles euler-maruyama", cloud("euler-maruyama")
    yield "particles exponential-integrator", cloud("exponential-integrator")


def cases() -> Iterator[tuple[str, Callable[[], Arrays]]]:
    for family in (runs, ladders, kernels, decompositions, ensembles, clouds):
        yield from family()


def write(path: str, only: str = "") -> None:
    """Compute every case whose name contains `only` and write all arrays to one npz file."""
    found: Arrays = {}
    for name, compute in cases():
        if only in name:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a case may be coarse on purpose; its numbers are what counts here
                arrays = compute()
            found |= {f"{name}/{key}": value for key, value in arrays.items()}
            print(f"{name}: {len(arrays)} arrays", flush=True)
    np.savez_compressed(path, **found)  # type: ignore[arg-type]


def change(before: np.ndarray, after: np.ndarray) -> float:
    """Largest change relative to the largest number of the last axis; infinite where shape or NaN differ."""
    if before.shape != after.shape or before.dtype.kind != after.dtype.kind:
        return np.inf
    if before.tobytes() == after.tobytes():
        return 0.0
    a, b = np.atleast_1d(before.astype(float)), np.atleast_1d(after.astype(float))
    finite = np.isfinite(a)
    if not np.array_equal(np.where(finite, 0.0, a), np.where(np.isfinite(b), 0.0, b), equal_nan=True):
        return np.inf
    a, b = np.where(finite, a, 0.0), np.where(finite, b, 0.0)
    size = np.abs(a).max(axis=-1, keepdims=True)
    gap = np.abs(a - b)
    relative = np.divide(gap, size, out=np.where(gap > 0.0, np.inf, 0.0), where=size > 0.0)
    return float(relative.max())


def compare(before: str, after: str) -> int:
    """Print what changed between two files; 0 where nothing did."""
    with np.load(before) as a, np.load(after) as b:
        missing = sorted(set(a.files) ^ set(b.files))
        for name in missing:
            print(f"{name}: only in {before if name in a.files else after}")
        changes = {name: change(a[name], b[name]) for name in a.files if name in b.files}
    moved = {name: size for name, size in changes.items() if size > 0.0}
    for name, size in sorted(moved.items(), key=lambda item: -item[1]):
        print(f"{name}: {size:.3g}")
    largest = max(moved.values(), default=0.0)
    print(f"{len(changes)} arrays compared, {len(moved)} changed, largest relative change {largest:.3g}")
    return 1 if moved or missing else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("write", help="compute every case and write one file")
    one.add_argument("path")
    one.add_argument("--only", default="", help="only cases whose name contains this")
    two = commands.add_parser("compare", help="compare two such files bit for bit")
    two.add_argument("before")
    two.add_argument("after")
    given = parser.parse_args()
    if given.command == "compare":
        return compare(given.before, given.after)
    write(given.path, given.only)
    return 0


if __name__ == "__main__":
    sys.exit(main())
