"""Strict settings: settings.toml becomes `Settings`, or one message with every mistake in it."""

from __future__ import annotations

from orchestrator.settings.effective import Row, show
from orchestrator.settings.fingerprint import (
    effective_policy_json,
    effective_report_json,
    is_of_report,
    policy_told,
    report_told,
)
from orchestrator.settings.load import load
from orchestrator.settings.mistakes import Mistake, SettingsError
from orchestrator.settings.schema import schema
from orchestrator.settings.starter import generate
from orchestrator.settings.values import (
    Channel,
    Limits,
    LocalVaultSettings,
    RestVaultSettings,
    S3VaultSettings,
    Serve,
    Service,
    Settings,
    SftpVaultSettings,
    Site,
    Tenant,
    VaultSettings,
)

__all__ = [
    "Channel",
    "Limits",
    "LocalVaultSettings",
    "Mistake",
    "RestVaultSettings",
    "Row",
    "S3VaultSettings",
    "Serve",
    "Service",
    "Settings",
    "SettingsError",
    "SftpVaultSettings",
    "Site",
    "Tenant",
    "VaultSettings",
    "effective_policy_json",
    "effective_report_json",
    "generate",
    "is_of_report",
    "load",
    "policy_told",
    "report_told",
    "schema",
    "show",
]
