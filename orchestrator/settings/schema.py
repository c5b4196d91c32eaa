"""The JSON Schema of settings.toml, for editors and for naming the keys that are known at a place."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from orchestrator.settings.model import SettingsTable
from orchestrator.settings.positions import KeyPath

Node = dict[str, Any]  # a JSON Schema is as untyped as JSON


def schema() -> Node:
    """The JSON Schema (draft 2020-12) of a settings file; the same as the file schema ships beside the package."""
    made = _tidy(SettingsTable.model_json_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Tandem settings.toml", **made}


def known_keys(location: KeyPath) -> tuple[str, ...]:
    """The keys that may stand in the table at this place; unions are passed through by their tag, as pydantic does."""
    whole = _cached()
    node = whole
    for step in location:
        node = _below(whole, node, step)
    return tuple(_resolved(whole, node).get("properties", {}))


@lru_cache(maxsize=1)
def _cached() -> Node:
    return schema()


def _below(whole: Node, node: Node, step: str | int) -> Node:
    node = _resolved(whole, node)
    tags = node.get("discriminator", {}).get("mapping", {})
    if step in tags:
        return {"$ref": tags[step]}
    if isinstance(step, int):
        item: Node = node["items"]
        return item
    if step == "reference":
        return next(choice for choice in node["oneOf"] if "$ref" in choice)
    named = list(node.get("patternProperties", {}).values())  # sites, tenants, vaults, policies: all of one shape
    found: Node = node.get("properties", {}).get(step) or (named[0] if named else {})
    return found


def _resolved(whole: Node, node: Node) -> Node:
    reference = node.get("$ref", "")
    found: Node = whole["$defs"][reference.rpartition("/")[2]] if reference else node
    return found


def _tidy(node: Any) -> Any:  # noqa: ANN401 (JSON)
    """Take out what TOML has no word for (null), defaults made of other defaults, and titles made from names."""
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    choices = node.get("anyOf", [])
    if {"type": "null"} in choices:
        rest = {name: value for name, value in node.items() if name not in {"anyOf", "default"}}
        node = {**rest, **next(choice for choice in choices if choice != {"type": "null"})}
    if "patternProperties" in node:
        node = {**node, "additionalProperties": False}  # a name that no policy, vault … may have
    return {name: _tidy(value) for name, value in node.items() if not _is_noise(name, value)}


def _is_noise(name: str, value: object) -> bool:
    return (name == "title" and isinstance(value, str)) or (name == "default" and isinstance(value, dict))
