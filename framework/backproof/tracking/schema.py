"""The names under which runs are stored in MLflow: every tag, metric, status and artifact, each defined once."""

from __future__ import annotations


class Status:
    """MLflow's run statuses."""

    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"


class Tag:
    """Tags of runs and of sweeps, which are the parent runs."""

    # Set by MLflow's conventions.
    NOTE = "mlflow.note.content"
    USER = "mlflow.user"
    SOURCE_NAME, SOURCE_TYPE = "mlflow.source.name", "mlflow.source.type"
    COMMIT = "mlflow.source.git.commit"
    PARENT = "mlflow.parentRunId"
    # Of every run.
    KIND = "backproof.kind"  # RUN or SWEEP
    VERSION = "backproof.version"
    FOLDER = "backproof.folder"  # the local folder of the run's files
    ERROR = "backproof.error"
    # Of a run that trains.
    CONFIG_HASH = "backproof.config_hash"
    GRADCHECK = "backproof.gradcheck"  # a Verdict
    DIVERGED = "backproof.diverged"
    PRUNED = "backproof.pruned"
    STACKED = "backproof.stacked"  # how many points were trained in one stack
    SWEEP = "backproof.sweep"  # id of the parent run
    POINT = "backproof.point"  # digest of the overrides
    CODE = "backproof.code"  # digests of the files of its plugins, as JSON
    INDEX = "backproof.index"  # position among the runs of the sweep
    SEEDS = "backproof.seeds"  # how many seeds its point is planned to have
    TRIAL = "backproof.trial"  # parameters of the Optuna trial, as JSON
    SUPERSEDED = "backproof.superseded"  # failed or made with other code, and run again since
    # Of a sweep.
    SWEEP_HASH = "backproof.sweep_hash"
    SPACE_HASH = "backproof.space_hash"
    STUDY = "backproof.study"  # Optuna's journal file
    HOST = "backproof.host"
    OBJECTIVE = "backproof.objective"  # names, comma-separated
    DIRECTION = "backproof.direction"  # maximize or minimize, comma-separated
    BEST = "backproof.best"  # overrides of the best point, without its seeds
    BEST_RUN = "backproof.best_run"  # id of the run that has the best point's model and plots
    BEST_SEEDS = "backproof.best_seeds"  # `3 of 3`
    FRONT = "backproof.front"  # ids, one for each point of the Pareto front
    FAILED = "backproof.failed"  # how many runs failed


RUN, SWEEP = "run", "sweep"


class Verdict:
    """What a gradient check found."""

    PASSED = "passed"
    FAILED = "failed"
    UNTESTED = "untested"
    NOTHING = "nothing to check"
    SKIPPED = "skipped"


class Metric:
    """Metrics in addition to those of training, which are called PART/NAME, such as val/accuracy."""

    #: log10 of the check's largest relative error; sorts after val/. Absent where the check was skipped.
    CHECK = "verification/log10_error"
    #: Counts of a sweep: runs, then points (a point has one run for each seed).
    RUNS, DONE, FAILED, PRUNED = "sweep/runs", "sweep/done", "sweep/failed", "sweep/pruned"
    POINTS = "sweep/points"
    #: Prefixes of an objective: the best point's value, mean and standard deviation over points.
    BEST, MEAN, STD = "best/", "mean/", "std/"


PARTS = ("train", "val", "test")
#: Prefixes of the check's metrics, today's and those of versions before 0.9.
CHECK_PREFIXES = ("verification/", "gradcheck/")


class Artifact:
    """Files of a run, in its folder and among its artifacts."""

    ENVIRONMENT = "environment.json"
    CHECK = "gradcheck.json"
    CHECK_PAGE = "gradcheck.html"
    HISTORY = "metrics.csv"
    SUMMARY = "summary.json"
    ERROR = "error.txt"
    WEIGHTS = "weights"
    PLOTS = "plots"
    POINTS = "points.csv"
    MULTIRUN = "multirun.yaml"
    REPORT = "report.html"
    STUDY = "study.journal"  # of Optuna


def is_check_metric(name: str) -> bool:
    """Return whether a metric is one of the gradient check."""
    return name.startswith(CHECK_PREFIXES)
