"""A score that is really learned: denoising score matching in the plane by linear least squares, plain numpy.

The noise prediction at each of some noise levels is that of the Gaussian with the data's mean and covariance plus a
combination of Gaussian bumps around training points; the weights minimise the mean square of eps_hat - eps over noisy
training points. Between levels predictions are interpolated in the logarithm of the level.
"""

import numpy as np


class Learned:
    """``model(t, x)``: the noise predicted at points (..., 2)."""

    def __init__(self, data, process, *, t_min, seed, levels=16, bumps=60, draws=12_000):
        self.process, rng = process, np.random.default_rng(seed)
        self.mean, self.cov = data.mean(axis=0), np.cov(data.T)
        grid = np.geomspace(t_min, process.T, 400)
        level = self.level(grid)
        self.levels = np.linspace(level[0], level[-1], levels)
        self.times = np.interp(self.levels, level, grid)
        self.fits = [self.fit(t, data, rng, bumps, draws) for t in self.times]

    def level(self, t):
        """log(s/a)."""
        return 0.5 * np.log(self.process.variance(0.0, t)) - np.log(self.process.scale(0.0, t))

    def fit(self, t, data, rng, bumps, draws):
        a, s = float(self.process.scale(0.0, t)), float(self.process.variance(0.0, t)) ** 0.5
        half = rng.standard_normal((draws // 2, 2))
        # noise of both signs on every point: what the signs have in common cancels, most of the variance at small s
        eps = np.concatenate([half, -half])
        x = a * np.tile(data[rng.integers(len(data), size=draws // 2)], (2, 1)) + s * eps
        centres, width = x[:bumps], np.hypot(0.55 * a, s)
        features = self.bumps(x, centres, width)
        # ridge regression, the penalty a hundred-thousandth of a feature's own weight in the data
        gram = features.T @ features + 1e-5 * draws * np.eye(bumps)
        return centres, width, np.linalg.solve(gram, features.T @ (eps - self.gaussian(t, x)))

    @staticmethod
    def bumps(x, centres, width):
        """``exp(-|x - c|^2/(2 width^2))``, shape (points, bumps), in one array."""
        found = x @ (centres.T / width**2)
        for square, across in ((x, np.s_[:, None]), (centres, np.s_[:])):
            found -= (0.5 * np.sum(square**2, axis=1) / width**2)[across]
        return np.exp(np.minimum(found, 0.0, out=found), out=found)

    def gaussian(self, t, x):
        """``s C_t^{-1} (x - a m)``: exact for Gaussian data, and what is left of the prediction far out."""
        a, variance = float(self.process.scale(0.0, t)), float(self.process.variance(0.0, t))
        return np.sqrt(variance) * (x - a * self.mean) @ np.linalg.inv(a**2 * self.cov + variance * np.eye(2))

    def __call__(self, t, x):
        points = np.asarray(x).reshape(-1, 2)
        place = np.interp(self.level(t), self.levels, np.arange(len(self.levels)))
        low = min(int(place), len(self.levels) - 2)
        answer = self.gaussian(t, points)
        for k, share in ((low, 1.0 - (place - low)), (low + 1, place - low)):
            centres, width, weights = self.fits[k]
            for some in range(0, len(points), 2000):
                answer[some : some + 2000] += self.bumps(points[some : some + 2000], centres, width) @ (share * weights)
        return answer.reshape(np.shape(x))
