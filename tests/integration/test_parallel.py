"""Parallel sweeps from the command line: on Dask, joblib, a cluster of two hosts, MLflow's server."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import yaml
from backproof.cli.ui import MLFLOW_SERVER, QUIET

from tests.helpers.command import BACKPROOF
from tests.helpers.sweeps import QUICK, children, parents, points

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
DASK = ["hydra/launcher=dask", "hydra.launcher.n_workers=2"]
#: The environment of a user who sets no number of threads.
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")} | {
    "PYTHONPATH": str(ROOT / "framework")
}


def command(*args):
    return [*BACKPROOF, "train", "-m", *QUICK, *args]


def run(*args, prefix=(), code=0):
    """Run a sweep in a new process and return its output."""
    done = subprocess.run(
        [*prefix, *command(*args)], capture_output=True, text=True, timeout=240, env=ENVIRONMENT
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def processes_in(folder):
    """Return the command lines of our processes whose working directory is that folder."""
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if Path(os.readlink(process / "cwd")) == folder and int(process.name) != os.getpid():
                lines.append((process / "cmdline").read_bytes().replace(b"\0", b" "))
    return [line for line in lines if b"spawn_main" in line or b"backproof" in line]


@contextlib.contextmanager
def started(args, ready, prefix=(), env=None):
    """Start a server, wait until `ready()` is true, and end it with all its children."""
    with Path("server.log").open("a") as log:
        process = subprocess.Popen(
            [*prefix, *args],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**ENVIRONMENT, **(env or {})},
        )
        try:
            until = time.monotonic() + 90
            while not ready():
                assert process.poll() is None, Path("server.log").read_text()
                assert time.monotonic() < until, Path("server.log").read_text()
                time.sleep(0.2)
            yield process
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_dask_gives_the_results_of_the_basic_launcher(workdir):
    args = ["seed=0,1,2", "gradcheck=on"]
    output = run(*args, *DASK)
    assert all(f"  seed{seed}\n" in output for seed in range(3))
    run(*args)
    dask, basic = parents()
    for parent in (dask, basic):
        assert parent.info.status == "FINISHED"
        assert len(children(parent, "FINISHED")) == 3

    def numbers(parent):
        return {
            run.data.params["seed"]: {k: v for k, v in run.data.metrics.items() if "seconds" not in k}
            for run in children(parent)
        }

    assert numbers(dask) == numbers(basic)
    for child in children(dask):
        environment = json.loads(Path(child.data.tags["backproof.folder"], "environment.json").read_text())
        assert {library["threads"] for library in environment["blas"]} == {1}
    assert processes_in(workdir) == []


@pytest.mark.parametrize("option", ["--config-path", "--config-dir"])
def test_dask_composes_from_the_users_configs(workdir, option):
    """With a user's config directory, workers train what was planned, not the package's experiment."""
    overrides = ["seed=0,1", *DASK]
    if option == "--config-path":
        shutil.copytree(ROOT / "conf", "mine")
        config = Path("mine/config.yaml")
        config.write_text(config.read_text().replace("- activation: relu", "- activation: tanh"))
    else:
        Path("mine/experiment").mkdir(parents=True)
        Path("mine/experiment/own.yaml").write_text(
            "# @package _global_\ndefaults:\n  - override /activation: tanh\n"
        )
        overrides.append("experiment=own")
    args = [*BACKPROOF, "train", "-m", option, str(workdir / "mine"), *QUICK, *overrides]
    done = subprocess.run(args, capture_output=True, text=True, timeout=240, env=ENVIRONMENT)
    assert done.returncode == 0, done.stdout + done.stderr
    (parent,) = parents()
    assert [run.data.params["activation"] for run in children(parent, "FINISHED")] == ["tanh", "tanh"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_a_signal_ends_all_processes_and_the_sweep_can_be_resumed(workdir, number):
    args = ["seed=range(6)", "train.epochs=3000", *DASK]
    process = subprocess.Popen(
        command(*args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    while not list(Path("outputs/sweeps").glob("*/*/*/summary.json")):
        assert process.poll() is None
        time.sleep(0.2)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number, errors
    assert "Traceback" not in errors
    assert processes_in(workdir) == []
    (parent,) = parents()
    assert parent.info.status == "KILLED"
    assert {run.info.status for run in children(parent)} <= {"FINISHED", "KILLED"}
    table = points(parent.data.tags["backproof.folder"])
    assert "not run" in {row["status"] for row in table}
    assert not Path(parent.data.tags["backproof.folder"], ".running").exists()


def test_killed_workers_and_a_killed_sweep(workdir):
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks/chaos.py"), "--points", "30", "--worker-kills", "1"],
        capture_output=True,
        text=True,
        timeout=300,
        env=ENVIRONMENT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed: each of 30 points is FINISHED exactly once" in done.stdout


def test_a_scheduler_that_does_not_answer(workdir):
    address = f"tcp://127.0.0.1:{free_port()}"
    output = run("seed=0,1", *DASK, f"hydra.launcher.address={address}", "hydra.launcher.timeout=1", code=2)
    assert f"no Dask scheduler answers at {address} within 1 s" in output
    assert "Traceback" not in output
    assert parents() == []


def test_joblib(workdir):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    run("seed=0,1,2,3", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    (parent,) = parents()
    assert sorted(int(run.data.params["seed"]) for run in children(parent, "FINISHED")) == [0, 1, 2, 3]


def test_a_sweep_through_an_mlflow_server(workdir):
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    with mlflow_server(uri, port, "127.0.0.1"):
        run("seed=0,1,2", *DASK, f"tracking.uri={uri}")
        from mlflow import MlflowClient

        records = MlflowClient(tracking_uri=uri).search_runs(["1"])
        assert sorted(run.info.status for run in records) == ["FINISHED"] * 4
        (parent,) = [run for run in records if run.data.tags["backproof.kind"] == "sweep"]
        assert parent.data.metrics["sweep/done"] == 3
        names = {
            artifact.path for artifact in MlflowClient(tracking_uri=uri).list_artifacts(parent.info.run_id)
        }
        assert {"points.csv", "report.html"} <= names
    assert not Path("outputs/mlflow.db").exists()


def mlflow_server(uri, port, host, prefix=()):
    args = ["--backend-store-uri", f"sqlite:///{Path('server.db').absolute()}", "--host", host]
    args += ["--port", str(port), "--artifacts-destination", str(Path("artifacts").absolute())]
    look = f"import urllib.request; urllib.request.urlopen({uri + '/health'!r}, timeout=2)"

    def ready():
        if prefix:
            done = subprocess.run([*prefix, sys.executable, "-c", look], capture_output=True)
            return done.returncode == 0
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(uri + "/health", timeout=2).status == 200
        return False

    return started([*MLFLOW_SERVER, *args], ready, prefix, QUIET)


WRITERS = """
import multiprocessing, pathlib
from backproof.tracking import Store, TrackingOptions

