"""Every way a job can fail: one kind each, with whether a retry can help and what the operator does next.

Failure
├── of the tool         TOOL_MISSING · TOOL_TOO_OLD · TOOL_FAILED · KILLED · DEADLINE · NO_PROGRESS · CANCELLED
├── of the repository   WRONG_PASSWORD · REPOSITORY_MISSING · REPOSITORY_LOCKED · REPOSITORY_FOREIGN
│                       REPOSITORY_DAMAGED · SNAPSHOT_MISSING · NOT_REMOVED
├── of the vault        VAULT_TWICE · VAULT_UNREACHABLE · HOST_KEY_UNKNOWN · HOST_KEY_CHANGED · BUCKET_MISSING
│                       ACCESS_DENIED · DISK_FULL
├── of the source       SOURCE_MISSING · SOURCE_UNREADABLE · SOURCE_COMMAND_FAILED · SOURCE_DAMAGED
├── of the proof        DIFFERENCES_FOUND · MANIFEST_MISSING
├── of the person's ask NOT_EMPTY · NOTHING_MATCHES · TARGET_UNWRITABLE
├── of a report         FOLDER_UNAVAILABLE
├── of a channel        CHANNEL_INVALID · CHANNEL_UNREACHABLE · CHANNEL_REFUSED
└── of Tandem itself    SECRET_UNAVAILABLE · BUSY · LEDGER_MISSING · LEDGER_READ_ONLY · LEDGER_TOO_NEW
                        LEDGER_DAMAGED · ADDRESS_UNUSABLE · INTERNAL
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class FailureKind(StrEnum):
    """The closed list of failure kinds; the value is what ledger and JSON carry."""

    TOOL_MISSING = "tool-missing"
    TOOL_TOO_OLD = "tool-too-old"
    TOOL_FAILED = "tool-failed"
    KILLED = "killed"
    DEADLINE = "deadline"
    NO_PROGRESS = "no-progress"
    CANCELLED = "cancelled"
    WRONG_PASSWORD = "wrong-password"  # noqa: S105 (a failure's name, not a password)
    REPOSITORY_MISSING = "repository-missing"
    REPOSITORY_LOCKED = "repository-locked"
    REPOSITORY_FOREIGN = "repository-foreign"
    REPOSITORY_DAMAGED = "repository-damaged"
    SNAPSHOT_MISSING = "snapshot-missing"
    VAULT_TWICE = "vault-twice"
    NOT_REMOVED = "not-removed"
    VAULT_UNREACHABLE = "vault-unreachable"
    HOST_KEY_UNKNOWN = "host-key-unknown"
    HOST_KEY_CHANGED = "host-key-changed"
    BUCKET_MISSING = "bucket-missing"
    ACCESS_DENIED = "access-denied"
    DISK_FULL = "disk-full"
    SOURCE_MISSING = "source-missing"
    SOURCE_UNREADABLE = "source-unreadable"
    SOURCE_COMMAND_FAILED = "source-command-failed"
    SOURCE_DAMAGED = "source-damaged"
    DIFFERENCES_FOUND = "differences-found"
    MANIFEST_MISSING = "manifest-missing"
    NOT_EMPTY = "not-empty"
    NOTHING_MATCHES = "nothing-matches"
    TARGET_UNWRITABLE = "target-unwritable"
    FOLDER_UNAVAILABLE = "folder-unavailable"
    CHANNEL_INVALID = "channel-invalid"
    CHANNEL_UNREACHABLE = "channel-unreachable"
    CHANNEL_REFUSED = "channel-refused"
    SECRET_UNAVAILABLE = "secret-unavailable"  # noqa: S105 (a failure's name, not a password)
    BUSY = "busy"
    LEDGER_MISSING = "ledger-missing"
    LEDGER_READ_ONLY = "ledger-read-only"
    LEDGER_TOO_NEW = "ledger-too-new"
    LEDGER_DAMAGED = "ledger-damaged"
    ADDRESS_UNUSABLE = "address-unusable"
    INTERNAL = "internal"


# The frozen exit codes of the command line; additions only (docs/manual.md lists them for users).
DONE: Final = 0
INTERNAL: Final = 1
USAGE: Final = 2
PARTIAL: Final = 3
JOB_FAILED: Final = 4
OBJECTIVE_MISSED: Final = 5
EVIDENCE_BROKEN: Final = 6
SETTINGS_INVALID: Final = 7
BUSY_OR_LOCKED: Final = 8
INTERRUPTED: Final = 130


@dataclass(frozen=True, kw_only=True, slots=True)
class Trait:
    """What is known of a failure kind before it happens."""

    retryable: bool
    advice: str
    exit_code: int = JOB_FAILED


_KIND = FailureKind
TRAITS: Final[Mapping[FailureKind, Trait]] = MappingProxyType(
    {
        _KIND.TOOL_MISSING: Trait(
            retryable=False, advice="Install restic 0.14 or newer, or set [service] restic to its path."
        ),
        _KIND.TOOL_TOO_OLD: Trait(retryable=False, advice="Install restic 0.14 or newer."),
        _KIND.TOOL_FAILED: Trait(retryable=True, advice="Read the message above; run again with -v to see more."),
        _KIND.KILLED: Trait(
            retryable=True, advice="Find out who ended restic (the kernel when memory is short?), then run again."
        ),
        _KIND.DEADLINE: Trait(retryable=True, advice="Raise [limits] deadline, or find out why it takes so long."),
        _KIND.NO_PROGRESS: Trait(retryable=True, advice="Check the vault's network and disk, then run again."),
        _KIND.CANCELLED: Trait(
            retryable=True, advice="Nothing is lost; run the same command again.", exit_code=INTERRUPTED
        ),
        _KIND.WRONG_PASSWORD: Trait(
            retryable=False, advice="Check the tenant's password reference; the repository was made with another one."
        ),
        _KIND.REPOSITORY_MISSING: Trait(
            retryable=False,
            advice="It was there before: check that the vault's disk is mounted and its path is right. "
            "Lost for good? See --begin-anew.",
        ),
        _KIND.REPOSITORY_LOCKED: Trait(
            retryable=True, advice="Wait for the other process to end, then run again.", exit_code=BUSY_OR_LOCKED
        ),
        _KIND.REPOSITORY_FOREIGN: Trait(
            retryable=False,
            advice="Another repository stands where this tenant's was: check the vault's path. Nothing was written.",
        ),
        _KIND.REPOSITORY_DAMAGED: Trait(
            retryable=False, advice="Do not prune. Restore from the other site, and check that site first."
        ),
        _KIND.VAULT_TWICE: Trait(
            retryable=False, advice="Two vaults of the settings lead to one repository: keep one of the two."
        ),
        _KIND.SNAPSHOT_MISSING: Trait(
            retryable=True, advice="List what is there with: tandem snapshots. A backup that left none has failed."
        ),
        _KIND.NOT_REMOVED: Trait(
            retryable=False, advice="The vault refuses deletions (append-only?): remove on the server, or let it grow."
        ),
        _KIND.VAULT_UNREACHABLE: Trait(
            retryable=True, advice="Check the network, the address and that the server runs."
        ),
        _KIND.HOST_KEY_UNKNOWN: Trait(
            retryable=False, advice="Compare the host's key by another way, then add it to the vault's known_hosts."
        ),
        _KIND.HOST_KEY_CHANGED: Trait(
            retryable=False, advice="Somebody may stand between: ask the host's owner before you change known_hosts."
        ),
        _KIND.BUCKET_MISSING: Trait(retryable=False, advice="Create the bucket, or correct its name in the settings."),
        _KIND.ACCESS_DENIED: Trait(
            retryable=False, advice="Check the vault's credentials and what its owner allows them to do."
        ),
        _KIND.DISK_FULL: Trait(retryable=True, advice="Free space there; what was written so far is not lost."),
        _KIND.SOURCE_MISSING: Trait(
            retryable=False, advice="Mount or restore the path, or take it out of the policy's source."
        ),
        _KIND.SOURCE_UNREADABLE: Trait(retryable=False, advice="Give the backup's user the right to read it."),
        _KIND.SOURCE_COMMAND_FAILED: Trait(
            retryable=True, advice="Run the command by hand as the backup's user and read its error."
        ),
        _KIND.SOURCE_DAMAGED: Trait(
            retryable=False, advice="The source itself is damaged: restore it from a recovery point before this one."
        ),
        _KIND.DIFFERENCES_FOUND: Trait(
            retryable=False, advice="Restore from the other site; keep this repository as it is until it is understood."
        ),
        _KIND.MANIFEST_MISSING: Trait(
            retryable=False, advice="Make a new backup: without its manifest this snapshot cannot be proven."
        ),
        _KIND.NOT_EMPTY: Trait(
            retryable=False, advice="Choose an empty folder, or say --overwrite to replace what is there."
        ),
        _KIND.NOTHING_MATCHES: Trait(
            retryable=False, advice="List what there is with: tandem snapshots, or choose another time or pattern."
        ),
        _KIND.TARGET_UNWRITABLE: Trait(
            retryable=False, advice="Check the folder's owner, mode and what stands there; or choose another folder."
        ),
        _KIND.FOLDER_UNAVAILABLE: Trait(
            retryable=True,
            advice="Mount or make the folder that [reports] names, and let Tandem's user write there; "
            "then: tandem report scheduled.",
        ),
        _KIND.CHANNEL_INVALID: Trait(
            retryable=False, advice="Correct the channel's address in [notify]; try it with apprise's own command."
        ),
        _KIND.CHANNEL_UNREACHABLE: Trait(
            retryable=True, advice="Check the network, the address in [notify], and that the server runs."
        ),
        _KIND.CHANNEL_REFUSED: Trait(
            retryable=True, advice="Read the server's log; check the channel's password or token."
        ),
        _KIND.SECRET_UNAVAILABLE: Trait(
            retryable=False, advice="Put the secret where the settings say, readable by its owner only (mode 0600)."
        ),
        _KIND.BUSY: Trait(
            retryable=True, advice="Wait for the other run to end; see it with: tandem runs", exit_code=BUSY_OR_LOCKED
        ),
        # A run that failed by its ledger, and whose end is in it, has a ledger again.
        _KIND.LEDGER_MISSING: Trait(
            retryable=True, advice="Check [service] state; run a backup to begin a new ledger.", exit_code=INTERNAL
        ),
        _KIND.LEDGER_READ_ONLY: Trait(
            retryable=True, advice="Give the user write access to the ledger and its folder.", exit_code=INTERNAL
        ),
        _KIND.LEDGER_TOO_NEW: Trait(
            retryable=False, advice="A newer Tandem wrote this ledger: install that version again.", exit_code=INTERNAL
        ),
        _KIND.LEDGER_DAMAGED: Trait(
            retryable=True, advice="Put the ledger back from its backup; do not edit it.", exit_code=INTERNAL
        ),
        _KIND.ADDRESS_UNUSABLE: Trait(
            retryable=False,
            advice="See who listens there with: ss -ltnp; or choose another address in [serve] listen.",
            exit_code=INTERNAL,
        ),
        _KIND.INTERNAL: Trait(
            retryable=False, advice="Run it again with -vv, and report what it shows.", exit_code=INTERNAL
        ),
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """One failure: its kind, and one or two sentences that name what it happened to. Never holds a secret."""

    kind: FailureKind
    message: str

    @property
    def advice(self) -> str:
        """What the operator does next."""
        return TRAITS[self.kind].advice

    @property
    def retryable(self) -> bool:
        """Whether the same step may succeed later without anybody changing anything."""
        return TRAITS[self.kind].retryable

    @property
    def exit_code(self) -> int:
        """The command line's exit code for this failure."""
        return TRAITS[self.kind].exit_code
