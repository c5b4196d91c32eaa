"""The settings in force, and how others come to be: whole or not at all. Where anything is wrong the old ones stay."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final

from jobs.alarm import REFUSED, difference, settings_refused
from jobs.event import Topic
from jobs.policy import Policy, PolicyName
from jobs.slot import Slot
from orchestrator import settings as settings_room
from orchestrator.ledger.ledger import Ledger, LedgerError
from orchestrator.serve.calendar import Calendar, Take
from orchestrator.serve.chronicle import Chronicle
from orchestrator.serve.voice import Voice
from orchestrator.settings import Settings, SettingsError, effective_policy_json, effective_report_json
from reports.log import Level

_SUBJECT: Final = "settings"
_NAMED: Final = 20


class Regime:
    """What is done by which settings. Used by the thread that decides."""

    def __init__(  # noqa: PLR0913 (what taking over touches)
        self,
        settings: Settings,
        *,
        ledger: Ledger,
        calendar: Calendar,
        chronicle: Chronicle,
        voice: Voice,
        reload: threading.Event,
        settled: Callable[[Settings], None],
        take: Take,
    ) -> None:
        """`take` is given what became due until the settings change, as the calendar writes it."""
        self.settings = settings
        self.policies: dict[PolicyName, Policy] = _by_name(settings)
        self._ledger, self._calendar, self._chronicle, self._voice = ledger, calendar, chronicle, voice
        self._reload, self._settled, self._take = reload, settled, take

    @property
    def is_asked_for_others(self) -> bool:
        """Whether the settings may have changed."""
        return self._reload.is_set()

    def begin(self, now: datetime) -> tuple[Slot, ...]:
        """Put the settings in force; the slots that this made. Raises LedgerError."""
        self._remember(self.settings, now)
        made = self._calendar.settle(self.settings.scheduled, now, self._take)
        self._accepted(now)
        self._tell_of_the_gone()
        return made

    def take_over(self, now: datetime) -> tuple[Slot, ...] | None:
        """The settings as they now stand: the slots that this made; None where the old ones stay in force.

        Raises LedgerError: then it is asked for still.
        """
        self._reload.clear()
        try:
            new = self._read(now)
            if new is None:
                return None
            self._remember(new, now)
            made = self._calendar.settle(new.scheduled, now, self._take)
            self._accepted(now)
        except LedgerError:
            self._reload.set()
            raise
        late = _taken_at_the_start(self.settings, new)
        self.settings, self.policies = new, _by_name(new)
        self._settled(new)
        size = f"{len(self.policies)} policies, {len(self._calendar)} lines"
        self._chronicle.happened(Topic.SETTINGS_RELOADED, _SUBJECT, f"{size}{late}")
        self._tell_of_the_gone()
        return made

    def _tell_of_the_gone(self) -> None:
        """A policy that is in the settings no longer protects nothing, and everything else stays green."""
        gone = sorted(self._calendar.gone)
        if not gone:
            return
        names = ", ".join(gone[:_NAMED]) + (f" and {len(gone) - _NAMED} more" if len(gone) > _NAMED else "")
        text = f"No longer in the settings, and nothing of theirs is due any more: {names}."
        self._chronicle.happened(Topic.POLICIES_REMOVED, _SUBJECT, text, key=f"removed {', '.join(gone)}")

    def _read(self, now: datetime) -> Settings | None:
        try:
            new = settings_room.load(self.settings.file)
        except SettingsError as mistakes:
            for mistake in mistakes.mistakes:
                self._voice.say(Level.ERROR, "settings-mistake", str(mistake))
            self._refused("; ".join(map(str, mistakes.mistakes)), now)
            return None
        if new.service.state != self.settings.service.state:
            self._refused("another [service] state takes a restart", now)
            return None
        return new

    def _refused(self, why: str, now: datetime) -> None:
        """Told, and an alarm from the first refusal until other settings are accepted. Raises LedgerError."""
        alarm = settings_refused(why, now)
        since = next((each.raised_at for each in self._ledger.alarms() if each.key == REFUSED), now)
        self._ledger.set_alarms([replace(alarm, raised_at=since)], [REFUSED], now)  # with the mistakes of now
        self._chronicle.happened(Topic.SETTINGS_REFUSED, _SUBJECT, f"the old ones stay in force: {why}", key=REFUSED)

    def _accepted(self, now: datetime) -> None:
        """What was refused before is over. Raises LedgerError."""
        changed = difference([each for each in self._ledger.alarms() if each.key == REFUSED], (), now)
        if changed.cleared:
            self._ledger.set_alarms((), changed.cleared, now, changed.events)
            for event in changed.events:
                self._chronicle.recorded(event)

    def _remember(self, settings: Settings, now: datetime) -> None:
        told = [(policy.settings_hash, effective_policy_json(policy)) for policy in settings.policies]
        told += [(reporting.settings_hash, effective_report_json(reporting)) for reporting in settings.reports]
        self._ledger.remember_all_settings(told, now)


def _taken_at_the_start(old: Settings, new: Settings) -> str:
    """What has changed and is not followed before the next start."""
    names = ("dead_man", "dead_man_every", "log")
    changed = [name for name in names if getattr(old.serve, name) != getattr(new.serve, name)]
    return f"; [serve] {', '.join(changed)} will hold from the next start on" if changed else ""


def _by_name(settings: Settings) -> dict[PolicyName, Policy]:
    return {policy.name: policy for policy in settings.policies}
