"""How a command ends: signals ask the work to stop, every error becomes a sentence with advice and an exit code."""

from __future__ import annotations

import argparse
import gc
import importlib
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType

from jobs.failure import INTERNAL, INTERRUPTED, JOB_FAILED, SETTINGS_INVALID, USAGE, Failure, FailureKind
from orchestrator import fault
from orchestrator.cli import printing

Handler = Callable[[argparse.Namespace, threading.Event], int]


class UsageError(Exception):
    """The command line asks for something that the settings do not know."""


def run(arguments: argparse.Namespace) -> int:
    """Call the verb's handler; its return value is the exit code."""
    stop = threading.Event()
    _listen(stop)
    try:
        return _handler(arguments.handler)(arguments, stop)
    except UsageError as mistake:
        return _ended(arguments, USAGE, str(mistake), "")
    except printing.OutputError as error:
        advice = "Free space there, or name another place that can be written."
        return _ended(arguments, JOB_FAILED, str(error), advice, kind=FailureKind.TARGET_UNWRITABLE)
    except BrokenPipeError:  # whoever read the progress is gone, and the work with it; results see printing.py
        sys.stderr.close()
        return INTERRUPTED
    except KeyboardInterrupt:
        return _ended(arguments, INTERRUPTED, "interrupted", "Nothing is lost; run the same command again.")
    except Exception as error:  # noqa: BLE001 (the outermost edge: no traceback may reach a user)
        return _failed(arguments, error)


def _listen(stop: threading.Event) -> None:
    """The first SIGINT or SIGTERM asks restic to end cleanly; a second SIGINT is Python's own."""

    def ask(number: int, _frame: FrameType | None) -> None:
        stop.set()
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, ask)
        signal.signal(signal.SIGTERM, ask)


def _handler(dotted: str) -> Handler:
    """The verb's function. What is imported stays to the end: no collection need look through it, now or later."""
    module, name = dotted.split(":")
    gc.disable()
    handler: Handler = getattr(importlib.import_module(module), name)
    gc.freeze()
    gc.enable()
    return handler


def _failed(arguments: argparse.Namespace, error: Exception) -> int:
    from orchestrator.settings import SettingsError

    if arguments.verbose > 1:
        traceback.print_exc()
    failure = getattr(error, "failure", None)
    if isinstance(failure, Failure):
        return _ended(arguments, failure.exit_code, failure.message, failure.advice, kind=failure.kind)
    if isinstance(error, SettingsError):
        return _ended(arguments, SETTINGS_INVALID, str(error), "Correct the settings, then: tandem config validate")
    message = f"internal error: {fault.words(error)}"
    return _ended(arguments, INTERNAL, message, "Run it again with -vv, and report what it shows.")


def _ended(arguments: argparse.Namespace, code: int, message: str, advice: str, *, kind: str = "") -> int:
    if arguments.json:
        printing.error(code, kind, message, advice)
    sys.stderr.write(f"tandem: {message}\n" + (f"  next: {advice}\n" if advice else ""))
    return code
