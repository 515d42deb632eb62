"""Points trained as one stack: each has bit for bit the results of a separate run, and ends by itself."""

import numpy as np
import pytest
from backproof.contracts import Optimizer
from backproof.contracts.errors import DivergedError
from backproof.discovery.registry import registry
from backproof.experiment.run import GradcheckFailedError, Result, run_stack
from backproof.experiment.stackable import stacking_key
from backproof.nn.training import Pruned

from tests.helpers.experiments import Watcher, experiment, run_prepared

REG = registry()
DIGITS = {"dataset": "digits", "hidden": (16,), "train": {"epochs": 4, "batch_size": 32}}


def prepared(given, data=None):
    """Return prepared points of one dataset, which is loaded once, as in a sweep."""
    experiments = [experiment(**options) for options in given]
    data = data or experiments[0].load()
    return [point.prepare(REG, data) for point in experiments]


def stacked(given):
    points = prepared(given)
    assert len(points) == 1 or all(stacking_key(point) == stacking_key(points[0]) for point in points[1:])
    watchers = [Watcher() for _ in points]
    return run_stack(points, watchers), watchers


def alone(given):
    (point,) = prepared([given])
    watcher = Watcher()
    return run_prepared(point, watcher), watcher


def assert_same(together, apart):
    """Compare everything that is trained and measured, bit for bit."""
    (one, seen), (other, seen_alone) = together, apart
    assert np.array_equal(one.theta, other.theta)
    assert one.history.keys() == other.history.keys()
    for name in one.history:
        assert np.array_equal(one.history[name], other.history[name], equal_nan=True), name
    assert one.final.keys() == other.final.keys()
    for name in one.final:
        assert np.array_equal(one.final[name], other.final[name], equal_nan=True), name
    assert np.array_equal(one.epochs, other.epochs)
    assert np.array_equal(one.best_epochs, other.best_epochs)
    assert one.summary == other.summary
    assert seen.epochs == seen_alone.epochs
    assert [report.passed for report in seen.reports] == [report.passed for report in seen_alone.reports]


def optimizers():
    """Yield every optimizer with three learning rates, and two with other numbers."""
    for name in REG.names("optimizer"):
        yield pytest.param(name, [{"lr": lr} for lr in (1e-2, 3e-3, 1e-3)], id=name)
    yield pytest.param(
        "adam", [{"lr": 1e-2, "beta1": 0.8}, {"lr": 1e-3, "beta2": 0.99}, {"eps": 1e-4}], id="adam's numbers"
    )
    yield pytest.param(
        "sgd", [{"momentum": m, "nesterov": True} for m in (0.5, 0.9, 0.99)], id="sgd's momentum"
    )


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "numbers"), list(optimizers()))
def test_a_stack_equals_its_points_alone(name, numbers, dtype):
    options = {"epochs": 3, "batch_size": 32, "dtype": dtype}
    given = [
        {**DIGITS, "optimizer": (name, own), "penalty": ("l2", {"strength": 10.0 ** -(2 + i)}), "seed": 3 * i}
        for i, own in enumerate(numbers)
    ]
    given = [{**each, "train": options, "gradcheck": {"enabled": False}} for each in given]
    outcomes, watchers = stacked(given)
    for own, together in zip(given, zip(outcomes, watchers, strict=True), strict=True):
        assert_same(together, alone(own))


@pytest.mark.parametrize("penalty", [name for name in REG.names("penalty") if name != "none"])
@pytest.mark.parametrize("task", ["iris", "diabetes", "multilabel"])
def test_a_stack_equals_its_points_alone_for_every_task_and_penalty(task, penalty):
    given = [
        {
            "dataset": task,
            "hidden": (5, 4),
            "penalty": (penalty, {"strength": strength}),
            "initializer": ("normal", {"scale": scale}),
            "seed": seed,
            "gradcheck": {"after_training": False},
        }
        for strength, scale, seed in ((1e-2, 0.3, 0), (1e-3, 0.1, 7), (0.0, 0.2, 2))
    ]
    outcomes, watchers = stacked(given)
    for own, together in zip(given, zip(outcomes, watchers, strict=True), strict=True):
        assert_same(together, alone(own))


