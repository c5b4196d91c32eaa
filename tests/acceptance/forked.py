"""The command line in a process of its own, forked from one that has imported everything, so that it starts at once.

What a test starts is in all else what a shell would start: its own process id, arguments, folder, environment and
standard streams; it takes signals, can be killed, and waits for its threads at the end. Only what happens before main()
is not shown: a command that must show it, or whose environment is meant for the interpreter itself, is started anew.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import inspect
import json
import os
import pkgutil
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent.parent
ROOMS: Final = ("jobs", "targets", "reports", "orchestrator")
LATE: Final = (  # what the rooms import only when they need it
    "alembic.command",
    "boto3",
    "botocore.config",
    "difflib",
    "importlib.resources",
    "jinja2",
    "paramiko",
    "psutil",
    "psycopg",
    "rich.live",
    "rich.progress",
    "rich.table",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite",
    "urllib3",
)
OF_THE_INTERPRETER: Final = ("PYTHON", "LANG", "LC_")
LARGEST: Final = 1 << 20  # bytes of one request


class Forked(subprocess.Popen[str]):
    """A command, `python main.py …`; as if started by Popen, whose few methods that ask the kernel are replaced.

    The parent is the server below: what Popen would learn from waitpid(2), it reads from a pipe.
    """

    _told: int  # the reading end

    def _execute_child(self, *given: Any) -> None:
        asked = inspect.signature(super()._execute_child).bind(*given).arguments  # type: ignore[misc]  # not in typeshed
        ends = {name: asked[name] for name in ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")}
        streams = [ends[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        environment = dict(os.environ if asked["env"] is None else asked["env"])
        words = json.dumps([asked["args"][1:], str(asked["cwd"] or Path.cwd()), environment]).encode()
        self._told, tells = os.pipe()
        try:
            files = [number if stream == -1 else stream for number, stream in enumerate(streams)]
            socket.send_fds(_server(), [words], [*files, tells])
        finally:
            os.close(tells)
            self._close_pipe_fds(*ends.values())  # type: ignore[attr-defined]  # not in typeshed
        self.pid = self._hear()
        self._child_created = True

    def _hear(self) -> int:
        number = os.read(self._told, 8)
        assert number, "the server of the tests' commands has died"
        return int.from_bytes(number, "big")

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        with selectors.DefaultSelector() as selector:
            selector.register(self._told, selectors.EVENT_READ)
            if not selector.select(0 if wait_flags & os.WNOHANG else None):
                return 0, 0
        status = self._hear()
        os.close(self._told)
        return self.pid, status

    def _internal_poll(self, _deadstate: int | None = None) -> int | None:
        if _deadstate is None:  # else nobody will ever look, and the server may be gone
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.wait(timeout=0)
        return self.returncode


def can_fork(command: list[str], environment: Mapping[str, str]) -> bool:
    """Whether a command starts the same when it is forked."""
    return command[:2] == [sys.executable, str(ROOT / "main.py")] and _for_the_interpreter(
        environment
    ) == _for_the_interpreter(os.environ)


def _for_the_interpreter(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(OF_THE_INTERPRETER)}


@cache
def _server() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    argv = [sys.executable, "-m", __name__, str(theirs.fileno())]
    server = subprocess.Popen(
        argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
    )
    theirs.close()
    atexit.register(server.wait)
    atexit.register(ours.close)
    return ours


# --- the server, a process of its own -----------------------------------------------------------------------------


def _import_everything() -> None:
    rooms = (importlib.import_module(room) for room in ROOMS)
    found = (module.name for room in rooms for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}."))
    for name in (*LATE, *found):
        with contextlib.suppress(Exception):  # whoever needs it will say what is wrong with it
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # or each child's collector would write to, and so copy, all that it shares with us
    assert threading.active_count() == 1, threading.enumerate()


def _serve(channel: socket.socket) -> list[str] | None:
    """Fork for each request. Gives the arguments, in a child; nothing, when nobody is left who could ask."""
    running: dict[int, tuple[int, int]] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fd != channel.fileno():
                    selector.unregister(key.fd)
                    _tell(key.fd, *running.pop(key.fd))
                    continue
                asked, files, _, _ = socket.recv_fds(channel, LARGEST, 4)
                if not asked:
                    for child, _ in running.values():  # a test that failed has left them
                        os.kill(child, signal.SIGKILL)
                    return None
                *streams, tells = files
                if (child := os.fork()) == 0:
                    held = [channel.fileno(), selector.fileno(), *running, *(tells for _, tells in running.values())]
                    return _become(asked, streams, [*held, tells])
                for stream in streams:
                    os.close(stream)
                os.write(tells, child.to_bytes(8, "big"))
                watch = os.pidfd_open(child)
                running[watch] = child, tells
                selector.register(watch, selectors.EVENT_READ)


def _tell(watch: int, child: int, tells: int) -> None:
    """Reap a child that has ended, and pass on how."""
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(BrokenPipeError):  # nobody wants to know
        os.write(tells, status.to_bytes(8, "big"))
    os.close(tells)
    os.close(watch)


def _become(asked: bytes, streams: list[int], held: list[int]) -> list[str]:
    words, folder, environment = json.loads(asked)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    for file in (*streams, *held):
        os.close(file)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    return list(words)


def _main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the commands; we end when the tests do
    channel = socket.socket(fileno=int(sys.argv[1]))
    _import_everything()
    words = _serve(channel)
    if words is None:
        return 0
    channel.detach()
    sys.argv = words
    from orchestrator.cli import main

    code = main()
    _end(code)
    return code


def _end(code: int) -> None:
    """As the interpreter does it, but without taking every object apart: that would copy all that is shared."""
    threading._shutdown()  # type: ignore[attr-defined]  # not in typeshed
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    raise SystemExit(_main())
