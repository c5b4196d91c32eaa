"""Word to the service manager that started us: ready, alive, reading the settings again, ending.

https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from targets.errors import TargetError
from targets.systemd import Systemd

_SYSTEMD = "systemd"


class Liaison:
    """Tells it what the loop does. A manager that cannot be reached is a trouble, and stops nothing."""

    def __init__(self, systemd: Systemd, trouble: Callable[[str, str | None], None]) -> None:
        self._systemd, self._trouble = systemd, trouble
        self._is_ready = self._is_ending = False

    def beaten(self, status: str) -> None:
        """The loop has gone once around: the watchdog hears it, where it is not in trouble."""
        self._tell(lambda: self._systemd.alive(status) if self._is_ready else self._systemd.ready(status))
        self._is_ready = True

    def reloading(self) -> None:
        """The settings are read again: until the next beat it is not ready."""
        self._tell(self._systemd.reloading)
        self._is_ready = False

    def stopping(self, status: str, left: timedelta) -> None:
        """The end has begun, or goes on, and takes at most so much longer."""
        if not self._is_ending:
            self._tell(lambda: self._systemd.stopping(status))
        self._is_ending = True
        self._tell(lambda: self._systemd.more_time(left, status))

    def _tell(self, say: Callable[[], None]) -> None:
        try:
            say()
        except TargetError as error:
            self._trouble(_SYSTEMD, str(error))
        else:
            self._trouble(_SYSTEMD, None)
