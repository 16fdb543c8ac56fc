"""What a number is, in one of four words: the same in records, Datasets, figures and reports."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

#: The four words, and what stands where there is no number.
Status = Literal["proved", "certified", "estimated", "Monte Carlo", "no certificate"]

#: From the strongest to the weakest. An attribute `status` of a Dataset speaks for all its numbers, that of a variable
#: or a coordinate `status` for what is otherwise.
MEANING: dict[Status, str] = {
    "proved": "an interval or bound that is a theorem, by ball arithmetic",
    "certified": "a statement gives it; its hypotheses were checked on a grid, in floating point, or are listed",
    "estimated": "computed, with an error estimate where there is one",
    "Monte Carlo": "made of random samples",
    "no certificate": "no number",
}


def weakest(words: Iterable[Status]) -> Status:
    """Return the weakest word of several numbers; where there is no number at all, "no certificate".

    Examples
    --------
    >>> weakest(["proved", "no certificate", "certified"]), weakest([])
    ('certified', 'no certificate')
    """
    order = list(MEANING)
    known = [order.index(word) for word in words if word != "no certificate"]
    return order[max(known)] if known else "no certificate"
