"""Every sample in invalid/ is refused with exactly the message kept beside it, and no message tells a secret."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from orchestrator.settings import SettingsError, load
from tests.orchestrator.settings.conftest import HERE
from tests.orchestrator.settings.golden import holds

NAMES: Final = sorted(path.stem for path in (HERE / "invalid").glob("*.toml"))


def refusal(path: Path, *, check_secrets: bool = True) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        load(path, check_secrets=check_secrets)
    return caught.value


@pytest.mark.parametrize("name", NAMES)
def test_is_refused_with_its_message(name: str, samples: Path) -> None:
    error = refusal(samples / "invalid" / f"{name}.toml")
    assert holds(HERE / "invalid" / f"{name}.txt", str(error), samples / "invalid")


@pytest.mark.parametrize("name", NAMES)
def test_one_line_for_each_mistake_sorted_by_file_and_line(name: str, samples: Path) -> None:
    error = refusal(samples / "invalid" / f"{name}.toml")
    assert str(error).splitlines() == [str(mistake) for mistake in error.mistakes]
    places = [(mistake.place.file, mistake.place.line) for mistake in error.mistakes]
    assert places == sorted(places)
    assert len(set(error.mistakes)) == len(error.mistakes)


@pytest.mark.parametrize("name", NAMES)
def test_no_secret_is_told(name: str, samples: Path) -> None:
    error = refusal(samples / "invalid" / f"{name}.toml")
    seen: BaseException | None = error
    while seen is not None:
        assert "hunter2" not in str(seen)
        seen = seen.__cause__ or seen.__context__


def test_secret_files_are_left_alone_when_nobody_asks(samples: Path) -> None:
    text = (samples / "valid" / "spread.toml").read_text(encoding="utf-8")
    (samples / "valid" / "secrets" / "minfopra.key").unlink()
    assert load(samples / "valid" / "spread.toml", check_secrets=False).policies
    assert "there is no file" in str(refusal(samples / "valid" / "spread.toml"))
    assert text


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    error = refusal(tmp_path / "settings.toml")
    assert str(error) == (f"{tmp_path}/settings.toml: there is no such file; write one with: tandem config generate")


def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    assert "cannot be read: Is a directory" in str(refusal(tmp_path))


def test_lists_nested_without_end(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("x = " + "[" * 100_000, encoding="utf-8")
    assert "nested too deeply" in str(refusal(path))


def test_the_file_is_named_as_the_user_named_it(samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(samples)
    assert str(refusal(Path("invalid/syntax.toml"))).startswith("invalid/syntax.toml:3:12: ")


@pytest.mark.parametrize("start", ["\ufeff", ""])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_texts_from_other_systems(start: str, line_end: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_bytes((start + line_end.join(["[service]", 'name = "A"', "wrong = 1", ""])).encode())
    (mistake,) = refusal(path).mistakes
    assert (mistake.place.line, mistake.key) == (3, "service.wrong")


@pytest.mark.parametrize(
    "address",
    [
        "postgresql+psycopg://u:hunter2@h/db",
        "postgresql+psycopg://h/db?user=u&password=hunter2",
        "postgresql+psycopg://u:@h/db",
        "postgresql+psycopg://u:1/hunter2@h/db",
        "postgresql+psycopg://u:hunter2@[h/db",
        "sqlite://hunter2",
        "postgresql://u:hunter2@h/db",
        "sqlite:///:memory:hunter2",
        "sqlite:///x.db?key=hunter2",
    ],
)
def test_ledger_addresses_that_are_refused(address: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(f'[service]\nname = "A"\nstate = "{address}"\n', encoding="utf-8")
    (mistake,) = refusal(path).mistakes
    assert (mistake.place.line, mistake.key) == (3, "service.state")
    assert "hunter2" not in str(mistake)
