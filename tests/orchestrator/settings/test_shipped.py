"""What is shipped is what the code does: the sample, the starter, the schema."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Final

import pytest

from jobs.policy import Command, Own, Paths, Sqlite
from jobs.schedule import Schedule
from orchestrator.settings import LocalVaultSettings, Settings, generate, load, schema, show

ROOT: Final = Path(__file__).resolve().parents[3]
SAMPLE: Final = ROOT / "settings.toml"


def with_secrets(folder: Path, text: str) -> Settings:
    """Load a text whose secret files have been made."""
    path = folder / "settings.toml"
    path.write_text(text, encoding="utf-8")
    for tenant in tomllib.loads(text)["tenants"].values():
        key = folder / tenant["password"]["file"]
        key.parent.mkdir(parents=True, exist_ok=True)
        key.write_text("a secret that nobody knows", encoding="utf-8")
        key.chmod(0o600)
    return load(path)


@pytest.fixture
def sample(tmp_path: Path) -> Settings:
    return with_secrets(tmp_path, SAMPLE.read_text(encoding="utf-8"))


def test_the_sample_keeps_to_its_folder(sample: Settings, tmp_path: Path) -> None:
    demo = tmp_path / "var" / "demo"
    assert sample.service.state == f"sqlite:///{demo}/tandem.db"
    assert sample.service.workdir == demo / "work"
    vaults = list(sample.vaults.values())
    assert [vault.path for vault in vaults if isinstance(vault, LocalVaultSettings)] == [
        demo / "primary",
        demo / "secondary",
    ]
    assert len(vaults) == 2


def test_the_sample_has_every_kind_of_source(sample: Settings) -> None:
    assert {type(policy.source) for policy in sample.policies} == {Paths, Sqlite, Command}
    assert {policy.tenant for policy in sample.policies} == set(sample.tenants) == {"minfopra", "chu-yaounde"}
    assert all(policy.places == (("primary", "primary"), ("secondary", "secondary")) for policy in sample.policies)


def test_the_samples_command_works_here(sample: Settings) -> None:
    (source,) = (policy.source for policy in sample.policies if isinstance(policy.source, Command))
    said = subprocess.run(source.command, capture_output=True, check=True)
    assert len(said.stdout) > 1000


@pytest.mark.parametrize("kind", ["sftp", "s3", "rest"])
def test_the_samples_commented_vaults_load_too(kind: str, tmp_path: Path) -> None:
    """What a reader uncomments must work: the second copy moves to each of the commented vaults in turn."""
    text = re.sub(rf"(?ms)^# (\[vaults\.secondary-{kind}\])(.*?)\n\n", _uncommented, SAMPLE.read_text(encoding="utf-8"))
    assert f"\n[vaults.secondary-{kind}]\n" in text
    text = text.replace('to = "secondary"', f'to = "secondary-{kind}"')
    (tmp_path / "secrets").mkdir()
    for name, mode in (("id_ed25519", 0o600), ("rest", 0o600), ("known_hosts", 0o644), ("ca.pem", 0o644)):
        (tmp_path / "secrets" / name).touch(mode)
    settings = with_secrets(tmp_path, text)
    assert {settings.vaults[policy.replica].kind for policy in settings.policies if policy.replica} == {kind}


@pytest.mark.parametrize("text", [SAMPLE.read_text(encoding="utf-8"), generate()], ids=["sample", "starter"])
def test_what_is_commented_of_the_unattended_loads_too(text: str, tmp_path: Path) -> None:
    begin = text.index("\n# [policies.tandem]")
    keys = re.sub(r"(?m)^# (?=\[|[a-z_]+ = )", "", text[begin:])
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "notify").touch(0o600)
    settings = with_secrets(tmp_path, text[:begin] + keys)
    assert settings.policies[-1].source == Own()
    assert settings.serve.dead_man == "https://watch.example/ping/tandem"
    assert [(channel.name, channel.digest) for channel in settings.notify] == [
        ("operators", Schedule("daily at 07:30"))
    ]


def test_the_sample_and_the_starter_run_by_themselves(sample: Settings, tmp_path: Path) -> None:
    for settings in (sample, with_secrets(tmp_path, generate())):
        assert settings.serve.listen == ("127.0.0.1", 9377)
        for policy in settings.policies:
            due = policy.timetable
            assert all((due.backup, due.replicate, due.check, due.restore_test, due.retention))


def _uncommented(found: re.Match[str]) -> str:
    return "\n".join(line.removeprefix("# ") for line in found[0].splitlines()) + "\n\n"


def test_the_starter_loads_once_its_secrets_are_there(tmp_path: Path) -> None:
    settings = with_secrets(tmp_path, generate())
    assert [policy.name for policy in settings.policies] == ["files"]
    assert show(settings.file)


def test_the_shipped_schema_is_the_codes(tmp_path: Path) -> None:
    """On a difference: .venv/bin/python main.py config schema > orchestrator/settings/settings.schema.json"""
    shipped = files("orchestrator.settings").joinpath("settings.schema.json").read_text(encoding="utf-8")
    assert json.loads(shipped) == schema()


def test_the_schema_names_no_null_and_describes_every_key() -> None:
    told = schema()
    assert '"null"' not in json.dumps(told)
    for name, table in told["$defs"].items():
        assert table["additionalProperties"] is False, name
        for key, value in table["properties"].items():
            assert value.get("description") or key == "kind", f"{name}.{key}"


def test_loading_imports_nothing_heavy() -> None:
    """`tandem status` loads settings: libraries that it does not need would be waited for each time."""
    code = "import sys; from pathlib import Path; from orchestrator.settings import load; "
    code += f"load(Path({str(SAMPLE)!r}), check_secrets=False); print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in said.stdout.split()}
    assert "pydantic" in loaded
    assert not loaded & {"sqlalchemy", "sqlmodel", "boto3", "paramiko", "rich", "jinja2", "difflib", "psutil"}
