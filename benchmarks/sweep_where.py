"""For benchmarks/sweep.py --where: a sweep in this process, with timers around its parts.

    python benchmarks/sweep_where.py POINTS train -m KEY=VALUE,VALUE ...

Times exclude timed parts within them: an evaluation during training counts as evaluation. A name that no longer
exists is an error, which tests/benchmarks/test_sweep.py detects.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

#: The lines of the table, each with the functions that it times.
PARTS = {
    "composing configs": [
        "hydra._internal.config_loader_impl:ConfigLoaderImpl.load_sweep_config",
        "backproof.sweeps.compose:Composer.__call__",
        "backproof.sweeps.compose:ConfigTemplate.at",
    ],
    "building experiments, loading data": ["backproof.app.session:Session.prepare"],
    "checking gradients": ["backproof.experiment.run:_Point.check"],
    "training": ["backproof.nn.training:train"],
    "evaluating": ["backproof.nn.evaluation:Evaluation.__call__"],
    "recording: opening the store": ["backproof.tracking.store:Store.open"],
    "recording: starting runs": ["backproof.tracking.store:Store.start", "backproof.tracking.run:Run.dataset"],
    "recording: metrics and tags": [
        *(f"backproof.tracking.run:Run.{name}" for name in ("metrics", "flush", "tags")),
    ],
    "recording: copying files": [f"backproof.tracking.run:Run.{name}" for name in ("file", "folder", "text")],
    "recording: ending runs": ["backproof.tracking.run:Run.finish"],
    "recording: waiting for its process": ["backproof.app.session:Session.wait_until_written"],
    "recording: sending to its process": ["backproof.tracking.writer_process:Writer.send"],
    "weights": ["backproof.nn.model_io:save"],
    "the model of the best run": ["backproof.tracking.run:Run.model"],
    "pictures": ["backproof.render.plots:learning_curves", "backproof.render.plots:confusion_matrix"],
    "other files of a run": [
        "backproof.tracking.recorder:Recording.__enter__",
        "backproof.tracking.recorder:Recording.on_end",
    ],
    "configs of stacked points": ["backproof.sweeps.yaml_file:write"],
    "Hydra's jobs": ["hydra.core.utils:run_job"],
    "the report page": ["backproof.report.build:build"],
}
IMPORTS = (
    "backproof.cli.train",
    "mlflow.tracking.client",
    "matplotlib.figure",
    "sklearn.datasets",
    "hydra.main",
)


class Clock:
    """Seconds by name, each without the timed parts within it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)
        self._inside: list[float] = []

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with a timer around it."""

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self._inside.append(0.0)
            started = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                took = time.perf_counter() - started
                self.seconds[name] += took - self._inside.pop()
                self.calls[name] += 1
                if self._inside:
                    self._inside[-1] += took

        return wrapped


def find(address: str) -> tuple[Any, str, Any]:
    """Return the owner of a function, its name there, and the attribute itself, which may be a classmethod."""
    module, _, path = address.partition(":")
    owner: Any = importlib.import_module(module)
    *classes, name = path.split(".")
    for cls in classes:
        owner = getattr(owner, cls)
    return owner, name, vars(owner)[name]


def put(clock: Clock, name: str, address: str) -> None:
    """Put a timer around a function, in its module and in those that have imported it."""
    owner, attribute, function = find(address)
    if isinstance(function, classmethod):
        setattr(owner, attribute, classmethod(clock.timed(name, function.__func__)))
        return
    timed = clock.timed(name, function)
    setattr(owner, attribute, timed)
    for module in [module for key, module in sys.modules.items() if key.startswith(("backproof", "hydra"))]:
        for key, value in list(vars(module).items()):
            if value is function:
                setattr(module, key, timed)


def main() -> None:
    """Run the sweep and print where its time went."""
    points, arguments = int(sys.argv[1]), sys.argv[2:]
    started = time.perf_counter()
    # Everything that a sweep imports, so that it does not count for the part that comes first.
    for module in (
        "backproof.cli.train",
        "mlflow.tracking.client",
        "matplotlib.figure",
        "sklearn.datasets",
        "hydra.main",
    ):
        importlib.import_module(module)
    imports = time.perf_counter() - started
    clock = Clock()
    for name, addresses in PARTS.items():
        for address in addresses:
            put(clock, name, address)
    from backproof.cli.main import main as backproof

    started = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        code = backproof(arguments)
    elapsed = time.perf_counter() - started
    if code:
        raise SystemExit(f"the sweep ended with {code}")
    rows = [("imports", imports, 1)]
    rows += [(name, clock.seconds[name], clock.calls[name]) for name in PARTS]
    rows.append(("the rest", elapsed - sum(clock.seconds.values()), 1))
    total = imports + elapsed
    print(f"{points} points, {total:.1f} s with timers\n")
    for name, seconds, calls in rows:
        print(
            f"  {name:36}{seconds:7.2f} s {seconds / total:6.1%}{seconds / points * 1000:8.1f} ms per point"
            f"   {calls} calls"
        )


if __name__ == "__main__":
    main()
