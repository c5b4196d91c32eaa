"""The kinds of single values in settings.toml: each checks itself and says in one sentence what it wants.

A message never quotes a value that may hold a password by mistake.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, PlainValidator, WithJsonSchema

from jobs.event import Topic
from orchestrator.settings.mistakes import did_you_mean
from orchestrator.settings.units import format_duration, parse_duration, parse_keep, parse_rate, parse_share, parse_size

NAME: Final = r"[a-z0-9][a-z0-9._-]{0,62}"
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_BUCKET: Final = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_HOST: Final = r"[A-Za-z0-9:][A-Za-z0-9.:_-]{0,253}"
_LEAST_MEMORY: Final = 128 << 20  # bytes; restic holds 60 to 90 MiB for a repository of no size at all
_USER: Final = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}"
_SQLITE: Final = "sqlite:///"
_POSTGRESQL: Final = "postgresql+psycopg://"
_NEVER_ITSELF: Final = (
    'must say where the secret is, never the secret itself: { file = "…" }, { env = "…" } or { command = ["…"] }'
)


def _plain(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds a control character")
    return text


def _name(text: str) -> str:
    if not re.fullmatch(NAME, text):
        raise ValueError(f'"{text}" is not a name: a-z, 0-9, ".", "_", "-", at most 63, a letter or digit first')
    return text


def _local_path(text: str) -> str:
    if not text.startswith("/"):  # every other relative path has been made absolute
        raise ValueError(f'"{text}": write the whole path; "~" is not replaced')
    return text


def _state(text: str) -> str:
    if text.startswith(_SQLITE):
        return _sqlite(text)
    if not text.startswith(_POSTGRESQL):
        raise ValueError(f"must begin with {_SQLITE} or {_POSTGRESQL}")
    user, at, _ = text.removeprefix(_POSTGRESQL).rpartition("@")  # a password may hold slashes, so no urlsplit here
    if (at and ":" in user) or "password=" in text:
        raise ValueError(
            "holds a password; put the whole address into a file or variable and write "
            'state = { file = "…" } or state = { env = "…" }'
        )
    return text


def _sqlite(text: str) -> str:
    path = text.removeprefix(_SQLITE)
    if not path or path.startswith(":") or "?" in path:
        raise ValueError('must name a file, such as "sqlite:///var/tandem.db"')
    _local_path(path)
    return text


def _web_address(text: str) -> str:
    try:
        address = urlsplit(text)
        sound = address.scheme in {"http", "https"} and bool(address.hostname) and address.port != 0
    except ValueError:  # its message quotes the address, which may hold a password
        sound = False
    if not sound:
        raise ValueError('must be an address such as "https://backup.example:8000"')
    if "@" in text:  # wherever: a password may hold slashes
        raise ValueError('holds credentials; write them as credentials = { file = "…" }')
    if address.query or address.fragment:
        raise ValueError("must have neither ? nor #")
    return text.rstrip("/")


def _endpoint(text: str) -> str:
    address = _web_address(text)
    if urlsplit(address).path:
        raise ValueError(
            "must be the server alone, such as http://127.0.0.1:9000; bucket and prefix have keys of their own"
        )
    return address


def _prefix(text: str) -> str:
    if text != text.strip("/") or "//" in text:
        raise ValueError('must be like "backups/primary", without a slash at its ends')
    return text


def only_a_reference(value: object) -> object:
    """Refuse a secret that stands in the settings, without quoting it."""
    if not isinstance(value, dict):
        raise ValueError(_NEVER_ITSELF)  # noqa: TRY004 (pydantic collects ValueErrors only)
    return value


def _filename(text: str) -> str:
    if "/" in text or text in {".", ".."}:
        raise ValueError(f'"{text}" must be a plain name without a slash')
    return text


def _mode(text: object) -> object:
    if text == "mirror":
        raise ValueError('"mirror" is not in this release; write mode = "copy"')
    return text


def _language(text: object) -> object:
    if text == "fr":
        raise ValueError('"fr" is not in this release; write language = "en"')
    return text


def _topic(text: object) -> Topic:
    if not isinstance(text, str):
        raise ValueError("must be a topic in quotes")  # noqa: TRY004 (pydantic collects ValueErrors only)
    try:
        return Topic(text)
    except ValueError:
        raise ValueError(f'there is no topic "{text}"{did_you_mean(text, [topic.value for topic in Topic])}') from None


def _memory(text: object) -> int:
    if (size := parse_size(text)) < _LEAST_MEMORY:
        raise ValueError(f'"{text}" is too little for restic to work in: the least is 128MiB')
    return size


def _only_true(value: bool) -> bool:
    if not value:
        raise ValueError("can only be true; leave it out where another source is meant")
    return value


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    # ValueError for what leads out of the zones' folder, OSError for a folder among them ("Africa").
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(_no_such_zone(text, available_timezones())) from error
    return text


def _no_such_zone(text: str, known: set[str]) -> str:
    # A small container has no tzdata: then every zone is unknown, and no spelling would help.
    if not known:
        return f'"{text}" is not known, for this machine has no time zones at all; install the package tzdata'
    end = did_you_mean(text, known)
    return f'"{text}" is not an IANA time zone{end if end.endswith("?") else ", such as Africa/Douala"}'


def _pattern(pattern: str, what: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"is not {what}")  # without the text: somebody may have put a password there
        return text

    return AfterValidator(check)


def _schema(kind: str, *examples: str, **more: str) -> WithJsonSchema:
    return WithJsonSchema({"type": kind, **({"examples": list(examples)} if examples else {}), **more})


Text = Annotated[str, Field(min_length=1), AfterValidator(_plain)]
Texts = Annotated[tuple[Text, ...], Field(min_length=1)]
Name = Annotated[str, AfterValidator(_name), _schema("string", pattern=f"^{NAME}$")]
Zone = Annotated[Text, AfterValidator(_zone)]
Language = Annotated[Literal["en"], BeforeValidator(_language)]
Ledger = Annotated[Text, AfterValidator(_state)]
Host = Annotated[Text, _pattern(_HOST, "a host name or address")]
User = Annotated[Text, _pattern(_USER, "a user name")]
Bucket = Annotated[Text, _pattern(_BUCKET, "a bucket's name")]
ServerPath = Annotated[Text, _pattern(r"[^~].*", "a path on the server: write it without ~")]
WebAddress = Annotated[Text, AfterValidator(_web_address)]
Endpoint = Annotated[Text, AfterValidator(_endpoint)]
Prefix = Annotated[str, AfterValidator(_plain), AfterValidator(_prefix)]
Filename = Annotated[Text, AfterValidator(_filename)]
Copying = Annotated[Literal["copy"], BeforeValidator(_mode)]
LocalPath = Annotated[Text, AfterValidator(_local_path)]
Count = Annotated[int, Field(strict=True, ge=0)]
AtLeastOne = Annotated[int, Field(strict=True, ge=1)]
Flag = Annotated[bool, Field(strict=True)]
OnlyTrue = Annotated[Flag, AfterValidator(_only_true)]
Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration),
    _schema("string", "15m", "24h", "30d", pattern="^[1-9][0-9]*[smhdw]$"),
]
Keep = Annotated[
    timedelta,
    BeforeValidator(parse_keep),
    PlainSerializer(format_duration),
    _schema("string", "10y", "400d", pattern="^[1-9][0-9]*[smhdwy]$"),
]
Rate = Annotated[
    int, BeforeValidator(parse_rate), _schema("string", "20MiB/s", pattern="^[1-9][0-9]*([KMGT](iB)?|B)/s$")
]
Memory = Annotated[
    int, BeforeValidator(_memory), _schema("string", "1GiB", "512MiB", pattern="^[1-9][0-9]*([KMGT](iB)?|B)$")
]
OneTopic = Annotated[Topic, PlainValidator(_topic), WithJsonSchema({"enum": [topic.value for topic in Topic]})]
Share = Annotated[str, AfterValidator(parse_share), _schema("string", "none", "100%", "10%", "1/4", "500M")]
