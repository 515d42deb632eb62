"""Choose points with Optuna: a thin layer over its ask-and-tell interface, with a journal file as storage."""

from __future__ import annotations

import contextlib
import importlib.util
import warnings
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from backproof.app.session import NullObserver
from backproof.app.sweep_options import ADAPTIVE, GRID, NO_PRUNER, SweepOptions
from backproof.contracts.errors import InvalidValue
from backproof.nn.training import Pruned
from backproof.sweeps.objective import Objective
from backproof.sweeps.planned_job import Trials
from backproof.sweeps.result import PRUNED, RunResult
from backproof.sweeps.space import Space
from backproof.sweeps.suggest import Domain, Interval, point

STUDY = "backproof"
#: The module and package that a sampler needs in addition to Optuna.
NEEDS = {"cmaes": ("cmaes", "cmaes"), "gp": ("torch", "torch")}
#: Samplers that take one objective only.
SINGLE_OBJECTIVE = ("cmaes",)


def check(options: SweepOptions, space: Space, objectives: int) -> None:
    """Raise InvalidValue where these options do not fit the space."""
    if options.pruner != NO_PRUNER and objectives > 1:
        raise InvalidValue("sweep.pruner", options.pruner, "none, where there are several objectives")
    if options.sampler == GRID:
        if space.conditional is not None:
            expected = (
                "none, since a grid takes every value\nFor the samplers: sweep.sampler=tpe sweep.n_trials=50"
            )
            raise InvalidValue("sweep.space", space.conditional.plugin.name, expected)
        return
    if not space.axes and space.conditional is None:
        raise InvalidValue("sweep.sampler", options.sampler, "a space to search: optimizer.lr=interval(0.01,1)")
    adaptive = options.sampler in ADAPTIVE
    if options.n_trials is None and not (adaptive and options.timeout is not None):
        raise InvalidValue(
            "sweep.n_trials", None, f"how many points sweep.sampler={options.sampler} shall take"
        )
    module, package = NEEDS.get(options.sampler, (None, None))
    if module and importlib.util.find_spec(module) is None:
        raise InvalidValue(
            "sweep.sampler", options.sampler, f"another, or the package it needs: pip install {package}"
        )
    if objectives > 1 and options.sampler in SINGLE_OBJECTIVE:
        raise InvalidValue("sweep.sampler", options.sampler, "tpe, nsga2 or gp for several objectives")


def draw(space: Space, options: SweepOptions) -> list[dict[str, Any]]:
    """Return the points of a sampler that ignores results. A larger n_trials extends the same sequence."""
    import optuna

    with _quiet():
        study = optuna.create_study(sampler=_sampler(options, options.seed))
        drawn: list[dict[str, Any]] = []
        for _ in range(options.n_trials or 0):
            trial = study.ask(_distributions(space))
            _choose(space, trial)
            study.tell(trial, 0.0)
            drawn.append(trial.params)
    return drawn


