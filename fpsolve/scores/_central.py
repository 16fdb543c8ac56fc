"""Central differences with weights that are exact, so that a constant has the derivative zero on every machine."""

from math import factorial

__all__ = ["first_derivative"]


def first_derivative(order: int) -> list[float]:
    r"""Return the weights ``w_k`` of ``f'(x) = sum_k w_k (f(x + kh) - f(x - kh))/h``, k = 1 to m, exact to order 2m.

    .. math:: w_k = (-1)^{k+1} \frac{(m!)^2}{k (m - k)! (m + k)!}.

    In closed form: weights from a linear solve carry its rounding errors, which differ between processors, and what
    they sum up to in place of zero is multiplied by ``f/h``.

    References
    ----------
    Fornberg 1988, doi:10.1090/S0025-5718-1988-0935077-0.

    Examples
    --------
    >>> first_derivative(4) == [2 / 3, -1 / 12]
    True
    """
    m = order // 2
    return [-((-1) ** k) * factorial(m) ** 2 / (k * factorial(m - k) * factorial(m + k)) for k in range(1, m + 1)]