def test_many_points_of_several_seeds_with_early_stopping():
    given = [
        {**DIGITS, "optimizer": ("adam", {"lr": lr}), "repeats": 3, "seed": seed, "stopping": {"patience": 2}}
        for lr, seed in ((0.05, 0), (0.02, 0), (0.01, 3), (0.001, 9))
    ]
    given = [
        {**each, "train": {"epochs": 12, "batch_size": 32}, "gradcheck": {"enabled": False}} for each in given
    ]
    outcomes, watchers = stacked(given)
    apart = [alone(own) for own in given]
    for together, own in zip(zip(outcomes, watchers, strict=True), apart, strict=True):
        assert_same(together, own)
    lengths = {len(result.history["val/loss"]) for result, _ in apart}
    assert len(lengths) > 1, "the points must stop at different epochs for this to show anything"


def test_a_stack_of_thirty_two_points_equals_its_points_alone():
    """With so many points, batches are gathered in other chunks than for one point."""
    given = [{**DIGITS, "seed": seed, "gradcheck": {"enabled": False}} for seed in range(32)]
    outcomes, watchers = stacked(given)
    for own in (0, 13, 31):
        assert_same((outcomes[own], watchers[own]), alone(given[own]))


class TestEnds:
    def test_a_point_that_diverges_ends_alone_with_the_same_error(self):
        given = [
            {**DIGITS, "optimizer": ("sgd", {"lr": lr}), "schedule": "cosine", "gradcheck": {"enabled": False}}
            for lr in (0.1, 1e12, 0.05, 1e300)
        ]
        outcomes, watchers = stacked(given)
        assert [isinstance(each, DivergedError) for each in outcomes] == [False, True, False, True]
        for own, outcome, watcher in zip(given, outcomes, watchers, strict=True):
            assert watcher.outcome is outcome
            if isinstance(outcome, Result):
                assert_same((outcome, watcher), alone(own))
                continue
            with pytest.raises(DivergedError) as caught:
                alone(own)
            assert str(caught.value) == str(outcome)
            assert (caught.value.epoch, caught.value.step, caught.value.member) == (
                outcome.epoch,
                outcome.step,
                outcome.member,
            )

    def test_a_point_ends_when_the_first_of_its_seeds_diverges(self):
        given = [
            {**DIGITS, "optimizer": ("sgd", {"lr": lr}), "repeats": 3, "gradcheck": {"enabled": False}}
            for lr in (1e12, 0.1)
        ]
        outcomes, watchers = stacked(given)
        with pytest.raises(DivergedError) as caught:
            alone(given[0])
        assert str(caught.value) == str(outcomes[0])
        assert caught.value.member == outcomes[0].member
        assert_same((outcomes[1], watchers[1]), alone(given[1]))

    def test_training_ends_when_all_have_diverged(self):
        given = [{**DIGITS, "optimizer": ("sgd", {"lr": lr})} for lr in (1e12, 1e300)]
        outcomes, watchers = stacked(given)
        assert all(isinstance(each, DivergedError) for each in outcomes)
        assert all(not watcher.epochs for watcher in watchers)

    def test_an_observer_that_raises_ends_its_point(self):
        class Prunes(Watcher):
            def on_epoch(self, epoch, metrics):
                super().on_epoch(epoch, metrics)
                if epoch == 2:
                    raise Pruned(epoch, metrics)

        given = [{**DIGITS, "seed": seed, "gradcheck": {"enabled": False}} for seed in (0, 1)]
        first, second = Prunes(), Watcher()
        outcomes = run_stack(prepared(given), [first, second])
        assert isinstance(outcomes[0], Pruned)
        assert first.outcome is outcomes[0]
        assert len(first.epochs) == 2
        assert_same((outcomes[1], second), alone(given[1]))

    def test_a_point_that_cannot_be_recorded_has_failed(self):
        class Full(Watcher):
            def on_end(self, outcome):
                super().on_end(outcome)
                raise OSError("no space left")

        given = [{**DIGITS, "seed": seed, "gradcheck": {"enabled": False}} for seed in (0, 1)]
        outcomes = run_stack(prepared(given), [Full(), Watcher()])
        assert isinstance(outcomes[0], OSError)
        assert isinstance(outcomes[1], Result)

    def test_ctrl_c_ends_all_points(self):
        class Interrupted(Watcher):
            def on_epoch(self, epoch, metrics):
                raise KeyboardInterrupt

        points = prepared([{**DIGITS, "seed": seed, "gradcheck": {"enabled": False}} for seed in (0, 1)])
        with pytest.raises(KeyboardInterrupt):
            run_stack(points, [Watcher(), Interrupted()])


