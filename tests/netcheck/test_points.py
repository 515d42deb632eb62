"""The gradient check outside a run, at several points, and its treatment of kinks."""

import numpy as np
import pytest
from backproof.gradcheck import CheckOptions
from backproof.netcheck.network import NetworkCheck
from backproof.netcheck.points import check_alone

from tests.helpers.experiments import experiment
from tests.helpers.netcheck import REG, missing_mean, planted

MOMENTS = ["fresh", "moved", "one sample", "burned in", "odd sizes"]


CONDITIONS = [
    "the loss repeats bit for bit",
    "the gradient repeats bit for bit",
    "loss and gradient are finite",
    "N ≥ 2 samples",
    "a batch of one sample too",
    "K ≥ 3 outputs, 2 for two classes",
    "D ≥ 2 inputs",
    "all sizes differ",
    "biases that are not zero",
    "several points",
]


def condition(section, name):
    return next(condition for condition in section.preconditions if condition.name == name)


class TestPoints:
    """The points and samples at which gradients are checked."""

    def test_there_are_five_points(self):
        report = check_alone(experiment(activation="tanh").prepare(REG))
        assert [section.moment for section in report.sections] == MOMENTS
        assert report.passed
        assert all(section.taylor.order == pytest.approx(2, abs=0.1) for section in report.sections)
        assert report.max_relative_error < 1e-12

    def test_a_mistake_visible_only_with_biases_is_caught_at_moved_parameters(self):
        def forgets_biases(grads, trace):
            a = trace.x @ trace.W[1].T
            delta = (trace.p - trace.y) @ trace.W[2] * trace.dphi(a) / trace.N
            return {**grads, "W1": delta.T @ trace.x, "b1": delta.sum(0)}

        report = check_alone(experiment(derivation=planted(forgets_biases), activation="tanh").prepare(REG))
        failed = {section.moment for section, _ in report.failures}
        assert "fresh" not in failed
        assert {"moved", "burned in"} <= failed
        biases = "biases that are not zero"
        assert [condition(section, biases).met for section in report.sections[:2]] == [False, True]
        assert "b1, b2 are zero" in condition(report.sections[0], biases).detail

    def test_one_sample_does_not_distinguish_a_sum_from_a_mean(self):
        report = check_alone(experiment(derivation=planted(missing_mean)).prepare(REG))
        failed = {section.moment for section, _ in report.failures}
        assert failed == {"fresh", "moved", "burned in", "odd sizes"}

    def test_samples_on_a_kink_are_checked_separately(self):
        """Zero inputs and zero biases put every pre-activation on the kink: any subgradient is right there."""
        prepared = experiment().prepare(REG)
        check = NetworkCheck(prepared.net, *on_kink(prepared), prepared.experiment.penalty, CheckOptions(), 0)
        section = check.section(prepared.theta, "fresh")
        assert section.passed
        assert section.notes == (
            "2 of 23 samples lie on a kink of φ: the gradient takes φ'(0) = 0, between the slopes on its two "
            "sides, 0 and 1",
        )
        assert {result.part for result in section.results} == {"loss", "kinks"}

    @pytest.mark.parametrize("at_zero", [0.0, 0.5, 1.0])
    def test_every_subgradient_is_accepted_but_a_factor_is_not(self, at_zero):
        def other_convention(grads, trace):
            slope = np.where(trace.a[1] == 0, at_zero, trace.a[1] > 0)
            delta = (trace.p - trace.y) @ trace.W[2] * slope / trace.N
            return {**grads, "W1": delta.T @ trace.x, "b1": delta.sum(0)}

        for factor in (1.0, 1.01):
            section = self.at_kinks(
                lambda g, t, f=factor: {k: f * v for k, v in other_convention(g, t).items()}, {}, both=True
            )
            assert section.passed == (factor == 1.0)
            if factor == 1.0:
                assert f"takes φ'(0) = {at_zero:g}, between" in section.notes[0]

    def at_kinks(self, mistake, options, *, both):
        """Check a derivation with two samples on the kink if `both`, else with all of them there."""
        prepared = experiment(derivation=planted(mistake), **options).prepare(REG)
        X, y = on_kink(prepared)
        if not both:
            X = np.zeros_like(X)
        check = NetworkCheck(prepared.net, X, y, prepared.experiment.penalty, CheckOptions(), 0)
        return check.section(prepared.theta, "fresh")

    @pytest.mark.parametrize("both", [True, False], ids=["two samples", "all samples"])
    @pytest.mark.parametrize("at_zero", [-0.1, 1.1, 2.0, np.nan])
    def test_a_slope_that_is_not_a_subgradient_fails(self, at_zero, both):
        section = self.at_kinks(with_slope(at_zero), {"activation": "relu"}, both=both)
        assert not section.passed
        assert {r.part for r in section.results if r.status == "failed"} == {"kinks"}
        if np.isfinite(at_zero):
            assert f"takes φ'(0) = {at_zero:g}, not between the slopes" in section.notes[0]

    @pytest.mark.parametrize("options", [{"activation": "leaky_relu"}, {"activation": ("elu", {"alpha": 0.5})}])
    @pytest.mark.parametrize("both", [True, False], ids=["two samples", "all samples"])
    def test_other_kinks(self, options, both):
        section = self.at_kinks(with_slope(0.7), options, both=both)
        assert section.passed
        assert "takes φ'(0) = 0.7, between" in section.notes[0]
        assert not self.at_kinks(with_slope(0.0), options, both=both).passed

    def test_each_layer_may_have_its_own_convention(self):
        """A zero sample with zero biases lies on the kink in every layer."""

        def two_layers(grads, trace):
            slopes = [np.where(a == 0, at, a > 0) for a, at in ((trace.a[1], 0.25), (trace.a[2], 1.0))]
            delta2 = (trace.p - trace.y) @ trace.W[3] * slopes[1] / trace.N
            delta1 = delta2 @ trace.W[2] * slopes[0]
            return {
                **grads,
                "W2": delta2.T @ trace.h[1],
                "b2": delta2.sum(0),
                "W1": delta1.T @ trace.x,
                "b1": delta1.sum(0),
            }

        section = self.at_kinks(two_layers, {"hidden": (6, 5)}, both=True)
        assert section.passed
        assert "φ'(0) = 0.25 in layer 1" in section.notes[0]
        assert "φ'(0) = 1 in layer 2" in section.notes[0]

    def test_a_mistake_only_on_kinks_is_found(self):
        """The gradient is right for every sample that is not on a kink."""

        def wrong(grads, trace):
            on_kink = (trace.a[1] == 0).all(axis=1)
            grads["b2"] = grads["b2"] + 0.01 * on_kink.sum() * np.arange(len(grads["b2"]))
            return grads

        for both in (True, False):
            section = self.at_kinks(wrong, {}, both=both)
            assert {(r.part, r.tensor) for r in section.results if r.status == "failed"} == {("kinks", "b2")}

    def test_by_central_differences(self, monkeypatch):
        """Conventions are also determined if φ does not accept complex numbers."""
        monkeypatch.setattr(REG.get("activation", "relu"), "complex_step", False)
        for slope, passed in ((0.5, True), (1.5, False)):
            section = self.at_kinks(with_slope(slope), {}, both=True)
            assert section.passed == passed, [r.note for r in section.results]
            assert f"φ'(0) = {slope:g}" in section.notes[0]

    def test_samples_near_a_kink_are_counted_if_differences_are_used(self, monkeypatch):
        monkeypatch.setattr(REG.get("activation", "relu"), "complex_step", False)
        section = check_alone(experiment(hidden=(20,)).prepare(REG)).sections[1]
        assert section.passed
        assert "within the first step of the central differences from a kink" in section.notes[0]

    def test_every_precondition_is_reported_and_met_somewhere(self):
        report = check_alone(experiment(hidden=(4, 4)).prepare(REG))
        assert [section.moment for section in report.sections] == MOMENTS
        assert {condition.name: condition.met for condition in report.preconditions} == dict.fromkeys(
            CONDITIONS, True
        )
        stored = report.to_dict()
        assert [condition["name"] for condition in stored["preconditions"]] == CONDITIONS
        for section in stored["sections"]:
            names = {condition["name"] for condition in section["preconditions"]}
            assert names == set(CONDITIONS) - {"several points"}

    def test_sizes_that_hide_a_transposition(self):
        """Only the network with odd sizes meets the precondition."""
        report = check_alone(experiment(hidden=(4,)).prepare(REG))
        sizes = "all sizes differ"
        assert [condition(section, sizes).met for section in report.sections] == [False] * 4 + [True]
        assert condition(report.sections[0], sizes).detail == (
            "N = 23, 4-4-3: a transposed tensor has the same shape"
        )

    @pytest.mark.parametrize(
        ("dataset", "met", "detail"),
        [
            ("diabetes", False, "K = 1: a missing sum over outputs does not show"),
            ("breast_cancer", True, "K = 2"),
        ],
    )
    def test_an_unmet_precondition_says_what_it_hides(self, dataset, met, detail):
        report = check_alone(experiment(dataset=dataset).prepare(REG))
        (outputs,) = [condition for condition in report.preconditions if condition.name.startswith("K ≥ 3")]
        assert (outputs.met, outputs.detail) == (met, detail)

    def test_a_derivation_for_fixed_sizes_is_not_checked_at_odd_sizes(self):
        def fixed_sizes(grads, trace):
            if trace.W[1].shape != (8, 4):
                raise RuntimeError("made for 4-8-3")
            return grads

        report = check_alone(experiment(derivation=planted(fixed_sizes)).prepare(REG))
        assert report.passed
        assert [section.moment for section in report.sections] == MOMENTS[:-1]
        assert "made for 4-8-3" in report.sections[-1].notes[0]

    def test_a_gradient_that_changes_from_call_to_call_fails(self):
        rng = np.random.default_rng(0)

        def random(grads, trace):
            grads["b1"] += 1e-15 * rng.standard_normal(grads["b1"].shape)
            return grads

        report = check_alone(experiment(derivation=planted(random)).prepare(REG))
        assert {result.tensor for _, result in report.failures} == {"b1"}
        assert "a different gradient" in report.failure_message()


def with_slope(at_zero):
    """Return a rule for one hidden layer with φ'(0) = at_zero."""

    def gradients(grads, trace):
        slope = np.where(trace.a[1] == 0, at_zero, trace.dphi(trace.a[1]))
        delta = (trace.p - trace.y) @ trace.W[2] * slope / trace.N
        return {**grads, "W1": delta.T @ trace.x, "b1": delta.sum(0)}

    return gradients


def on_kink(prepared):
    """Return the training samples and targets, with two of the checked samples set to zero."""
    X = prepared.data.train.X.copy()
    rows = np.random.default_rng(0).permutation(len(X))[:2]
    X[rows] = 0
    return X, prepared.y
