"""What people are told: the subject and the body of a notice, a letter of several, a digest. Plain text, times in UTC.

Every text is put on one line and without control characters, whatever it holds: a subject becomes a mail's header.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from jobs.event import Event, Severity, Topic
from jobs.notice import Bundle, Notice, worst
from jobs.quantity import counted, number
from jobs.slot import FINAL, GOOD, SlotState
from reports.document import printable

_SUBJECT: Final = 160  # characters: what mail programs and gateways show
_LISTED: Final = 50  # a message of thousands is refused by many a server, and read by nobody


def moment(at: datetime) -> str:
    """An instant, to the minute."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def subject(bundle: Bundle) -> str:
    """What happened, of which matter: "failed: backup career-files at primary". The last word is the newest."""
    last = bundle.events[-1]
    more = len(bundle.events) - 1
    return _short(f"{last.topic}: {printable(last.subject)}{f' (and {number(more)} before it)' if more else ''}")


def body(bundle: Bundle) -> str:
    """Every event of one matter, the oldest first."""
    told = [_event(event) for event in bundle.events[-_LISTED:]]
    return "\n\n".join([*_left_out(len(bundle.events), "earlier"), *told])


def _event(event: Event) -> str:
    lines = [f"{moment(event.at)}  {event.topic}: {printable(event.subject)}", f"  {printable(event.text)}"]
    about = [f"{name} {value}" for name, value in (("tenant", event.tenant), ("policy", event.policy)) if value]
    return "\n".join([*lines, *([f"  ({', '.join(about)})"] if about else [])])


def _left_out(count: int, what: str) -> list[str]:
    return [f"… and {number(count - _LISTED)} {what}."] if count > _LISTED else []


def letter(service: str, notices: Sequence[Notice], now: datetime) -> tuple[str, str]:
    """Subject and body of one message that tells of one or several notices.

    The references at its end are the notices' own numbers: whoever gets a number twice was told the same thing twice,
    because nobody could say whether the first message had arrived.
    """
    if len(notices) == 1:
        title, text = notices[0].subject, notices[0].body
    else:
        title, text = _together(notices)
    return _short(f"[{printable(service)}] {title}"), f"{text}\n\n--\n{_ending(service, notices, now)}\n"


def _together(notices: Sequence[Notice]) -> tuple[str, str]:
    severities = Counter(notice.severity for notice in notices)
    how = ", ".join(f"{number(severities[level])} {level}" for level in reversed(Severity) if severities[level])
    listed = sorted(notices, key=lambda notice: (_LOUDEST_FIRST[notice.severity], notice.id))[:_LISTED]
    lines = [f"- {moment(notice.made_at)}  {notice.subject}" for notice in listed]
    lines += _left_out(len(notices), "more; see them with: tandem slots")
    text = "So much happened that it is told in one message. The worst first:\n\n" + "\n".join(lines)
    return f"{counted(len(notices), 'notice')}: {how}", text


_LOUDEST_FIRST: Final = {Severity.CRITICAL: 0, Severity.WARNING: 1, Severity.INFO: 2}


def _ending(service: str, notices: Sequence[Notice], now: datetime) -> str:
    first, last = notices[0], notices[-1]
    number_of = f"{first.id}" if first is last else f"{first.id}-{last.id} ({counted(len(notices), 'notice')})"
    told = f"Tandem, {printable(service)}. Notice {number_of}, made {moment(first.made_at)}."
    tries = max(notice.attempts for notice in notices)
    late = f" Sent {moment(now)}, after {counted(tries, 'try', 'tries')} that failed." if tries else ""
    return f"{told}{late}\nThe same number twice is the same notice."


def digest_subject(bundle: Bundle, counts: Mapping[SlotState, int], since: datetime, until: datetime) -> str:
    """How it went, in one line."""
    well = sum(counts.get(state, 0) for state in GOOD)
    ended = sum(counts.get(state, 0) for state in FINAL)
    loud = sum(event.severity is not Severity.INFO for event in bundle.events)
    ran = f"{number(well)} of {counted(ended, 'slot')} went well" if ended else "no slot ended"
    return f"digest: {ran}, {counted(loud, 'trouble')}; {moment(since)} to {moment(until)}"


def digest_body(
    bundle: Bundle,
    counts: Mapping[SlotState, int],
    since: datetime,
    until: datetime,
    *,
    still_open: int = 0,
    oldest: datetime | None = None,
) -> str:
    """The slots that ended, by state, how many are open still, and every trouble, the newest first."""
    states = [f"  {state:<12} {number(counts[state])}" for state in SlotState if counts.get(state)]
    slots = [f"Slots that ended from {moment(since)} to {moment(until)}:", *(states or ["  none"])]
    waiting = f"{number(still_open)}, the oldest due {moment(oldest)}" if oldest is not None else "none"
    slots += [f"Still open: {waiting}."]
    troubles = [event for event in reversed(bundle.events) if event.severity is not Severity.INFO]
    lines = [f"- {moment(event.at)}  {event.topic}: {printable(event.subject)}" for event in troubles[:_LISTED]]
    told = ["Troubles:", *(lines or ["  none"]), *_left_out(len(troubles), "more")]
    return "\n".join([*slots, "", *told, "", *_others(bundle.events)]).rstrip()


def _others(events: Iterable[Event]) -> list[str]:
    """What else happened to the service itself; slots that ended well are counted above."""
    slots = {Topic(state.value) for state in FINAL}
    quiet = [event for event in events if event.severity is Severity.INFO and event.topic not in slots]
    lines = [f"- {moment(event.at)}  {event.topic}: {printable(event.subject)}" for event in quiet[-_LISTED:]]
    return ["Also:", *lines] if lines else []


def severity(notices: Iterable[Notice]) -> Severity:
    """The loudest of a letter's notices."""
    return worst(notice.severity for notice in notices)


def _short(text: str) -> str:
    return text if len(text) <= _SUBJECT else f"{text[: _SUBJECT - 1]}…"
