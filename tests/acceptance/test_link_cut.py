"""A link is cut in the middle of a copy, and Tandem dies with its restic: the site that can be reached goes on."""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from tests.acceptance import oracle
from tests.acceptance.faults import done, noise
from tests.acceptance.operator import PASSWORD, Operator
from tests.acceptance.serving import Daemon, serving
from tests.acceptance.test_serve import RATE, at_rest_after, at_work, clock_of, comes, ledger, settings_file, shown
from tests.repositories import prepare
from tests.servers.cable import Cable
from tests.servers.rest import RestServer

FAR: Final = """
replicate = {{{{ to = "far" }}}}

[policies.more]
schedule = "every 60m"
source = {{{{ paths = ["source/deep"] }}}}

[vaults.far]
site = "secondary"
kind = "rest"
url = "http://127.0.0.1:{port}/"
credentials = {{{{ file = "far.key" }}}}
"""
SLOWLY: Final = 'limit = {{ upload = "200KiB/s" }}\n'


def two_sites(folder: Path, restic: Path, server: RestServer, port: int) -> Operator:
    """An operator whose second site is behind that port, and whose copies have something to move."""
    operator = at_work(folder, restic, "every 60m")
    prepare(folder / "far" / "minfopra", PASSWORD)
    key = folder / "far.key"
    key.write_text(f"{server.user}:{server.password}")
    key.chmod(0o600)
    noise(operator.source / "big", 4)
    operator.write_settings(operator.settings + FAR.format(port=port))
    return operator


def dies_copying(daemon: Daemon) -> None:
    """kill -9 of a daemon and of its restic, so that neither tidies up."""
    daemon.signal(signal.SIGSTOP)
    killed = 0
    for child in psutil.Process(daemon.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            killed += "copy" in child.cmdline()
            child.kill()
    daemon.kill()
    assert killed


def began(operator: Operator, policy: str, job: str, state: str, since: int) -> int:
    """When the first such run of later than that began, in microseconds; 0: there is none."""
    question = "SELECT min(started_at) AS at FROM run WHERE policy = ? AND job = ? AND state = ? AND started_at > ?"
    (found,) = oracle.rows(ledger(operator), question, policy, job, state, since)
    return found["at"] or 0


def test_a_copy_that_died_while_its_far_site_is_cut_off_holds_nobody_at_the_first_site(
    tmp_path: Path, restic_program: Path
) -> None:
    """Else a retention waits for it for as long as the link is down, and every backup for the retention."""
    folder = tmp_path / "operator"
    with RestServer(tmp_path / "rest", root=folder / "far") as server, Cable(server.port) as cable:
        operator = two_sites(folder, restic_program, server, cable.port)
        unlimited, clock = operator.settings, clock_of(operator)
        operator.write_settings(unlimited + SLOWLY)
        with serving(settings_file(operator), clock, rate=RATE) as daemon:
            comes(daemon, lambda: bool(operator.locks("primary") and operator.locks("far")))
            clock.go(1)
            cable.cut()
            dies_copying(daemon)
        left = {vault: [lock.name for lock in operator.locks(vault)] for vault in ("primary", "far")}
        assert all(left.values())
        (dead,) = oracle.rows(ledger(operator), "SELECT * FROM run WHERE state = 'running' AND vault = 'far'")
        assert dead["job"] == "replicate"
        operator.write_settings(unlimited)
        with serving(settings_file(operator), clock, rate=RATE) as daemon:
            died = dead["started_at"]
            comes(daemon, lambda: began(operator, "more", "retention", "succeeded", died) > 0)
            freed = began(operator, "more", "retention", "succeeded", died)
            comes(daemon, lambda: began(operator, "files", "backup", "succeeded", freed) > 0)
            comes(daemon, lambda: began(operator, "more", "backup", "succeeded", freed) > 0)
            comes(daemon, lambda: began(operator, "files", "replicate", "failed", died) > 0)
            assert not set(left["primary"]) & {lock.name for lock in operator.locks("primary")}
            assert {lock.name for lock in operator.locks("far")} == set(left["far"])
            cable.mend()
            at_rest_after(daemon, operator, clock, shown(operator))
        done(operator, "check", "files", "--site", "secondary")  # the first that the lock which is left would refuse
    (ended,) = oracle.rows(ledger(operator), "SELECT * FROM run WHERE id = ?", dead["id"])
    assert ended["state"] == "interrupted"
    assert "minfopra@far could not be asked, so a lock may be left there: " in ended["note"]
    removed = oracle.rows(ledger(operator), "SELECT text FROM event WHERE topic = 'lock-removed'")
    for name in (*left["primary"], *left["far"]):
        assert sum(name in event["text"] for event in removed) == 2  # before and after
    assert oracle.contradictions(ledger(operator)) == []
    assert operator.locks("primary") == operator.locks("far") == []
    newest = {each["id"] for each in operator.snapshots("primary") if "policy=files" in each["tags"]}
    assert newest <= {each["original"] for each in operator.snapshots("far")}
