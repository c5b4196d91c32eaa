"""A sign of life for a watcher elsewhere: one GET request, whose answer says whether it was heard.

The address alone lets anybody give that sign, so it is treated as a secret.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Final

from jobs.failure import FailureKind
from targets.errors import TargetError
from targets.secret import Secret

_SCHEMES: Final = ("http://", "https://")
_LABEL: Final = "the dead man's address"


def ping(url: Secret | str, *, patience: float = 10.0) -> None:
    """Ask for `url` (HTTP or HTTPS; proxies and redirects as usual); any 2xx answer will do.

    `patience` is in seconds, for the connection and for each piece of the answer. Raises TargetError CHANNEL_INVALID,
    CHANNEL_UNREACHABLE, CHANNEL_REFUSED; none holds the address.
    """
    text = url.reveal() if isinstance(url, Secret) else url
    if not text.lower().startswith(_SCHEMES):
        raise _failed(FailureKind.CHANNEL_INVALID, "it is not an http:// or https:// address")
    failure = _ask(text, patience)
    if failure is not None:
        raise failure  # outside the handlers: a cause would carry the address along


def _ask(url: str, patience: float) -> TargetError | None:
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "Tandem"})  # noqa: S310 (the scheme was looked at)
        with urllib.request.urlopen(request, timeout=patience):  # noqa: S310 (the scheme was looked at)
            return None
    except urllib.error.HTTPError as error:
        error.close()  # it is the answer, and holds the connection
        return _failed(FailureKind.CHANNEL_REFUSED, f"the server answered {error.code}")
    except (OSError, HTTPException):
        return _failed(FailureKind.CHANNEL_UNREACHABLE, "no answer")
    except ValueError:
        return _failed(FailureKind.CHANNEL_INVALID, "it is not an address")


def _failed(kind: FailureKind, message: str) -> TargetError:
    return TargetError("call", _LABEL, kind, message)
