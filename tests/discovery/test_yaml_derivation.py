"""Derivations in YAML files: read, refused with their line, trained with."""

import numpy as np
import pytest
from backproof.discovery.yaml_derivation import derivation_of
from backproof.experiment.run import GradcheckFailedError
from backproof.formulas.errors import FormulaError

from tests.helpers.experiments import experiment, run
from tests.helpers.formulas import CS446, REG, TRACE, yaml_of


def derivation(tmp_path, content, name="mine.yaml"):
    file = tmp_path / name
    file.write_text(content)
    return derivation_of(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("- a\n", "line 1: the file must be a mapping, KEY: VALUE; got a list"),
        ("a: [\n", "line 2, column 1: this is not YAML"),
        ("description: x\n", "it has no key gradients"),
        ("gradient:\n  W1: 1\n", "line 1: there is no key 'gradient', did you mean gradients"),
        ("gradients: W1\n", "line 1: gradients must be a mapping, KEY: VALUE; got a single value"),
        ("gradients:\n  W1: [1]\n", "line 2: W1 must be text, got a list"),
        (yaml_of(CS446) + "  W1: 1\n", "line 6: the key W1 is repeated"),
        (yaml_of({**CS446, "W1": "- x[n,d]"}), "line 4, column 7: this is not YAML"),
        (yaml_of({**CS446, "W1": "q[n,d]"}), "line 4: W1: there is no array 'q'"),
        (yaml_of({**CS446, "W1[h,d]": "q[n,d]"}), "W1 has two formulas"),
        ("description: {}\n" + yaml_of(CS446), "line 1: description must be text, got a mapping"),
        ("gradients:\n  W1: \x00\n", "this is not YAML"),
        ("---\na: 1\n---\nb: 1\n", "this is not YAML"),
    ],
)
def test_broken_files(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        derivation(tmp_path, content)


def test_a_file_may_hold_formulas_in_any_form_of_text(tmp_path):
    content = (
        "description: |\n  One line.\n\n  More on it.\nloss: softmax_cross_entropy\ngradients:\n"
        "  W2: >-\n    sum[n] (p[n,k] - y[n,k])\n    * phi(a1[n,h]) / N\n"
        f"  b2: '{CS446['b2']}'\n"
        f'  "W1[h,d]": |\n    sum[n,k] (p[n,k] - y[n,k]) * W2[k,h]\n    * dphi(a1[n,h]) * x[n,d] / N\n'
        f"  b1: {CS446['b1']} # a comment of YAML\n"
    )
    cls = derivation(tmp_path, content)
    assert cls.__doc__.startswith("One line. Derived for loss=softmax_cross_entropy.\n\nMore on it.")
    assert cls.formulas["b2"] == "∂Err/∂(b2)_k = Σ_n (p_nk − y_nk) / N"
    for tensor, expected in TRACE.backprop().items():
        np.testing.assert_allclose(cls().gradients(TRACE)[tensor], expected, rtol=1e-12, atol=1e-14)


def test_a_network_of_another_depth_is_refused_before_training():
    with pytest.raises(
        ValueError, match=r"'cs446' has formulas for W1, b1, W2, b2, the network has the tensors W1"
    ):
        experiment(derivation="cs446", hidden=(8, 4)).prepare(REG)
    with pytest.raises(ValueError, match=r"give model\.hidden 1 number"):
        experiment(derivation="cs446", hidden=()).prepare(REG)


def test_an_entry_that_the_network_has_not_is_refused_before_training(tmp_path):
    mine = derivation(tmp_path, yaml_of({**CS446, "b2": "sum[n] (p[n,k] - y[n,3]) / N"}))
    mine.name = "x"
    with pytest.raises(FormulaError, match=r"derivation 'x', b2: this axis of y has 3 entries") as caught:
        experiment(derivation=mine()).prepare(REG)
    assert caught.value.text[caught.value.start] == "3"


def test_cs446_trains_as_backprop_does():
    ours, own = run(derivation="cs446", repeats=2, hidden=(8,)), run(repeats=2, hidden=(8,))
    assert ours.report.passed
    np.testing.assert_allclose(ours.theta, own.theta, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_cs446_as_written_fails_in_these_two_tensors():
    with pytest.raises(GradcheckFailedError) as caught:
        run(derivation="cs446_as_written")
    assert {result.tensor for _, result in caught.value.report.failures} == {"W1", "b1"}
    rule = type(REG.build("derivation", "cs446_as_written")).rule
    t = TRACE
    delta = (t.p - t.y)[:, 0]
    single = t.W[1][None] * t.x[:, None] + t.b[1][:, None]
    W1 = np.einsum("n,h,nhd,nd->hd", delta, t.W[2][0], t.dphi(single), t.x) / t.N
    np.testing.assert_allclose(rule.formulas["W1"](t), W1, rtol=1e-12)
    b1 = (delta[:, None] * t.W[2][0] * t.dphi(t.a[1])).mean(0)
    np.testing.assert_allclose(rule.formulas["b1"](t), b1, rtol=1e-12)


def test_derivations_of_files_train_with_float32_and_short_batches():
    result = run(derivation="cs446", train={"dtype": "float32", "batch_size": 7})
    assert result.report.passed
