"""One step of a vanilla recurrent network and of an LSTM (Hochreiter and Schmidhuber 1997; with gates as in cs231n,
assignment 3, in its order i, f, o, g)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from backproof.contracts import Array
from backproof.gradcheck.courses.reference import Gradients, Mistakes, Reference, integers


def rnn_step_forward(x: Array, prev_h: Array, Wx: Array, Wh: Array, b: Any) -> tuple[Array, Any]:
    """Return h = tanh(a), with a = x Wx + prev_h Wh + b; x (N, D), prev_h (N, H), Wx (D, H), Wh (H, H), b (H,)."""
    a = x @ Wx + prev_h @ Wh + b
    h = np.tanh(a)
    return h, (x, prev_h, Wx, Wh, h, a)


def rnn_step_backward(dh: Array, cache: Any) -> tuple[Array, ...]:
    """Return dx, dprev_h, dWx, dWh, db."""
    x, prev_h, Wx, Wh, h, _ = cache
    return _affine((1 - h**2) * dh, x, prev_h, Wx, Wh)


def lstm_step_forward(
    x: Array, prev_h: Array, prev_c: Array, Wx: Array, Wh: Array, b: Any, order: str = "ifog"
) -> tuple[Any, Any]:
    """Return h = o tanh(c) and c = f prev_c + i g, with i, f, o = σ(a_i), σ(a_f), σ(a_o) and g = tanh(a_g).

    a = x Wx + prev_h Wh + b (N, 4H) holds the four gates side by side in the order given.
    """
    a = dict(zip(order, np.split(x @ Wx + prev_h @ Wh + b, 4, axis=1), strict=True))
    gates = {name: np.tanh(a[name]) if name == "g" else 1 / (1 + np.exp(-a[name])) for name in order}
    c = gates["f"] * prev_c + gates["i"] * gates["g"]
    return (gates["o"] * np.tanh(c), c), (x, prev_h, prev_c, Wx, Wh, gates, a, c, order)


def lstm_step_backward(dh: Array, dc: Array, cache: Any) -> tuple[Array, ...]:
    """Return dx, dprev_h, dprev_c, dWx, dWh, db."""
    dc = dc + dh * cache[5]["o"] * (1 - np.tanh(cache[7]) ** 2)
    return _lstm(dh, dc, cache)


def _affine(da: Array, x: Array, prev_h: Array, Wx: Array, Wh: Array) -> tuple[Array, ...]:
    """Return the gradients of a = x Wx + prev_h Wh + b."""
    return da @ Wx.T, da @ Wh.T, x.T @ da, prev_h.T @ da, da.sum(0)


def _lstm(dh: Array, dc: Array, cache: Any, slopes: dict[str, Array] | None = None) -> tuple[Array, ...]:
    """Return all gradients, given the whole gradient dc of c, and with other slopes of some gates."""
    x, prev_h, prev_c, Wx, Wh, gates, _, c, order = cache
    i, f, o, g = (gates[name] for name in "ifog")
    outside = {"i": dc * g, "f": dc * prev_c, "o": dh * np.tanh(c), "g": dc * i}
    slope = {"i": i * (1 - i), "f": f * (1 - f), "o": o * (1 - o), "g": 1 - g**2, **(slopes or {})}
    da = np.concatenate([outside[name] * slope[name] for name in order], axis=1)
    dx, dprev_h, dWx, dWh, db = _affine(da, x, prev_h, Wx, Wh)
    return dx, dprev_h, dc * f, dWx, dWh, db


RNN_NAMES = ("x", "prev_h", "Wx", "Wh", "b")
LSTM_NAMES = ("x", "prev_h", "prev_c", "Wx", "Wh", "b")
_rnn, _lstm_mistakes = Mistakes(), Mistakes()


def _rnn_slope(slope: Callable[[Array, Array], Any]) -> Any:
    """Return the backward pass with another slope, a function of h and a."""

    def wrong(right: Gradients, cache: Any, dh: Array) -> Gradients:
        x, prev_h, Wx, Wh, h, a = cache
        return dict(zip(RNN_NAMES, _affine(slope(h, a) * dh, x, prev_h, Wx, Wh), strict=True))

    return wrong


_SLOPES: dict[str, Callable[[Array, Array], Any]] = {
    "tanh' is forgotten: dout passes unchanged": lambda h, a: 1.0,
    "tanh' is taken at h, 1 − tanh²(h): h is tanh(a) already, so that it is 1 − h²": lambda h, a: (
        1 - np.tanh(h) ** 2
    ),
    "tanh' is taken at a without tanh: 1 − a² instead of 1 − h²": lambda h, a: 1 - a**2,
    "the square is missing from tanh' = 1 − h²": lambda h, a: 1 - h,
    "the slope is that of a sigmoid, h (1 − h), instead of 1 − h²": lambda h, a: h * (1 - h),
}
for _what, _slope in _SLOPES.items():
    _rnn.named(_what)(_rnn_slope(_slope))


@_rnn.named("Wx is not transposed")
def _rnn_wx(right: Gradients, cache: Any, dh: Array) -> Gradients:
    _, _, Wx, _, h, _ = cache
    return {"x": ((1 - h**2) * dh) @ Wx}


@_rnn.named("Wh is not transposed")
def _rnn_wh(right: Gradients, cache: Any, dh: Array) -> Gradients:
    _, _, _, Wh, h, _ = cache
    return {"prev_h": ((1 - h**2) * dh) @ Wh}


@_rnn.named("the next h is used instead of the previous one")
def _rnn_next_h(right: Gradients, cache: Any, dh: Array) -> Gradients:
    h = cache[4]
    return {"Wh": h.T @ ((1 - h**2) * dh)}


def _lstm_slope(slopes: Callable[[Any], dict[str, Array]]) -> Any:
    """Return the backward pass with other slopes of some gates, a function of the cache."""

    def wrong(right: Gradients, cache: Any, dh: Array, dc: Array) -> Gradients:
        dc = dc + dh * cache[5]["o"] * (1 - np.tanh(cache[7]) ** 2)
        return dict(zip(LSTM_NAMES, _lstm(dh, dc, cache, slopes(cache)), strict=True))

    return wrong


def _one_slope(gate: str, slope: Callable[[Any], Array]) -> Any:
    return _lstm_slope(lambda cache: {gate: slope(cache)})


def _sigmoid_slope(z: Array) -> Array:
    s = 1 / (1 + np.exp(-z))
    return s * (1 - s)


def _gate_mistakes(gate: str) -> None:
    """Add the mistakes in the slope of one gate."""
    at = f"in gate {gate}"
    if gate == "g":
        slopes: dict[str, Callable[[Any], Array]] = {
            f"{at} tanh' is forgotten: the factor 1 − g²": lambda cache: np.ones_like(cache[5]["g"]),
            f"{at} tanh' is taken at g, 1 − tanh²(g): g is tanh(a_g) already, so that it is 1 − g²": (
                lambda cache: 1 - np.tanh(cache[5]["g"]) ** 2
            ),
            f"{at} tanh' is taken at a_g without tanh: 1 − a_g² instead of 1 − g²": (
                lambda cache: 1 - cache[6]["g"] ** 2
            ),
            f"{at} the slope is that of a sigmoid, g (1 − g), instead of 1 − g²": (
                lambda cache: cache[5]["g"] * (1 - cache[5]["g"])
            ),
            f"{at} the square is missing from tanh' = 1 − g²": lambda cache: 1 - cache[5]["g"],
        }
    else:
        slopes = {
            f"{at} σ' is forgotten: the factor {gate} (1 − {gate})": lambda cache: np.ones_like(cache[5][gate]),
            f"{at} σ' is taken at {gate} = σ(a_{gate}), not at a_{gate}: it is {gate} (1 − {gate})": (
                lambda cache: _sigmoid_slope(cache[5][gate])
            ),
            f"{at} the factor {gate} is missing from σ' = {gate} (1 − {gate})": lambda cache: (
                1 - cache[5][gate]
            ),
            f"{at} the factor 1 − {gate} is missing from σ' = {gate} (1 − {gate})": lambda cache: cache[5][
                gate
            ],
            f"{at} the slope is that of tanh, 1 − {gate}², instead of {gate} (1 − {gate})": (
                lambda cache: 1 - cache[5][gate] ** 2
            ),
        }
    for what, slope in slopes.items():
        _lstm_mistakes.named(what)(_one_slope(gate, slope))


for _gate in "ifog":
    _gate_mistakes(_gate)
_lstm_mistakes.named("σ' and tanh' are forgotten in all four gates")(
    _lstm_slope(lambda cache: {name: np.ones_like(gate) for name, gate in cache[5].items()})
)
_lstm_mistakes.named("σ' is forgotten in the gates i, f and o")(
    _lstm_slope(lambda cache: {name: np.ones_like(cache[5][name]) for name in "ifo"})
)
_lstm_mistakes.named("σ' is taken at the gates i, f and o, not at a: i is σ(a_i) already")(
    _lstm_slope(lambda cache: {name: _sigmoid_slope(cache[5][name]) for name in "ifo"})
)


def _lstm_cell(cell: Callable[[Any, Array, Array], Any]) -> Any:
    """Return the backward pass with another gradient of c, a function of the cache, dh and dc."""

    def wrong(right: Gradients, cache: Any, dh: Array, dc: Array) -> Gradients:
        return dict(zip(LSTM_NAMES, _lstm(dh, cell(cache, dh, dc), cache), strict=True))

    return wrong


_CELLS: dict[str, Callable[[Any, Array, Array], Any]] = {
    "the path from h to c is forgotten: dc lacks dh o (1 − tanh²(c))": lambda cache, dh, dc: dc,
    "the gradient dc that comes in is forgotten: h is not the only way out of c": (
        lambda cache, dh, dc: dh * cache[5]["o"] * (1 - np.tanh(cache[7]) ** 2)
    ),
    "tanh' is taken at c without tanh: 1 − c² instead of 1 − tanh²(c)": (
        lambda cache, dh, dc: dc + dh * cache[5]["o"] * (1 - cache[7] ** 2)
    ),
    "tanh' is taken at tanh(c): 1 − tanh²(tanh c) instead of 1 − tanh²(c)": (
        lambda cache, dh, dc: dc + dh * cache[5]["o"] * (1 - np.tanh(np.tanh(cache[7])) ** 2)
    ),
    "tanh' is forgotten on the path from h to c: dc + dh o": lambda cache, dh, dc: dc + dh * cache[5]["o"],
    "o is forgotten on the path from h to c: dc + dh (1 − tanh²(c))": (
        lambda cache, dh, dc: dc + dh * (1 - np.tanh(cache[7]) ** 2)
    ),
    "the square is missing on the path from h to c: 1 − tanh(c) instead of 1 − tanh²(c)": (
        lambda cache, dh, dc: dc + dh * cache[5]["o"] * (1 - np.tanh(cache[7]))
    ),
    "tanh' is taken at the previous c: 1 − tanh²(prev_c) instead of 1 − tanh²(c)": (
        lambda cache, dh, dc: dc + dh * cache[5]["o"] * (1 - np.tanh(cache[2]) ** 2)
    ),
}
for _what, _cell in _CELLS.items():
    _lstm_mistakes.named(_what)(_lstm_cell(_cell))


@_lstm_mistakes.named("f is missing: dprev_c is the gradient of c itself")
def _without_f(right: Gradients, cache: Any, dh: Array, dc: Array) -> Gradients:
    return {"prev_c": dc + dh * cache[5]["o"] * (1 - np.tanh(cache[7]) ** 2)}


@_lstm_mistakes.named("the next h is used instead of the previous one")
def _next_h(right: Gradients, cache: Any, dh: Array, dc: Array) -> Gradients:
    h = cache[5]["o"] * np.tanh(cache[7])
    return {"Wh": lstm_step_backward(dh, dc, (cache[0], h, *cache[2:]))[4]}


for _known in (_rnn, _lstm_mistakes):

    @_known.named("it is the mean over the samples, not the sum")
    def _mean(right: Gradients, cache: Any, *douts: Array) -> Gradients:
        return {name: right[name] / len(cache[0]) for name in ("Wx", "Wh", "b")}


RNN_STEP = Reference(
    "RNN step",
    rnn_step_forward,
    rnn_step_backward,
    {
        "x": "dx_nd = Σ_h da_nh Wx_dh, with da_nh = dout_nh (1 − h_nh²)",
        "prev_h": "dprev_h_nj = Σ_h da_nh Wh_jh, with da_nh = dout_nh (1 − h_nh²)",
        "Wx": "dWx_dh = Σ_n x_nd da_nh, with da_nh = dout_nh (1 − h_nh²)",
        "Wh": "dWh_jh = Σ_n prev_h_nj da_nh, with da_nh = dout_nh (1 − h_nh²)",
        "b": "db_h = Σ_n da_nh, with da_nh = dout_nh (1 − h_nh²)",
    },
    _rnn,
    lambda rng: integers(rng, x=(1, 1), prev_h=(1, 1), Wx=(1, 1), Wh=(1, 1), b=(1,)),
    defaults={"b": 0.0},
)
_DA = (
    "with dc' = dc + dh o (1 − tanh²c), da_i = dc' g i (1 − i), da_f = dc' prev_c f (1 − f), "
    "da_o = dh tanh(c) o (1 − o), da_g = dc' i (1 − g²)"
)
LSTM_STEP = Reference(
    "LSTM step",
    lstm_step_forward,
    lstm_step_backward,
    {
        "x": f"dx_nd = Σ_k da_nk Wx_dk, {_DA}",
        "prev_h": f"dprev_h_nj = Σ_k da_nk Wh_jk, {_DA}",
        "prev_c": "dprev_c_nh = dc'_nh f_nh, with dc' = dc + dh o (1 − tanh²c)",
        "Wx": f"dWx_dk = Σ_n x_nd da_nk, {_DA}",
        "Wh": f"dWh_jk = Σ_n prev_h_nj da_nk, {_DA}",
        "b": f"db_k = Σ_n da_nk, {_DA}",
    },
    _lstm_mistakes,
    lambda rng: integers(rng, x=(1, 1), prev_h=(1, 1), prev_c=(1, 1), Wx=(1, 4), Wh=(1, 4), b=(4,)),
    options={"order": ("ifog", "ifgo", "fiog", "figo", "fgio", "igfo")},
    defaults={"b": 0.0},
)
