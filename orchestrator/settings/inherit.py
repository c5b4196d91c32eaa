"""What a policy does not say for itself it takes from [defaults.policy], tables key by key."""

from __future__ import annotations

from orchestrator.settings.model import PolicyDefaultsTable, PolicyTable, Table


def effective(policy: PolicyTable, defaults: PolicyDefaultsTable) -> PolicyTable:
    """The policy as if its defaults had been written out in it."""
    merged = {name: _merged(policy, defaults, name) for name in defaults.model_fields_set}
    return policy.model_copy(update=merged) if merged else policy


def _merged(own: Table, default: Table, name: str) -> object:
    inherited = getattr(default, name)
    if name not in own.model_fields_set:
        return inherited
    said = getattr(own, name)
    if not (isinstance(said, Table) and isinstance(inherited, Table)):
        return said
    return said.model_copy(update={below: _merged(said, inherited, below) for below in inherited.model_fields_set})
