"""`check_layer`: the layers of the courses are right, and the mistakes that people make in them are named."""

import numpy as np
import pytest
from backproof import check_layer
from backproof.gradcheck.courses import REFERENCES
from backproof.gradcheck.courses.affine import affine_backward, affine_forward
from backproof.gradcheck.courses.normalization import batchnorm_backward, batchnorm_forward

SHAPES = {
    "affine layer": {"x": (4, 4), "w": (4, 4), "b": (4,)},
    "ReLU": {"x": (4, 3)},
    "sigmoid": {"x": (3, 2)},
    "tanh": {"x": (3, 2)},
    "softmax loss": {"x": (5, 4)},
    "hinge loss": {"x": (5, 4)},
    "batch norm": {"x": (4, 4), "gamma": (4,), "beta": (4,)},
    "batch norm at test time": {"x": (4, 4), "gamma": (4,), "beta": (4,)},
    "layer norm": {"x": (4, 4), "gamma": (4,), "beta": (4,)},
    "dropout": {"x": (4, 5)},
    "convolution": {"x": (2, 2, 3, 3), "w": (2, 2, 2, 2), "b": (2,)},
    "max-pooling": {"x": (1, 2, 4, 4)},
    "RNN step": {"x": (3, 4), "prev_h": (3, 4), "Wx": (4, 4), "Wh": (4, 4), "b": (4,)},
    "LSTM step": {"x": (3, 2), "prev_h": (3, 2), "prev_c": (3, 2), "Wx": (2, 8), "Wh": (2, 8), "b": (8,)},
    "scaled dot-product attention": {"q": (4, 4), "k": (4, 4), "v": (4, 2)},
    "embedding": {"W": (5, 3)},
}
LAYERS = {
    f"{key} {number}" if number else key: reference
    for key, group in REFERENCES.items()
    for number, reference in enumerate(group)
}
#: A sum over samples has no 1/N that could be forgotten: these are no mistakes there.
NO_MISTAKES = ("the factor 1/N of the mean", "after the division by N", "y alone is divided by N")


def setting(layer, seed=0):
    """Return a layer's reference, its inputs by name, and its options."""
    reference, rng = LAYERS[layer], np.random.default_rng(seed)
    inputs = {name: rng.standard_normal(shape) for name, shape in SHAPES[reference.name].items()}
    if reference.axes.get("b") == 2:
        inputs["b"] = inputs["b"][:, None]
    extra = {
        "softmax loss": lambda: {"y": rng.integers(0, 4, 5)},
        "hinge loss": lambda: {"y": rng.integers(0, 4, 5)},
        "batch norm at test time": lambda: {
            "running_mean": rng.standard_normal(4),
            "running_var": rng.random(4) + 0.5,
        },
        "dropout": lambda: {"mask": 2.0 * (rng.random((4, 5)) < 0.5)},
        "convolution": lambda: {"stride": 1 + seed % 2, "pad": 1},
        "max-pooling": lambda: {"pool": 2, "stride": 1},
        "embedding": lambda: {"x": np.array([[0, 1, 1], [4, 0, 2]])},
    }.get(reference.name, dict)()
    return reference, inputs, {**extra, **{key: v[0] for key, v in reference.options.items() if key == "mean"}}


def checked(reference, inputs, extra, mistake=None, **options):
    """Check a layer whose backward pass has a mistake."""
    names = list(inputs)

    def forward(*arrays, **kwargs):
        return reference.forward(**dict(zip(names, arrays, strict=True)), **kwargs)

    def backward(*arguments):
        *douts, cache = arguments
        gradients = reference.gradients(list(douts), cache)
        if mistake is not None:
            gradients.update(mistake.wrong(gradients, cache, *douts))
        return tuple(gradients.values()) if len(names) > 1 else gradients[names[0]]

    return check_layer(forward, backward, *inputs.values(), names=names, extra=extra, **options)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("layer", LAYERS)
def test_the_references_are_right(layer, seed):
    report = checked(*setting(layer, seed))
    assert report, report
    assert report.findings == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layer", "what"),
    [
        (layer, mistake.what)
        for layer, reference in LAYERS.items()
        for mistake in reference.mistakes
        if not (reference.options.get("mean") == (False,) and any(text in mistake.what for text in NO_MISTAKES))
        # There are no ties at random numbers; nor do sums over other axes fit. They have tests of their own.
        if "ties" not in mistake.what and "over the features, not" not in mistake.what
    ],
)
def test_each_mistake_is_named(layer, what):
    reference, inputs, extra = setting(layer)
    (mistake,) = (known for known in reference.mistakes if known.what == what)
    if "stride" in what:
        extra["stride"] = 2
    report = checked(reference, inputs, extra, mistake)
    assert report.failed, report
    assert any(what in finding for finding in report.findings), report.findings


def test_ties_of_max_pooling_are_named():
    reference, _, extra = setting("max_pool")
    (mistake,) = (known for known in reference.mistakes if "ties" in known.what)
    x = np.array([[[[1.0, 1, 0, 0], [0, 1, 0, 2], [3, 0, 1, 1], [3, 3, 1, 0]]]])
    report = checked(reference, {"x": x}, {**extra, "stride": 2}, mistake)
    assert report.failed, report
    assert "ties" in report.findings[0]


