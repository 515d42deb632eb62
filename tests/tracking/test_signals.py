"""After SIGTERM or Ctrl-C a run keeps its measurements; signals never interrupt a write."""

import contextlib
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from backproof.tracking import (
    Terminated,
    check_terminated,
    terminate_on_sigterm,
)

from tests.helpers.tracking import python, read

# The settings that `Store.open` makes for MLflow also apply to the imports of these tests.
pytestmark = pytest.mark.filterwarnings("ignore:Any type hint is inferred")


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.mark.slow
def test_sigterm_ends_a_run_as_killed(outputs, store, tmp_path):
    """The measurements until then are kept, and a second SIGTERM does not interrupt the end of the run."""
    code = f"""
        import os, signal, time
        from pathlib import Path
        from backproof.tracking import Store, TrackingOptions, Terminated, terminate_on_sigterm
        store = Store.open(TrackingOptions(flush_seconds=1000), Path({str(outputs)!r}))
        try:
            with terminate_on_sigterm(), store.start("killed", {{}}, {{}}) as run:
                run.metrics({{"loss": 1.0}}, 1)
                Path({str(tmp_path / "id")!r}).write_text(run.id)
                try:
                    os.kill(os.getpid(), signal.SIGTERM)
                    time.sleep(60)
                finally:
                    os.kill(os.getpid(), signal.SIGTERM)
        except Terminated:
            raise SystemExit(143)
    """
    done = python(code)
    assert done.returncode == 143, done.stderr
    run_id = (tmp_path / "id").read_text()
    recorded = store.client.get_run(run_id)
    assert recorded.info.status == "KILLED"
    assert recorded.data.metrics == {"loss": 1.0}


def test_the_sigterm_handler_is_restored():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), terminate_on_sigterm():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
    # Outside the main thread handlers cannot be set, and it does nothing.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: terminate_on_sigterm().__enter__()).result()
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_ctrl_c_lost_in_a_callback_is_raised_later_and_a_second_one_at_once():
    before = signal.getsignal(signal.SIGINT)
    with terminate_on_sigterm():
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            check_terminated()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is before
    with terminate_on_sigterm():
        check_terminated()  # No signal has arrived since.


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_a_signal_does_not_interrupt_a_write(store, monkeypatch, number, error):
    """An interrupted write would leave the database locked, and the run could not be ended."""
    seen = []

    def slow(*args, **kwargs):
        os.kill(os.getpid(), number)
        seen.append("written")

    with terminate_on_sigterm(), pytest.raises(error), store.start("slow", {}, {}) as run:  # noqa: PT012
        run.metrics({"loss": 1.0}, 1)
        with monkeypatch.context() as patched:
            patched.setattr(run.client, "log_batch", slow)
            run.flush()
        seen.append("after")
    assert seen == ["written"]
    assert read(run).info.status == "KILLED"


def test_the_second_ctrl_c_is_not_deferred(store, monkeypatch):
    seen = []

    def hangs(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGINT)
        seen.append("first")
        os.kill(os.getpid(), signal.SIGINT)
        seen.append("second")

    with terminate_on_sigterm(), store.start("hangs", {}, {}) as run:
        run.metrics({"loss": 1.0}, 1)
        with monkeypatch.context() as patched:
            patched.setattr(run.client, "log_batch", hangs)
            with pytest.raises(KeyboardInterrupt):
                run.flush()
    assert seen == ["first"]


def test_an_ignored_ctrl_c_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with terminate_on_sigterm():
            os.kill(os.getpid(), signal.SIGINT)
            check_terminated()
    finally:
        signal.signal(signal.SIGINT, before)
