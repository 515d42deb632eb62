"""The tree of errors: complete, drawn correctly in its docstring, and picklable."""

import importlib
import inspect
import pickle
import pkgutil

import backproof
import pytest
from backproof.contracts import errors
from backproof.contracts.errors import BackproofError, DivergedError, InvalidValue, PluginError

#: Exceptions that steer a run and never reach the user, or carry the traceback of another one.
STEERING = {"Pruned", "Rejected", "RemoteTraceback", "Terminated", "WorkerDied"}


def exceptions():
    found = {}
    for module in pkgutil.walk_packages(backproof.__path__, "backproof."):
        if module.name != "backproof.__main__" and not module.name.startswith("backproof.plugins."):
            members = vars(importlib.import_module(module.name)).values()
            found |= {
                each.__name__: each
                for each in members
                if inspect.isclass(each)
                and issubclass(each, BaseException)
                and not issubclass(each, Warning)
                and each.__module__.startswith("backproof.")
            }
    return found


def test_every_exception_is_in_the_tree():
    found = exceptions()
    assert found.keys() >= STEERING
    outside = {name for name, each in found.items() if not issubclass(each, BackproofError)}
    assert outside == STEERING
    drawn = {line.split()[1] for line in errors.__doc__.splitlines() if line.startswith(("    ├", "    └"))}
    assert drawn == found.keys() - STEERING - {"BackproofError"}
    for name in drawn:
        (line,) = [line for line in errors.__doc__.splitlines() if f" {name} " in line]
        bases = [base.__name__ for base in found[name].__bases__ if base is not BackproofError]
        assert line.rpartition(" also a")[2].split()[-1] == bases[0] if bases else " also " not in line


@pytest.mark.parametrize(
    "error",
    [
        InvalidValue("optimizer.lr", -1, "> 0"),
        DivergedError(2, 7, 0.5, 1, float("inf")),
        PluginError("no such"),
    ],
)
def test_an_error_survives_pickling(error):
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 -- our own bytes
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert copy.explain() == error.explain()
    assert vars(copy) == vars(error)


def test_an_error_explains_itself():
    error = InvalidValue("model.hidden", [0, 3], "a list of numbers >= 1")
    assert error.explain() == "model.hidden: got [0,3], expected a list of numbers >= 1"
    assert (error.key, error.exit_code) == ("model.hidden", 2)
    diverged = DivergedError(2, 7, 0.5, 1, float("inf"))
    assert diverged.explain().splitlines()[0].startswith("diverged: the loss became inf in epoch 2, step 7")
    assert "lower optimizer.lr" in diverged.explain().splitlines()[1]
    assert diverged.exit_code == 1
