"""Score models: callables ``score(t, x)`` with the shape of x, t a forward time.

`exact` is the score of the forward marginals; `checked` stands at the border and refuses what a user's model must not
return.
"""

from fpsolve.scores._checked import CheckedScore, Score, checked
from fpsolve.scores._exact import ExactScore, exact

__all__ = ["Score", "exact", "ExactScore", "checked", "CheckedScore"]
