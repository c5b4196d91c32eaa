"""The grammar of the command line, and nothing else: verbs, options, and the dotted name of what runs each.

Only argparse is imported here; the handlers are imported by name after parsing (see endings.py).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

VERSION: Final = "0.1.0"
_SETTINGS: Final = "settings.toml"
_USAGE: Final = 2  # jobs.failure has the table; loading it here would make --help slower
_EPILOG: Final = (
    "exit codes: 0 done, 1 internal error, 2 usage, 3 partial, 4 a job failed, 5 an objective is missed,\n"
    "            6 evidence does not verify, 7 settings invalid, 8 busy or locked, 130 interrupted"
)

# jobs.slot has them; loading it here would make --help slower, and a test holds the two together
_STATES: Final = (
    "due", "running", "succeeded", "partial", "failed", "missed", "coalesced", "skipped", "blocked", "interrupted"
)  # fmt: skip
_STATES_HELP: Final = "in this state only; repeatable: " + ", ".join(_STATES)

if TYPE_CHECKING:  # argparse has no public name for it
    _Verbs = argparse._SubParsersAction["_Parser"]


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The parsed command line; ends the process with 2 and a usage line on a mistake, as argparse does.

    With --json anywhere among the words a mistake is one JSON document on standard output too.
    """
    try:
        arguments = build().parse_args(argv)
    except _MistakeError as mistake:
        if "--json" in argv:
            from orchestrator.cli import printing

            printing.error(_USAGE, "", str(mistake), f"See: {mistake.prog} --help")
        sys.stderr.write(f"{mistake.usage}{mistake.prog}: error: {mistake}\n")
        raise SystemExit(_USAGE) from None
    arguments.settings = Path(arguments.settings or _SETTINGS)
    return arguments


class _MistakeError(Exception):
    """The command line does not follow the grammar of `prog`."""

    def __init__(self, message: str, prog: str, usage: str) -> None:
        super().__init__(message)
        self.prog = prog
        self.usage = usage


class _Parser(argparse.ArgumentParser):
    """argparse's, but a verb that does not exist is answered with the nearest one that does."""

    def error(self, message: str) -> NoReturn:
        raise _MistakeError(message, self.prog, self.format_usage())

    def _check_value(self, action: argparse.Action, value: object) -> None:
        choices = list(action.choices or ())
        if choices and value not in choices:
            import difflib

            close = difflib.get_close_matches(str(value), choices, n=1)
            nearest = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(choices)}"
            raise argparse.ArgumentError(action, f"there is no {value!r}; {nearest}")


