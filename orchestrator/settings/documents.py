"""Read the settings file and what it includes, and lay them over each other as one tree that knows its origins."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from glob import glob, has_magic
from pathlib import Path
from typing import Final

from orchestrator.settings.mistakes import Mistake, Place, SettingsError, dotted
from orchestrator.settings.positions import KeyPath, scan, without

Tree = dict[str, object]  # tables of a TOML document
_WHERE: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_NAMESPACE: Final = re.compile(r"\('[^()]*'(?:,|, '[^()]*')?\)")  # tomllib names a table as a Python tuple
_QUOTED: Final = re.compile(r"'([^']*)'")


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """One file: its path as the user would name it, the folder it is in (absolute), its text, and what it says."""

    path: Path
    folder: Path
    text: str
    tree: Tree

    def place(self, key: KeyPath) -> Place:
        """The line of the key, or of the nearest table around it that is written down."""
        lines = scan(self.text).lines
        written = (lines[key[:length]] for length in range(len(key), 0, -1) if key[:length] in lines)
        return Place(file=self.path, line=next(written, 1))


@dataclass(kw_only=True, slots=True)
class Documents:
    """The files as one tree. `origins` tells whose a key (and what is below it) is, where it is not the top file's."""

    top: Document
    tree: Tree
    origins: dict[KeyPath, Document] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    built_in: set[KeyPath] = field(default_factory=set)  # filled in by us, written nowhere
    included: list[Document] = field(default_factory=list)  # in the order in which they were laid over

    def document(self, key: KeyPath) -> Document:
        """The file in which the key stands, or the nearest table around it."""
        lengths = range(len(key), 0, -1)
        return next((self.origins[key[:length]] for length in lengths if key[:length] in self.origins), self.top)

    def place(self, key: KeyPath) -> Place:
        """Where the key stands."""
        return self.document(key).place(key)

    def folder(self, key: KeyPath) -> Path:
        """The absolute folder that a relative path at this key is relative to."""
        document = self.top if key in self.built_in else self.document(key)
        return document.folder

    def mistake(self, key: KeyPath, what: str) -> Mistake:
        """A mistake at this key."""
        return Mistake(place=self.place(key), key=dotted(key), what=what)

    def value(self, key: KeyPath) -> object:
        """What stands at the key; None when nothing does."""
        node: object = self.tree
        for part in key:
            if isinstance(node, list):
                node = dict(enumerate(node))
            if not isinstance(node, dict) or part not in node:
                return None
            node = node[part]
        return node


def read(path: Path) -> Documents:
    """Read the file and its includes. Raises SettingsError when one of them cannot be read or is not TOML.

    Keys that are set twice are `mistakes` of the result; the first setting stands.
    """
    mistakes: list[Mistake] = []
    top = _document(path, mistakes)
    documents = Documents(top=top, tree=dict(top.tree), mistakes=mistakes)
    broken = list(_add_includes(documents))
    if broken:
        raise SettingsError([*mistakes, *broken])
    return documents


def _add_includes(documents: Documents) -> Iterator[Mistake]:
    for path in _included(documents):
        try:
            document = _document(path, documents.mistakes)
        except SettingsError as error:
            yield from error.mistakes
        else:
            documents.included.append(document)
            _lay_over(documents, documents.tree, document, document.tree, ())


def _included(documents: Documents) -> Iterator[Path]:
    """The included files, each once, in the order of the patterns and then of their names."""
    top = documents.top.path
    seen = {top.resolve()}
    for pattern in _patterns(documents.tree):
        names = glob(pattern, root_dir=top.parent, recursive=True)  # noqa: PTH207 (Path.glob has no absolute patterns)
        found = [top.parent / name for name in sorted(names)]
        if not found:  # also of a pattern: a folder that is gone took its policies with it, and nobody would hear
            none = "no file is like" if has_magic(pattern) else "there is no file"
            documents.mistakes.append(documents.mistake(("include",), f'{none} "{pattern}"'))
        # Two patterns, or a link, may lead to one file, and a pattern to the top file itself.
        for path in found:
            if path.resolve() not in seen:
                seen.add(path.resolve())
                yield path


def _patterns(tree: Tree) -> list[str]:
    include = tree.get("include", [])
    return [pattern for pattern in include if isinstance(pattern, str)] if isinstance(include, list) else []


def _lay_over(documents: Documents, onto: Tree, document: Document, tree: Tree, above: KeyPath) -> None:
    """Add a document's keys. Tables grow together; any other key may be set once only."""
    for name, value in tree.items():
        key = (*above, name)
        there = onto.get(name)
        if key == ("include",):
            what = "only the top settings file may include others"
            documents.mistakes.append(Mistake(place=document.place(key), key="include", what=what))
        elif name not in onto:
            onto[name] = value
            documents.origins[key] = document
        elif isinstance(there, dict) and isinstance(value, dict):
            # A copy: the document that it came from keeps what it said.
            onto[name] = own = dict(there)
            _lay_over(documents, own, document, value, key)
        else:
            documents.mistakes.append(_set_twice(document.place(key), documents.place(key), key))


def _document(path: Path, mistakes: list[Mistake]) -> Document:
    """Read one file. Raises SettingsError when it cannot be read or is not TOML."""
    text, folder = _text(path), path.absolute().parent
    try:
        return Document(path=path, folder=folder, text=text, tree=tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        repeats = scan(text).repeats
        mistakes += [_set_twice(Place(file=path, line=r.line), Place(file=path, line=r.first), r.key) for r in repeats]
        if not repeats:
            raise SettingsError([*mistakes, _syntax(path, text, error)]) from error
    try:
        # tomllib stops at the first repeat; without them whatever else is wrong is told in the same go.
        return Document(path=path, folder=folder, text=text, tree=tomllib.loads(without(text, repeats)))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError([*mistakes, _syntax(path, text, error)]) from error


def _text(path: Path) -> str:
    try:
        # A mark at the beginning and two characters at the end of a line: as some editors save a text.
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except FileNotFoundError as error:
        what = "there is no such file; write one with: tandem config generate"
        raise SettingsError([Mistake(place=Place(file=path), what=what)]) from error
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        raise SettingsError([Mistake(place=Place(file=path), what=what)]) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        what = "is not UTF-8 text; save the file as UTF-8"
        raise SettingsError([Mistake(place=Place(file=path, line=line), what=what)]) from error


def _syntax(path: Path, text: str, error: Exception) -> Mistake:
    if isinstance(error, RecursionError):
        return Mistake(place=Place(file=path), what="lists or tables are nested too deeply")
    message = _NAMESPACE.sub(lambda found: dotted(tuple(_QUOTED.findall(found[0]))), str(error))
    found = _WHERE.search(message)
    if found is None:
        return Mistake(place=Place(file=path), what=f"not TOML: {message}")
    line = int(found[1] or text.count("\n") + 1)
    what = f"not TOML: {message[: found.start()]}"
    return Mistake(place=Place(file=path, line=line, column=int(found[2] or 0)), what=what)


def _set_twice(again: Place, first: Place, key: KeyPath) -> Mistake:
    return Mistake(place=again, key=dotted(key), what=f"is set twice; it was set first at {first}")
