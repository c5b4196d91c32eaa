"""The house's rules, read from the source itself; each rule is also shown a violation that it must catch.

Which package may import which is import-linter's to say (pyproject.toml); what imports cannot say is said here.
"""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[1]
ROOMS: Final = ("jobs", "targets", "orchestrator", "reports")
PURE: Final = ("jobs", "reports")

# One library, one place: whatever else needs it asks that place.
LIBRARIES: Final = {
    "aiohttp": ("targets.probes.http",),
    "alembic": ("orchestrator.ledger",),
    "apprise": ("targets.notify",),
    "apscheduler": ("jobs.schedule", "orchestrator.serve.metronome"),  # its triggers reckon, its scheduler beats
    "boto3": ("targets.vaults.s3",),
    "botocore": ("targets.vaults.s3",),
    "dns": ("targets.probes.dns",),
    "icmplib": ("targets.probes.icmp",),
    "jinja2": ("reports.html",),
    "multiprocessing": (),
    "paramiko": ("targets.vaults.sftp",),
    "psutil": ("targets.host",),
    "prometheus_client": (),  # the tests read with it what reports/exposition.py writes
    "pydantic": ("orchestrator.settings", "orchestrator.ledger"),
    "pydantic_core": ("orchestrator.settings", "orchestrator.ledger"),
    "rich": ("reports.terminal",),
    "sqlalchemy": ("orchestrator.ledger",),
    "sqlmodel": ("orchestrator.ledger",),
    "subprocess": ("targets.process",),
    "urllib3": ("targets.vaults.rest",),
}
DISPATCHER: Final = "orchestrator.cli.endings"
# Too slow to load before it is known what is asked for.
HEAVY: Final = frozenset(
    {
        "aiohttp",
        "alembic",
        "apprise",
        "apscheduler",
        "boto3",
        "botocore",
        "jinja2",
        "paramiko",
        "pydantic",
        "rich",
        "sqlalchemy",
        "sqlmodel",
    }
)
# Names that say nothing about what is inside.
NAMELESS: Final = frozenset({"base", "common", "helper", "helpers", "manager", "misc", "shared", "util", "utils"})
EFFECTS: Final = frozenset({"open", "print", "input", "exec", "eval", "compile", "__import__", "breakpoint"})
CLOCKS: Final = frozenset({"datetime.now", "datetime.today", "datetime.utcnow", "date.today"})
MAX_FILE, MAX_FUNCTION, MAX_MAIN = 400, 60, 12


# --- what is read from a tree ------------------------------------------------------------------------------------


