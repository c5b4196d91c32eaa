"""A PostgreSQL connection that waits for its server for a while, and not for ever.

A server that was stopped (SIGSTOP, a frozen virtual machine) answers nothing, while its kernel still acknowledges every
packet: no timeout of TCP's nor of the server's own ends that wait.
"""

from __future__ import annotations

from collections.abc import Generator
from selectors import DefaultSelector
from typing import Any, Final, TypeVar

import psycopg

_T = TypeVar("_T")

SILENT_SECONDS: Final = 20.0  # more than any statement is given (statement_timeout)


class PatientConnection(psycopg.Connection[Any]):
    """Whatever is asked, the server says something within `patience` seconds, or the connection is closed.

    Raises psycopg.OperationalError then. psycopg's own wait has no such bound that holds for every statement.
    """

    patience = SILENT_SECONDS

    def wait(self, gen: Generator[Any, Any, _T], *_args: object, **_options: object) -> _T:
        """See psycopg.Connection.wait: `gen` asks for reading or writing, as selectors name it, and is told which."""
        try:
            wanted = next(gen)
            with DefaultSelector() as selector:
                key = selector.register(self.pgconn.socket, wanted)
                while True:
                    ready = selector.select(self.patience)
                    if not ready:
                        raise psycopg.OperationalError(f"the server has been silent for {self.patience:.0f} seconds")
                    wanted = gen.send(ready[0][1])
                    if wanted != key.events:
                        key = selector.modify(key.fileobj, wanted)
        except StopIteration as end:
            answer: _T = end.value
            return answer
        except psycopg.OperationalError:
            if not self.closed:
                self.close()  # nobody knows what it would answer to
            raise
        except (KeyboardInterrupt, SystemExit):
            self.close()
            raise
