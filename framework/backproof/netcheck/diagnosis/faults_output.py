"""Faults in ∂Err/∂z, and in sign and size anywhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from backproof.contracts import Array, Trace
from backproof.netcheck.diagnosis.fault import Apply, Context, Fault

#: Up to this many units, each is tried instead of the sum over them; of more, only the first and the last.
MOST_UNITS = 16


def candidate_units(count: int) -> list[int]:
    """Return the units that are tried instead of a sum."""
    return list(range(count)) if count <= MOST_UNITS else [0, count - 1]


def _mean(numbers: Callable[[Trace], Array]) -> Apply:
    def apply(context: Context) -> Array:
        with np.errstate(all="ignore"):
            return numbers(context.trace) / context.trace.N

    return apply


def _softmax(z: Array, axis: int) -> Array:
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def _hard(p: Array) -> Array:
    return (p == p.max(axis=1, keepdims=True)).astype(p.dtype)


#: name -> sentence, form, N times the numbers
_SEEDS: dict[str, tuple[str, str, Callable[[Trace], Array]]] = {
    "no_target": ("p is used instead of p − y: the target is missing", "p_n{k}", lambda t: t.p),
    "no_prediction": (
        "−y is used instead of p − y: the prediction is missing",
        "(− y_n{k})",
        lambda t: -t.y,
    ),
    "prediction_minus_target": (
        "p − y is used without the loss's weights",
        "(p_n{k} − y_n{k})",
        lambda t: t.p - t.y,
    ),
    "logits": (
        "z − y is used instead of p − y: the logits are not turned into probabilities",
        "(z_n{k} − y_n{k})",
        lambda t: t.z - t.y,
    ),
    "no_normalisation": (
        "exp(z) − y is used: the softmax is not divided by Σ_k exp(z_k)",
        "(exp(z_n{k}) − y_n{k})",
        lambda t: np.exp(t.z) - t.y,
    ),
    "squared_loss": (
        "(p − y) p (1 − p) is used: the slope of a squared loss after a sigmoid",
        "(p_n{k} − y_n{k}) p_n{k} (1 − p_n{k})",
        lambda t: (t.p - t.y) * t.p * (1 - t.p),
    ),
    "link_slope": (
        "p (1 − p) is used: the slope of the probability, not of the loss",
        "p_n{k} (1 − p_n{k})",
        lambda t: t.p * (1 - t.p),
    ),
    "not_through_link": (
        "−y / p is used: ∂Err/∂p, not yet multiplied by ∂p/∂z",
        "(− y_n{k} / p_n{k})",
        lambda t: -t.y / t.p,
    ),
    "over_link_slope": (
        "(p − y) / (p (1 − p)) is used: ∂Err/∂p of the cross-entropy, not ∂Err/∂z",
        "(p_n{k} − y_n{k}) / (p_n{k} (1 − p_n{k}))",
        lambda t: (t.p - t.y) / (t.p * (1 - t.p)),
    ),
    "sigmoid_for_softmax": (
        "σ(z) − y is used: a sigmoid of each output, but the loss has another link",
        "(σ(z_n{k}) − y_n{k})",
        lambda t: 1 / (1 + np.exp(-t.z)) - t.y,
    ),
    "softmax": (
        "softmax(z) − y is used, but the loss has another link",
        "(softmax(z)_n{k} − y_n{k})",
        lambda t: _softmax(t.z, 1) - t.y,
    ),
    "softmax_over_samples": (
        "the softmax is normalised over the samples, not over the classes",
        "(exp(z_n{k}) / Σ_n exp(z_n{k}) − y_n{k})",
        lambda t: _softmax(t.z, 0) - t.y,
    ),
    "hard_prediction": (
        "the predicted class, as 0 or 1, is used instead of the probabilities",
        "([k = argmax p_n] − y_n{k})",
        lambda t: _hard(t.p) - t.y,
    ),
    "sign_of_difference": (
        "only the sign of p − y is used",
        "sign(p_n{k} − y_n{k})",
        lambda t: np.sign(t.p - t.y),
    ),
    "squared_difference": (
        "(p − y)² is used: the loss, not its slope",
        "(p_n{k} − y_n{k})²",
        lambda t: (t.p - t.y) ** 2,
    ),
    "absolute_difference": (
        "|∂Err/∂z| is used instead of ∂Err/∂z",
        "|p_n{k} − y_n{k}|",
        lambda t: np.abs(t.dloss()) * t.N,
    ),
    "difference_times_prediction": (
        "(p − y) p is used: there is one factor p too many",
        "(p_n{k} − y_n{k}) p_n{k}",
        lambda t: (t.p - t.y) * t.p,
    ),
    "softmax_twice": (
        "∂Err/∂z is multiplied by the softmax's Jacobian a second time: p (g − Σ_k p g) with g = p − y",
        "p_n{k} (p_n{k} − y_n{k} − Σ_j p_nj (p_nj − y_nj))",
        lambda t: t.p * (t.p - t.y - (t.p * (t.p - t.y)).sum(1, keepdims=True)),
    ),
    "loss_of_each": (
        "−y log p is used: the loss, not its slope",
        "(− y_n{k} log p_n{k})",
        lambda t: -t.y * np.log(t.p),
    ),
    "shifted_target_up": (
        "the target is that of the class below: class indices are off by one",
        "(p_n{k} − y_n,{k}−1)",
        lambda t: t.p - np.roll(t.y, 1, 1),
    ),
    "shifted_target_down": (
        "the target is that of the class above: class indices are off by one",
        "(p_n{k} − y_n,{k}+1)",
        lambda t: t.p - np.roll(t.y, -1, 1),
    ),
    "targets_of_other_samples": (
        "each sample has the target of the sample before it: x and y are not in the same order",
        "(p_n{k} − y_n−1,{k})",
        lambda t: t.p - np.roll(t.y, 1, 0),
    ),
}


def seed_faults(trace: Trace, depth: int) -> list[Fault]:
    """Return all faults in ∂Err/∂z itself."""
    faults = [
        Fault("seed", depth, name, sentence, _mean(numbers), form)
        for name, (sentence, form, numbers) in _SEEDS.items()
    ]
    K = trace.z.shape[1]
    faults.append(
        Fault(
            "classes",
            depth,
            "only_true_class",
            "∂Err/∂z is kept for the true class only and zero for the others, as if only the diagonal of the "
            "softmax's Jacobian were used",
            lambda context: context.trace.y,
            "y_n{k}",
        )
    )
    for k in candidate_units(K) if K > 1 else []:
        sentence = f"∂Err/∂z is kept for output {k} only and zero for the others"
        faults.append(Fault("classes", depth, f"only_output_{k}", sentence, _only(k), f"[k = {k}]"))
    return faults


def _only(k: int) -> Apply:
    def apply(context: Context) -> Array:
        only = np.zeros_like(context.trace.z)
        only[:, k] = 1
        return only

    return apply


def _weights_of_samples(samples: slice, weight: Callable[[int], float], rest: float = 0.0) -> Apply:
    def apply(context: Context) -> Array:
        weights = np.full((context.trace.N, 1), rest)
        if weight is _all_but_one and context.trace.N == 1:
            # With N = 1 the mean over N − 1 is undefined; keep the sample.
            return np.ones((1, 1))
        weights[samples] = weight(context.trace.N)
        return weights

    return apply


def _all_but_one(N: int) -> float:
    return N / (N - 1) if N > 1 else 1.0


def _half(*, first: bool) -> Apply:
    def apply(context: Context) -> Array:
        N = context.trace.N
        return ((np.arange(N) < N // 2) == first).astype(np.float64)[:, None]

    return apply


_SAMPLES: dict[str, tuple[str, str, Apply]] = {
    "last_sample_dropped": (
        "the last sample is left out of the sum",
        "Σ_{n<N}",
        _weights_of_samples(slice(0, -1), lambda N: 1.0),
    ),
    "first_sample_dropped": (
        "the first sample is left out of the sum",
        "Σ_{n>1}",
        _weights_of_samples(slice(1, None), lambda N: 1.0),
    ),
    "last_sample_dropped_from_mean": (
        "the last sample is left out, and the mean is over N − 1",
        "Σ_{n<N} N/(N−1)",
        _weights_of_samples(slice(0, -1), _all_but_one),
    ),
    "first_sample_dropped_from_mean": (
        "the first sample is left out, and the mean is over N − 1",
        "Σ_{n>1} N/(N−1)",
        _weights_of_samples(slice(1, None), _all_but_one),
    ),
    "second_half_dropped": (
        "only the first half of the samples is used",
        "Σ_{n≤N/2}",
        _half(first=True),
    ),
    "first_half_dropped": (
        "only the second half of the samples is used",
        "Σ_{n>N/2}",
        _half(first=False),
    ),
    "first_sample_twice": (
        "the first sample counts twice",
        "Σ_n (1 + [n = 1])",
        _weights_of_samples(slice(0, 1), lambda N: 2.0, rest=1.0),
    ),
    "last_sample_twice": (
        "the last sample counts twice",
        "Σ_n (1 + [n = N])",
        _weights_of_samples(slice(-1, None), lambda N: 2.0, rest=1.0),
    ),
    "only_last_sample": (
        "only the last sample is used: there is no sum over n",
        "[n = N]",
        _weights_of_samples(slice(-1, None), lambda N: 1.0),
    ),
    "only_first_sample": (
        "only the first sample is used: there is no sum over n",
        "[n = 1]",
        _weights_of_samples(slice(0, 1), lambda N: 1.0),
    ),
    "only_last_sample_whole": (
        "only the last sample is used, without the 1/N: there is no mean over n",
        "[n = N] N",
        _weights_of_samples(slice(-1, None), float),
    ),
    "only_first_sample_whole": (
        "only the first sample is used, without the 1/N: there is no mean over n",
        "[n = 1] N",
        _weights_of_samples(slice(0, 1), float),
    ),
}


def sample_faults(kind: str, layer: int, where: str) -> list[Fault]:
    """Return faults in the sum over samples in `where`, a derivative or a tensor."""
    return [
        Fault(kind, layer, name, f"{sentence}, in {where}", apply, form)
        for name, (sentence, form, apply) in _SAMPLES.items()
    ]


_SIZES: dict[str, tuple[str, str, Callable[[Trace], float]]] = {
    "double": ("is twice what it should be: there is a factor of 2 too many", "2", lambda t: 2.0),
    "half": ("is half of what it should be: there is a factor of 1/2 too many", "½", lambda t: 0.5),
    "no_mean": (
        "lacks its 1/N: it is a sum over the samples, but the loss is their mean",
        "N",
        lambda t: float(t.N),
    ),
    "mean_twice": ("is divided by N twice", "1/N", lambda t: 1.0 / t.N),
    "mean_over_N_minus_1": (
        "is divided by N − 1, but the loss is a mean over N",
        "N/(N−1)",
        lambda t: _all_but_one(t.N),
    ),
    "mean_over_outputs": (
        "is divided by K: it is a mean over the outputs too",
        "1/K",
        lambda t: 1.0 / t.z.shape[1],
    ),
    "times_outputs": ("is multiplied by K, the number of outputs", "K", lambda t: float(t.z.shape[1])),
}


def size_faults(prefix: str, layer: int, where: str) -> list[Fault]:
    """Return a wrong sign and wrong factors of `where`, a derivative or a tensor.

    Their kinds are sign, mean (over the samples) and size, each with the prefix.
    """
    at = "" if prefix else where
    sign = Fault(
        f"{prefix}sign", layer, "sign", f"{where} has the wrong sign", lambda context: -1.0, "−", at=at
    )
    scaled = [
        Fault(
            prefix + ("mean" if "N" in form else "size"),
            layer,
            name,
            f"{where} {sentence}",
            _factor(number),
            form,
            at=at,
        )
        for name, (sentence, form, number) in _SIZES.items()
    ]
    return [sign, *scaled]


def _factor(number: Callable[[Trace], float]) -> Apply:
    return lambda context: number(context.trace)
