"""pytest: the fixture `gradcheck`, and the table of a check under an assertion that failed.

An entry point loads this module in every pytest of the environment. It imports nothing until it is used.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from backproof.gradcheck.report import GradcheckReport


class Gradcheck:
    """The checks of backproof as one fixture: `gradcheck(f, theta)`, `gradcheck.layer(forward, backward, x)`."""

    def __call__(self, f: Callable[..., Any], theta: Any, **options: Any) -> GradcheckReport:
        """Return `backproof.check(f, theta, ...)`."""
        from backproof import check

        return check(f, theta, **options)

    def __getattr__(self, name: str) -> Callable[..., GradcheckReport]:
        """Return `backproof.check_layer` for `layer`, and so on for vjp, jvp, jacobian, hessian and elementwise."""
        import backproof

        if f"check_{name}" not in backproof.__all__:
            raise AttributeError(f"gradcheck has no check {name!r}")
        return getattr(backproof, f"check_{name}")

    def __repr__(self) -> str:
        """Return the name that a failed assertion shows."""
        return "gradcheck"


@pytest.fixture
def gradcheck() -> Gradcheck:
    """Compare a gradient with the derivative of its function; to be asserted.

    `gradcheck.layer`, `.vjp`, `.jvp`, `.jacobian`, `.hessian` and `.elementwise` are the other checks.
    """
    return Gradcheck()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, None]:
    """Add the table of a check that failed to the assertion that it failed in."""
    outcome = yield
    error = outcome.excinfo and outcome.excinfo[1]
    if isinstance(error, AssertionError):
        for table in _tables(error):
            error.add_note(table)


def _tables(error: AssertionError) -> list[str]:
    """Return the tables of the reports in an assertion, whose parts are locals (`@py_assert1`, ...)."""
    module = sys.modules.get("backproof.gradcheck.report")
    traceback = error.__traceback__
    if module is None or traceback is None:
        return []
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    values = {id(value): value for value in traceback.tb_frame.f_locals.values()}.values()
    reports = [value for value in values if isinstance(value, module.GradcheckReport) and value.sections]
    return [str(report) for report in reports if not report.passed]
