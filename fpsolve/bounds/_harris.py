"""Harris' theorem with quantitative constants (Hairer and Mattingly): a contraction from drift and overlap."""

from __future__ import annotations

from fpsolve._checks import flag, instances
from fpsolve.bounds._harris_closed import harris_closed_form, searched
from fpsolve.bounds._harris_record import STATEMENT, Harris
from fpsolve.bounds._sharp import UNCHECKED, Sharp
from fpsolve.bounds._trials import Trials
from fpsolve.kernels import Kernel
from fpsolve.weights import WeightLike

__all__ = ["STATEMENT", "UNCHECKED", "Harris", "Sharp", "Trials", "harris", "harris_closed_form"]


def harris(kernel: Kernel, *, weight: WeightLike = None, optimise: bool | None = None) -> Harris:
    r"""Return the contraction that Harris' theorem gives a kernel, with its sharp constants.

    With V = weight - 1, ``P V <= gamma V + K`` and the overlap ``a'' = inf_{V(x) + V(y) <= R} (1 - TV(P(x), P(y)))``
    for some ``R > 2K/(1 - gamma)``,

    .. math:: \rho_\beta(\mu P, \nu P) \le \bar a(\beta)\, \rho_\beta(\mu, \nu), \qquad
              \bar a(\beta) = \max\Big\{1 - a'' + \beta K,\; \gamma,\;
              \frac{2 + \beta(\gamma R + 2K)}{2 + \beta R}\Big\},

    in the norm ``\rho_\beta`` with weight ``1 + \beta V``. Every gamma below 1 with its smallest K, and every R, is
    tried; the best is returned. The same beta on every block makes the product a bound for a run.

    The theorem is about all laws on the line, so its hypotheses are checked on all of it: that is possible for exact
    kernels of Gaussian mixtures on the line with built-in weights (or functions ``c0 + c1 |x|^2``), where P V and the
    rows are closed forms; in the plane with the constants of `harris_closed_form`. Of any other kernel or weight only
    the part in the box is known: `value` is then None, and `abar` the number of that part.

    Parameters
    ----------
    kernel : Kernel
        Use ``source="point"`` for transitions from points.
    weight : Weight or callable, optional
        ``1 + beta V`` as it stands, default ``1 + |x|^2``.
    optimise : bool, optional
        Search the factor beta as well; the contraction is then in the weight ``1 + beta (weight - 1)``, `beta` in the
        record. Default: only where there is no certificate in the weight as given.

    Returns
    -------
    Harris
        `value` is None, "no certificate", where abar is not below 1, or a hypothesis fails or could not be checked on
        the whole line: `reason` says which and what would help.

    Raises
    ------
    ValueError
        A weight below 1.

    References
    ----------
    Hairer and Mattingly 2011, doi:10.1007/978-3-0348-0021-1_7, Theorem 1.3.

    Examples
    --------
    >>> import fpsolve as fp
    >>> from fpsolve import kernels
    >>> reverse = fp.Reverse(fp.Gaussian(0.0, std=1.0), fp.OrnsteinUhlenbeck(T=3.0))
    >>> kernel = kernels.exact(reverse, fp.Grid.uniform((-10, 10), cells=200), 3.0, 0.1, source="point")
    >>> found = harris(kernel, weight=fp.PolynomialWeight(2, 0.1))
    >>> 0.0 < found.value < 1.0
    True
    """
    instances(kernel=(kernel, Kernel))
    flag("optimise", optimise, optional=True)
    return searched(Sharp.of(kernel, weight), optimise)
