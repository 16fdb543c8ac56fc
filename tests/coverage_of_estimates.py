"""Coverage of error estimates over random problems; nightly: ``python tests/coverage_of_estimates.py --n 2000``.

Problems, truth and table live in `fpsolve.verification.coverage`; here are sizes, seeds and the command line.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from fpsolve.verification.coverage import Coverage, covered, random_problem, solve, table

#: Problems between two lines on how far it is.
EVERY = 100


def one(seed: int, kind: str, dim: int) -> Coverage:
    """The problem of a seed solved and held against its truth."""
    problem = random_problem(seed, kind, dim)
    run, seconds = solve(problem)
    return covered(problem, run, seconds)


def many(seeds: range, kind: str = "grid", dim: int = 1, jobs: int = 1) -> Iterator[Coverage]:
    """All seeds one after another, in `jobs` processes."""
    job = partial(one, kind=kind, dim=dim)
    if jobs == 1:
        yield from map(job, seeds)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(job, seeds, chunksize=4)


def failures(found: list[Coverage]) -> list[str]:
    """Problems with a saved time that is neither covered nor said to be unresolved."""
    return [f"{c.problem}, worst estimate / error {c.ratios.min():.3g}" for c in found if not c.held.all()]


def main() -> int:
    """Print the table; 1 where fewer than 99 % are covered or anything is NaN."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=2000, help="number of problems")
    parser.add_argument("--seed", type=int, default=1, help="first seed; the others follow it")
    parser.add_argument("--kind", choices=("grid", "sensible", "tol", "hostile", "many-saves"), default="grid")
    parser.add_argument("--dim", type=int, choices=(1, 2), default=1)
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args()
    seeds = range(given.seed, given.seed + given.n)
    print(f"seeds {seeds[0]} to {seeds[-1]}, {given.kind}, {given.dim}D", flush=True)
    found: list[Coverage] = []
    for coverage in many(seeds, given.kind, given.dim, given.jobs):
        found.append(coverage)
        for line in failures([coverage]):
            print("not covered:", line, flush=True)
        if len(found) % EVERY == 0 and len(found) < given.n:
            held = sum(c.held.sum() for c in found) / sum(c.held.size for c in found)
            print(f"{len(found)} problems: {held:.2%} covered or said unresolved", flush=True)
    for what, figure in table(found):
        print(f"{what:50} {figure}")
    share = sum(c.held.sum() for c in found) / sum(c.held.size for c in found)
    return 0 if share >= 0.99 else 1


if __name__ == "__main__":
    sys.exit(main())
