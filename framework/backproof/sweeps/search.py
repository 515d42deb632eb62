"""Points chosen by Optuna's samplers: a thin layer over its ask and tell, on a study in a file of its own."""

from __future__ import annotations

import contextlib
import importlib.util
import warnings
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backproof.app.sweep_options import ADAPTIVE, GRID, NO_PRUNER, SweepOptions
from backproof.contracts.errors import InvalidValue
from backproof.sweeps.space import Space
from backproof.sweeps.suggest import Domain, Interval

STUDY = "backproof"
#: What a sampler needs beyond Optuna itself.
NEEDS = {"cmaes": ("cmaes", "cmaes"), "gp": ("torch", "torch")}
#: Samplers of one objective alone.
SINGLE_OBJECTIVE = ("cmaes",)


def check(options: SweepOptions, space: Space, objectives: int) -> None:
    """Raise InvalidValue for a search that cannot be made."""
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
    """The points of a sampler that does not look at results; more of them begin with the same ones."""
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


@dataclass(frozen=True)
class Known:
    """What is recorded of a trial's run that has finished."""

    params: dict[str, Any]
    values: list[float] | None
    pruned: bool


class Study:
    """An Optuna study in a journal file, which other processes may open too."""

    def __init__(self, file: Path, space: Space, options: SweepOptions, directions: list[str]) -> None:
        import optuna

        self.file, self.space, self.options = file, space, options
        self.prunes = options.pruner != NO_PRUNER
        with _quiet():
            storage = _storage(file)
            self.study = optuna.create_study(
                storage=storage,
                study_name=STUDY,
                load_if_exists=True,
                directions=[optuna.study.StudyDirection[direction.upper()] for direction in directions],
                sampler=_sampler(options, options.seed),
                pruner=pruner(options.pruner),
            )

    def settle(self, known: list[Known]) -> list[dict[str, Any]]:
        """Make the study agree with the runs that are recorded: trials that were left open are closed, those that
        it has not seen are added. The parameters of the trials that have no result, each once."""
        import optuna

        State = optuna.trial.TrialState
        lost: list[dict[str, Any]] = []
        seen: list[dict[str, Any]] = []
        with _quiet():
            for trial in self.study.get_trials(deepcopy=False):
                run = next((each for each in known if each.params == trial.params), None)
                if trial.state in (State.RUNNING, State.WAITING):
                    self.tell(trial.number, run and run.values, pruned=run is not None and run.pruned)
                if run is None and trial.params and trial.params not in lost:
                    lost.append(trial.params)
                seen.append(trial.params)
            for run in known:
                if run.params not in seen:
                    self._add(run)
            if seen or known:
                # What a continued search draws must not be what it drew at first.
                state = np.random.SeedSequence([self.options.seed, len(seen) + len(known)]).generate_state(1)
                self.study.sampler = _sampler(self.options, int(state[0]))
        return lost

    def _add(self, run: Known) -> None:
        import optuna

        State = optuna.trial.TrialState
        values = run.values if run.values and np.isfinite(run.values).all() else None
        state = State.PRUNED if run.pruned else State.COMPLETE if values else State.FAIL
        trial = optuna.trial.create_trial(
            state=state,
            params=run.params,
            distributions=_distributions(self.space, run.params),
            values=values if state == State.COMPLETE else None,
        )
        self.study.add_trial(trial)

    def ask(self, params: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """The number of a new trial and its parameters: these, or what the sampler takes."""
        with _quiet():
            if params is not None:
                self.study.enqueue_trial(params)
            trial = self.study.ask(_distributions(self.space))
            _choose(self.space, trial)
        return trial.number, trial.params

    def open(self) -> int:
        """The number of a new trial without parameters, to prune a run whose point is not searched for."""
        with _quiet():
            return self.study.ask().number

    def tell(self, number: int, values: list[float] | None, *, pruned: bool = False) -> None:
        """What a trial came to; None, or a value that is no number, for one that failed."""
        import optuna

        State = optuna.trial.TrialState
        with _quiet():
            if pruned:
                self.study.tell(number, state=State.PRUNED)
            elif values is None or not np.isfinite(values).all():
                self.study.tell(number, state=State.FAIL)
            else:
                self.study.tell(number, values)


class Trial:
    """A trial of a study, opened by the run that it stands for."""

    def __init__(self, address: str, pruner_name: str) -> None:
        import optuna

        file, _, number = address.rpartition("#")
        with _quiet():
            study = optuna.load_study(
                study_name=STUDY, storage=_storage(Path(file)), pruner=pruner(pruner_name)
            )
            frozen = study.get_trials(deepcopy=False)[int(number)]
            # Optuna opens a trial by its id alone, and has no other name for it.
            self._trial = optuna.trial.Trial(study, frozen._trial_id)  # pyright: ignore[reportPrivateUsage]

    def report(self, epoch: int, value: float) -> bool:
        """Tell a value; whether the run is to be ended."""
        with _quiet():
            self._trial.report(value, epoch)
            return self._trial.should_prune()


def _storage(file: Path) -> Any:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(file)))


def _distributions(space: Space, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """Those of the axes; with the parameters of a point also those of the plugin's choices for it."""
    found = {axis.name: _distribution(axis.interval or tuple(axis.labels())) for axis in space.axes}
    if space.conditional is not None and params is not None:
        domains = space.conditional.again(params)[1].domains
        found |= {name: _distribution(domain) for name, domain in domains.items()}
    return found


def _choose(space: Space, trial: Any) -> None:
    """Let a trial take what the plugin of the space asks for, beside its axes."""
    if space.conditional is None:
        return

    def take(name: str, domain: Domain) -> Any:
        if not isinstance(domain, Interval):
            return trial.suggest_categorical(name, domain)
        if domain.integer:
            low, high = int(domain.low), int(domain.high)
            return trial.suggest_int(name, low, high, log=domain.log, step=int(domain.step or 1))
        return trial.suggest_float(name, domain.low, domain.high, log=domain.log, step=domain.step)

    space.conditional.point(take)


def _distribution(given: Domain) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not isinstance(given, Interval):
        return CategoricalDistribution(given)
    if given.integer:
        return IntDistribution(int(given.low), int(given.high), log=given.log, step=int(given.step or 1))
    return FloatDistribution(given.low, given.high, log=given.log, step=given.step)


def _sampler(options: SweepOptions, seed: int) -> Any:
    from optuna import samplers

    if options.sampler == "tpe":
        # In groups: of choices that depend on others, those that belong together.
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


def pruner(name: str) -> Any:
    """The pruner of that name."""
    from optuna import pruners

    if name == "median":
        return pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2)
    return pruners.HyperbandPruner() if name == "hyperband" else pruners.NopPruner()


@contextlib.contextmanager
def _quiet() -> Generator[None, None, None]:
    """Optuna without a line for each trial, and without a word on what it counts as experimental."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