def sources(root: Path, rooms: tuple[str, ...] = ROOMS) -> Iterator[tuple[str, ast.Module, str]]:
    """(dotted name, syntax tree, text) of each file of the rooms."""
    for room in rooms:
        for path in sorted((root / room).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            text = path.read_text(encoding="utf-8")
            yield ".".join(parts), ast.parse(text), text


def imported(tree: ast.Module) -> set[str]:
    """Every module a file imports, at its top or inside a function."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "." * node.level)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def is_within(module: str, places: tuple[str, ...]) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in places)


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """A function's lines without its docstring."""
    last = node.end_lineno or node.lineno
    first = node.body[0]
    documented = ast.get_docstring(node, clean=False) is not None
    return last - node.lineno + 1 - ((first.end_lineno or first.lineno) - first.lineno + 1 if documented else 0)


# --- the rules: each gives the places that break it --------------------------------------------------------------


def library_outside_its_place(root: Path) -> list[str]:
    return [
        f"{module} imports {library}"
        for module, tree, _ in sources(root)
        for library, places in LIBRARIES.items()
        if not is_within(module, places) and any(is_within(name, (library,)) for name in imported(tree))
    ]


def import_by_name(root: Path) -> list[str]:
    """Modules loaded by a string escape every other rule; only the verbs' handlers are, all of one package."""
    return [
        f"{module}:{node.lineno}"
        for module, tree, _ in sources(root)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and module != DISPATCHER
        and ast.unparse(node.func) in {"__import__", "import_module", "importlib.import_module"}
    ]


def effect_in_a_pure_room(root: Path) -> list[str]:
    return [
        f"{module}:{node.lineno} {ast.unparse(node.func)}"
        for module, tree, _ in sources(root, PURE)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and (ast.unparse(node.func) in EFFECTS or ast.unparse(node.func).removeprefix("datetime.") in CLOCKS)
    ]


def door_that_is_more_than_a_door(root: Path) -> list[str]:
    text = (root / "main.py").read_text(encoding="utf-8")
    extra = imported(ast.parse(text)) - {
        "__future__",
        "__future__.annotations",
        "sys",
        "orchestrator.cli",
        "orchestrator.cli.main",
    }
    lines = len(text.splitlines())
    return sorted(extra) + ([f"main.py has {lines} lines"] if lines > MAX_MAIN else [])


def name_that_says_nothing(root: Path) -> list[str]:
    return [module for module, _, _ in sources(root) if NAMELESS & set(module.split("."))]


def file_without_its_rule(root: Path) -> list[str]:
    return [module for module, tree, _ in sources(root) if not (ast.get_docstring(tree) or "").strip()]


def file_too_long(root: Path) -> list[str]:
    return [
        f"{module}: {len(text.splitlines())}" for module, _, text in sources(root) if len(text.splitlines()) > MAX_FILE
    ]


def function_too_long(root: Path) -> list[str]:
    return [
        f"{module}.{node.name}: {body_lines(node)}"
        for module, tree, _ in sources(root)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and body_lines(node) > MAX_FUNCTION
    ]


def promise_for_later(root: Path) -> list[str]:
    marks = ("TO" + "DO", "FIX" + "ME", "X" + "XX")
    return [module for module, _, text in sources(root) if any(mark in text for mark in marks)]


def silenced_without_a_reason(root: Path) -> list[str]:
    """`# type: ignore[code]` and `# noqa: CODE` must be followed by a reason in the same comment."""
    bare: list[str] = []
    for module, _, text in sources(root):
        for number, line in enumerate(text.splitlines(), 1):
            for mark in ("# type: ignore", "# noqa"):
                _, found, rest = line.partition(mark)
                if found and "(" not in rest and "#" not in rest:
                    bare.append(f"{module}:{number}")
    return bare


RULES: Final[tuple[Callable[[Path], list[str]], ...]] = (
    library_outside_its_place,
    import_by_name,
    effect_in_a_pure_room,
    door_that_is_more_than_a_door,
    name_that_says_nothing,
    file_without_its_rule,
    file_too_long,
    function_too_long,
    promise_for_later,
    silenced_without_a_reason,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_tree_keeps(rule: Callable[[Path], list[str]]) -> None:
    assert rule(ROOT) == []


@pytest.mark.parametrize("room", ROOMS)
def test_the_rules_have_something_to_look_at(room: str) -> None:
    assert len(list(sources(ROOT, (room,)))) > 5


@pytest.mark.parametrize("library", [library for library, places in LIBRARIES.items() if places])
def test_each_library_is_used_in_its_place(library: str) -> None:
    """A rule about a library that nobody imports would hold for nothing."""
    users = [module for module, tree, _ in sources(ROOT) if any(is_within(name, (library,)) for name in imported(tree))]
    assert users


# --- violations that each rule must catch ------------------------------------------------------------------------

OPENING: Final = '"""A rule."""\n\n'
PLANTED: Final = [
    (library_outside_its_place, "targets/vaults/local.py", "import boto3\n"),
    (library_outside_its_place, "targets/host.py", "def f() -> None:\n    from subprocess import run\n"),
    (library_outside_its_place, "orchestrator/executor.py", "from sqlalchemy.orm import Session\n"),
    (library_outside_its_place, "reports/document.py", "import rich.table\n"),
    (import_by_name, "targets/host.py", "import importlib\n\nboto = importlib.import_module('boto3')\n"),
    (effect_in_a_pure_room, "jobs/planner.py", "open('/etc/passwd')\n"),
    (effect_in_a_pure_room, "reports/document.py", "def f() -> None:\n    print('x')\n"),
    (effect_in_a_pure_room, "jobs/plan.py", "import datetime\n\nNOW = datetime.datetime.now(datetime.UTC)\n"),
    (door_that_is_more_than_a_door, "main.py", "import targets.host\n"),
    (door_that_is_more_than_a_door, "main.py", "\n" * 13),
    (name_that_says_nothing, "targets/utils.py", ""),
    (name_that_says_nothing, "orchestrator/common/x.py", ""),
    (file_without_its_rule, "jobs/bare.py", "X = 1\n"),
    (file_too_long, "jobs/plan.py", "X = 1\n" * 401),
    (function_too_long, "jobs/plan.py", "def f() -> None:\n" + "    x = 1\n" * 61),
    (promise_for_later, "jobs/plan.py", "# TO" + "DO: later\n"),
    (silenced_without_a_reason, "jobs/plan.py", "x: int = ''  # type: ignore[assignment]\n"),
]


@pytest.mark.parametrize(("rule", "path", "text"), PLANTED)
def test_a_planted_violation_is_caught(rule: Callable[[Path], list[str]], path: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text('"""The door."""\n', encoding="utf-8")
    assert rule(tmp_path) == []
    planted = tmp_path / path
    planted.parent.mkdir(parents=True, exist_ok=True)
    planted.write_text(
        text if planted.suffix != ".py" or text.startswith(("X", '"""')) else OPENING + text, encoding="utf-8"
    )
    assert rule(tmp_path) != []


# --- the contracts of import-linter ------------------------------------------------------------------------------


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the four rooms and their contracts, to break."""
    for room in ROOMS:
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def contracts_of(root: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()"]
    return subprocess.run(
        [*words, "--no-logo", "--no-cache"],
        cwd=root,
        env={"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )


BREAKING: Final = [
    ("jobs/failure.py", "import targets.errors", "house"),
    ("targets/errors.py", "import orchestrator.clock", "house"),
    ("targets/host.py", "import reports.document", "house"),
    ("reports/document.py", "import targets.errors", "house"),
    ("jobs/failure.py", "import jobs.planner", "jobs"),
    ("jobs/retention.py", "import jobs.plan", "jobs"),
    ("jobs/plan.py", "import pathlib", "pure"),
    ("reports/document.py", "import logging", "pure"),
    ("jobs/stray.py", "", "jobs"),
    ("targets/stray.py", "", "targets"),
    ("targets/vaults/stray.py", "", "vaults"),
    ("orchestrator/stray.py", "", "orchestrator"),
    ("reports/stray.py", "", "reports"),
    ("targets/sources/tree.py", "import targets.restic.engine", "targets"),
    ("targets/vaults/local.py", "import targets.vaults.s3", "vaults"),
    ("orchestrator/clock.py", "import orchestrator.executor", "orchestrator"),
    ("orchestrator/executor.py", "import targets.vaults.local", "wiring"),
    ("reports/html.py", "import reports.terminal", "reports"),
    ("reports/html.py", "import jobs.history", "renderers"),
    ("reports/listing.py", "import reports.html", "builders"),
    ("orchestrator/ledger/tables.py", "import orchestrator.ledger.ledger", "circles"),
]


def test_the_contracts_hold(copy: Path) -> None:
    said = contracts_of(copy)
    assert said.returncode == 0, said.stdout


@pytest.mark.parametrize(("path", "line", "contract"), BREAKING)
def test_a_planted_import_breaks_its_contract(path: str, line: str, contract: str, copy: Path) -> None:
    with (copy / path).open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")
    said = contracts_of(copy)
    assert said.returncode == 1, said.stdout + said.stderr
    rows = [row for row in said.stdout.splitlines() if row.endswith("BROKEN")]
    assert any(row.startswith(f"{contract}: ") for row in rows), said.stdout


# --- what is loaded before the first word is understood ----------------------------------------------------------


def modules_loaded_by(*words: str) -> tuple[set[str], str]:
    said = subprocess.run(
        [sys.executable, "-X", "importtime", "main.py", *words], cwd=ROOT, capture_output=True, text=True, check=True
    )
    rows = [row.split("|") for row in said.stderr.splitlines() if row.startswith("import time:")]
    return {row[-1].strip().split(".")[0] for row in rows}, said.stdout


def test_help_loads_nothing_heavy() -> None:
    loaded, said = modules_loaded_by("--help")
    assert "backup" in said
    assert {"argparse", "orchestrator"} <= loaded
    assert loaded & HEAVY == set()
