"""Points trained as one stack: each has bit for bit the results of a separate run, and ends on its setting."""

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


def prepared(settings, data=None):
    """Return prepared points of one dataset, which is loaded once, as in a sweep."""
    experiments = [experiment(**options) for options in settings]
    data = data or experiments[0].load()
    return [point.prepare(REG, data) for point in experiments]


def stacked(settings):
    points = prepared(settings)
    assert len(points) == 1 or all(stacking_key(point) == stacking_key(points[0]) for point in points[1:])
    watchers = [Watcher() for _ in points]
    return run_stack(points, watchers), watchers


def alone(settings):
    (point,) = prepared([settings])
    watcher = Watcher()
    return run_prepared(point, watcher), watcher


def assert_same(stacked_run, single_run):
    """Compare everything that is trained and measured, bit for bit."""
    (result, calls), (expected, expected_calls) = stacked_run, single_run
    assert np.array_equal(result.theta, expected.theta)
    assert result.history.keys() == expected.history.keys()
    for name in result.history:
        assert np.array_equal(result.history[name], expected.history[name], equal_nan=True), name
    assert result.final.keys() == expected.final.keys()
    for name in result.final:
        assert np.array_equal(result.final[name], expected.final[name], equal_nan=True), name
    assert np.array_equal(result.epochs, expected.epochs)
    assert np.array_equal(result.best_epochs, expected.best_epochs)
    assert result.summary == expected.summary
    assert calls.epochs == expected_calls.epochs
    assert [report.passed for report in calls.reports] == [report.passed for report in expected_calls.reports]


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
    settings = [
        {
            **DIGITS,
            "optimizer": (name, params),
            "penalty": ("l2", {"strength": 10.0 ** -(2 + i)}),
            "seed": 3 * i,
        }
        for i, params in enumerate(numbers)
    ]
    settings = [{**setting, "train": options, "gradcheck": {"enabled": False}} for setting in settings]
    outcomes, watchers = stacked(settings)
    for setting, stacked_run in zip(settings, zip(outcomes, watchers, strict=True), strict=True):
        assert_same(stacked_run, alone(setting))


