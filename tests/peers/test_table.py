"""docs/peers.md is held to the tests: a row for each, named after the complaint that it is about."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parent
PAGE: Final = (FOLDER.parents[1] / "docs" / "peers.md").read_text(encoding="utf-8")
ROW: Final = re.compile(r"^\| (?P<complaint>[^|]+) \| [^|]+ \| [^|]+ \| `(?P<test>test_\w+)` \|$", re.MULTILINE)


def named() -> Iterator[ast.FunctionDef]:
    """Every test beside this one."""
    for file in sorted(FOLDER.glob("test_*.py")):
        if file != Path(__file__).resolve():
            tree = ast.parse(file.read_text(encoding="utf-8"))
            yield from (
                each for each in tree.body if isinstance(each, ast.FunctionDef) and each.name.startswith("test_")
            )


def test_every_test_has_its_row_and_every_row_its_test() -> None:
    assert sorted(row["test"] for row in ROW.finditer(PAGE)) == sorted(each.name for each in named())


def test_a_test_is_named_after_the_complaints_of_its_row() -> None:
    for row in ROW.finditer(PAGE):
        for name in re.split(r"[,\s]+", row["complaint"]):
            word = re.sub(r"\W+", "_", name.strip("#")).lower()
            known = (word, word.split("_")[0])
            assert any(f"_{each}_" in row["test"] for each in known), f"{row['test']} does not name {name}"


def test_each_says_the_complaint_and_what_is_done_about_it() -> None:
    for each in named():
        words = " ".join((ast.get_docstring(each) or "").split())
        assert "; here " in words, each.name
