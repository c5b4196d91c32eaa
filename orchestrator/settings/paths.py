"""Make every local path absolute before it is judged: relative ones are relative to the file they stand in."""

from __future__ import annotations

import os.path
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from orchestrator.settings.documents import Documents
from orchestrator.settings.model import ServiceTable
from orchestrator.settings.positions import KeyPath

_SQLITE: Final = "sqlite:///"


def make_absolute(documents: Documents) -> None:
    """Rewrite the tree's local paths in place; what has the wrong type is left for validation to name."""
    _write_defaults(documents)
    for key in _local_vaults(documents):
        _rewrite(documents, key, absolute)
    for pattern, rewrite in _PATHS:
        for key in matching(documents.tree, pattern):
            _rewrite(documents, key, rewrite)


def absolute(text: str, folder: Path) -> str:
    """The path below `folder`, without "." and ".."; "~" stays, to be refused."""
    if not text or text.startswith("~") or not text.isprintable():
        return text
    whole = os.path.normpath(os.path.join(folder, text))  # noqa: PTH118 (much faster, for thousands of policies)
    return "/" + whole.lstrip("/")  # POSIX lets normpath keep two slashes at the start


def _ledger(text: str, folder: Path) -> str:
    path = text.removeprefix(_SQLITE)
    if path == text or not path or path.startswith(":") or "?" in path:
        return text
    return _SQLITE + absolute(path, folder)


def _program(text: str, folder: Path) -> str:
    """A name is looked up on PATH; with a slash it is a path."""
    return absolute(text, folder) if "/" in text else text


EVERY: Final = -1  # any key of a table, or any item of a list
Pattern = tuple[str | int, ...]

# Where paths stand, and how they are written there. A local vault's own path is the exception below.
_PATHS: Final[tuple[tuple[Pattern, Callable[[str, Path], str]], ...]] = (
    (("service", "workdir"), absolute),
    (("service", "restic"), _program),
    (("service", "state"), _ledger),
    (("service", "state", "file"), absolute),
    (("service", "state", "command", 0), _program),
    (("tenants", EVERY, "password", "file"), absolute),
    (("tenants", EVERY, "password", "command", 0), _program),
    (("vaults", EVERY, "credentials", "file"), absolute),
    (("vaults", EVERY, "credentials", "command", 0), _program),
    (("vaults", EVERY, "identity", "file"), absolute),
    (("vaults", EVERY, "known_hosts"), absolute),
    (("vaults", EVERY, "ca"), absolute),
    (("policies", EVERY, "source", "paths", EVERY), absolute),
    (("policies", EVERY, "source", "sqlite", "path"), absolute),
    (("policies", EVERY, "source", "command", "run", 0), _program),
    (("serve", "textfile"), absolute),
    (("reports", EVERY, "folder"), absolute),
    (("serve", "dead_man", "file"), absolute),
    (("serve", "dead_man", "command", 0), _program),
    (("notify", EVERY, "urls", EVERY, "file"), absolute),
    (("notify", EVERY, "urls", EVERY, "command", 0), _program),
)


def _write_defaults(documents: Documents) -> None:
    """Built-in paths too are relative to the settings file, and so must be in the tree."""
    section = documents.tree.get("service")
    for name in ("workdir", "state"):
        if isinstance(section, dict) and name not in section:
            section[name] = ServiceTable.model_fields[name].default
            documents.built_in.add(("service", name))


def matching(node: object, pattern: Pattern, above: KeyPath = ()) -> Iterator[KeyPath]:
    """The keys below a tree that a pattern stands for."""
    if not pattern:
        yield above
        return
    for part, below in _parts(node, pattern[0]):
        yield from matching(below, pattern[1:], (*above, part))


def _parts(node: object, step: str | int) -> list[tuple[str | int, object]]:
    if isinstance(node, list):
        node = dict(enumerate(node))
    if not isinstance(node, dict):
        return []
    if step == EVERY:
        return list(node.items())
    return [(step, node[step])] if step in node else []


def _local_vaults(documents: Documents) -> Iterator[KeyPath]:
    """The path of a local vault is here; that of an sftp vault is on its server."""
    for key in matching(documents.tree, ("vaults", EVERY, "path")):
        if documents.value((*key[:-1], "kind")) == "local":
            yield key


def _rewrite(documents: Documents, key: KeyPath, rewrite: Callable[[str, Path], str]) -> None:
    holder, last = documents.value(key[:-1]), key[-1]
    text = documents.value(key)
    if not isinstance(text, str):
        return
    if isinstance(holder, dict | list):
        holder[last] = rewrite(text, documents.folder(key))  # type: ignore[index]  # a list's last is its index
