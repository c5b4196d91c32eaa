"""What a clock that was ahead has written down: slots of moments that had not come are void, and lines begin anew.

Nothing is removed. Such a slot bears its line's number behind its name, so that the moment's own slot can have the
plain one; what never ran ends as skipped, and what ran keeps its state and its run. It stands for no moment that did
come: those it was to stand for are missed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from jobs.event import Event
from jobs.slot import void_mark
from orchestrator.ledger import events as outcry
from orchestrator.ledger.codec import micros, moment_or_none
from orchestrator.ledger.database import Row, Transaction
from orchestrator.ledger.room import Room, insert_each
from orchestrator.ledger.rows import line_of, line_row

_SIGN: Final = "SELECT max(beaten_at) AS at FROM lease"
_REACHED: Final = (
    "SELECT max(CASE WHEN until IS NOT NULL AND until < cursor THEN until ELSE cursor END) AS cursor,"
    " max(until) AS until FROM line"
)
_AHEAD: Final = "SELECT * FROM line WHERE (until IS NULL AND cursor > :now) OR until > :now ORDER BY id"
_BUSY: Final = "SELECT policy, job, vault FROM slot WHERE closed_at IS NULL AND state = 'running' AND nominal > :now"
_OF_LINE: Final = "line = :line AND nominal > :now"
_PLAIN: Final = f"{_OF_LINE} AND key NOT LIKE '%~%'"
_NEVER_RAN: Final = "state = 'due' OR run IS NULL"
_RUNS: Final = f"UPDATE run SET slot = slot || :mark WHERE slot IN (SELECT id FROM slot WHERE {_PLAIN})"  # noqa: S608 (constants)
_VOID: Final = (
    f"UPDATE slot SET id = id || :mark, key = key || :mark, retry_at = NULL,"  # noqa: S608 (constants)
    f" why_text = CASE WHEN {_NEVER_RAN} THEN :why || CASE WHEN closed_at IS NULL THEN ''"
    " ELSE '; it had ended as ' || state END ELSE why_text END,"
    f" why_kind = CASE WHEN {_NEVER_RAN} THEN 'clock' ELSE why_kind END,"
    f" why_other = CASE WHEN {_NEVER_RAN} THEN '' ELSE why_other END,"
    f" state = CASE WHEN {_NEVER_RAN} THEN 'skipped' ELSE state END,"
    f" closed_at = coalesce(closed_at, :now) WHERE {_PLAIN}"
)
_DATE: Final = (  # what is dated later than now would hide what comes until then from all that look for the newest
    "UPDATE slot SET nominal = :now, due = :now, until = :now,"  # noqa: S608 (constants)
    " known_at = CASE WHEN known_at > :now THEN :now ELSE known_at END,"
    f" closed_at = CASE WHEN closed_at > :now THEN :now ELSE closed_at END WHERE {_OF_LINE}"
)
_HOLLOW: Final = (  # its policy is asked for the index; an earlier line of it may have been stood for, too
    "policy = (SELECT policy FROM line WHERE id = :line) AND state = 'coalesced' AND nominal <= :now"  # noqa: S608 (constants)
    f" AND key NOT LIKE '%~%' AND why_other IN (SELECT id FROM slot WHERE {_PLAIN})"
)
_MISS: Final = (
    "UPDATE slot SET state = 'missed', why_kind = 'clock', why_other = '', closed_at = :now,"  # noqa: S608 (constants)
    f" why_text = 'a clock that was ahead made what was to stand for it: ' || why_text WHERE {_HOLLOW}"
)
_SOON: Final = (  # what was put off until a moment of that time would be put off for as long as the clock was ahead
    "UPDATE notice SET next_at = :now WHERE state = 'pending' AND next_at > :now",
    "UPDATE notice SET made_at = :now WHERE made_at > :now",
    "UPDATE alarm SET raised_at = :now WHERE cleared_at IS NULL AND raised_at > :now",
)
_END: Final = "UPDATE line SET until = :now WHERE id = :line"
_COUNT: Final = f"SELECT count(*) AS many FROM slot WHERE {_PLAIN}"  # noqa: S608 (constants)
_MISSED: Final = f"SELECT count(*) AS many FROM slot WHERE {_HOLLOW}"  # noqa: S608 (constants)


@dataclass(frozen=True, kw_only=True, slots=True)
class Voided:
    """How many slots were void, and of how many lines; how many lines wait for the end of a run that is under way.

    `missed` are the slots of moments that came, for which one of the void was to stand.
    """

    slots: int
    lines: int
    busy: int
    missed: int


class Corrections(Room):
    """Finds how far the record has come, and takes back what a wrong clock made."""

    def last_sign(self) -> datetime | None:
        """When whoever served last gave a sign of life, by the clock that it believed; None when nobody ever did."""
        return next(iter(self._ask(_SIGN, {}, lambda row: moment_or_none(row["at"]))), None)

    def reached(self) -> datetime | None:
        """The newest moment to which any line was brought, of those that have ended too."""
        (row,) = self._ask(_REACHED, {}, lambda row: (moment_or_none(row["cursor"]), moment_or_none(row["until"])))
        return max((at for at in row if at is not None), default=None)

    def void(self, now: datetime, why: str, tell: Callable[[Voided], Event]) -> Voided:
        """End every line that is ahead of `now`, begin it anew from now, and void what it made of later moments.

        A line whose slot of such a moment is running stays as it is until that run has ended. All in one transaction,
        with the event that `tell` makes of it where anything was done.
        """
        at = micros(now)
        with self._database.deciding("write") as transaction:
            self._still_decides(transaction)
            ahead = transaction.rows(_AHEAD, {"now": at})
            busy = {_key(row) for row in transaction.rows(_BUSY, {"now": at})}
            free = [row for row in ahead if _key(row) not in busy]
            values = [{"line": row["id"], "now": at, "mark": void_mark(row["id"]), "why": why} for row in free]
            voided = Voided(
                slots=_counted(transaction, _COUNT, values),
                lines=len(free),
                busy=len(ahead) - len(free),
                missed=_counted(transaction, _MISSED, values),
            )
            for statement, names in _STATEMENTS:
                transaction.change_each(statement, [{name: row[name] for name in names} for row in values])
            standing = self._read((row for row in free if row["until"] is None), line_of)
            anew = [replace(line, id=0, since=now, cursor=now) for line in standing]
            insert_each(transaction, "line", [line_row(line) for line in anew])
            if free:
                for statement in _SOON:
                    transaction.change(statement, {"now": at})
                outcry.write(transaction, [tell(voided)])
        return voided


_STATEMENTS: Final = (
    (_MISS, ("line", "now")),
    (_RUNS, ("line", "now", "mark")),
    (_VOID, ("line", "now", "mark", "why")),
    (_DATE, ("line", "now")),
    (_END, ("line", "now")),
)


def _counted(transaction: Transaction, statement: str, values: list[dict[str, Any]]) -> int:
    bounds = ({"line": row["line"], "now": row["now"]} for row in values)
    return sum(int(transaction.rows(statement, each)[0]["many"]) for each in bounds)


def _key(row: Row) -> tuple[str, str, str]:
    return row["policy"], row["job"], row["vault"]
