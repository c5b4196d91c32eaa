"""What a policy does not say for itself it takes from [defaults.policy], tables key by key."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from orchestrator.settings.model import PolicyDefaultsTable, PolicyTable, ReplicateTable
from orchestrator.settings.moments import FOLLOWING
from orchestrator.settings.references import Table


def effective(policy: PolicyTable, defaults: PolicyDefaultsTable) -> PolicyTable:
    """The policy as if its defaults had been written out in it, and what follows its backup by itself as well."""
    said = _inherited(policy, defaults)
    said |= _following({**policy.__dict__, **said})
    return policy.model_copy(update=said) if said else policy


def _inherited(own: Table, default: Table) -> dict[str, object]:
    """What a table's keys become by its defaults, where that is not what they are."""
    changed: dict[str, object] = {}
    for name in default.model_fields_set:
        inherited, said = getattr(default, name), getattr(own, name)
        # By what is written, not by what differs from the built-in: a policy may write that to undo a default.
        if name not in own.model_fields_set:
            changed[name] = inherited
        elif isinstance(said, Table) and isinstance(inherited, Table) and (below := _inherited(said, inherited)):
            changed[name] = said.model_copy(update=below)
    return changed


def _following(policy: Mapping[str, object]) -> dict[str, object]:
    """Where the backup has a schedule, the copy and the retention come after it, unless they have their own."""
    if policy["schedule"] is None:
        return {}
    added: dict[str, object] = {}
    replicate = policy["replicate"]
    if isinstance(replicate, ReplicateTable) and replicate.schedule is None:
        added["replicate"] = _after_backup(replicate)
    if policy["retention"] is not None and policy["retention_schedule"] is None:
        added["retention_schedule"] = FOLLOWING
    return added


@lru_cache(maxsize=64)
def _after_backup(replicate: ReplicateTable) -> ReplicateTable:
    return replicate.model_copy(update={"schedule": FOLLOWING})
