"""The hospital's records: invented patients in nested folders, with the links and odd names that servers collect."""

from __future__ import annotations

import csv
import io
import json
import os
import random
from pathlib import Path
from typing import Final

_WARDS: Final = ("cardiologie", "chirurgie", "maternité", "pédiatrie", "urgences")
_FINDINGS: Final = ("normal", "to be seen again", "under treatment", "transferred", "discharged")
_MEASURES: Final = ("temperature", "pulse", "systolic", "diastolic", "glucose")

# Names that break programs which split on blanks, match patterns, print lines or believe that names are text.
ODD_NAMES: Final = (
    "two  blanks.txt",
    " leading and trailing ",
    "-rf",
    "star * and [range]?.txt",
    'quote\'s "both".txt',
    "back\\slash.txt",
    "new\nline.txt",
    "tab\there.txt",
    "$HOME `id` #1 %s {}.txt",
    "e\u0301te\u0301 decomposed.txt",
    "\u00e9t\u00e9 composed.txt",
    "مريض.txt",
    "📄.txt",
    "long " + "x" * 240 + ".txt",
    os.fsdecode(b"not utf-8 \xe9\xe8.txt"),
)


def make(folder: Path, *, patients: int, seed: int) -> None:
    """Fill a new folder with `patients` records, the links between them, and the odd names."""
    chance = random.Random(seed)
    for number in range(patients):
        _write_patient(folder, number, chance)
    _write_links(folder)
    _write_oddities(folder / "scanned by hand")


def place_of(folder: Path, number: int) -> Path:
    """A patient's folder."""
    return folder / _WARDS[number % len(_WARDS)] / f"{number // 100:02}xx" / f"P-{number:06}"


def _write_patient(folder: Path, number: int, chance: random.Random) -> None:
    place = place_of(folder, number)
    place.mkdir(parents=True, exist_ok=True)
    about = {"patient": f"P-{number:06}", "born": chance.randint(1925, 2026), "ward": place.parts[-3]}
    (place / "identity.json").write_text(json.dumps(about, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    (place / "identity.json").chmod(0o640)
    (place / "measures.csv").write_text(_measures(chance), encoding="utf-8")
    notes = [f"Day {day}: {chance.choice(_FINDINGS)}." for day in range(chance.randint(1, 60))]
    (place / "notes.txt").write_text("\n".join(notes) + "\n", encoding="utf-8")


def _measures(chance: random.Random) -> str:
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(("hour", *_MEASURES))
    writer.writerows((hour, *(chance.randint(35, 180) for _ in _MEASURES)) for hour in range(chance.randint(24, 240)))
    return table.getvalue()


def _write_links(folder: Path) -> None:
    """Links to a folder, to a file, to nothing; and one file under two names."""
    first = place_of(folder, 0)
    (folder / "latest admission").symlink_to(first.relative_to(folder), target_is_directory=True)
    (folder / "consent form").symlink_to("../../forms/consent.txt")
    (folder / "notes of the first").symlink_to(first.relative_to(folder) / "notes.txt")
    os.link(first / "notes.txt", first / "notes (same file).txt")


def _write_oddities(folder: Path) -> None:
    (folder / "empty folder").mkdir(parents=True)
    (folder / "empty file").touch()
    for name in ODD_NAMES:
        (folder / name).write_bytes(b"kept under: " + os.fsencode(name) + b"\n")


def change(folder: Path, *, seed: int, share: float = 0.02) -> None:
    """A day at the hospital: notes grow, patients arrive, one leaves, one moves."""
    chance = random.Random(seed)
    places = sorted(path.parent for path in folder.rglob("identity.json"))
    for place in chance.sample(places, max(3, int(len(places) * share))):
        with (place / "notes.txt").open("a", encoding="utf-8") as notes:
            notes.write(f"Round {seed}: {chance.choice(_FINDINGS)}.\n")
    for number in range(len(places), len(places) + max(1, int(len(places) * share / 4))):
        _write_patient(folder, seed * 100_000 + number, chance)
    left, moved = chance.sample(places[1:], 2)  # the first is what the links point to
    for name in ("identity.json", "measures.csv", "notes.txt"):
        (left / name).unlink()
    moved.rename(moved.with_name(f"{moved.name} (transferred {seed})"))
