"""One `serve` at a time: the lease is taken when its holder is dead, kept by beating, and its loss ends everything."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from jobs.failure import Failure, FailureKind
from jobs.history import Lease, Owner
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import Busy, Ledger, LedgerError, Superseded
from targets.host import is_alive
from targets.ports import Stop

BEAT_SECONDS: Final = 10.0
STILL_SECONDS: Final = 120.0  # a holder elsewhere that has not beaten for so long is taken for dead
FENCE_SECONDS: Final = 90.0  # and a holder that cannot beat has ended its runs by then
_LOOK_SECONDS: Final = 2.0


class LeaseHeldError(Exception):
    """Another `serve` has this ledger."""

    def __init__(self, lease: Lease) -> None:
        owner = lease.owner
        message = (
            f"process {owner.pid} on {owner.host} has served this ledger since {lease.taken_at:%Y-%m-%d %H:%M:%S} UTC; "
            "its last sign of life"
        )
        self.failure = Failure(kind=FailureKind.BUSY, message=f"{message} was at {lease.beaten_at:%H:%M:%S} UTC")
        super().__init__(self.failure.message)


def acquire(
    ledger: Ledger,
    owner: Owner,
    clock: Clock,
    stop: Stop,
    *,
    standby: bool,
    waiting: Callable[[str], None] = lambda _status: None,
) -> tuple[Lease, Lease | None] | None:
    """The lease, and whose it was where he died with it; None when `stop` came first.

    A holder of this host is dead when his process is. Of one elsewhere only his beats are seen: he is waited for, by
    our own monotonic clock, so that no clock that was set makes him look dead. Raises LeaseHeldError where the
    holder lives, unless `standby` waits for his end; `waiting` is told so at every look. Raises LedgerError; who stands
    by does so at the first look alone, because a server may be away for a while in the weeks of waiting.
    """
    seen, since = ledger.lease(), clock.monotonic()
    while not stop.is_set():
        try:
            lease = ledger.lease()
            if lease is None or seen is None or (lease.term, lease.beat) != (seen.term, seen.beat):
                if seen is not None and lease is not None and not standby:
                    raise LeaseHeldError(lease)
                seen, since = lease, clock.monotonic()
            if lease is None or lease.owner == owner or _is_dead(lease, clock.monotonic() - since):
                return ledger.take_lease(owner, clock.now(), over=lease), lease
            if not standby and is_alive(lease.owner):
                raise LeaseHeldError(lease)
            status = f"standing by: process {lease.owner.pid} on {lease.owner.host} serves"
        except (Busy, Superseded):  # somebody was quicker: look again
            seen = None
            continue
        except LedgerError as error:
            if not standby:
                raise
            seen, status = None, f"standing by: {error}"  # who could not be seen did not stand still
        waiting(status)
        clock.sleep(_LOOK_SECONDS, stop)
    return None


def _is_dead(lease: Lease, still_for: float) -> bool:
    alive = is_alive(lease.owner)
    return alive is False or (alive is None and still_for > STILL_SECONDS)


class Keeper:
    """Beats for a lease that is held."""

    def __init__(self, ledger: Ledger, lease: Lease, clock: Clock) -> None:
        self._ledger, self._clock = ledger, clock
        self.lease = lease
        self._beaten = clock.monotonic()
        self._tried = self._beaten
        self._elsewhere = not ledger.files  # where another host can take over; else is_alive decides

    def beat(self) -> bool:
        """Give a sign of life when it is time; whether it was.

        Raises Superseded when the lease is another's or may be by now.
        """
        monotonic = self._clock.monotonic()
        if monotonic - self._tried < BEAT_SECONDS:
            return False
        self._tried = monotonic
        try:
            self.lease = self._ledger.beat(self.lease, self._clock.now())
        except Superseded:
            raise
        except LedgerError as error:  # it may have taken long to say so
            if self._elsewhere and self._clock.monotonic() - self._beaten > FENCE_SECONDS:
                message = "no sign of life could be given for too long: another serve may have taken over"
                raise Superseded(Failure(kind=FailureKind.BUSY, message=message)) from error
            raise
        self._beaten = monotonic
        return True

    def doubt(self) -> None:
        """Look with the next beat, whenever the last one was: something says that the lease is another's."""
        self._tried = -math.inf

    def drop(self) -> None:
        """Give the lease back, so that the next one need not wait. Raises LedgerError."""
        self._ledger.drop_lease(self.lease)