def write(k):
    store = Store.open(TrackingOptions(), pathlib.Path("outputs"))
    for i in range(6):
        with store.start(f"{k}-{i}", {"k": k, "i": i}, {}) as run:
            for epoch in range(40):
                run.metrics({"loss": k + epoch / 100, "accuracy": i + epoch / 100}, epoch)
                if epoch % 10 == 0:
                    run.flush()

Store.open(TrackingOptions(), pathlib.Path("outputs"))
with multiprocessing.get_context("fork").Pool(8) as pool:
    pool.map(write, range(8), chunksize=1)
"""


def test_eight_processes_write_into_one_sqlite_file(workdir):
    subprocess.run([sys.executable, "-W", "ignore", "-c", WRITERS], check=True, timeout=240, env=ENVIRONMENT)
    from backproof.tracking import Store, TrackingOptions
    from backproof.tracking.query import history
    from backproof.tracking.query import runs as recorded

    store = Store.find(TrackingOptions(), Path("outputs"))
    records = recorded(store)
    assert {(run.params["k"], run.params["i"]) for run in records} == {
        (str(k), str(i)) for k in range(8) for i in range(6)
    }
    assert {run.status for run in records} == {"FINISHED"}
    assert len(records) == 48
    for run in records:
        k, i = int(run.params["k"]), int(run.params["i"])
        assert history(store, run.id, "loss") == {e: k + e / 100 for e in range(40)}
        assert run.metrics["accuracy"] == i + 0.39


def hosts():
    """Return why two hosts cannot be simulated on this machine, None if they can."""
    if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("unshare"):
        return "needs root, and ip and unshare, to make network namespaces"
    name = f"bp{os.getpid()}"
    done = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if done.returncode:
        return f"network namespaces are not permitted: {done.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", name], check=True)
    return None


@pytest.fixture
def two_hosts(workdir):
    """Return command prefixes for two simulated hosts, which are connected only to each other."""
    if why := hosts():
        pytest.skip(why)
    a, b = (f"bp{os.getpid()}{end}" for end in "ab")
    try:
        for name in (a, b):
            subprocess.run(["ip", "netns", "add", name], check=True)
            subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        pair = ["ip", "link", "add", "wire", "netns", a, "type", "veth", "peer", "name", "wire", "netns", b]
        subprocess.run(pair, check=True)
        for end, name in enumerate((a, b), start=1):
            subprocess.run(["ip", "-n", name, "addr", "add", f"10.213.7.{end}/24", "dev", "wire"], check=True)
            subprocess.run(["ip", "-n", name, "link", "set", "wire", "up"], check=True)
        other = 'hostname other-host && exec "$@"'
        yield (
            ["ip", "netns", "exec", a],
            ["ip", "netns", "exec", b, "unshare", "--uts", "sh", "-c", other, "sh"],
        )
    finally:
        for name in (a, b):
            subprocess.run(["ip", "netns", "del", name], check=False)


def test_scheduler_and_worker_on_two_hosts(two_hosts):
    first_host, second_host = two_hosts
    address, uri = "tcp://10.213.7.1:8786", "http://10.213.7.1:5000"
    log = Path("server.log")
    dask = [sys.executable, "-m", "dask"]
    worker = [*dask, "worker", address, "--nthreads", "1", "--no-dashboard", "--memory-limit", "0"]
    with contextlib.ExitStack() as stack:
        scheduler = [*dask, "scheduler", "--host", "10.213.7.1", "--port", "8786", "--no-dashboard"]
        stack.enter_context(started(scheduler, lambda: "Scheduler at" in log.read_text(), first_host))
        stack.enter_context(
            started(worker, lambda: "Registered to" in log.read_text(), second_host, {"OMP_NUM_THREADS": "1"})
        )
        stack.enter_context(mlflow_server(uri, 5000, "10.213.7.1", first_host))
        args = ["seed=0,1", "hydra/launcher=dask", f"hydra.launcher.address={address}"]
        output = run(*args, prefix=first_host, code=2)
        assert "on another host, other-host" in output
        assert "tracking.uri=http://HOST:5000" in output
        assert parents() == []
        run(*args, f"tracking.uri={uri}", prefix=first_host)
        (folder,) = {file.parent for file in Path("outputs/sweeps").glob("*/*/points.csv")}
        assert [row["status"] for row in points(folder)] == ["done", "done"]
        assert len(list(Path("artifacts").rglob("metrics.csv"))) == 2


def test_the_compose_file_is_consistent():
    """The services, volumes and files that it names exist; Docker is not needed for that."""
    folder = ROOT / "docs/cluster"
    compose = yaml.safe_load((folder / "compose.yaml").read_text())
    assert set(compose["services"]) == {"postgres", "mlflow", "scheduler", "worker"}
    for service in compose["services"].values():
        assert set(service.get("depends_on", [])) <= set(compose["services"])
        for volume in service["volumes"]:
            assert volume.partition(":")[0] in compose["volumes"]
    built = compose["services"]["mlflow"]["build"]
    assert (folder / built["context"] / built["dockerfile"]).is_file()
    subprocess.run(["bash", "-n", str(folder / "cluster.sh")], check=True)
