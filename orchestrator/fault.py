"""What there is to say of a fault of our own: what it is and where; never its text, which may hold a secret.

What an error says is made of whatever was at hand: an address, a password in it, a line of somebody's file. Messages,
mails, the ledger and logs go to more people than that was meant for; `tandem -vv` shows all of it to who runs it.
"""

from __future__ import annotations

from traceback import extract_tb
from typing import Final

_FRAMES: Final = 3


def words(error: BaseException) -> str:
    """Its kind and its place: "KeyError at line 12 of couriers.py"."""
    frames = extract_tb(error.__traceback__)
    where = f" at line {frames[-1].lineno} of {_file(frames[-1].filename)}" if frames else ""
    return f"{type(error).__name__}{where}"


def path(error: BaseException) -> str:
    """The last calls that led there, the innermost last: "_tick (daemon.py:120) > born (calendar.py:77)"."""
    frames = extract_tb(error.__traceback__)[-_FRAMES:]
    return " > ".join(f"{frame.name} ({_file(frame.filename)}:{frame.lineno})" for frame in frames)


def _file(name: str) -> str:
    return name.rpartition("/")[2]
