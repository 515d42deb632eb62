"""Training: learning, stacks of seeds, early stopping, divergence."""

import numpy as np
import pytest
from backproof.contracts.errors import DivergedError, InvalidValue
from backproof.data import Batches
from backproof.discovery.registry import registry
from backproof.nn.training import Update, slice_members, train

from tests.helpers.experiments import Watcher, experiment, run, run_prepared

REG = registry()


class TestLearning:
    @pytest.mark.parametrize("optimizer", REG.names("optimizer"))
    def test_every_optimizer_lowers_the_loss(self, optimizer):
        # The small learning rates of the papers would need too many steps for a test.
        faster = {"lion": {"lr": 3e-3}, "adadelta": {"lr": 10.0}, "adagrad": {"lr": 0.1}}.get(optimizer)
        chosen = (optimizer, faster or ({} if optimizer in ("sgd", "adadelta") else {"lr": 1e-2}))
        losses = run(optimizer=chosen, train={"epochs": 20}).history["train/loss"]
        assert losses[-1][0] < 0.7 * losses[0][0]

    @pytest.mark.parametrize("dataset", ["diabetes", "multilabel", "moons", "linnerud"])
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_every_task_has_a_loss_and_metrics(self, dataset, dtype):
        result = run(
            dataset=dataset,
            optimizer=("adam", {"lr": 0.01}),
            train={"epochs": 30, "dtype": dtype, "batch_size": 8},
        )
        assert result.report.passed
        assert result.theta.dtype == dtype
        assert result.history["train/loss"][-1][0] < result.history["train/loss"][0][0]
        assert len(result.final) == 3 * (1 + len(result.prepared.metrics))

    @pytest.mark.slow
    def test_a_linear_model_finds_the_least_squares_solution(self):
        """Without hidden layers and shuffling, the optimum is known in closed form."""
        result = run(
            dataset="diabetes",
            hidden=(),
            optimizer=("sgd", {"lr": 0.3, "momentum": 0.9}),
            train={"epochs": 3_000, "batch_size": None},
        )
        data = result.prepared.data
        X = np.c_[data.train.X, np.ones(len(data.train))]
        solution, *_ = np.linalg.lstsq(X, data.scaler.transform_y(data.train.y)[:, 0], rcond=None)
        np.testing.assert_allclose(result.theta[0], solution, rtol=1e-4, atol=1e-4)

    def test_the_same_seed_gives_the_same_bits(self):
        first, second = run(seed=3), run(seed=3)
        np.testing.assert_array_equal(first.theta, second.theta)
        assert not np.array_equal(first.theta, run(seed=4).theta)

    def test_all_samples_are_used_with_a_short_last_batch(self):
        prepared = experiment(train={"epochs": 1, "batch_size": 16}).prepare(REG)
        assert prepared.batches.N % 16 != 0
        seen = np.zeros(prepared.batches.N)
        rows = {tuple(row): i for i, row in enumerate(prepared.data.train.X.round(9))}
        for chunk in prepared.batches:
            for slot in chunk.slots:
                for row in slot.x[0, :, :-1].round(9):
                    seen[rows[tuple(row)]] += 1
        # Identical rows of iris count as one.
        assert seen.sum() == prepared.batches.N


class TestStacks:
    @pytest.mark.parametrize("optimizer", REG.names("optimizer"))
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_a_member_equals_a_run_with_its_seed_alone(self, optimizer, dtype):
        settings = {
            "optimizer": optimizer,
            "train": {"epochs": 2, "dtype": dtype},
            "penalty": "l2",
            "hidden": (7, 5),
        }
        stack = run(seed=5, repeats=3, **settings)
        for r in range(3):
            alone = run(seed=5 + r, **settings)
            np.testing.assert_array_equal(stack.theta[r], alone.theta[0])
            for name, values in alone.history.items():
                np.testing.assert_array_equal([v[r] for v in stack.history[name]], [v[0] for v in values])
            for name, values in alone.final.items():
                assert stack.final[name][r] == values[0]

    def test_on_the_network_of_the_homework(self):
        settings = {"dataset": "digits", "hidden": (32,), "train": {"epochs": 2, "batch_size": 32}}
        stack = run(repeats=5, **settings)
        np.testing.assert_array_equal(stack.theta[4], run(seed=4, **settings).theta[0])

    def test_means_and_standard_deviations(self):
        stack = run(repeats=4)
        values = stack.final["val/loss"]
        assert stack.summary["val/loss"] == pytest.approx(values.mean())
        assert stack.summary["val/loss_std"] == pytest.approx(np.std(values, ddof=1))
        assert "val/loss_std" not in run().summary

    @pytest.mark.parametrize("block", [1, 7, 64, 1000])
    def test_blocks_of_the_update_change_nothing(self, block):
        rng = np.random.default_rng(0)
        theta, grads = rng.standard_normal((3, 50)), rng.standard_normal((4, 3, 50))
        mask = (np.arange(50) % 3 > 0).astype(float)
        results = []
        for size in (1 << 16, block):
            updated, grad = theta.copy(), np.empty_like(theta)
            update = Update(
                REG.build("optimizer", "adam"), REG.build("penalty", "elastic_net"), updated, grad, mask, size
            )
            for t, step_grad in enumerate(grads, start=1):
                grad[...] = step_grad
                update(t, 0.5)
            results.append(updated)
        np.testing.assert_array_equal(*results)

    def test_hyperparameters_of_a_stack_are_sliced_with_it(self):
        optimizer = REG.build("optimizer", "sgd", {"lr": np.array([[0.1], [0.2], [0.3]])})
        assert slice_members(optimizer, slice(1, 2)).lr.tolist() == [[0.2]]
        assert slice_members(REG.build("optimizer", "sgd"), slice(0, 1)).lr == 0.1


