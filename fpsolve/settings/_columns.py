"""Kernel densities of the columns of a file, as a table writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from fpsolve import data
from fpsolve.laws import KernelDensity


def kernel_density(
    file: str = "old_faithful",
    *,
    columns: tuple[str | int, ...],
    standardise: bool = True,
    bandwidth: Literal["scott"] | float | tuple[float, float] = "scott",
    bins: float | None = None,
) -> KernelDensity:
    """Return the kernel density of one or two columns of a CSV or .npy file, by name or by place from 0.

    "old_faithful" is the bundled file. The bandwidth is in standard deviations of the data, or in their own units where
    they are not standardised.
    """
    table = data.read(file, columns)
    samples = data.standardise(table).samples if standardise else table.samples
    return KernelDensity(samples, bandwidth=None if bandwidth == "scott" else bandwidth, bins=bins)


def record(
    file: str = "old_faithful", *, columns: Sequence[str | int], standardise: bool = True, **_: Any
) -> dict[str, Any]:
    """Return file, checksum and columns, and the mean and standard deviation that were taken out, if any."""
    found = data.standardise(data.read(file, columns)).record()
    count = len(columns)
    return found if standardise else found | {"mean": [0.0] * count, "std": [1.0] * count}
