"""The sentences of the integrity report: one for each gap, one for each control, and how each figure is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from jobs.history import Job
from jobs.quantity import counted, duration
from jobs.verdict import ControlName, Gap, GapCode

CONTROLS: Final[Mapping[ControlName, str]] = {
    ControlName.RECOVERY_POINT: "Recovery point",
    ControlName.REPLICA_LAG: "Replica lag",
    ControlName.PARITY: "Parity",
    ControlName.AUDIT: "Audit",
    ControlName.CHECK: "Check",
    ControlName.RESTORE_TEST: "Restore test",
    ControlName.RESTORE_TIME: "Restore time",
}

JOBS: Final[Mapping[Job, str]] = {
    Job.BACKUP: "backup",
    Job.REPLICATE: "replicate",
    Job.AUDIT: "audit",
    Job.CHECK: "check",
    Job.RESTORE_TEST: "restore test",
    Job.RETENTION: "retention",
    Job.RESTORE: "restore",
    Job.REPORT: "report",
}

# {measured} {limit} {many} {detail} {wanted} {site}; `many` is the count with its noun from _NOUNS.
_SENTENCES: Final[Mapping[GapCode, str]] = {
    GapCode.NO_RECOVERY_POINT: "There is no recovery point at {site}.",
    GapCode.POINT_TOO_OLD: "The newest recovery point is {measured} old; {limit} is allowed.",
    GapCode.POINT_INCOMPLETE: "Not counted: {many} newer than that, from a partial backup.",
    GapCode.POINT_IN_FUTURE: "Not counted: {many} with a time in the future. A clock is wrong.",
    GapCode.FILES_WERE_CHANGING: "{many} changed while the newest point was made, so their content proves nothing.",
    GapCode.LAG_UNKNOWN: "One of the two sites holds no recovery point, so the replica's lag is unknown.",
    GapCode.REPLICA_LATE: "A recovery point has waited {measured} to be copied to {site}; {limit} is allowed.",
    GapCode.NOTHING_IN_COMMON: "The two sites have no recovery point in common.",
    GapCode.TREES_DIFFER: "The two sites hold different content for {many}. This must never happen.",
    GapCode.POINTS_OVERTAKEN: "{many} never arrived at {site}, though newer ones did.",
    GapCode.NEVER_AUDITED: "The stored files at {site} were never audited.",
    GapCode.STORED_FILES_DAMAGED: "The audit found {many} damaged, the first: {detail}. No later one found all sound.",
    GapCode.NO_CLEAN_AUDIT: "No audit of the stored files at {site} ever ended clean.",
    GapCode.AUDIT_TOO_OLD: "The last clean audit is {measured} old; {limit} is allowed.",
    GapCode.NEVER_CHECKED: "The repository at {site} was never checked.",
    GapCode.DAMAGE_FOUND: "The check found {many}; no later check has seen the same data sound.",
    GapCode.NO_CLEAN_CHECK: "No check of the repository at {site} ever ended clean.",
    GapCode.CHECKED_TOO_LITTLE: "The last clean check read {detail} of the data; the policy asks for {wanted}.",
    GapCode.CHECK_TOO_OLD: "The last check that counts is {measured} old; {limit} is allowed.",
    GapCode.CHECK_READ_PART: "The check read {detail} of the stored data; the rest is not proven by it.",
    GapCode.NEVER_RESTORED: "Nothing was ever restored from {site}.",
    GapCode.DIFFERENCES_FOUND: "The restore test of {detail} found {many}, and no clean test has cleared it since.",
    GapCode.NO_CLEAN_TEST: "No restore test from {site} ever ended clean with at least one file compared.",
    GapCode.RESTORE_TEST_TOO_OLD: "The last clean restore test is {measured} old; {limit} is allowed.",
    GapCode.NEWER_THAN_TESTED: "The newest recovery point is newer than {detail}, the one that was restored.",
    GapCode.FILES_CHANGED_IN_TEST: "{many} of the restore test had been changing: present, but not comparable.",
    GapCode.FILES_NOT_COMPARED: "{many} (sockets, devices, pipes) cannot be compared by content.",
    GapCode.RESTORE_TIME_UNKNOWN: "No clean restore test has measured how long a restore takes; {limit} is allowed.",
    GapCode.RESTORE_TOO_SLOW: "The restore took {measured}; {limit} is allowed.",
    GapCode.NO_OBJECTIVE: "No objective is set.",
    GapCode.NOTHING_PROMISED: "The policy sets no objective at all, so nothing can be met.",
}

_NOUNS: Final[Mapping[GapCode, tuple[str, str]]] = {
    GapCode.POINT_INCOMPLETE: ("recovery point", "recovery points"),
    GapCode.POINT_IN_FUTURE: ("recovery point", "recovery points"),
    GapCode.FILES_WERE_CHANGING: ("file", "files"),
    GapCode.TREES_DIFFER: ("recovery point", "recovery points"),
    GapCode.POINTS_OVERTAKEN: ("recovery point", "recovery points"),
    GapCode.STORED_FILES_DAMAGED: ("file", "files"),
    GapCode.DAMAGE_FOUND: ("error", "errors"),
    GapCode.DIFFERENCES_FOUND: ("difference", "differences"),
    GapCode.FILES_CHANGED_IN_TEST: ("file", "files"),
    GapCode.FILES_NOT_COMPARED: ("item", "items"),
}

_READ: Final = {"none": "nothing", "100%": "all"}


def read_share(read_data: str) -> str:
    """How much of the stored data a check read: "all", "10%", "500M"; "nothing" where it saw structure only."""
    return _READ.get(read_data, read_data)


def sentence(gap: Gap, site: str) -> str:
    """What is missed or not proven, in one sentence."""
    one, many = _NOUNS.get(gap.code, ("", ""))
    return _SENTENCES[gap.code].format(
        measured="" if gap.measured is None else duration(gap.measured, limit=gap.limit),
        limit="any time" if gap.limit is None else duration(gap.limit),
        many=counted(gap.count, one, many),
        detail=read_share(gap.detail),
        wanted=read_share(gap.wanted),
        site=site,
    )


METHOD: Final[tuple[tuple[str, str], ...]] = (
    (
        "As of",
        "The end of the period, or the moment the report was made while the period lasts. Only what was known then "
        "counts: runs that had finished, recovery points that had been seen and had not gone.",
    ),
    (
        "Recovery point",
        "A snapshot that was seen in the site's repository. Its age is the time of the report less the time of the "
        "newest complete one. One from a partial backup, or with a time in the future, does not count.",
    ),
    (
        "Replica lag",
        "0 when the primary's newest recovery point is at the replica. Otherwise the time of the report less the time "
        "of the oldest point at the primary that never arrived and is newer than all the replica holds.",
    ),
    (
        "Parity",
        "Points of both sites joined on the snapshot they were copied from. Equal means that the same tree of content "
        "hashes stands at both. A point that differs, or that newer ones overtook on the way, is a miss.",
    ),
    (
        "Audit",
        "Every stored file is read and its SHA-256 compared with its name, which needs neither the password nor the "
        "backup tool. Counted from the end of the last one that found nothing; damage stands until another finds none. "
        "Judged where audits are due or promised, or one was made. It proves what is stored, not that it is complete: "
        "that is the check's.",
    ),
    (
        "Check",
        "Counted from the end of the last clean check that read at least the share of the data that the policy asks "
        "for. One repository holds all of a tenant's policies in a vault, so any of them may have had it made. Damage "
        "stands until a check that reads the same data comes out clean.",
    ),
    (
        "Restore test",
        "Files are restored from the site's own repository to scratch and compared with the manifest that was taken at "
        "the source, independently of the backup tool. Counted from the end of the last clean test that compared at "
        "least one file. Differences stand until the same snapshot is tested clean, or is gone.",
    ),
    (
        "Restore time",
        "The time the restore of that test took, without the comparison. It is compared with the objective for "
        "restoring (RTO); it does not include the time that people need to decide.",
    ),
    (
        "Verdict",
        "Met: every control with an objective keeps it, and point, check and restore test exist. Missed: a figure is "
        "beyond its objective, or damage is known. Not proven: the proof is missing, which fails just the same. A "
        "figure equal to its objective is met. Without an objective a figure is shown and not judged.",
    ),
    (
        "Rounding",
        "Ages and durations are rounded up, amounts of data down. Verdicts are made on the exact figures; the JSON "
        "form of this report carries them in whole seconds and bytes.",
    ),
)