class TestEarlyStopping:
    def test_keeps_the_best_epoch_of_each_member(self):
        settings = {"optimizer": ("adam", {"lr": 0.05}), "train": {"epochs": 60}, "stopping": {"patience": 4}}
        stack = run(repeats=3, **settings)
        assert len(set(stack.epochs)) > 1
        for r in range(3):
            losses = [v[r] for v in stack.history["val/loss"][: stack.epochs[r]]]
            assert stack.best_epochs[r] == 1 + int(np.argmin(losses))
            assert stack.epochs[r] in (60, stack.best_epochs[r] + 4)
            assert stack.final["val/loss"][r] == pytest.approx(min(losses), rel=1e-12)
            alone = run(seed=r, **settings)
            assert alone.epochs[0] == stack.epochs[r]
            np.testing.assert_array_equal(alone.theta[0], stack.theta[r])

    def test_monitors_a_metric_that_is_maximized(self):
        result = run(train={"epochs": 40}, stopping={"patience": 5, "monitor": "val/accuracy"})
        accuracies = [v[0] for v in result.history["val/accuracy"]]
        assert result.best_epochs[0] == 1 + int(np.argmax(accuracies))

    def test_an_unknown_metric_cannot_be_monitored(self):
        with pytest.raises(InvalidValue, match=r"one of train/loss, val/loss, val/accuracy"):
            experiment(stopping={"patience": 1, "monitor": "val/acc"}).prepare(REG)
        with pytest.raises(InvalidValue, match=r"one of train/loss, got"):
            experiment(stopping={"patience": 1}, data={"val_size": 0.0}).prepare(REG)


class TestDivergence:
    def test_names_epoch_step_and_rate(self):
        with pytest.raises(
            DivergedError, match=r"became (nan|inf) in epoch 1, step \d+, at learning rate 1e\+12"
        ) as caught:
            run(optimizer=("sgd", {"lr": 1e12}), dataset="digits", train={"epochs": 3})
        assert caught.value.epoch == 1
        assert 1 < caught.value.step <= 68

    def test_the_step_is_the_first_whose_loss_is_not_finite(self):
        prepared = experiment(optimizer=("sgd", {"lr": 1e300})).prepare(REG)
        theta = prepared.theta.copy()
        e = prepared.experiment
        with pytest.raises(DivergedError) as caught:
            train(
                prepared.net,
                theta,
                prepared.batches,
                epochs=1,
                optimizer=e.optimizer,
                schedule=e.schedule,
                penalty=e.penalty,
                after_epoch=lambda *_: True,
            )
        assert caught.value.step == 2  # the first step's loss is that before any update

    def test_the_last_step_of_an_epoch_shows_in_validation(self):
        watcher = Watcher()
        diverging = experiment(optimizer=("sgd", {"lr": 1e300}), train={"epochs": 1, "batch_size": None})
        with pytest.raises(DivergedError) as caught:
            run_prepared(diverging.prepare(REG), watcher)
        assert (caught.value.epoch, caught.value.step) == (1, 1)

    def test_the_named_rate_includes_the_schedule(self):
        with pytest.raises(DivergedError, match=r"learning rate 2e\+299"):
            run(
                optimizer=("sgd", {"lr": 1e300}),
                train={"epochs": 10, "batch_size": None},
                schedule=("warmup_cosine", {"warmup": 0.5}),
            )


def test_no_step_allocates_an_array():
    """The memory that an epoch allocates stays far below the size of the parameters."""
    import tracemalloc

    rng = np.random.default_rng(0)
    prepared = experiment(dataset="digits", hidden=(512,), optimizer="adam", train={"batch_size": 64}).prepare(
        REG
    )
    theta, e = prepared.theta.copy(), prepared.experiment
    peaks = []

    def after_epoch(epoch, losses):
        if epoch == 1:
            tracemalloc.start()
        else:
            peaks.append(tracemalloc.get_traced_memory()[1])
        return True

    batches = Batches(prepared.data.train.X, prepared.y, 64, [rng], np.float64)
    train(
        prepared.net,
        theta,
        batches,
        epochs=2,
        optimizer=e.optimizer,
        schedule=e.schedule,
        penalty=e.penalty,
        after_epoch=after_epoch,
    )
    tracemalloc.stop()
    assert peaks[0] < theta.nbytes / 2
