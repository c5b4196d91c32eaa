"""Every secret that the settings name: there, private, readable. None is shown, and what was read is let go."""

from __future__ import annotations

from collections.abc import Iterator

from jobs.checkup import Finding, Grade
from jobs.quantity import counted
from orchestrator import wiring
from orchestrator.doctor.case import Case
from orchestrator.settings import Settings
from orchestrator.settings.secrets import SecretRef, file_complaint
from targets.errors import TargetError


def secrets(case: Case) -> Iterator[Finding]:
    """One line for each that is not as it should be, and one for all the others."""
    settings = case.settings
    wanted = dict(_named(settings))
    complaints = {name: complaint for name, reference in wanted.items() if (complaint := _complaint(reference, name))}
    keys = {
        f"the key of vault {v.name}": identity
        for v in settings.vaults.values()
        if (identity := getattr(v, "identity", None))
    }
    complaints |= {name: complaint for name, file in keys.items() if (complaint := file_complaint(file))}
    for name, complaint in complaints.items():
        yield Finding(
            check="secret",
            subject=name,
            grade=Grade.FAILED,
            text=complaint,
            advice="Put the secret where the settings say, readable by its owner only (chmod 600).",
        )
    good = len(wanted) + len(keys) - len(complaints)
    if good or not complaints:
        yield Finding(check="secret", subject="", grade=Grade.OK, text=f"{counted(good, 'secret')} there and private")


def _named(settings: Settings) -> Iterator[tuple[str, SecretRef]]:
    """Each reference with what people call it."""
    for tenant in settings.tenants.values():
        yield f"the password of tenant {tenant.name}", tenant.password
    for vault in settings.vaults.values():
        if (credentials := getattr(vault, "credentials", None)) is not None:
            yield f"the credentials of vault {vault.name}", credentials
    if not isinstance(settings.service.state, str):
        yield "the ledger's address", settings.service.state
    for channel in settings.notify:
        for number, url in enumerate(channel.urls, start=1):
            if not isinstance(url, str):
                yield f"address {number} of [notify.{channel.name}]", url
    if settings.serve.dead_man is not None and not isinstance(settings.serve.dead_man, str):
        yield "the dead-man's address", settings.serve.dead_man


def _complaint(reference: SecretRef, name: str) -> str:
    try:
        wiring.secret(reference, name)
    except TargetError as error:
        return error.failure.message
    return ""
