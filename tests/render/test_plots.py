"""Plots are drawn from any values that a run may have, without warnings and without pyplot."""

import subprocess
import sys

import numpy as np
import pytest
from backproof.render import plots

PNG = b"\x89PNG\r\n\x1a\n"


def size(png: bytes) -> tuple[int, int]:
    assert png.startswith(PNG)
    return int.from_bytes(png[16:20]), int.from_bytes(png[20:24])


def figures(monkeypatch) -> list:
    """Return a list that collects the figures drawn from now on."""
    drawn = []
    original = plots._png
    monkeypatch.setattr(plots, "_png", lambda figure: drawn.append(figure) or original(figure))
    return drawn


@pytest.mark.slow
def test_learning_curves_have_a_panel_for_each_metric(monkeypatch):
    drawn = figures(monkeypatch)
    curve = [(1 / (1 + i), 0.1) for i in range(10)]
    plots.learning_curves({"val/accuracy": curve, "train/loss": curve, "val/loss": curve})
    (figure,) = drawn
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["loss", "accuracy"]
    loss = figure.axes[0]
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["train", "val"]
    assert len(loss.collections) == 2  # the bands of the deviations
    np.testing.assert_array_equal(loss.lines[0].get_xdata(), np.arange(1, 11))
    np.testing.assert_allclose(loss.lines[0].get_ydata(), [1 / (1 + i) for i in range(10)])


@pytest.mark.slow
@pytest.mark.parametrize(
    "history",
    [
        {},
        {"train/loss": []},
        {"train/loss": [(1.0, None)]},
        {"train/loss": [(1.0, None), (float("nan"), None), (float("inf"), None)]},
        {"train/loss": [(0.0, 0.0)] * 3},
        {"loss": [(1e300, None), (1e-300, None)]},
        {f"val/metric_{i}": [(i, 0.1), (i, 0.2)] for i in range(7)},
    ],
    ids=["none", "no epochs", "one epoch", "not finite", "zero", "wide", "many"],
)
def test_learning_curves_of_odd_histories(history):
    size(plots.learning_curves(history))


@pytest.mark.slow
@pytest.mark.parametrize("classes", [1, 2, 3, 10, 26, 100])
def test_confusion_matrix_of_any_size(classes):
    rng = np.random.default_rng(classes)
    matrix = rng.integers(0, 9, (classes, classes))
    matrix[0] = 0  # A class that does not occur.
    width, height = size(plots.confusion_matrix(matrix, [f"a long name of {i}" for i in range(classes)]))
    assert max(width, height) < 1600


def test_confusion_matrix_shows_counts_and_shares_of_rows(monkeypatch):
    drawn = figures(monkeypatch)
    plots.confusion_matrix(np.array([[3, 1], [0, 8]]), ["no", "yes"])
    axes = drawn[0].axes[0]
    assert sorted(text.get_text() for text in axes.texts) == ["1", "3", "8"]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.75, 0.25], [0, 1]])
    assert axes.get_title(loc="left") == "91.7% of 12 right"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")


def test_no_label_is_cut_off(monkeypatch):
    drawn = figures(monkeypatch)
    plots.confusion_matrix(np.eye(10, dtype=int), [f"a class {i}" for i in range(10)])
    (figure,) = drawn
    for axes in figure.axes:
        box = axes.get_tightbbox()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1


def test_confusion_matrix_that_does_not_fit_its_names():
    with pytest.raises(ValueError, match=r"3 names must be \(3, 3\), got \(2, 2\)"):
        plots.confusion_matrix(np.eye(2), ["a", "b", "c"])


@pytest.mark.slow
@pytest.mark.parametrize("targets", [1, 3, 4, 8])
def test_residuals(targets):
    truth = np.random.default_rng(0).normal(size=(50, targets))
    size(plots.residuals(truth + 0.1, truth, [f"y{i}" for i in range(targets)]))


def test_residuals_of_odd_values(monkeypatch):
    drawn = figures(monkeypatch)
    truth = np.array([[1.0, 2.0], [1.0, 2.0]])
    plots.residuals(np.array([[1.0, np.nan], [1.0, np.inf]]), truth, ["$constant", "none finite"])
    assert drawn[0].axes[0].get_title(loc="left").endswith("RMSE 0")
    assert "RMSE" not in drawn[0].axes[1].get_title(loc="left")


def test_label_rates_counts(monkeypatch):
    drawn = figures(monkeypatch)
    truth = np.array([[1, 0], [1, 1], [0, 0]])
    prediction = np.array([[0.9, 0.1], [0.4, 0.8], [0.7, 0.2]])
    plots.label_rates(prediction, truth, ["one", "two"])
    widths = [[bar.get_width() for bar in group] for group in drawn[0].axes[0].containers]
    assert widths == [[1, 1], [1, 0], [1, 0]]  # true positives, false negatives, false positives


@pytest.mark.slow
def test_the_module_imports_neither_pyplot_nor_matplotlib():
    code = (
        "import sys, backproof.render.plots as p; assert 'matplotlib' not in sys.modules;"
        "p.learning_curves({'train/loss': [(1.0, None)]}); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
