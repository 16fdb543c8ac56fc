"""Proofs: relative widths of enclosures and contraction factors that are theorems, with their processor time."""

from __future__ import annotations

from typing import Any

import pytest
from benchmarks import report

import fpsolve as fp

SECTION = "proofs"
SECONDS, MINUTES = 60.0, 600.0
MIXTURE = fp.GaussianMixture([0.3, 0.7], [-1.5, 0.8], stds=[0.3, 0.4])
REFERENCE = fp.Reverse(fp.GaussianMixture([0.5, 0.5], [-2.0, 2.0], stds=[0.3, 0.5]), fp.OrnsteinUhlenbeck(T=3.0))
LINEAR = fp.Reverse(MIXTURE, fp.VP())
SHIFTED, NORMAL = fp.Gaussian(1.5, std=0.5), fp.Gaussian(0.0, std=1.0)
#: Blocks and the factors certified on a grid.
BLOCKS = {(1.0, 0.6): 0.2763, (0.6, 0.4): 0.7438, (0.4, 0.25): 0.9345, (0.25, 0.1): 0.9981}


def enclosed(judge: Any, work: str, found: Any, width: float, seconds: float) -> None:
    interval = f"in [{found.lower!r}, {found.upper!r}]"
    judge(report.figure(f"{work}: relative width", found.relative_width, width, reference=interval))
    judge(report.figure(f"{work}: processor time", found.seconds, seconds, unit=" s"))


def test_reference_case(benchmark: Any, judge: Any) -> None:
    ask = {"t": 0.01, "weight": fp.UnitWeight(), "rtol": 1e-12}
    found = benchmark.pedantic(lambda: fp.proofs.weighted_tv(REFERENCE, NORMAL, **ask), rounds=1)
    enclosed(judge, "OU mixture, twice the TV at t = 0.01", found, 1e-12, SECONDS)
    found = fp.proofs.weighted_tv(REFERENCE, NORMAL, t=0.01)
    enclosed(judge, "the same, V = 1 + x^2", found, 1e-10, SECONDS)


@pytest.mark.parametrize("t", [0.5, 0.1, 0.01, 0.001])
def test_linear_vp(benchmark: Any, judge: Any, t: float) -> None:
    found = benchmark.pedantic(lambda: fp.proofs.weighted_tv(LINEAR, SHIFTED, t=t), rounds=1)
    enclosed(judge, f"two modes, VP, start N(1.5, 0.5^2), t = {t:g}", found, 1e-10, SECONDS)


def test_old_faithful(benchmark: Any, judge: Any) -> None:
    data = fp.data.standardise(fp.data.read("old_faithful", ["waiting_min"]))
    reverse = fp.Reverse(fp.KernelDensity(data.samples), fp.VP())
    found = benchmark.pedantic(lambda: fp.proofs.weighted_tv(reverse, NORMAL, t=0.01, rtol=1e-6), rounds=1)
    enclosed(judge, "Old Faithful, 272 components, t = 0.01", found, 1e-6, MINUTES)


def test_contractions(benchmark: Any, judge: Any) -> None:
    found = benchmark.pedantic(lambda: [fp.proofs.harris(LINEAR, *block) for block in BLOCKS], rounds=1)
    for one, (block, certified) in zip(found, BLOCKS.items(), strict=True):
        value = 1.0 if one.value is None else one.value
        work = f"two modes, VP, block {block[0]:g} -> {block[1]:g}: proved contraction"
        judge(
            report.figure(work, value, certified + 0.03, form=".4f", reference=f"{certified:.4f} certified on a grid")
        )
    judge(report.figure("the four blocks: processor time", sum(one.seconds for one in found), 300.0, unit=" s"))
