"""The public names of backproof are lazy, complete, and not shadowed by a module."""

import subprocess
import sys

import pytest

MODULES = """
import sys, backproof
assert {name for name in sys.modules if name.startswith("backproof")} == {"backproof"}
assert "numpy" not in sys.modules
assert set(backproof.__all__) <= set(dir(backproof))
"""
NAMES = """
import importlib, inspect, pkgutil, sys
import backproof

for module in pkgutil.walk_packages(backproof.__path__, "backproof."):
    if module.name != "backproof.__main__" and not module.name.startswith("backproof.plugins."):
        importlib.import_module(module.name)
from backproof import contracts

for name in backproof.__all__:
    value = getattr(backproof, name)
    assert not inspect.ismodule(value), name
    if name != "__version__":
        assert value.__module__.startswith("backproof.gradcheck.") or value is getattr(contracts, name), name
"""


@pytest.mark.slow
@pytest.mark.parametrize("code", [MODULES, NAMES], ids=["importing is lazy", "no module has a public name"])
def test_public_names(code):
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr


def test_every_base_class_of_a_kind_is_public():
    import backproof
    from backproof.contracts import KINDS

    assert {base.__name__ for base in KINDS.values()} <= set(backproof.__all__)


def test_an_unknown_name_is_an_attribute_error():
    import backproof

    with pytest.raises(AttributeError, match="module 'backproof' has no attribute 'chekc'"):
        _ = backproof.chekc
