"""Silence MLflow's log messages and warnings."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Generator


@contextlib.contextmanager
def quiet() -> Generator[None, None, None]:
    """Suppress log lines up to INFO, one for each table created, and the warnings of MLflow's own imports."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