class Study:
    """An Optuna study in a journal file, which other processes can open too."""

    def __init__(self, file: Path, space: Space, options: SweepOptions, wanted: Sequence[Objective]) -> None:
        import optuna

        self.file, self.space, self.options, self.wanted = file, space, options, wanted
        self.prunes = options.pruner != NO_PRUNER
        with _quiet():
            storage = _storage(file)
            self.study = optuna.create_study(
                storage=storage,
                study_name=STUDY,
                load_if_exists=True,
                directions=[optuna.study.StudyDirection[objective.direction.upper()] for objective in wanted],
                sampler=_sampler(options, options.seed),
                pruner=_pruner(options.pruner),
            )

    def settle(self, known: Sequence[RunResult]) -> list[dict[str, Any]]:
        """Make the study agree with the finished runs: close its open trials and add those that it lacks.

        Return the parameters of the trials without a result, each once.
        """
        import optuna

        State = optuna.trial.TrialState
        lost: list[dict[str, Any]] = []
        seen: list[dict[str, Any]] = []
        with _quiet():
            for trial in self.study.get_trials(deepcopy=False):
                run = next((run for run in known if run.planned.params == trial.params), None)
                if trial.state in (State.RUNNING, State.WAITING):
                    self.tell(trial.number, run)
                if run is None and trial.params and trial.params not in lost:
                    lost.append(trial.params)
                seen.append(trial.params)
            for run in known:
                if run.planned.params not in seen:
                    self._add(run)
            if seen or known:
                # Otherwise a continued search would repeat its first draws.
                state = np.random.SeedSequence([self.options.seed, len(seen) + len(known)]).generate_state(1)
                self.study.sampler = _sampler(self.options, int(state[0]))
        return lost

    def _add(self, run: RunResult) -> None:
        import optuna

        state, values = self._state(run)
        params = run.planned.params
        trial = optuna.trial.create_trial(
            state=state, params=params, distributions=_distributions(self.space, params), values=values
        )
        self.study.add_trial(trial)

    def _state(self, run: RunResult | None) -> tuple[Any, list[float] | None]:
        """Return the state of a run's trial, and its values if it is complete."""
        from optuna.trial import TrialState

        if run is not None and run.status == PRUNED:
            return TrialState.PRUNED, None
        values = None if run is None else run.numbers(self.wanted)
        # It has failed if there are no values, or one that is not finite.
        complete = values is not None and np.isfinite(values).all()
        return (TrialState.COMPLETE, values) if complete else (TrialState.FAIL, None)

    def ask(self, params: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Return the number of a new trial and its parameters: these, or those that the sampler chooses."""
        with _quiet():
            if params is not None:
                self.study.enqueue_trial(params)
            trial = self.study.ask(_distributions(self.space))
            _choose(self.space, trial)
        return trial.number, trial.params

    def open(self) -> int:
        """Return the number of a new trial without parameters, for pruning a run of a grid."""
        with _quiet():
            return self.study.ask().number

    def tell(self, number: int, run: RunResult | None) -> None:
        """Record the result of a trial; None for a trial that has failed."""
        state, values = self._state(run)
        with _quiet():
            self.study.tell(number, values, state=state)


class Pruning(NullObserver):
    """An observer that reports each epoch's objective to its trial in the sweep's study."""

    def __init__(self, trials: Trials, number: int) -> None:
        import optuna

        self.objective = trials.objective
        with _quiet():
            study = optuna.load_study(
                study_name=STUDY, storage=_storage(Path(trials.file)), pruner=_pruner(trials.pruner)
            )
            frozen = study.get_trials(deepcopy=False)[number]
            # Optuna opens a trial only by its private id.
            self._trial = optuna.trial.Trial(study, frozen._trial_id)  # pyright: ignore[reportPrivateUsage]

    def on_epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        """Raise Pruned if the study's pruner says that the run is worse than earlier ones."""
        if self.objective not in metrics:
            return
        with _quiet():
            self._trial.report(metrics[self.objective], epoch)
            if self._trial.should_prune():
                raise Pruned(epoch, metrics)


def _storage(file: Path) -> Any:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(file)))


def _distributions(space: Space, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the distributions of the axes, and for a point's parameters those of its conditional choices."""
    distributions = {axis.name: _distribution(axis.interval or tuple(axis.labels())) for axis in space.axes}
    if space.conditional is not None and params is not None:
        domains = space.conditional.again(params)[1].domains
        distributions |= {name: _distribution(domain) for name, domain in domains.items()}
    return distributions


def _choose(space: Space, trial: Any) -> None:
    """Let a trial choose the values that the plugin of the space asks for."""
    if space.conditional is None:
        return

    def take(name: str, domain: Domain) -> Any:
        if not isinstance(domain, Interval):
            return trial.suggest_categorical(name, domain)
        if domain.integer:
            low, high = int(domain.low), int(domain.high)
            return trial.suggest_int(name, low, high, log=domain.log, step=int(domain.step or 1))
        return trial.suggest_float(name, domain.low, domain.high, log=domain.log, step=domain.step)

    point(space.conditional.plugin, take)


def _distribution(domain: Domain) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not isinstance(domain, Interval):
        return CategoricalDistribution(domain)
    if domain.integer:
        return IntDistribution(int(domain.low), int(domain.high), log=domain.log, step=int(domain.step or 1))
    return FloatDistribution(domain.low, domain.high, log=domain.log, step=domain.step)


def _sampler(options: SweepOptions, seed: int) -> Any:
    from optuna import samplers

    if options.sampler == "tpe":
        # Grouped, since the choices of a conditional space depend on each other.
        return samplers.TPESampler(
            seed=seed, constant_liar=True, multivariate=True, group=options.space is not None
        )
    if options.sampler == "cmaes":
        return samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
    if options.sampler == "nsga2":
        return samplers.NSGAIISampler(seed=seed)
    if options.sampler == "gp":
        return samplers.GPSampler(seed=seed)
    if options.sampler == "qmc":
        return samplers.QMCSampler(
            scramble=True, seed=seed, warn_asynchronous_seeding=False, warn_independent_sampling=False
        )
    return samplers.RandomSampler(seed=seed)


def _pruner(name: str) -> Any:
    from optuna import pruners

    if name == "median":
        return pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2)
    return pruners.HyperbandPruner() if name == "hyperband" else pruners.NopPruner()


@contextlib.contextmanager
def _quiet() -> Generator[None, None, None]:
    """Silence Optuna's line for each trial and its warnings about experimental features."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