def test_a_finding_says_where_which_term_the_formula_and_an_example():
    _, inputs, _ = setting("batch_norm")

    def backward(dout, cache):
        xhat, gamma, sigma, *_ = cache
        dxhat = dout * gamma
        dx = (dxhat - xhat * (dxhat * xhat).mean(0)) / sigma
        return dx, (dout * xhat).sum(0), dout.sum(0)

    report = check_layer(batchnorm_forward, backward, *inputs.values())
    (finding,) = report.findings
    lines = finding.splitlines()
    assert lines[0].startswith("dx of the batch norm: the path through the mean is forgotten")
    assert lines[1].startswith("    right: dx_nd = (dx̂_nd − (1/N) Σ_m dx̂_md")
    assert lines[2].startswith("    example: x = [[")
    assert "with this mistake" in lines[3]
    assert finding in report.failure_message()
    assert "the path through the mean is forgotten" in str(report)
    assert max(map(len, str(report).splitlines())) <= 80
    assert "the path through the mean is forgotten" in report.to_html()


@pytest.mark.parametrize("eps", [1e-5, 1e-3, 0.017])
def test_options_are_found_or_taken_from_the_layer(eps):
    _, inputs, _ = setting("batch_norm")

    def forward(x, gamma, beta, bn_param):
        return batchnorm_forward(x, gamma, beta, bn_param["eps"])

    def backward(dout, cache):
        dx, dgamma, dbeta = batchnorm_backward(dout, cache)
        return dx, dgamma / len(dout), dbeta

    report = check_layer(forward, backward, *inputs.values(), {"mode": "train", "eps": eps})
    assert "dgamma of the batch norm: it is the mean over the samples" in report.findings[0]


class TestAnyLayer:
    """Mistakes in a layer that is none of the courses."""

    rng = np.random.default_rng(5)
    x, w = rng.standard_normal((3, 3)), rng.standard_normal((3, 3))

    def findings(self, wrong):
        def forward(x, w):
            return np.sin(x @ w) * x, (x, w)

        def backward(dout, cache):
            x, w = cache
            da = dout * np.cos(x @ w) * x
            return wrong(da @ w.T + dout * np.sin(x @ w), x.T @ da, dout)

        return check_layer(forward, backward, self.x, self.w).findings

    @pytest.mark.parametrize(
        ("wrong", "expected"),
        [
            (lambda dx, dw, dout: (dx, 2 * dw), "dw is 2 times the right one"),
            (lambda dx, dw, dout: (dx, dw / 3), "dw is 1/3 of the right one (3 is the size of axis 0 of x)"),
            (lambda dx, dw, dout: (-dx, dw), "dx is minus the right one"),
            (lambda dx, dw, dout: (dx, dw.T), "dw is the right one transposed"),
            (lambda dx, dw, dout: (0 * dx, dw), "dx is zero"),
            (lambda dx, dw, dout: (dw, dw), "dx is the right gradient of w"),
            (
                lambda dx, dw, dout: (np.ones_like(dx), dw),
                "dx ignores dout: it is the same for two different ones",
            ),
            (lambda dx, dw, dout: (dx[::-1], dw), "dx is the right one in the reverse order of axis 0"),
        ],
    )
    def test_is_named(self, wrong, expected):
        assert self.findings(wrong) == (expected,)

    def test_a_right_one_has_no_finding(self):
        assert self.findings(lambda dx, dw, dout: (dx, dw)) == ()

    def test_what_has_no_name_gets_none(self):
        assert self.findings(lambda dx, dw, dout: (dx + 0.1 * dout**2, dw)) == ()


class TestInputs:
    x, w, b = np.ones((4, 3)) + np.arange(3), np.arange(6.0).reshape(3, 2), np.zeros(2)

    def test_a_backward_pass_that_writes_into_dout_is_told_of(self):
        def backward(dout, cache):
            gradients = affine_backward(dout, cache)
            dout *= 0
            return gradients

        report = check_layer(affine_forward, backward, self.x, self.w, self.b)
        assert report.passed
        assert "backward writes into dout" in str(report)

    def test_a_gradient_that_lacks_its_sum(self):
        def backward(dout, cache):
            return (*affine_backward(dout, cache)[:2], dout)

        with pytest.raises(
            ValueError, match=r"b must have its shape \(2,\), got \(4, 2\): b is broadcast over axis 0"
        ):
            check_layer(affine_forward, backward, self.x, self.w, self.b)

    def test_a_transposed_shape(self):
        def backward(dout, cache):
            dx, dw, db = affine_backward(dout, cache)
            return dx, dw.T, db

        with pytest.raises(
            ValueError, match=r"w must have its shape \(3, 2\), got \(2, 3\): it looks transposed"
        ):
            check_layer(affine_forward, backward, self.x, self.w, self.b)

    def test_a_forward_pass_that_returns_an_array_alone(self):
        def backward(dout, x, w):
            return dout @ w.T, x.T @ dout

        assert check_layer(lambda x, w: x @ w, backward, self.x, self.w)

    def test_integers_are_not_differentiated_by(self):
        def backward(dout, cache):
            return None, REFERENCES["embedding"][0].backward(dout, cache)

        forward = REFERENCES["embedding"][0].forward
        report = check_layer(forward, backward, np.array([[0, 2, 2]]), self.w)
        assert report
        assert {result.tensor for section in report.sections for result in section.results} == {"W"}

    def test_an_unknown_layer_is_named(self):
        with pytest.raises(ValueError, match=r"layer must be one of affine, .* got 'conv2d'"):
            check_layer(affine_forward, affine_backward, self.x, self.w, self.b, layer="conv2d")

    def test_a_layer_that_is_not_what_it_is_called(self):
        def backward(dout, cache):
            dx, dw, db = affine_backward(dout, cache)
            return dx, 2 * dw, db

        report = check_layer(affine_forward, backward, self.x, self.w, self.b, layer="conv")
        assert report.findings[0] == "forward does not give the outputs of conv: its mistakes were not tried"
        assert report.findings[1] == "dw is 2 times the right one"
