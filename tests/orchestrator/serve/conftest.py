"""Ledgers of both databases, and an operator's settings, for the parts of `serve`."""

from __future__ import annotations

from tests.orchestrator.ledger.conftest import ledger, made_database, url
from tests.servers.postgresql import postgresql

__all__ = ["ledger", "made_database", "postgresql", "url"]
