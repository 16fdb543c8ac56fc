"""The marginals p_t of a forward process: closed form where there is one, quadrature otherwise.

`family` picks the way: normal mixtures (Gaussian, mixture, kernel density, Student's t as a scale mixture) by compiled
sums, laws that know their Gaussian blur (Laplace, uniform, point mass) by it, any other by quadrature against the
transition kernel.
"""

from fpsolve._checks import instances
from fpsolve.laws import Law
from fpsolve.marginals._mixture import ClosedFormMarginals, Marginals, MixtureMarginals
from fpsolve.marginals._mixture import FastLaw as FastLaw
from fpsolve.marginals._mixture import coefficients as coefficients
from fpsolve.marginals._quadrature import QuadratureLaw as QuadratureLaw
from fpsolve.marginals._quadrature import QuadratureMarginals
from fpsolve.processes import Process

__all__ = ["Marginals", "family"]


def family(target: Law, process: Process) -> Marginals:
    """Return the marginals of `process` started from `target`.

    Parameters
    ----------
    target : Law
        p_0, in 1D or 2D.
    process : Process
        Forward process.

    Returns
    -------
    Marginals
        With ``law(t)``, ``log_density(t, x)``, ``score(t, x)`` and ``log_density_on_axes(times, *axes)``.

    Examples
    --------
    >>> import fpsolve as fp
    >>> from fpsolve import marginals
    >>> m = marginals.family(fp.Gaussian(1.0, std=0.5), fp.OrnsteinUhlenbeck(T=3.0))
    >>> m.law(1.0)
    Gaussian(0.36787944117144233, cov=0.8984985375725405)
    >>> round(float(m.score(1.0, 40.0)), 6)
    -44.109277
    """
    instances(target=(target, Law), process=(process, Process))
    if target.components is not None:
        return MixtureMarginals(target, process)
    if target.diffused(1.0, 1.0) is not None:
        return ClosedFormMarginals(target, process)
    return QuadratureMarginals(target, process)
