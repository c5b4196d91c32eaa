"""The scanner says of every key the line it stands on, whatever way TOML is written."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.settings.positions import KeyPath, scan, without

SCALARS: Final = [
    ("1", 1),
    ("true", True),
    ("-1_000.5e3", -1_000_500.0),
    ('"# [no] = \\"key\\"" # a comment', '# [no] = "key"'),
    ("'c:\\path'", "c:\\path"),
    ('""', ""),
    ("''", ""),
    ('"""\n[not.a.table]\nkey = 1 # ""\\""""""', '[not.a.table]\nkey = 1 # """""'),
    ("'''\na = '1'\n'''''", "a = '1'\n''"),
    ("0x_ff".replace("_", ""), 255),
]
BLANKS: Final = ["", "\n", "# a = [1\n", "  \t\n#\n"]
Scalar = tuple[str, Any]
KEYS: Final = st.text("ab-_1 .\"'#=[]é\\\t", min_size=1, max_size=3)
VALUES: Final[st.SearchStrategy[Any]] = st.recursive(
    st.sampled_from(SCALARS),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(KEYS, below, max_size=3),
    max_leaves=12,
)
TREES: Final = st.dictionaries(KEYS, VALUES, max_size=4)


def plain(value: Any) -> Any:
    """What tomllib must read."""
    if isinstance(value, dict):
        return {key: plain(below) for key, below in value.items()}
    return [plain(below) for below in value] if isinstance(value, list) else value[1]


@dataclass
class Writer:
    """Writes a tree as TOML in ways that `choose` picks, and notes the line of each key as it is written."""

    choose: Callable[[st.SearchStrategy[Any]], Any]
    text: str = ""
    lines: dict[KeyPath, int] = field(default_factory=dict)
    statements: list[tuple[KeyPath, str]] = field(default_factory=list)  # one-line assignments, as they stand

    def one_of(self, *choices: Any) -> Any:
        return self.choose(st.sampled_from(choices))

    def mark(self, key: KeyPath) -> None:
        for length in range(1, len(key) + 1):
            self.lines.setdefault(key[:length], self.text.count("\n") + 1)

    def key(self, name: str) -> str:
        spellings = [json.dumps(name, ensure_ascii=self.one_of(True, False))]
        if name.isascii() and name.replace("-", "").replace("_", "").isalnum():
            spellings.append(name)
        if "'" not in name:
            spellings.append(f"'{name}'")
        return str(self.one_of(*spellings))

    def table(self, key: KeyPath, tree: dict[str, Any]) -> None:
        """Assignments first, then what gets a header."""
        later = []
        for name, value in tree.items():
            if self._may_have_header(value) and self.one_of(True, False):
                later.append((name, value))
            else:
                self.text += self.one_of(*BLANKS) + self.one_of("", "  ")
                self.assignment(key, name, value, "\n")
        for name, value in later:
            for index, below in enumerate(value if isinstance(value, list) else [value]):
                self.header((*key, name), below, index if isinstance(value, list) else None)

    def _may_have_header(self, value: Any) -> bool:
        many = isinstance(value, list) and bool(value) and all(isinstance(below, dict) for below in value)
        return isinstance(value, dict) or many

    def header(self, key: KeyPath, tree: dict[str, Any], index: int | None) -> None:
        self.text += self.one_of(*BLANKS)
        self.mark(key if index is None else (*key, index))
        names = self.one_of(".", " . ").join(self.key(part) for part in key if isinstance(part, str))
        self.text += f"[{names}]" if index is None else f"[[{names}]]"
        self.text += self.one_of("\n", " # b = [\n")
        self.table(key if index is None else (*key, index), tree)

    def assignment(self, table: KeyPath, name: str, value: Any, end: str) -> None:
        start = len(self.text)
        key = (*table, name)
        self.mark(key)
        self.text += self.key(name)
        while isinstance(value, dict) and len(value) == 1 and self.one_of(True, False):
            ((name, value),) = value.items()
            key = (*key, name)
            self.mark(key)
            self.text += self.one_of(".", " . ") + self.key(name)
        self.text += self.one_of("=", " = ")
        self.value(key, value)
        self.text += end
        statement = self.text[start:]
        if end == "\n" and statement.count("\n") == 1:
            self.statements.append((key, statement))

    def value(self, key: KeyPath, value: Any) -> None:
        if isinstance(value, dict):
            self.inline(key, value)
        elif isinstance(value, list):
            self.list(key, value)
        else:
            written = str(value[0])
            self.text += written if key[-1:] and not self._inside else written.removesuffix(" # a comment")

    _inside: int = 0

    def inline(self, key: KeyPath, tree: dict[str, Any]) -> None:
        self._inside += 1
        self.text += "{ "
        for number, (name, value) in enumerate(tree.items()):
            self.text += " , " if number else ""
            self.assignment(key, name, value, "")
        self.text += "}"
        self._inside -= 1

    def list(self, key: KeyPath, items: list[Any]) -> None:
        self._inside += 1
        self.text += "["
        for index, item in enumerate(items):
            self.text += self.one_of("", "\n", " # ]\n  ")
            self.mark((*key, index))
            self.value((*key, index), item)
            self.text += "," if index < len(items) - 1 else self.one_of("", ",", "\n,#\n")
        self.text += "]"
        self._inside -= 1


