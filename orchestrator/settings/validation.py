"""Judge the tree by its shape. What is wrong becomes mistakes and is taken out, so that the rest is judged further."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from orchestrator.settings.documents import Documents, Tree
from orchestrator.settings.mistakes import Mistake, did_you_mean
from orchestrator.settings.model import SettingsTable
from orchestrator.settings.positions import KeyPath

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_PLACEHOLDER: Final = {"name": "-"}  # stands for a service that was taken out


def validate(documents: Documents) -> tuple[SettingsTable, frozenset[KeyPath]]:
    """The settings as far as they are sound, and the keys that are not. Adds to the documents' mistakes."""
    # Round after round: pydantic asks a table's own rules only once none of its keys is wrong.
    tree, faulty = documents.tree, frozenset[KeyPath]()
    while True:
        try:
            return SettingsTable.model_validate(tree), faulty
        except ValidationError as error:
            found = {_key(details): details for details in error.errors(include_url=False)}
        above = {key[:length] for key in found for length in range(len(key))}  # a list whose items are wrong
        fresh = {key: details for key, details in found.items() if key not in above and not related(key, faulty)}
        documents.mistakes += [_mistake(documents, key, details) for key, details in fresh.items()]
        faulty = faulty.union(fresh)
        tree = _without(tree, {_cut(tree, key) for key in found} - {()})
        tree = {"service": _PLACEHOLDER, **tree}


def related(key: KeyPath, others: frozenset[KeyPath]) -> bool:
    """Whether the key is one of the others, or above or below one."""
    return key in _above(others) or any(key[:length] in others for length in range(len(key) + 1))


@lru_cache(maxsize=8)
def _above(keys: frozenset[KeyPath]) -> frozenset[KeyPath]:
    """The tables around the keys."""
    return frozenset(key[:length] for key in keys for length in range(len(key)))


def _cut(tree: Tree, key: KeyPath) -> KeyPath:
    """What to take out: the key, or, when it is not there or is an item of a list, what holds it or should."""
    node: object = tree
    for depth, part in enumerate(key):
        if not isinstance(node, dict) or part not in node:
            return key[:depth]
        node = node[part]
    return key


def _without(tree: Tree, cuts: set[KeyPath]) -> Tree:
    """A copy without these keys, some of which may be gone already."""
    below: dict[str, set[KeyPath]] = {}
    for key in cuts:
        below.setdefault(str(key[0]), set()).add(key[1:])
    return {
        name: _thinned(value, below.get(name, set())) for name, value in tree.items() if () not in below.get(name, ())
    }


def _thinned(value: object, cuts: set[KeyPath]) -> object:
    return _without(value, cuts) if cuts and isinstance(value, dict) else value


def _key(details: ErrorDetails) -> KeyPath:
    """pydantic's location without the names it gives to a union's members and to keys themselves."""
    key = tuple(part for part in details["loc"] if part != "[key]")
    if key[:1] == ("vaults",):
        key = (*key[:2], *key[3:])
    if key[:2] in _UNIONS:
        key = (*key[:2], *key[3:])
    if key[:1] == ("notify",) and key[2:3] == ("urls",):
        key = (*key[:4], *key[5:])
    return (*key, "kind") if details["type"].startswith("union_tag") else key


_UNIONS: Final = frozenset({("service", "state"), ("serve", "dead_man")})  # a text or a reference to one


def _mistake(documents: Documents, key: KeyPath, details: ErrorDetails) -> Mistake:
    say = _SENTENCES.get(details["type"])
    return documents.mistake(key, details["msg"] if say is None else say(details))


_KINDS: Final[Mapping[type, str]] = MappingProxyType(
    {
        str: "a text",
        bool: "true or false",
        int: "a number",
        float: "a fraction",
        list: "a list",
        dict: "a table",
    }
)


def _instead_of(wanted: str) -> Callable[[ErrorDetails], str]:
    def say(details: ErrorDetails) -> str:
        return f"must be {wanted}, not {_KINDS.get(type(details['input']), 'a date or time')}"

    return say


def _bound(wanted: str) -> Callable[[ErrorDetails], str]:
    return lambda details: f"must be {wanted.format(**details.get('ctx', {}))}"


def _unknown_key(details: ErrorDetails) -> str:
    from orchestrator.settings.schema import known_keys  # only a mistake pays for it

    *table, name = details["loc"]
    return f"is not a key of this table{did_you_mean(str(name), known_keys(tuple(table)))}"


def _unknown_choice(details: ErrorDetails) -> str:
    if isinstance(details["input"], str):
        return f'must be {details["ctx"]["expected"].replace(chr(39), chr(34))}, not "{details["input"]}"'
    return _instead_of("a text")(details)


def _unknown_kind(details: ErrorDetails) -> str:
    name, choices = str(details["ctx"]["tag"]), ("local", "sftp", "s3", "rest")
    return f'there is no kind "{name}"{did_you_mean(name, choices)}'


_SENTENCES: Final[Mapping[str, Callable[[ErrorDetails], str]]] = MappingProxyType(
    {
        "extra_forbidden": _unknown_key,
        "missing": lambda _: "is missing",
        "literal_error": _unknown_choice,
        "union_tag_invalid": _unknown_kind,
        "union_tag_not_found": lambda _: 'is missing: "local", "sftp", "s3" or "rest"',
        "value_error": lambda details: str(details["ctx"]["error"]),
        "string_type": _instead_of("a text"),
        "int_type": _instead_of("a whole number"),
        "bool_type": _instead_of("true or false"),
        "tuple_type": _instead_of("a list"),
        "dict_type": _instead_of("a table"),
        "model_type": _instead_of("a table"),
        "model_attributes_type": _instead_of("a table"),
        "string_too_short": lambda _: "must not be empty",
        "too_short": lambda _: "must not be empty",
        "greater_than_equal": _bound("{ge} or more"),
        "less_than_equal": _bound("{le} or less"),
    }
)
