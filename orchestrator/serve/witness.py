"""Who can say whether this machine's clock is right: the service that keeps it, and the clocks of the vaults."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Final

from orchestrator import wiring
from orchestrator.clock import Clock
from orchestrator.serve.clockwatch import Opinion
from orchestrator.settings import LocalVaultSettings, Settings
from orchestrator.work.probe import probe
from targets.errors import TargetError
from targets.host import clock_is_kept
from targets.process import capture

_AGREES: Final = timedelta(hours=1)  # as far as two clocks may be apart that are both kept, if badly
_ASK: Final = ("timedatectl", "show", "--property=NTPSynchronized", "--value")
_SECONDS: Final = 5.0


def testify(settings: Settings, clock: Clock) -> Opinion:
    """What is known of this machine's clock (`clock`). It takes as long as the vaults take to answer.

    Two clocks that contradict each other are for a person to judge, whatever a third one says. A folder of this machine
    has our own clock: it proves nothing, unless it is another's after all.
    """
    said = tuple(_vaults_say(settings, clock))
    if any(not agrees for agrees, _ in said):
        return Opinion.CONTRADICTED
    if any(is_another for _, is_another in said):
        return Opinion.CONFIRMED
    return Opinion.KEPT if _is_kept() else Opinion.UNKNOWN


def _is_kept() -> bool:
    kept = clock_is_kept()
    if kept is not None:
        return kept
    try:
        said = capture(_ASK, {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C"}, _SECONDS)
    except TargetError:  # there is no timedatectl, or it does not answer: then it says nothing
        return False
    return said.stdout.strip() == b"yes"


def _vaults_say(settings: Settings, clock: Clock) -> Iterator[tuple[bool, bool]]:
    """Of each vault that is used and answers: whether its clock agrees with ours, and whether it is another's."""
    vaults = wiring.vaults(settings)
    used = {vault: policy.tenant for policy in settings.policies for _, vault in policy.places}
    for name, tenant in used.items():
        try:
            with closing(vaults[name].store(tenant)) as store:
                skew = probe(store, f"{tenant}@{name}", clock).skew
        except TargetError:  # who cannot be asked says nothing; the runs tell of it
            continue
        if skew is not None:
            yield abs(skew) <= _AGREES, not isinstance(settings.vaults[name], LocalVaultSettings)
