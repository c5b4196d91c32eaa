"""`config validate|show|schema|generate`: the settings seen, described, begun."""

from __future__ import annotations

import argparse
import json
import threading

from orchestrator import settings as settings_room
from orchestrator.cli import printing
from orchestrator.cli.asked import load
from reports import answers


def validate(arguments: argparse.Namespace, _stop: threading.Event) -> int:
    """Say that the settings are good; SettingsError with every mistake otherwise."""
    settings = load(arguments)
    counts = {"policies": len(settings.policies), "vaults": len(settings.vaults), "tenants": len(settings.tenants)}
    if arguments.json:
        printing.say(json.dumps({"valid": True, "file": str(settings.file), **counts}) + "\n")
    else:
        told = ", ".join(f"{count} {name}" for name, count in counts.items())
        printing.say(f"{settings.file} is valid: {told}\n")
    return 0


def show(arguments: argparse.Namespace, _stop: threading.Event) -> int:
    """Print each merged setting and where it came from; secrets only as references."""
    rows = settings_room.show(arguments.settings)
    printing.show(arguments, answers.settings((row.key, row.value, row.origin) for row in rows))
    return 0


def schema(_arguments: argparse.Namespace, _stop: threading.Event) -> int:
    """Print the JSON Schema."""
    printing.say(json.dumps(settings_room.schema(), indent=2) + "\n")
    return 0


def generate(arguments: argparse.Namespace, _stop: threading.Event) -> int:
    """Print commented settings to begin with; with --json as one document that holds their text."""
    text = settings_room.generate()
    printing.say(json.dumps({"settings": text}) + "\n" if arguments.json else text)
    return 0
