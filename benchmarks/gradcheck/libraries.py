"""Check the gradients that NumPy, SciPy, scikit-learn and statsmodels ship, and mistakes planted in them.

    python benchmarks/gradcheck/libraries.py [--seeds N] [--only WORD]

Every gradient is checked as its library computes it, and again with each of the planted mistakes. One line for each
case; what is not as it should be is printed with its reason. statsmodels is skipped where it is not installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from backproof import check

from benchmarks.gradcheck.markdown import share

#: A name, f(theta) -> (loss, gradient), and theta.
Case = tuple[str, Callable[[Any], tuple[Any, Any]], Any]
ACTIVATIONS = ("identity", "logistic", "tanh", "relu")


def curves(rng: np.random.Generator) -> Iterator[Case]:
    """Polynomials and splines: the sum of their values at theta, with the derivative that they give."""
    from numpy import polynomial
    from scipy import interpolate, optimize

    for n in (2, 5, 20):
        yield f"scipy rosen {n}", lambda t: (optimize.rosen(t), optimize.rosen_der(t)), rng.normal(size=n)
    series = ("Polynomial", "Chebyshev", "Legendre", "Hermite", "HermiteE", "Laguerre")
    for name in series:
        curve = getattr(polynomial, name)(rng.normal(size=6))
        yield f"numpy {name}", _summed(curve, curve.deriv()), rng.uniform(-0.9, 0.9, 5)
    knots, values = np.sort(rng.uniform(0, 10, 12)), rng.normal(size=12)
    splines = {
        "CubicSpline": interpolate.CubicSpline(knots, values),
        "PchipInterpolator": interpolate.PchipInterpolator(knots, values),
        "Akima1DInterpolator": interpolate.Akima1DInterpolator(knots, values),
        "BSpline": interpolate.make_interp_spline(knots, values, k=5),
        "UnivariateSpline": interpolate.UnivariateSpline(knots, values, s=1),
    }
    for name, curve in splines.items():
        yield f"scipy {name}", _summed(curve, curve.derivative()), rng.uniform(knots[1], knots[-2], 5)


def _summed(curve: Any, slope: Any) -> Callable[[Any], tuple[Any, Any]]:
    return lambda t: (np.sum(curve(t)), slope(t))


def losses(rng: np.random.Generator) -> Iterator[Case]:
    """scikit-learn's losses: their gradient three ways, and in a linear model with and without intercept."""
    from sklearn._loss import loss
    from sklearn.linear_model._linear_loss import LinearModelLoss

    n = 12
    uniform, positive = rng.uniform(0.1, 0.9, n), rng.uniform(0.5, 3, n)
    normal, binary = rng.normal(size=n), rng.integers(0, 2, n).astype(float)
    cases = [
        (loss.HalfSquaredError(), normal),
        (loss.AbsoluteError(), normal),
        (loss.PinballLoss(quantile=0.3), normal),
        (loss.HuberLoss(delta=0.7), normal),
        (loss.HalfPoissonLoss(), positive),
        (loss.HalfGammaLoss(), positive),
        *((loss.HalfTweedieLoss(power=power), positive) for power in (0, 1, 1.5, 2, 3)),
        *((loss.HalfTweedieLossIdentity(power=power), positive) for power in (0, 1.5, 3)),
        (loss.HalfBinomialLoss(), uniform),
        (loss.ExponentialLoss(), binary),
        (loss.HalfMultinomialLoss(n_classes=3), rng.integers(0, 3, n).astype(float)),
    ]
    weights, X = rng.uniform(0.5, 2, n), rng.normal(size=(n, 4))
    for base, y in cases:
        name = f"{type(base).__name__} {getattr(base.closs, 'power', '')}".strip()
        raw = rng.normal(size=(n, 3) if base.is_multiclass else n)
        if "Identity" in name:
            raw = np.abs(raw) + 0.5
        for way in ("gradient", "gradient_hessian", "loss_gradient"):

            def f(t: Any, base: Any = base, y: Any = y, way: str = way) -> tuple[Any, Any]:
                t = np.ascontiguousarray(t, float)
                result = getattr(base, way)(y_true=y, raw_prediction=t, sample_weight=weights)
                slope = result if way == "gradient" else result[1 if way == "loss_gradient" else 0]
                return np.sum(base.loss(y_true=y, raw_prediction=t, sample_weight=weights)), slope

            yield f"sklearn {name} {way}", f, raw
        if "Identity" in name:
            continue
        for intercept in (True, False):
            model = LinearModelLoss(base_loss=base, fit_intercept=intercept)

            def linear(t: Any, model: Any = model, y: Any = y) -> tuple[Any, Any]:
                return model.loss_gradient(np.asarray(t, float), X, y, weights, l2_reg_strength=0.3)

            coefs = 4 + intercept
            size = 3 * coefs if base.is_multiclass else coefs
            yield f"sklearn LinearModelLoss {name} {intercept}", linear, 0.3 * rng.normal(size=size)


