"""Conditional search spaces, which are plugins."""

import json
from pathlib import Path

import pytest
from backproof.conformance.runner import outcomes
from backproof.contracts import Space
from backproof.contracts.errors import PluginError
from backproof.discovery.entry import Entry
from backproof.discovery.registry import registry
from backproof.sweeps.suggest import explore, point

from tests.helpers.sweeps import children, interrupt_at, parents, sweep

SPACE = ["sweep.space=optimizers"]
HEAD = """from dataclasses import dataclass
from backproof.contracts import Space

@dataclass(frozen=True)
class Mine(Space):
    def overrides(self, trial):
"""


@pytest.fixture
def mine(workdir, tmp_path_factory, monkeypatch):
    """Return a function that writes a user's space with a given method body."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "space").mkdir()
    monkeypatch.setenv("BACKPROOF_PLUGINS", str(folder))

    def write(*lines):
        body = "".join(f"        {line}\n" for line in lines)
        (folder / "space/mine.py").write_text(HEAD + body)
        registry.cache_clear()

    yield write
    registry.cache_clear()


def chosen(parent):
    return [child.data.params for child in children(parent)]


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_points_have_the_keys_of_their_choice(workdir, sampler):
    assert sweep(*SPACE, f"sweep.sampler={sampler}", "sweep.n_trials=5", "activation=relu,tanh") == 0
    (parent,) = parents()
    params_by_run = chosen(parent)
    assert len(params_by_run) == 5
    assert {params["optimizer"] for params in params_by_run} == {"sgd", "adam"}
    for params in params_by_run:
        assert ("optimizer.momentum" in params) == (params["optimizer"] == "sgd")
        assert ("optimizer.beta1" in params) == (params["optimizer"] == "adam")
    assert len({params["optimizer.lr"] for params in params_by_run}) == 5
    assert parent.data.params["sweep.space"] == "optimizers"
    assert parent.data.params["space.sgd.lr"] == "0.001 to 1, logarithmic"
    assert "optimizer.beta2" in parent.data.params["sweep.over"]


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_search_of_a_space_is_resumed(workdir, monkeypatch, sampler):
    overrides = [*SPACE, f"sweep.sampler={sampler}", "sweep.n_trials=4"]
    with monkeypatch.context() as patch:
        interrupt_at(patch, 3, KeyboardInterrupt())
        assert sweep(*overrides) == 130
    assert sweep(*overrides) == 0
    (parent,) = parents()
    assert parent.info.status == "FINISHED"
    done = children(parent, "FINISHED")
    trials = [json.dumps(json.loads(run.data.tags["backproof.trial"]), sort_keys=True) for run in done]
    assert len(set(trials)) == len(trials) == 4


@pytest.mark.slow
def test_a_changed_space_file_is_another_sweep(mine, capsys):
    mine("return {'optimizer.lr': trial.suggest_float('lr', 0.1, 0.2)}")
    overrides = ["sweep.space=mine", "sweep.sampler=tpe", "sweep.n_trials=1"]
    assert sweep(*overrides) == 0
    mine("return {'optimizer.lr': trial.suggest_float('rate', 0.1, 0.3)}")
    assert sweep(*overrides, "sweep.resume=last") == 2
    assert "same space" in capsys.readouterr().err


BAD = {
    "a list": ("return ['optimizer.lr=1']", "a mapping from keys to values"),
    "nothing": ("pass", "a mapping from keys to values"),
    "a key that is none": ("return {'a b': trial.suggest_int('n', 1, 2)}", "a key of the config"),
    "an unknown key": (
        "return {'optimizer.lrr': trial.suggest_float('lr', 0.1, 1)}",
        "did you mean optimizer.lr",
    ),
    "a key of the sweep": ("return {'sweep.seed': trial.suggest_int('n', 1, 2)}", "no key of sweep"),
    "another's key": (
        "return {'dataset': trial.suggest_categorical('d', ['wine'])}",
        "also given on the command",
    ),
    "no number": (
        "return {'optimizer.lr': float('nan') * trial.suggest_float('lr', 0, 1)}",
        "a finite number",
    ),
    "an object": ("trial.suggest_int('n', 1, 2); return {'optimizer.lr': self}", "text, a finite number"),
    "ends in the wrong order": ("return {'optimizer.lr': trial.suggest_float('lr', 2, 1)}", "lower one"),
    "a logarithm of 0": ("return {'optimizer.lr': trial.suggest_float('lr', 0, 1, log=True)}", "above 0"),
    "no choices": ("return {'optimizer': trial.suggest_categorical('o', [])}", "one choice or more"),
    "two ranges of one name": (
        "return {'optimizer.lr': trial.suggest_float('x', 1, 2), 'seed': trial.suggest_int('x', 1, 3)}",
        "what it was before",
    ),
    "no suggestion": ("return {'optimizer.lr': 0.1}", "requests no suggestion"),
    "its own mistake": ("return {'optimizer.lr': 1 / (trial.suggest_int('n', 0, 2))}", "ZeroDivisionError"),
    "out of bounds in one branch": (
        "o = trial.suggest_categorical('o', ['sgd', 'adam', 'lion']); "
        "return {'optimizer': o, 'optimizer.lr': -1.0 if o == 'lion' else 0.1}",
        "optimizer.lr: got -1.0",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BAD)
def test_a_bad_space_is_an_error_before_anything_is_written(mine, workdir, capsys, name):
    body, expected = BAD[name]
    mine(body)
    assert sweep("sweep.space=mine", "sweep.sampler=tpe", "sweep.n_trials=2") == 2
    error = capsys.readouterr().err
    assert expected in error, error
    assert "Traceback" not in error
    assert not list(workdir.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["sweep.space=optimizers"], "none, since a grid takes every value"),
        (["sweep.space=optimisers", "sweep.sampler=random", "sweep.n_trials=2"], "did you mean optimizers"),
        (["sweep.space=3", "sweep.sampler=random", "sweep.n_trials=2"], "the name of a space"),
        (["sweep.space={name:optimizers,low:1}", "sweep.sampler=tpe", "sweep.n_trials=2"], "no hyperparameter"),
    ],
)
def test_a_wrong_space_name(workdir, capsys, overrides, expected):
    assert sweep(*overrides) == 2
    assert expected in capsys.readouterr().err
    assert not list(workdir.iterdir())


def test_values_are_written_so_that_hydra_reads_them_back():
    class Odd(Space):
        def overrides(self, trial):
            trial.suggest_int("n", 1, 2)
            return {"a.b": "it's, 1", "c": [1, 2.5, "x"], "d": None, "e": True, "f": "null", "g": 1e-5}

    values, _ = point(Odd(), lambda name, domain: 1)
    assert values == [r"a.b='it\'s, 1'", "c=[1,2.5,x]", "d=null", "e=true", "f='null'", "g=1e-05"]


def test_every_branch_is_explored():
    class Tree(Space):
        def overrides(self, trial):
            a = trial.suggest_categorical("a", ["x", "y"])
            b = trial.suggest_categorical("b", [1, 2, 3]) if a == "y" else 0
            return {"a": a, "b": b, "c": trial.suggest_float("c", 0, 1)}

    points = {tuple(overrides) for overrides, _ in explore(Tree())}
    assert points == {
        (f"a={a}", f"b={b}", f"c={c}") for a, b in [("x", 0), ("y", 1), ("y", 2), ("y", 3)] for c in (0.0, 1.0)
    }


def test_the_conformance_checks_reject_wrong_spaces():
    state = iter(range(10**6))

    class Wrong(Space):
        def overrides(self, trial):
            lr = trial.suggest_float("lr", 0.1, 1)
            return {"optimizer": "adam", "optimizer.momentum": lr + next(state)}

    entry = Entry("space", "wrong", Path("wrong.py"))
    entry.cls = Wrong
    wrong = {outcome.check for outcome in outcomes(entry) if not outcome.passed}
    assert wrong == {"check_repeatable", "check_plugins"}


def test_a_point_that_cannot_be_rebuilt_is_an_error():
    from backproof.sweeps.space import conditional

    space = conditional("optimizers", registry())
    with pytest.raises(PluginError, match=r"sgd\.momentum"):
        space.again({"optimizer": "sgd"})
