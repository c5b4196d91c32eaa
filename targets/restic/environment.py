"""The environment of one restic call: complete, explicit, and pure. Addresses and passwords go through pipes.

What is visible in /proc/PID/environ to the same user are the vaults' keys (AWS_…), for which restic takes no file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from targets.ports import Access
from targets.restic.argv import one_of_each
from targets.secret import Secret

# Of our own environment; the rest stays here. Go's TLS and HTTP need to know the machine's own certificates and proxy.
KEPT: Final = (
    "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip
STATUS_LINES_A_SECOND: Final = 2


def environment(
    ours: Mapping[str, str], cache: Path, accesses: tuple[Access, ...], *, memory: int | None = None
) -> Mapping[str, str | Secret]:
    """What restic is to see. `accesses` are the repository and, for `copy` and `init`, the one that it comes from.

    `memory` is how many bytes it should do with: Go collects its garbage the harder the nearer it comes, and goes
    beyond where it cannot do otherwise (https://pkg.go.dev/runtime, GOMEMLIMIT; built with Go 1.19 or newer).
    Raises ValueError when two addresses want one variable to be different.
    """
    folders = [str(folder) for access in accesses for folder in access.address.path_first]
    wanted = one_of_each(pair for access in accesses for pair in access.address.environment.items())
    return {
        **{name: ours[name] for name in KEPT if name in ours},
        "PATH": os.pathsep.join([*dict.fromkeys(folders), ours.get("PATH", os.defpath)]),
        "HOME": str(cache),  # so that nobody's ~/.aws or ~/.config/rclone takes part
        "RESTIC_CACHE_DIR": str(cache),
        "RESTIC_PROGRESS_FPS": str(STATUS_LINES_A_SECOND),
        "LANG": "C",
        "TZ": "UTC",  # `--time` is read in the local zone
        **({} if memory is None else {"GOMEMLIMIT": f"{memory}B"}),
        **wanted,
    }


def secrets(to: Access, source: Access | None = None) -> Mapping[str, Secret]:
    """The variables that name a file, and what is to be read from it."""
    return {
        "RESTIC_REPOSITORY_FILE": to.address.url,
        "RESTIC_PASSWORD_FILE": to.password,
        **(
            {}
            if source is None
            else {"RESTIC_FROM_REPOSITORY_FILE": source.address.url, "RESTIC_FROM_PASSWORD_FILE": source.password}
        ),
    }
