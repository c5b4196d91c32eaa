"""A settings file to begin with."""

from __future__ import annotations


def generate() -> str:
    """A commented settings.toml: it loads once its secret files exist, and says how to make them."""
    from importlib.resources import files  # slow to load, for one verb

    return files("orchestrator.settings").joinpath("starter.toml").read_text(encoding="utf-8")
