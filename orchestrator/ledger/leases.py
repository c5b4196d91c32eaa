"""The lease: one process at a time makes slots and starts runs. Taken and kept by compare-and-set, whatever clocks say.

Whether a holder is dead is for others to judge; here it counts that the row is still as the judge saw it. The row stays
when a holder lets go, so that no term is ever used twice.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from jobs.failure import Failure, FailureKind
from jobs.history import Lease, Owner
from orchestrator.ledger.codec import micros, owner_row
from orchestrator.ledger.database import Row, Transaction
from orchestrator.ledger.faults import Busy, Superseded
from orchestrator.ledger.room import Room
from orchestrator.ledger.rows import lease_of

_LEASE: Final = "SELECT * FROM lease WHERE id = 1"
_FIRST: Final = "INSERT INTO lease (id, term, beat, taken_at, beaten_at) VALUES (1, 0, 0, :now, :now)"
_TAKE: Final = (
    "UPDATE lease SET owner_host = :owner_host, owner_boot = :owner_boot, owner_pid = :owner_pid,"
    " owner_started = :owner_started, term = term + 1, beat = 0, taken_at = :now, beaten_at = :now"
    " WHERE id = 1 AND term = :term AND beat = :beat"
)
_BEAT: Final = (
    "UPDATE lease SET beat = beat + 1, beaten_at = :now WHERE id = 1 AND term = :term AND owner_host IS NOT NULL"
)
_DROP: Final = (
    "UPDATE lease SET owner_host = NULL, owner_boot = NULL, owner_pid = NULL, owner_started = NULL"
    " WHERE id = 1 AND term = :term"
)


class Leases(Room):
    """Who decides."""

    def lease(self) -> Lease | None:
        """The lease as it stands; None when nobody has it."""
        with self._database.reading("read") as transaction:
            return _held(transaction.rows(_LEASE, {}))

    def take_lease(self, owner: Owner, now: datetime, over: Lease | None = None) -> Lease:
        """Take the lease when nobody has it, or over one that was seen to be dead, exactly as it was seen.

        From then on this ledger refuses what is decided through it (lines, slots, claims, notices, alarms) once the
        lease is another's. Raises Busy when somebody has it and it is not, or no longer, as `over` says.
        """
        with self._database.deciding("write") as transaction:
            found = transaction.rows(_LEASE, {})
            if not found:
                transaction.change(_FIRST, {"now": micros(now)})
                found = transaction.rows(_LEASE, {})
            held = _held(found)
            if held is not None and (over is None or (held.term, held.beat) != (over.term, over.beat)):
                raise _taken(held)
            seen = {"term": found[0]["term"], "beat": found[0]["beat"]}
            # Again on the row itself: a beat does not wait for its turn to decide.
            if transaction.change(_TAKE, {**owner_row(owner), **seen, "now": micros(now)}) != 1:
                raise _taken(_there(transaction))
            taken = _there(transaction)
        self._term = taken.term
        return taken

    def beat(self, lease: Lease, now: datetime) -> Lease:
        """Count up the holder's sign of life. Raises Superseded when the lease is no longer of this term."""
        with self._database.writing("write") as transaction:
            if transaction.change(_BEAT, {"term": lease.term, "now": micros(now)}) != 1:
                message = f"keep the lease of term {lease.term}: {_whose(_held(transaction.rows(_LEASE, {})))}"
                raise Superseded(Failure(kind=FailureKind.BUSY, message=message))
            return _there(transaction)

    def drop_lease(self, lease: Lease) -> None:
        """Let go of the lease; one that is another's by now is left alone."""
        with self._database.writing("write") as transaction:
            transaction.change(_DROP, {"term": lease.term})
        if lease.term == self._term:
            self._term = None


def _held(found: list[Row]) -> Lease | None:
    return lease_of(found[0]) if found and found[0]["owner_host"] is not None else None


def _there(transaction: Transaction) -> Lease:
    return lease_of(transaction.rows(_LEASE, {})[0])


def _whose(held: Lease | None) -> str:
    if held is None:
        return "nobody has it now"
    return f"process {held.owner.pid} on {held.owner.host} has it, in term {held.term}"


def _taken(held: Lease) -> Busy:
    message = (
        f"take the lease: process {held.owner.pid} on {held.owner.host} has it since"
        f" {held.taken_at:%Y-%m-%d %H:%M:%S} UTC, and its last sign of life was its {held.beat}th,"
        f" at {held.beaten_at:%H:%M:%S} UTC"
    )
    return Busy(Failure(kind=FailureKind.BUSY, message=message), held)
