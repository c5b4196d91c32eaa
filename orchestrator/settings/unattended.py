"""The tables of what runs unattended: `serve` itself, the channels on which people are told, and reports."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final, Literal

from pydantic import Field
from pydantic import model_validator as after_all

from jobs.event import SEVERITIES, Severity, Topic
from jobs.reporting import CATCH_UP
from orchestrator.settings.addresses import Listen
from orchestrator.settings.fields import Duration, Keep, LocalPath, OneTopic, Text, Zone
from orchestrator.settings.moments import Moments
from orchestrator.settings.references import ChannelAddress, Switch, Table


class LedgerTable(Table):
    """What is kept of what was due, done and told."""

    keep: Keep = Field(
        default=timedelta(days=3660),
        description="For how long records are kept; older ones are removed by `serve`, once a day, and their sums stay",
    )


class ServeTable(Table):
    """What `tandem serve` listens at, and whom it tells that it lives."""

    listen: Listen | None = Field(
        default=None,
        description='ADDRESS:PORT of health and metrics, without password or TLS: "127.0.0.1:9377" keeps them on this '
        "machine, any other address shows them to whoever reaches it; port 0 takes a free one; absent: none",
    )
    textfile: LocalPath | None = Field(
        default=None, description="A file NAME.prom to write the metrics to, for node_exporter's textfile collector"
    )
    dead_man: Switch | None = Field(
        default=None,
        description="An address that is called while all is well, so that its silence is noticed elsewhere; by "
        "reference when it holds a secret",
    )
    dead_man_every: Duration = Field(default=timedelta(minutes=5), description="How often dead_man is called")
    log: Literal["text", "json", "journal"] | None = Field(
        default=None, description="The log's form; absent: journal below systemd, else text"
    )
    shutdown_grace: Duration = Field(
        default=timedelta(seconds=60), description="Time for runs to end cleanly when serve is to stop"
    )

    @after_all(mode="after")
    def _calls_somebody(self) -> ServeTable:
        if self.dead_man is None and "dead_man_every" in self.model_fields_set:
            raise ValueError("dead_man_every has no meaning without dead_man")
        return self


# What wants a look or somebody now, and that it is over.
_TOLD: Final = tuple(topic for topic in Topic if SEVERITIES[topic] is not Severity.INFO or topic is Topic.RECOVERED)


class NotifyTable(Table):
    """A channel: who is told of what, and where."""

    urls: Annotated[tuple[ChannelAddress, ...], Field(min_length=1)] = Field(
        description="Where to: apprise's addresses, by reference; json://, form://, xml:// and syslog:// also plainly"
    )
    on: tuple[OneTopic, ...] = Field(default=_TOLD, description="The topics that are told at once")
    tenants: Annotated[tuple[Text, ...], Field(min_length=1)] | None = Field(
        default=None, description="Whose events; absent: everybody's, and those of the service as a whole"
    )
    repeat: Duration = Field(default=timedelta(hours=24), description="When a trouble that lasts is told again")
    digest: Moments | None = Field(default=None, description="When a summary is sent; absent: never")

    @after_all(mode="after")
    def _says_something(self) -> NotifyTable:
        if not self.on and self.digest is None:
            raise ValueError("tells nothing: on is empty, and there is no digest")
        return self


class ReportTable(Table):
    """A report that is made by itself."""

    kind: Literal["integrity"] = Field(default="integrity", description="What the report is about")
    schedule: Moments = Field(description="When it is made")
    timezone: Zone | None = Field(
        default=None, description="IANA zone of the schedule, of the period, and of the times it shows; the service's"
    )
    period: Literal["day", "week", "month", "quarter", "year"] = Field(
        default="month", description="Of what: the last complete one before the moment at which it is due"
    )
    tenant: Text | None = Field(default=None, description="Nothing but this tenant; absent: everybody")
    formats: Annotated[tuple[Literal["html", "json", "text"], ...], Field(min_length=1)] = Field(
        default=("html", "json", "text"), description="The files that are written"
    )
    folder: LocalPath = Field(description="Where they are written; it must be there")
    catch_up: Duration = Field(
        default=CATCH_UP, description="How late it may still be made; what was not made by then counts as missed"
    )

    @after_all(mode="after")
    def _each_form_once(self) -> ReportTable:
        if len(set(self.formats)) != len(self.formats):
            raise ValueError("formats names one of them twice")
        return self