class TestChecks:
    def test_every_point_is_checked_at_its_own_parameters(self):
        given = [{**DIGITS, "seed": seed} for seed in (0, 1, 2)]
        outcomes, watchers = stacked(given)
        for watcher in watchers:
            assert [section.moment for section in watcher.reports[-1].sections] == ["fresh", "trained"]
            assert watcher.reports[-1].passed
        first, *others = [outcome.report.sections[0].results for outcome in outcomes]
        assert all(result.directions == 0 and result.checked == np.prod(result.shape) for result in first)
        assert all(result.directions > 0 for results in others for result in results)
        assert len({results[0].norm for results in (first, *others)}) == 3

    @pytest.mark.parametrize("seed", [0, 1])
    def test_a_gradient_that_is_wrong_for_one_point_ends_it_alone(self, seed):
        """The derivation is wrong only if the first weight is that of one seed."""
        points = prepared([{**DIGITS, "seed": each} for each in (0, 1)])
        marked = points[seed].theta[0, 0]

        class Wrong(type(points[0].experiment.derivation)):
            native = False

            def gradients(self, trace):
                found = trace.backprop()
                if trace.W[1][0, 0] == marked:
                    found["W1"][0] *= 1.001
                return found

        points = prepared([{**DIGITS, "seed": each, "derivation": Wrong()} for each in (0, 1)])
        watchers = [Watcher(), Watcher()]
        outcomes = run_stack(points, watchers)
        assert isinstance(outcomes[seed], GradcheckFailedError)
        assert isinstance(outcomes[1 - seed], Result)
        assert not watchers[seed].epochs


class TestStackingKey:
    @pytest.mark.parametrize(
        "changes",
        [
            {"optimizer": "adam"},
            {"hidden": (8,)},
            {"activation": "tanh"},
            {"train": {"epochs": 5, "batch_size": 32}},
            {"schedule": "cosine"},
            {"repeats": 2},
            {"loss": ("softmax_cross_entropy", {"label_smoothing": 0.1})},
            {"optimizer": ("sgd", {"momentum": 0.9})},
            {"optimizer": ("sgd", {"nesterov": True})},
            {"penalty": "l2"},
            {"metrics": ["accuracy", "log_loss"]},
            {"stopping": {"patience": 3}},
        ],
        ids=str,
    )
    def test_points_that_differ_in_more_than_numbers_are_not_stacked(self, changes):
        one, other = prepared([DIGITS, {**DIGITS, **changes}])
        assert stacking_key(one) != stacking_key(other)

    def test_points_with_other_data_are_not_stacked(self):
        (one,), (other,) = prepared([DIGITS]), prepared([DIGITS])
        assert stacking_key(one) != stacking_key(other)

    def test_an_optimizer_that_takes_no_arrays_is_not_stacked(self):
        class Plain(Optimizer):
            def step(self, theta, grad, state, t, lr, work):
                theta -= float(lr) * grad

        points = prepared([{**DIGITS, "optimizer": Plain(lr)} for lr in (0.1, 0.2, 0.1)])
        assert stacking_key(points[0]) != stacking_key(points[1])
        assert stacking_key(points[0]) == stacking_key(points[2])
