"""Is the repository that stands there the one we know? Decided from the hash of its config file, without a password."""

from __future__ import annotations

from enum import StrEnum


class Standing(StrEnum):
    """What may be done with a repository's place."""

    KNOWN = "known"  # the same repository as ever
    ADOPT = "adopt"  # one is there that the ledger does not know: take it over once its password opens it
    CREATE = "create"  # nothing is there, and nothing ever was
    MISSING = "missing"  # it was there before: a disk is not mounted, or somebody removed it. Never create again
    FOREIGN = "foreign"  # another one stands in its place, or it is known as another tenant's


def standing(known: str | None, found: str | None, *, others: frozenset[str] = frozenset()) -> Standing:
    """Compare the remembered hash with the one found now; `others` are the hashes of other tenants' repositories."""
    if found is not None and found in others:
        return Standing.FOREIGN
    if known is None:
        return Standing.CREATE if found is None else Standing.ADOPT
    if found is None:
        return Standing.MISSING
    return Standing.KNOWN if found == known else Standing.FOREIGN
