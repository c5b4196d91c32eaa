"""What every test may rely on: real restic, a home and a zone of its own, and nothing of the person who runs it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

# Same examples on every run, so that a red build is red again; HYPOTHESIS_PROFILE=explore looks further.
_CALM: Final = [HealthCheck.too_slow]
settings.register_profile("same", deadline=None, max_examples=60, derandomize=True, suppress_health_check=_CALM)
settings.register_profile("explore", deadline=None, max_examples=1000, database=None, suppress_health_check=_CALM)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

# A zone without a file (so that no tzdata is needed) and with odd minutes: local time taken for UTC shows at once.
ODD_ZONE: Final = "ODD-05:45"

# What a person's shell may hold and a test must never see. RESTIC itself (no underscore) says which restic to test.
_FOREIGN: Final = ("RESTIC_", "AWS_", "RCLONE_", "TANDEM_", "PG", "SSH_", "XDG_")
_PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy", "ftp_proxy")


def pytest_configure(config: pytest.Config) -> None:
    """Name the markers, so that --strict-markers knows them."""
    config.addinivalue_line("markers", "as_root: needs root (mounts, other users, other owners); skipped without")
    config.addinivalue_line("markers", "not_as_root: needs a user whom file modes bind; skipped for root")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this user cannot show, with the reason that the closing summary repeats."""
    root = os.geteuid() == 0
    for item in items:
        if item.get_closest_marker("as_root") and not root:
            item.add_marker(pytest.mark.skip(reason="needs root"))
        if item.get_closest_marker("not_as_root") and root:
            item.add_marker(pytest.mark.skip(reason="needs a user who is not root"))


def find_restic() -> Path | None:
    """The restic to test: $RESTIC, else the one on the PATH."""
    found = shutil.which(os.environ.get("RESTIC") or "restic")
    return Path(found).resolve() if found else None


@pytest.fixture(scope="session")
def restic_program() -> Path:
    """The absolute path of the restic to test with."""
    found = find_restic()
    if found is None:
        pytest.fail(
            f"no restic to test with ($RESTIC is {os.environ.get('RESTIC')!r}): install the package restic, "
            "or say where one is: make test RESTIC=/path/to/restic"
        )
    return found


def _is_foreign(name: str) -> bool:
    return name.startswith(_FOREIGN) or name.lower() in _PROXIES


@pytest.fixture(scope="session", autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A HOME and a restic cache inside pytest's folder, an odd zone, and nothing of the person's own set-up."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as environment:
        for name in filter(_is_foreign, tuple(os.environ)):
            environment.delenv(name)
        environment.setenv("HOME", str(home))
        environment.setenv("RESTIC_CACHE_DIR", str(home / "restic-cache"))
        environment.setenv("TZ", ODD_ZONE)
        time.tzset()
        yield home
    time.tzset()


def pytest_report_header() -> str:
    """The restic that will be tested, in the first lines of every log."""
    restic = find_restic()
    if restic is None:
        return "restic: none"
    said = subprocess.run([restic, "version"], capture_output=True, text=True, check=False)
    return f"restic: {said.stdout.strip() or 'broken'} ({restic})"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each reason for which something was not shown; silence here would read as proof."""
    reports = [report for report in terminalreporter.stats.get("skipped", []) if isinstance(report.longrepr, tuple)]
    reasons = Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in reports)
    terminalreporter.write_sep("-", "not shown on this machine")
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"{count} skipped: {reason}")
    if not reasons:
        terminalreporter.write_line("nothing was skipped")