def networks(rng: np.random.Generator) -> Iterator[Case]:
    """scikit-learn's multilayer perceptrons. Left out: regression of two outputs, which gives twice the slope."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    X = rng.normal(size=(15, 4))
    targets = {
        "binary": (MLPClassifier, np.arange(15) % 2),
        "3 classes": (MLPClassifier, np.arange(15) % 3),
        "labels": (MLPClassifier, np.array([np.arange(15) % 2, np.arange(15) // 8, np.arange(15) % 3 == 1]).T),
        "regression": (MLPRegressor, rng.normal(size=15)),
        "two layers": (MLPRegressor, rng.normal(size=15)),
    }
    for activation in ACTIVATIONS:
        for name, (kind, target) in targets.items():
            hidden = (5, 4) if name == "two layers" else (6,)
            model = kind(
                hidden_layer_sizes=hidden, activation=activation, alpha=0.1, solver="lbfgs", max_iter=1
            ).fit(X, target)
            y = model._label_binarizer.transform(target) if kind is MLPClassifier else target.reshape(-1, 1)

            def f(t: Any, model: Any = model, y: Any = y) -> Any:
                units = [len(part) for part in model.intercepts_]
                spaces = [np.empty((15, size)) for size in units]
                layers = [X, *(space.copy() for space in spaces)]
                slopes = [
                    [np.empty(part.shape) for part in parts] for parts in (model.coefs_, model.intercepts_)
                ]
                return model._loss_grad_lbfgs(np.asarray(t, float), X, y, None, layers, spaces, *slopes)

            size = sum(part.size for part in [*model.coefs_, *model.intercepts_])
            yield f"sklearn {kind.__name__} {activation} {name}", f, 0.5 * rng.normal(size=size)


def kernels(rng: np.random.Generator) -> Iterator[Case]:
    """Gaussian processes, by the likelihood and by the kernels alone; neighbours, embedding, robust regression."""
    from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
    from sklearn.gaussian_process import kernels as k
    from sklearn.linear_model._huber import _huber_loss_and_gradient
    from sklearn.manifold._t_sne import _kl_divergence
    from sklearn.neighbors import NeighborhoodComponentsAnalysis

    X, y = rng.normal(size=(10, 2)), rng.normal(size=10)
    every = {
        "RBF": k.RBF(1.3),
        "RBF of two scales": k.RBF([1.3, 0.7]),
        "Matern 1.5": k.Matern(1.1, nu=1.5),
        "Matern 2.5": k.Matern(1.1, nu=2.5),
        "RationalQuadratic": k.RationalQuadratic(1.2, 0.8),
        "ExpSineSquared": k.ExpSineSquared(1.2, 2.0),
        "DotProduct": k.DotProduct(0.9),
        "sum and product": 1.5 * k.RBF(1.2) + 0.4 * k.DotProduct(0.5),
        "power": k.RBF(1.3) ** 2,
    }
    mix = rng.normal(size=(10, 10))
    for name, kernel in every.items():
        noisy = kernel + k.WhiteKernel(2.0)
        process = GaussianProcessRegressor(noisy, optimizer=None).fit(X, y)
        yield (
            f"sklearn GaussianProcessRegressor {name}",
            lambda t, process=process: process.log_marginal_likelihood(
                np.asarray(t, float), eval_gradient=True
            ),
            noisy.theta + 0.1 * rng.normal(size=noisy.theta.size),
        )

        def by_kernel(t: Any, kernel: Any = kernel) -> tuple[Any, Any]:
            K, slope = kernel.clone_with_theta(np.asarray(t, float))(X, eval_gradient=True)
            return np.sum(mix * K), np.einsum("ij,ijk->k", mix, slope)

        yield f"sklearn kernel {name}", by_kernel, kernel.theta + 0.1 * rng.normal(size=kernel.theta.size)
    labels = np.arange(10) % 2
    for name in ("RBF", "RBF of two scales"):
        kernel = 1.2 * every[name]
        classifier = GaussianProcessClassifier(kernel, optimizer=None).fit(X, labels).base_estimator_
        classifier.max_iter_predict = 100
        yield (
            f"sklearn GaussianProcessClassifier {name}",
            lambda t, model=classifier: model.log_marginal_likelihood(np.asarray(t, float), eval_gradient=True),
            kernel.theta,
        )
    neighbours = NeighborhoodComponentsAnalysis()
    neighbours.n_iter_ = 1
    same = labels[:, None] == labels
    yield (
        "sklearn NeighborhoodComponentsAnalysis",
        lambda t: neighbours._loss_grad_lbfgs(np.asarray(t, float).ravel(), X, same, -1.0),
        rng.normal(size=4),
    )
    for epsilon in (1.2, 2.0):
        yield (
            f"sklearn HuberRegressor {epsilon}",
            lambda t, epsilon=epsilon: _huber_loss_and_gradient(
                np.asarray(t, float), X, y, epsilon, 0.1, np.ones(10)
            ),
            np.array([*rng.normal(size=3), 0.8]),
        )
    P = rng.uniform(0.1, 1, 45)
    P /= 2 * np.sum(P)
    yield "sklearn TSNE", lambda t: _kl_divergence(np.asarray(t, float), P, 1, 10, 2), rng.normal(size=20)


def models(rng: np.random.Generator) -> Iterator[Case]:
    """statsmodels: the log likelihood of its models and their score."""
    import statsmodels.api as sm
    from statsmodels.discrete import count_model, truncated_model
    from statsmodels.discrete.conditional_models import ConditionalLogit
    from statsmodels.discrete.discrete_model import GeneralizedPoisson, NegativeBinomialP
    from statsmodels.othermod.betareg import BetaModel

    X = np.column_stack([np.ones(40), rng.normal(size=(40, 2))])
    binary, counts = rng.integers(0, 2, 40), rng.poisson(2, 40)
    positive, uniform = rng.gamma(2, 1, 40), rng.uniform(0.1, 0.9, 40)
    f = sm.families
    every: dict[str, tuple[Any, int]] = {
        "Logit": (sm.Logit(binary, X), 3),
        "Probit": (sm.Probit(binary, X), 3),
        "Poisson": (sm.Poisson(counts, X), 3),
        "MNLogit": (sm.MNLogit(rng.integers(0, 3, 40), X), 6),
        "NegativeBinomial": (sm.NegativeBinomial(counts, X), 4),
        "NegativeBinomialP": (NegativeBinomialP(counts, X), 4),
        "GeneralizedPoisson": (GeneralizedPoisson(counts, X), 4),
        "ZeroInflatedPoisson": (count_model.ZeroInflatedPoisson(counts, X), 4),
        "ConditionalLogit": (ConditionalLogit(binary, X[:, 1:], groups=np.arange(40) // 4), 2),
        "PHReg": (sm.PHReg(positive, X[:, 1:]), 2),
        "BetaModel": (BetaModel(uniform, X), 4),
        "TruncatedLFPoisson": (truncated_model.TruncatedLFPoisson(counts + 1, X), 3),
        "GLM Gaussian": (sm.GLM(rng.normal(size=40), X, f.Gaussian()), 3),
        "GLM Binomial": (sm.GLM(binary, X, f.Binomial()), 3),
        "GLM Binomial probit": (sm.GLM(binary, X, f.Binomial(f.links.Probit())), 3),
        "GLM Binomial cloglog": (sm.GLM(binary, X, f.Binomial(f.links.CLogLog())), 3),
        "GLM Poisson": (sm.GLM(counts, X, f.Poisson()), 3),
        "GLM Gamma": (sm.GLM(positive, X, f.Gamma(f.links.Log())), 3),
        "GLM InverseGaussian": (sm.GLM(positive, X, f.InverseGaussian(f.links.Log())), 3),
        "GLM NegativeBinomial": (sm.GLM(counts, X, f.NegativeBinomial(alpha=0.7)), 3),
        "GLM Tweedie": (sm.GLM(positive, X, f.Tweedie(var_power=1.5, eql=True)), 3),
    }
    for name, (model, size) in every.items():

        def likelihood(t: Any, model: Any = model, glm: bool = name.startswith("GLM")) -> tuple[Any, Any]:
            t = np.asarray(t, float)
            scale = {"scale": 1.0} if glm else {}
            return model.loglike(t, **scale), np.ravel(model.score(t, **scale), order="F")

        theta = 0.2 * rng.normal(size=size)
        theta[-1] += 0.5
        yield f"statsmodels {name}", likelihood, theta


def mistakes(theta: Any, gradient: Any, rng: np.random.Generator) -> dict[str, Callable[[Any], Any]]:
    """Return the mistakes that change this gradient."""
    flat = np.ravel(gradient)
    i, j = int(np.argmax(np.abs(flat))), int(rng.integers(flat.size))

    def entry(factor: float) -> Callable[[Any], Any]:
        return lambda g: np.where(np.arange(np.size(g)).reshape(np.shape(g)) == i, factor * g, g)

    def swapped(g: Any) -> Any:
        g = np.array(g, float)
        g.flat[i], g.flat[j] = g.flat[j], g.flat[i]
        return g

    every: dict[str, Callable[[Any], Any]] = {
        "1.0005 times": lambda g: 1.0005 * g,
        "1.00001 times": lambda g: 1.00001 * g,
        "an entry 1 % off": entry(1.01),
        "an entry zero": entry(0),
        "sign flipped": lambda g: -g,
        "a constant added": lambda g: g + 1e-3 * np.max(np.abs(g)),
        "two entries swapped": swapped,
        "zero": lambda g: 0 * g,
    }
    size = np.linalg.norm(flat)
    return {
        name: alter for name, alter in every.items() if np.linalg.norm(alter(gradient) - gradient) > 1e-6 * size
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--only", default="", metavar="WORD", help="cases whose name contains WORD")
    options = parser.parse_args()
    sources = [curves, losses, networks, kernels]
    sources += [models] if importlib.util.find_spec("statsmodels") else []
    right, wrong, start = Counter[str](), Counter[str](), time.process_time()
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    for seed in range(options.seeds):
        for source in sources:
            print(f"seed {seed}, {source.__name__}", file=sys.stderr)
            rng = np.random.default_rng(seed)
            for name, f, theta in source(rng):
                if options.only not in name:
                    continue
                report = check(f, theta)
                right[report.status] += 1
                if report.status != "passed":
                    print(f"{name}, seed {seed}, right: {report.failure_message() or report}", flush=True)
                for mistake, alter in mistakes(theta, f(theta)[1], np.random.default_rng(seed)).items():
                    report = check(lambda t, f=f, alter=alter: ((r := f(t))[0], alter(r[1])), theta)
                    wrong[report.status] += 1
                    if report.status != "failed":
                        print(f"{name}, seed {seed}, {mistake}: {report.status}", flush=True)
    print(f"right gradients accepted: {share(right['passed'], right.total())}; {dict(right)}")
    print(f"planted mistakes rejected: {share(wrong['failed'], wrong.total())}; {dict(wrong)}")
    print(f"{time.process_time() - start:.0f} s of processor time")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
