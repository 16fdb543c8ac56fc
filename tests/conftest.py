"""A strict environment for every test: floating-point errors raise, no display, seeded randomness."""

import os
import sys

os.environ["MPLBACKEND"] = "Agg"
if "PYTEST_XDIST_WORKER" in os.environ:
    # one process per core already: more BLAS threads than cores spin against each other
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import settings

# Derandomised: a failure found once is found again by everybody; no deadline: the first call compiles.
settings.register_profile("fpsolve", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("fpsolve")


@pytest.fixture(autouse=True)
def strict_floating_point() -> Iterator[None]:
    """Overflow, division by zero and invalid operations raise; underflow to zero is what tails do."""
    before = np.seterr(all="raise", under="ignore")
    yield
    np.seterr(**before)


@pytest.fixture(autouse=True)
def no_figure_left_open() -> Iterator[None]:
    """Matplotlib warns at the twenty-first open figure, in whichever test it happens to be."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def rng() -> np.random.Generator:
    """Return a generator with the same seed in every test; FPSOLVE_TEST_SEED takes another."""
    return np.random.default_rng(int(os.environ.get("FPSOLVE_TEST_SEED", "20240611")))
