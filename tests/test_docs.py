"""The documents are held to the program: every verb, option, setting and exit code is in the manual."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs import failure
from jobs.event import SEVERITIES, Severity, Topic
from orchestrator import settings as settings_room
from orchestrator.cli.parser import build
from orchestrator.settings.unattended import NotifyTable

ROOT = Path(__file__).resolve().parent.parent
MANUAL = (ROOT / "docs" / "manual.md").read_text(encoding="utf-8")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


Verb = tuple[str, argparse.ArgumentParser]


def verbs(parser: argparse.ArgumentParser, before: tuple[str, ...] = ()) -> Iterator[Verb]:
    yield " ".join(before), parser
    for action in parser._actions:  # argparse tells of its subparsers nowhere else
        if isinstance(action, argparse._SubParsersAction):
            for name, verb in action.choices.items():
                yield from verbs(verb, (*before, name))


def section(verb: str) -> str:
    """The manual's text on a verb: from its heading to the next one."""
    first = verb.split()[0]
    found = re.search(rf"^### `tandem {first}\b.*?(?=^##)", MANUAL, re.M | re.S)
    return found.group() if found else ""


@pytest.mark.parametrize(("verb", "parser"), [pair for pair in verbs(build()) if pair[0]])
def test_every_verb_and_option_is_in_the_manual(verb: str, parser: argparse.ArgumentParser) -> None:
    text = section(verb)
    assert text, f"the manual has no section on {verb}"
    assert all(word in text for word in verb.split())
    for action in parser._actions:
        for option in action.option_strings:
            if option not in {"-h", "--help"}:
                assert option in text, f"the manual's section on {verb} lacks {option}"


def test_every_general_option_is_in_the_manual() -> None:
    for action in build()._actions:
        for option in action.option_strings:
            assert option in {"-h", "--help"} or option in MANUAL


def keys(schema: dict[str, Any]) -> set[str]:
    """Every property name anywhere in the settings' schema."""
    found: set[str] = set()
    for part in schema.get("$defs", {}).values():
        found |= set(part.get("properties", {}))
    return found | set(schema.get("properties", {}))


@pytest.mark.parametrize("key", sorted(keys(settings_room.schema())))
def test_every_setting_is_in_the_manual(key: str) -> None:
    assert re.search(rf"\b{re.escape(key)}\b", MANUAL), f"the manual does not tell of the setting {key}"


@pytest.mark.parametrize("topic", Topic)
def test_every_topic_is_in_the_manual(topic: Topic) -> None:
    """In bold what is told unless the settings say otherwise."""
    told = NotifyTable.model_fields["on"].default
    assert (f"**`{topic}`**" if topic in told else f", `{topic}`") in MANUAL.replace("Topics: ", ", ")


@pytest.mark.parametrize(
    "code",
    [value for name, value in vars(failure).items() if name.isupper() and isinstance(value, int)],
)
def test_every_exit_code_is_in_the_manual_and_the_help(code: int) -> None:
    assert re.search(rf"^\| {code} \|", MANUAL, re.M)
    assert re.search(rf"\b{code} \w+", build().format_help())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (document.parent / link).exists(), f"{document.name} links to {link}, which is not there"


def test_anchors_of_the_manual_exist() -> None:
    headings = {re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in MANUAL.splitlines()}
    for anchor in re.findall(r"\]\(#([^)]+)\)", MANUAL):
        assert anchor in headings


def test_what_wants_a_look_is_told_unless_the_settings_say_otherwise() -> None:
    """Also of a topic that is new; and that it is over, else nobody knows whether to go and see."""
    told = set(NotifyTable.model_fields["on"].default)
    for topic in Topic:
        quiet = SEVERITIES[topic] is Severity.INFO and topic is not Topic.RECOVERED
        assert (topic in told) is not quiet, topic