@pytest.mark.parametrize("penalty", [name for name in REG.names("penalty") if name != "none"])
@pytest.mark.parametrize("task", ["iris", "diabetes", "multilabel"])
def test_a_stack_equals_its_points_alone_for_every_task_and_penalty(task, penalty):
    settings = [
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
    outcomes, watchers = stacked(settings)
    for setting, stacked_run in zip(settings, zip(outcomes, watchers, strict=True), strict=True):
        assert_same(stacked_run, alone(setting))


def test_many_points_of_several_seeds_with_early_stopping():
    settings = [
        {**DIGITS, "optimizer": ("adam", {"lr": lr}), "repeats": 3, "seed": seed, "stopping": {"patience": 2}}
        for lr, seed in ((0.05, 0), (0.02, 0), (0.01, 3), (0.001, 9))
    ]
    settings = [
        {**setting, "train": {"epochs": 12, "batch_size": 32}, "gradcheck": {"enabled": False}}
        for setting in settings
    ]
    outcomes, watchers = stacked(settings)
    separate = [alone(setting) for setting in settings]
    for stacked_run, single_run in zip(zip(outcomes, watchers, strict=True), separate, strict=True):
        assert_same(stacked_run, single_run)
    lengths = {len(result.history["val/loss"]) for result, _ in separate}
    assert len(lengths) > 1, "the points must stop at different epochs for this to show anything"


def test_a_stack_of_thirty_two_points_equals_its_points_alone():
    """With this many points, batches are gathered in different chunks than for one point."""
    settings = [{**DIGITS, "seed": seed, "gradcheck": {"enabled": False}} for seed in range(32)]
    outcomes, watchers = stacked(settings)
    for i in (0, 13, 31):
        assert_same((outcomes[i], watchers[i]), alone(settings[i]))


class TestEnds:
    def test_a_point_that_diverges_ends_alone_with_the_same_error(self):
        settings = [
            {**DIGITS, "optimizer": ("sgd", {"lr": lr}), "schedule": "cosine", "gradcheck": {"enabled": False}}
            for lr in (0.1, 1e12, 0.05, 1e300)
        ]
        outcomes, watchers = stacked(settings)
        assert [isinstance(outcome, DivergedError) for outcome in outcomes] == [False, True, False, True]
        for setting, outcome, watcher in zip(settings, outcomes, watchers, strict=True):
            assert watcher.outcome is outcome
            if isinstance(outcome, Result):
                assert_same((outcome, watcher), alone(setting))
                continue
            with pytest.raises(DivergedError) as caught:
                alone(setting)
            assert str(caught.value) == str(outcome)
            assert (caught.value.epoch, caught.value.step, caught.value.member) == (
                outcome.epoch,
                outcome.step,
                outcome.member,
            )

    def test_a_point_ends_when_the_first_of_its_seeds_diverges(self):
        settings = [
            {**DIGITS, "optimizer": ("sgd", {"lr": lr}), "repeats": 3, "gradcheck": {"enabled": False}}
            for lr in (1e12, 0.1)
        ]
        outcomes, watchers = stacked(settings)
        with pytest.raises(DivergedError) as caught:
            alone(settings[0])
        assert str(caught.value) == str(outcomes[0])
        assert caught.value.member == outcomes[0].member
        assert_same((outcomes[1], watchers[1]), alone(settings[1]))

    def test_training_ends_when_all_have_diverged(self):
        settings = [{**DIGITS, "optimizer": ("sgd", {"lr": lr})} for lr in (1e12, 1e300)]
        outcomes, watchers = stacked(settings)
        assert all(isinstance(outcome, DivergedError) for outcome in outcomes)
        assert all(not watcher.epochs for watcher in watchers)

    def test_an_observer_that_raises_ends_its_point(self):
        class Prunes(Watcher):
            def on_epoch(self, epoch, metrics):
                super().on_epoch(epoch, metrics)
                if epoch == 2:
                    raise Pruned(epoch, metrics)

        settings = [{**DIGITS, "seed": seed, "gradcheck": {"enabled": False}} for seed in (0, 1)]
        first, second = Prunes(), Watcher()
        outcomes = run_stack(prepared(settings), [first, second])
        assert isinstance(outcomes[0], Pruned)
        assert first.outcome is outcomes[0]
        assert len(first.epochs) == 2
        assert_same((outcomes[1], second), alone(settings[1]))

    def test_a_point_that_cannot_be_recorded_has_failed(self):
        class Full(Watcher):
            def on_end(self, outcome):
                super().on_end(outcome)
                raise OSError("no space left")

        settings = [{**DIGITS, "seed": seed, "gradcheck": {"enabled": False}} for seed in (0, 1)]
        outcomes = run_stack(prepared(settings), [Full(), Watcher()])
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
        settings = [{**DIGITS, "seed": seed} for seed in (0, 1, 2)]
        outcomes, watchers = stacked(settings)
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
        points = prepared([{**DIGITS, "seed": seed} for seed in (0, 1)])
        marked = points[seed].theta[0, 0]

        class Wrong(type(points[0].experiment.derivation)):
            native = False

            def gradients(self, trace):
                gradients = trace.backprop()
                if trace.W[1][0, 0] == marked:
                    gradients["W1"][0] *= 1.001
                return gradients

        points = prepared([{**DIGITS, "seed": seed, "derivation": Wrong()} for seed in (0, 1)])
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
        point, changed = prepared([DIGITS, {**DIGITS, **changes}])
        assert stacking_key(point) != stacking_key(changed)

    def test_points_with_other_data_are_not_stacked(self):
        (first,), (second,) = prepared([DIGITS]), prepared([DIGITS])
        assert stacking_key(first) != stacking_key(second)

    def test_an_optimizer_that_takes_no_arrays_is_not_stacked(self):
        class Plain(Optimizer):
            def step(self, theta, grad, state, t, lr, work):
                theta -= float(lr) * grad

        points = prepared([{**DIGITS, "optimizer": Plain(lr)} for lr in (0.1, 0.2, 0.1)])
        assert stacking_key(points[0]) != stacking_key(points[1])
        assert stacking_key(points[0]) == stacking_key(points[2])
