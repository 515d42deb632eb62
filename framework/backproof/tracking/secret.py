"""Passwords in the URIs of stores. None is written to a file, a tag, the terminal or a command line."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

from backproof.render.console import print_warning

#: What follows the scheme up to the last @ of the authority, and a query, which may have a password or a token.
_USER = re.compile(r"(?<=://)[^/?#]*@")
_QUERY = re.compile(r"\?.*", re.DOTALL)
URI = "MLFLOW_TRACKING_URI"
OVERRIDE = "tracking.uri="


def shown_uri(uri: str) -> str:
    """Return a URI as it is shown: without user, password and query. The path of an SQLite file stays."""
    return uri if uri.startswith("sqlite") else _QUERY.sub("?***", _USER.sub("***@", uri))


def has_secret(uri: str) -> bool:
    return shown_uri(uri) != uri


def public_uri(uri: str) -> str:
    """Return the URI of a server without user and password, which MLflow then takes from its environment variables.

    So no error message or traceback of MLflow has them. The URI of a database must keep them.
    """
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or "@" not in parts.netloc:
        return uri
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(user)
    os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(password)
    return _USER.sub("", uri)


def hide(overrides: Sequence[str]) -> list[str]:
    """Return overrides without a `tracking.uri` that has a password, which becomes an environment variable.

    Otherwise Hydra would write it into a run's files, and MLflow would show it to everyone who can read the store.
    """
    visible: list[str] = []
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        uri = value.strip("'\"")
        if f"{key}=" == OVERRIDE and has_secret(uri):
            os.environ[URI] = uri
            print_warning(
                f"tracking.uri={shown_uri(uri)} is not written with the run, since it has a password\n"
                f"To repeat the command, set the environment variable {URI}"
            )
        else:
            visible.append(override)
    return visible
