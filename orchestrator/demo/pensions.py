"""The pensions register: a SQLite database whose two tables must always agree; a torn copy gives itself away."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

_SCHEMA: Final = """
    CREATE TABLE pensioner (id INTEGER PRIMARY KEY, name TEXT NOT NULL, born TEXT NOT NULL, grade TEXT NOT NULL,
                            monthly INTEGER NOT NULL, paid INTEGER NOT NULL DEFAULT 0);
    CREATE TABLE payment (id INTEGER PRIMARY KEY, pensioner INTEGER NOT NULL REFERENCES pensioner (id),
                          amount INTEGER NOT NULL);
"""
_FIRST: Final = ("Adèle", "Bello", "Chantal", "Désiré", "Estelle", "Fadimatou", "Georges", "Hawa", "Ibrahim", "Jeanne")
_LAST: Final = ("Abena", "Biya'a", "Djoumessi", "Eto'o", "Fouda", "Kamga", "Mbarga", "Ngono", "Oumarou", "Tchoumi")
_GRADES: Final = ("A2", "A1", "B2", "B1", "C", "D")


def make(path: Path, *, pensioners: int, seed: int) -> None:
    """A new register in WAL mode, as a server's database would be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.executescript(_SCHEMA)
        with database:
            database.executemany(
                "INSERT INTO pensioner (name, born, grade, monthly) VALUES (?, ?, ?, ?)",
                _people(random.Random(seed), pensioners),
            )


def _people(chance: random.Random, count: int) -> Iterator[tuple[str, str, str, int]]:
    for _ in range(count):
        born = f"{chance.randint(1930, 1966)}-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}"
        name = f"{chance.choice(_LAST)} {chance.choice(_FIRST)}"
        yield name, born, chance.choice(_GRADES), chance.randrange(40_000, 600_000, 500)


def pay(database: sqlite3.Connection, chance: random.Random, *, payments: int = 20) -> None:
    """One transaction that pays some pensioners; both tables change, or neither."""
    with database:
        (last,) = database.execute("SELECT max(id) FROM pensioner").fetchone()
        for who in (chance.randint(1, last) for _ in range(payments)):
            amount = chance.randrange(40_000, 600_000, 500)
            database.execute("INSERT INTO payment (pensioner, amount) VALUES (?, ?)", (who, amount))
            database.execute("UPDATE pensioner SET paid = paid + ? WHERE id = ?", (amount, who))


def payments(path: Path) -> int:
    """How many payments the register holds."""
    with closing(sqlite3.connect(path)) as database:
        (count,) = database.execute("SELECT count(*) FROM payment").fetchone()
    return int(count)


def agrees(path: Path) -> bool:
    """Whether the file is sound and its tables agree; False is a torn copy."""
    with closing(sqlite3.connect(path)) as database:
        try:
            sound = database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            (paid,), (sent,) = (
                database.execute(f"SELECT coalesce(sum({column}), 0) FROM {table}").fetchone()  # noqa: S608 (two constants)
                for column, table in (("paid", "pensioner"), ("amount", "payment"))
            )
        except sqlite3.DatabaseError:
            return False
    return sound and paid == sent
