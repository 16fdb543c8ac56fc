"""Two pieces of work timed in turns, so that whatever else the machine does hits both alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

Work = Callable[[], Any]


def once(work: Work) -> float:
    """CPU seconds of one call."""
    began = time.process_time()
    work()
    return time.process_time() - began


def least(work: Work, rounds: int) -> float:
    """Least CPU seconds of several calls."""
    return min(once(work) for _ in range(rounds))


def in_turns(benchmark: Any, ours: Work, reference: Work, *, rounds: int) -> tuple[float, float]:
    """Least CPU seconds of `ours`, measured by pytest-benchmark, and of `reference`, measured before each round.

    Parameters
    ----------
    benchmark : BenchmarkFixture
    ours, reference : callable
    rounds : int
        Rounds; one more comes first and does not count for `ours`.
    """
    times: list[float] = []
    benchmark.pedantic(ours, setup=lambda: times.append(once(reference)), rounds=rounds, warmup_rounds=1)
    return float(benchmark.stats.stats.min), min(times)


def alone(benchmark: Any, ours: Work, *, rounds: int) -> float:
    """Least CPU seconds of `ours`, measured by pytest-benchmark after one round of warming up."""
    benchmark.pedantic(ours, rounds=rounds, warmup_rounds=1)
    return float(benchmark.stats.stats.min)
