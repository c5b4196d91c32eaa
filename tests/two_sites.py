"""An operator's settings: two sites, a vault of plain files at each, some tenants, and a policy's usual promises.

What tests and benches start from. The text is to be formatted once more: `{restic}` is open in it, and braces are
doubled, so that whoever takes it may replace, add and leave open what is their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from string import Template
from typing import Final

_HEAD: Final = Template("""
[service]
name = "$name"
timezone = "$zone"
state = "sqlite:///$state"
workdir = "work"
host = "test-host"
restic = "{restic}"

[sites.primary]
title = "First"
[sites.secondary]
title = "Second"

[vaults.primary]
site = "primary"
kind = "local"
path = "$first"
[vaults.secondary]
site = "secondary"
kind = "local"
path = "$second"
""")
_TENANT: Final = Template("""
[tenants.$tenant]
title = "$title"
password = {{ file = "$tenant.key" }}
""")
_POLICY: Final = Template("""
[defaults.policy]
${tenant}vault = "primary"
replicate = {{ to = "secondary" }}
retention = {{ $retention }}
objectives = {{ rpo = "24h", rto = "1h", replica_lag = "6h", check_age = "7d", restore_test_age = "7d" }}
""")


def settings(
    name: str,
    tenants: Mapping[str, str],
    retention: str,
    *,
    zone: str = "Africa/Douala",
    state: str = "tandem.db",
    paths: tuple[str, str] = ("primary", "secondary"),
) -> str:
    """The text, whose last table is what policies inherit. `tenants`: titles by name; a single one is every policy's.

    `retention` is the inside of its table; `state` and `paths`, of the ledger and the two vaults, are relative.
    """
    head = _HEAD.substitute(name=name, zone=zone, state=state, first=paths[0], second=paths[1])
    tables = (_TENANT.substitute(tenant=tenant, title=title) for tenant, title in tenants.items())
    inherited = f'tenant = "{next(iter(tenants))}"\n' if len(tenants) == 1 else ""
    return head + "".join(tables) + _POLICY.substitute(tenant=inherited, retention=retention)
