"""The tables that say where a secret is; a text that needs none may stand in their place."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag
from pydantic import model_validator as after_all

from orchestrator.settings.addresses import DeadMan, OpenChannel
from orchestrator.settings.fields import Ledger, LocalPath, Text, Texts, only_a_reference


class Table(BaseModel):
    """A table of settings.toml: unknown keys are mistakes, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SecretTable(Table):
    """Where a secret is. Exactly one of the three."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    file: LocalPath | None = Field(default=None, description="A file that holds the secret, readable by its owner only")
    env: Text | None = Field(default=None, description="An environment variable that holds the secret")
    command: Texts | None = Field(default=None, description="A command that writes the secret to standard output")

    @after_all(mode="after")
    def _exactly_one(self) -> SecretTable:
        if len(self.model_fields_set) != 1:
            raise ValueError("must have exactly one of file, env, command")
        return self


class KeyFileTable(Table):
    """Where a private key is."""

    file: LocalPath = Field(description="The key's file, readable by its owner only")


def _text_or_reference(value: object) -> str:
    return "reference" if isinstance(value, dict | SecretTable) else "url"


Reference = Annotated[SecretTable, BeforeValidator(only_a_reference)]
KeyFile = Annotated[KeyFileTable, BeforeValidator(only_a_reference)]
Elsewhere = Annotated[SecretTable, Tag("reference")]
State = Annotated[Annotated[Ledger, Tag("url")] | Elsewhere, Discriminator(_text_or_reference)]
Switch = Annotated[Annotated[DeadMan, Tag("url")] | Elsewhere, Discriminator(_text_or_reference)]
ChannelAddress = Annotated[Annotated[OpenChannel, Tag("url")] | Elsewhere, Discriminator(_text_or_reference)]