def written(data: st.DataObject, tree: dict[str, Any]) -> Writer:
    writer = Writer(choose=data.draw)
    writer.table((), tree)
    return writer


@given(data=st.data(), tree=TREES)
def test_every_key_has_its_line(data: st.DataObject, tree: dict[str, Any]) -> None:
    writer = written(data, tree)
    assert tomllib.loads(writer.text) == plain(tree), "the test writes something else"
    seen = scan(writer.text)
    assert seen.lines == writer.lines
    assert seen.repeats == ()


@given(data=st.data(), tree=TREES.filter(bool))
def test_a_repeated_key_is_found_and_can_be_taken_out(data: st.DataObject, tree: dict[str, Any]) -> None:
    writer = written(data, {**tree, "last": SCALARS[0]})
    key, statement = data.draw(st.sampled_from(writer.statements or [((), "")]))
    at = writer.text.find("\n" + statement) + 1
    if not key or writer.text.count(statement) != 1 or (at == 0 and not writer.text.startswith(statement)):
        return
    text = writer.text[: at + len(statement)] + statement + writer.text[at + len(statement) :]
    line = text[:at].count("\n") + 1
    (repeat,) = scan(text).repeats
    assert (repeat.key, repeat.first, repeat.line) == (key, line, line + 1)
    assert tomllib.loads(without(text, (repeat,))) == tomllib.loads(writer.text)
    assert without(text, (repeat,)).count("\n") == text.count("\n")


@given(st.text("ab=.[]{}\"'#,\\ \n\t1é", max_size=40))
def test_never_fails(text: str) -> None:
    lines = scan(text).lines
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())


@pytest.mark.parametrize(
    ("text", "repeats"),
    [
        ("a = 1\na = 2", [(("a",), 1, 2)]),
        ("a = 1\n'a' = 2\n\"\\u0061\" = 3", [(("a",), 1, 2), (("a",), 1, 3)]),
        ("a = { b = 1, b = 2 }", [(("a", "b"), 1, 1)]),
        ("a = [{ b = 1,\tb = [\n2] }]", [(("a", 0, "b"), 1, 1)]),
        ("a.b = 1\n[c]\n[a]\nb = 2", [(("a", "b"), 1, 4)]),
        ("[a]\nb = 1\n[c]\n[a]\nb = 2\nd = 1\n[e]", [(("a",), 1, 4)]),
        ("[[a]]\nb = 1\n[[a]]\nb = 1\nb = 2", [(("a", 1, "b"), 4, 5)]),
        ("[[a]]\n[a.b]\n[[a]]\n[a.b]\n[a.b]", [(("a", 1, "b"), 4, 5)]),
    ],
)
def test_repeats(text: str, repeats: list[tuple[KeyPath, int, int]]) -> None:
    assert [(repeat.key, repeat.first, repeat.line) for repeat in scan(text).repeats] == repeats


@pytest.mark.parametrize(
    "text", ["a = { b = 1, b = 2 }\nc = 3", "[a]\nb = 1\n[c]\n[a]\nb = 2\n[e]", "a = 1\na = [\n2]\n"]
)
def test_what_is_left_is_toml_again(text: str) -> None:
    with pytest.raises(tomllib.TOMLDecodeError):
        tomllib.loads(text)
    assert tomllib.loads(without(text, scan(text).repeats))
