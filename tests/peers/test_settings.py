"""What peers took for granted: that a key nobody knows means nothing, and that a secret may lie about."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from orchestrator import settings as settings_room
from orchestrator.settings import SettingsError
from tests.acceptance.faults import done
from tests.acceptance.operator import PASSWORD, SETTINGS, Operator
from tests.peers.unattended import HOUR, HOURLY, JumpingClock, all_runs, operator, private, served
from tests.servers.webhook import webhook

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

TOKEN: Final = "a-token-in-the-path-of-a-hook"


def mistakes(folder: Path, settings: str) -> str:
    """What is wrong with settings; they must not load."""
    file = folder / "settings.toml"
    file.write_text(settings.format(restic="restic"))
    with pytest.raises(SettingsError) as refused:
        settings_room.load(file, check_secrets=False)
    return str(refused.value)


@pytest.mark.parametrize(
    ("right", "wrong", "key"),
    [
        pytest.param("retention = ", "retension = ", "retension", id="a word misspelt"),
        pytest.param("{{ last = 2,", "{{ last = 2, keep_for = 72,", "keep_for", id="a key of another tool"),
    ],
)
def test_litestream_1403_a_retention_that_nobody_reads_is_a_mistake(
    tmp_path: Path, right: str, wrong: str, key: str
) -> None:
    """Users believed in 72 hours of retention and had 24, by a key in the wrong place; here it does not load, and the
    message names the key, its line and what is known there."""
    told = mistakes(tmp_path, SETTINGS.replace(right, wrong))
    assert f"settings.toml:{SETTINGS[: SETTINGS.index(right)].count(chr(10)) + 1}:" in told
    assert key in told
    assert "retention" in told


def test_velero_489_unknown_keys_deep_inside_are_mistakes_and_all_are_told_at_once(tmp_path: Path) -> None:
    """Unknown fields of a resource were dropped in silence; here every one is named, however deep, in one message."""
    text = SETTINGS.replace("rpo = ", "rpos = ").replace('to = "secondary"', 'to = "secondary", speed = 1')
    told = mistakes(tmp_path, text + "\n[colour]\nof = 1\n")
    for key in ("rpos", "speed", "colour"):
        assert key in told


def test_rustic_1116_an_unknown_key_of_a_table_is_refused_by_every_verb(tmp_path: Path, restic_program: Path) -> None:
    """An option that did not exist was ignored; here every command ends with 7 before it does anything."""
    text = HOURLY.replace("[vaults.primary]", "[vaults.primary]\npasword = 1")
    made = Operator(folder=tmp_path, restic=restic_program, settings=text)
    for verb in (("config", "validate"), ("run",), ("serve",), ("plan",)):
        ended = made.tandem(*verb)
        assert ended.code == 7
        assert "pasword" in ended.err
    assert not (tmp_path / "tandem.db").exists()
    assert not (tmp_path / "primary").exists()


def test_resticprofile_filter_no_flag_of_restic_is_passed_over(tmp_path: Path) -> None:
    """Flags that restic does not know were filtered out by default, so that a policy meant less than it said; here
    nothing is passed through to restic, and a flag among the settings is a mistake."""
    told = mistakes(tmp_path, SETTINGS + '"exclude-larger-than" = "1G"\n')
    assert "exclude-larger-than" in told


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('password = {{ file = "minfopra.key" }}', f'password = "{PASSWORD}"'),
        ("[sites.primary]", f'[notify.chat]\nurls = ["slack://{TOKEN}/b/c"]\n[sites.primary]'),
        ('"sqlite:///tandem.db"', f'"postgresql+psycopg://user:{TOKEN}@127.0.0.1/tandem"'),
    ],
    ids=["a tenant's password", "a channel's token", "a database's password"],
)
def test_backrest_548_1047_a_secret_in_the_settings_is_refused_and_not_repeated(
    tmp_path: Path, right: str, wrong: str
) -> None:
    """Secrets lay in plain text in the configuration; here the settings hold only where a secret is, and the message
    that refuses one does not print it."""
    told = mistakes(tmp_path, SETTINGS.replace(right, wrong))
    assert PASSWORD not in told
    assert TOKEN not in told


def test_ansible_role_restic_137_no_secret_is_left_in_any_file_and_a_readable_one_is_refused(
    tmp_path: Path, restic_program: Path
) -> None:
    """Passwords were written to disk for everybody to read; here neither ledger, log nor any other file that a night
    leaves behind holds one, and a secret's file that others may read is refused."""
    with webhook() as hook:
        made = operator(tmp_path, restic_program, HOURLY, notify_hook='urls = [{{ file = "hook.url" }}]')
        url = private(tmp_path / "hook.url", f"json://{hook.address}/{TOKEN}")
        made.write_settings(made.settings.replace('paths = ["source"]', 'paths = ["source", "nowhere"]'))
        with served(made, JumpingClock()) as serving:
            serving.passes(HOUR, policies=4)
            serving.comes(lambda: hook.accepted)
            said = serving.words
    secrets = {PASSWORD, TOKEN}
    own = {url, tmp_path / "minfopra.key"}
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path not in own]
    assert (tmp_path / "tandem.db") in written
    assert [path for path in written if any(each.encode() in path.read_bytes() for each in secrets)] == []
    assert not any(each in said + str(hook.accepted) for each in secrets)
    url.chmod(0o644)
    refused = made.tandem("config", "validate")
    assert refused.code == 7
    assert "hook.url" in refused.err


def test_resticprofile_521_a_password_command_serves_every_job(tmp_path: Path, restic_program: Path) -> None:
    """The command that gives the password was ignored by some verbs; here one reference serves all that open a
    repository: every job, at both sites, and what only looks."""
    reference = f'{{{{ command = ["cat", "{tmp_path}/minfopra.key"] }}}}'
    made = operator(tmp_path, restic_program, SETTINGS.replace('{{ file = "minfopra.key" }}', reference))
    done(made, "run")
    assert {each.state.value for each in all_runs(made)} <= {"succeeded"}
    for verb in (("snapshots", "files"), ("locks",), ("restore", "files", "--to", str(tmp_path / "back"))):
        done(made, *verb)


def test_backrest_1bad3d08_a_servers_host_key_is_always_checked(tmp_path: Path) -> None:
    """Strict checking of host keys was switched off to please users; here an SFTP vault without its known_hosts is no
    vault, and there is no key that would switch it off."""
    local = 'kind = "local"\npath = "secondary"'
    sftp = 'kind = "sftp"\nhost = "backup.example"\nuser = "tandem"\npath = "p"\nidentity = {{ file = "id" }}'
    assert "known_hosts" in mistakes(tmp_path, SETTINGS.replace(local, sftp))
    lax = f'{sftp}\nknown_hosts = "known"\nstrict = false'
    assert "strict" in mistakes(tmp_path, SETTINGS.replace(local, lax))
