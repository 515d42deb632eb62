"""The benchmark of sweeps: what it times is there, and its grids have the points they are to have."""

import importlib
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module
    for name in ("sweep", "sweep_where"):
        sys.modules.pop(name, None)


def test_everything_that_is_timed_is_there(module):
    where = module("sweep_where")
    for addresses in where.PARTS.values():
        for address in addresses:
            assert callable(getattr(where.find(address)[2], "__func__", where.find(address)[2])), address


def test_times_leave_out_what_is_timed_inside(module, monkeypatch):
    where = module("sweep_where")
    ticks = iter([0.0, 1.0, 4.0, 10.0])
    monkeypatch.setattr(where.time, "perf_counter", lambda: next(ticks))
    clock = where.Clock()
    inner = clock.timed("inner", lambda: None)
    clock.timed("outer", inner)()
    assert dict(clock.seconds) == {"inner": 3.0, "outer": 7.0}


@pytest.mark.parametrize("points", [1, 3, 5, 10, 20, 60, 200])
def test_a_grid_has_as_many_points_as_are_asked_for(module, points):
    seeds, rates, decays = module("sweep").Grid(points).lists
    assert len(seeds) * len(rates) * len(decays) == points
    assert len(set(seeds)) == len(seeds)


def test_a_number_of_points_that_makes_no_grid(module):
    with pytest.raises(SystemExit, match="multiple of 20"):
        module("sweep").Grid(30)