def build() -> _Parser:
    """The whole grammar."""
    parser = _Parser(
        prog="tandem",
        description="Back up at one site, copy to the other, prove both, and report it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--settings", metavar="FILE", help=f"the settings (default: {_SETTINGS} in this folder)")
    parser.add_argument("--json", action="store_true", help="print exactly one JSON document on standard output")
    loud = parser.add_mutually_exclusive_group()
    loud.add_argument("-v", "--verbose", action="count", default=0, help="say more; -vv shows the trace of an error")
    loud.add_argument("-q", "--quiet", action="store_true", help="no progress, only the result")
    parser.add_argument("--version", action="version", version=f"tandem {VERSION}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    _work_verbs(verbs)
    _serve_verb(verbs)
    _look_verbs(verbs)
    _health_verbs(verbs)
    _restore_verb(verbs)
    _config_verb(verbs)
    _demo_verb(verbs)
    return parser


def _verb(verbs: _Verbs, name: str, handler: str, help_text: str) -> _Parser:
    verb = verbs.add_parser(name, help=help_text, description=help_text, allow_abbrev=False)
    verb.set_defaults(handler=f"orchestrator.cli.{handler}")
    return verb


def _work_verbs(verbs: _Verbs) -> None:
    cycle = _verb(verbs, "run", "work:run", "backup, replicate, audit, check, test-restore, retention, in that order")
    cycle.add_argument("policies", metavar="POLICY", nargs="*", help="these policies only (default: all)")
    dry = [cycle]
    for name, text in (
        ("backup", "store the policy's source at its primary site, with a manifest"),
        ("replicate", "copy what is missing to the policy's second site, and compare the two"),
        ("audit", "read every stored file and compare it with its name, without the password"),
        ("check", "have restic check the repositories that hold the policy"),
        ("test-restore", "restore to scratch and compare every item with the manifest"),
        ("retention", "remove recovery points that the retention does not keep"),
    ):
        verb = _verb(verbs, name, "work:job", text)
        verb.add_argument("policies", metavar="POLICY", nargs=1, help="the policy's name")
        dry.append(verb)
        if name in {"backup", "replicate"}:
            verb.add_argument("--begin-anew", action="store_true", help="the repository is lost: make a new one")
        if name in {"audit", "check", "test-restore", "retention"}:
            verb.add_argument("--site", metavar="SITE", help="at this site only (default: every site that has it)")
        if name == "check":
            verb.add_argument("--read-data", metavar="SHARE", help='"none", "100%%", "10%%", "1/4" or "500M"')
        if name == "test-restore":
            verb.add_argument("--snapshot", metavar="ID", help="this one (default: the newest at each site)")
    for verb in dry:
        verb.add_argument("--dry-run", action="store_true", help="print the plan that would run, and do nothing")
    plan = _verb(verbs, "plan", "plan:plan", "print what `serve` does now, or at a time, and what waits for what")
    plan.add_argument("policies", metavar="POLICY", nargs="*", help="these policies only (default: all)")
    plan.add_argument("--at", metavar="TIME", help="as if it were then: 2026-11-21T14:00 (service's zone)")
    plan.add_argument("--for", dest="horizon", metavar="DURATION", help="and what comes until so much later: 12h, 7d")


def _serve_verb(verbs: _Verbs) -> None:
    serve = _verb(verbs, "serve", "serve:serve", "run what is due, for months, and tell of it")
    serve.add_argument("--standby", action="store_true", help="wait until another serve on this ledger has ended")
    serve.add_argument("--trust-clock", action="store_true", help="the clock is right, however far it is off")


def _at_least_one(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def _look_verbs(verbs: _Verbs) -> None:
    status = _verb(verbs, "status", "look:status", "a glance: every policy at every site, and what runs now")
    status.add_argument("--nagios", action="store_true", help="one line for each check, and Nagios's exit codes")
    snapshots = _verb(verbs, "snapshots", "look:snapshots", "list a policy's recovery points, asked of the vaults")
    snapshots.add_argument("policies", metavar="POLICY", nargs=1, help="the policy's name")
    snapshots.add_argument("--site", metavar="SITE", help="at this site only (default: every site that has it)")
    snapshots.add_argument("--accept-lost", metavar="WHY", help="ask no more for what went without a retention")
    runs = _verb(verbs, "runs", "look:runs", "list what ran, newest first, and how it ended")
    runs.add_argument("policies", metavar="POLICY", nargs="*", help="these policies only (default: all)")
    runs.add_argument("--limit", type=_at_least_one, default=20, metavar="N", help="at most so many (default: 20)")
    runs.add_argument("--run", metavar="ID", help="one run, with all that is known of it")
    runs.add_argument("--give-up", metavar="WHY", help="with --run: nobody works on it any more (its host is gone)")
    slots = _verb(verbs, "slots", "slots:slots", "list what was due and what became of it, and prove that it adds up")
    slots.add_argument("policies", metavar="POLICY", nargs="*", help="these policies only (default: all)")
    slots.add_argument(
        "--since", metavar="TIME", help="count and list those due from then on: 2026-11-21T14:00 (service's zone)"
    )
    slots.add_argument("--until", metavar="TIME", help="count and list those due before it; a bare date: until its end")
    slots.add_argument("--state", metavar="STATE", action="append", default=[], choices=_STATES, help=_STATES_HELP)
    slots.add_argument("--limit", type=_at_least_one, default=20, metavar="N", help="at most so many (default: 20)")
    report = _verb(verbs, "report", "look:report", "the integrity report of a period, or a scheduled one now")
    subjects = "what to report on; or `scheduled`: make one of [reports] now, of its last complete period"
    report.add_argument("subject", choices=["integrity", "scheduled"], help=subjects)
    report.add_argument("name", metavar="NAME", nargs="?", help="with `scheduled`: which one of [reports]")
    periods = "2026-11-21, 2026-W47, 2026-11, 2026-Q4 or 2026 (default: this month)"
    report.add_argument("--period", metavar="PERIOD", help=periods)
    report.add_argument("--tenant", metavar="TENANT", help="nothing but this tenant")
    report.add_argument("--format", choices=["text", "json", "html"], help="default: text")
    report.add_argument("--output", metavar="FILE", type=Path, help="write it there instead of to standard output")


def _health_verbs(verbs: _Verbs) -> None:
    locks = _verb(verbs, "locks", "locks:locks", "list the repositories' locks, and tell the living from the dead")
    locks.add_argument("policies", metavar="POLICY", nargs="*", help="these policies only (default: all)")
    locks.add_argument("--remove", action="store_true", help="remove those whose maker is proven to be gone")
    _verb(verbs, "doctor", "doctor:doctor", "check the whole installation, and say what to do next")


def _restore_verb(verbs: _Verbs) -> None:
    restore = _verb(verbs, "restore", "restore:restore", "bring data back into a folder")
    restore.add_argument("policies", metavar="POLICY", nargs="*", help="the policy's name")
    restore.add_argument("--to", metavar="FOLDER", type=Path, help="where; made when it is not there")
    restore.add_argument(
        "--ledger",
        dest="handler",
        action="store_const",
        const="orchestrator.cli.reinstate:reinstate",
        help="bring Tandem itself back: its ledger and its settings",
    )
    which = restore.add_mutually_exclusive_group()
    which.add_argument("--at", metavar="TIME", help="the newest point not after it: 2026-11-21T14:00 (service's zone)")
    which.add_argument("--snapshot", metavar="ID", help="this recovery point")
    restore.add_argument("--from", dest="site", metavar="SITE", help="the site to restore from (default: the first)")
    restore.add_argument("--path", metavar="PATTERN", action="append", default=[], help="only what matches; repeatable")
    restore.add_argument("--overwrite", action="store_true", help="replace files that are already there")
    restore.add_argument("--dry-run", action="store_true", help="say what would be restored, and do nothing")


def _config_verb(verbs: _Verbs) -> None:
    config = verbs.add_parser("config", help="validate, show, describe or begin the settings", allow_abbrev=False)
    parts = config.add_subparsers(dest="part", metavar="PART", required=True)
    _verb(parts, "validate", "config:validate", "check the settings and name every mistake at once")
    _verb(parts, "show", "config:show", "print the merged settings and where each value came from")
    _verb(parts, "schema", "config:schema", "print the JSON Schema of the settings, for editors")
    _verb(parts, "generate", "config:generate", "print commented settings to begin with")


def _demo_verb(verbs: _Verbs) -> None:
    demo = _verb(verbs, "demo", "demo:demo", "the whole job on made and found data below var/demo, in two minutes")
    demo.add_argument("--clean", action="store_true", help="remove var/demo and nothing else")
