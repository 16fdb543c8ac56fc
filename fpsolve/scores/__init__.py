"""Score models: callables ``score(t, x)`` with the shape of x, t a forward time.

`exact` is the score of the forward marginals, `product_form` the best one that is a product ``g(sigma) S(x)``;
`checked` stands at the border and refuses what a user's model must not return.
"""

from fpsolve.scores._checked import CheckedScore, Score, checked
from fpsolve.scores._exact import ExactScore, exact
from fpsolve.scores._product_form import ProductField, ProductScore, product_form

__all__ = ["Score", "exact", "ExactScore", "checked", "CheckedScore", "product_form", "ProductField", "ProductScore"]
