"""Exclude patterns mean what they mean to the restic that is installed: held to what it stores, and what it refuses."""

from __future__ import annotations

import random
import re
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import patterns
from jobs.patterns import PatternError
from tests.bare_restic import BareRestic

NAMES = ("a", "b", "ab", "abb", "a.b", "-", "^", "[", "]", "*", "**", "\\", "?", "!a", "é", "x\ny", "a b", ".")
TREE = (
    *(f"/{name}" for name in NAMES if name != "."),
    *(f"/d{one}/{two}" for one, two in product(("", "1"), ("a", "ab", "b.c", "é"))),
    *(f"/d/e/{two}/{three}" for two, three in product(("a", "b", "f"), ("a", "b", "ab"))),
    "/d/e/f/g/h/i/a",
    "/d/a1/d/b1/d/c",
)
BY_HAND = (
    "a", "*", "?", "a*", "*b", "*.b", "a?b", "a*b", "*a*b*", "d", "d/", "d/e", "d/*", "d/*/a", "d/e/*/a", "./d/e",
    "d/../d1",
    "**/a", "d/**", "d/**/a", "d/**/f/**/a", "d/**/**/a", "d/**/**/**/a", "**/f/**", "d/e/**/**", "d/**/e/**/f/**/a",
    "d/**/a1/**/b1/**/c", "**/**/a", "**/d/**/a/**", "d**", "d/e/f**", "[ab]", "[^ab]", "[a-c]", "[^a-c]?", "[c-a]",
    "[^c-a]",
    "[\\]]", "[\\-]", "[\\^]", "[^^]", "[[]", "[+-9]", "[ab]]", "]", "\\[", "\\*", "\\?", "\\\\", "\\a", "a\\.b", "[é]",
    "[à-ü]", "?b", "x?y", "x[^a]y", "a b", "a b*", "*[b]", "*?", "??", "e/f/g", "g/h/i/a", "../a", ".", "d/.", "^", "-",
)  # fmt: skip
REFUSED = (
    "[",
    "[a",
    "[]",
    "[]a]",
    "[^]",
    "[^]a]",
    "[-a]",
    "[a-]",
    "a[",
    "\\",
    "a\\",
    "d/[a",
    "[a/b]",
    "d\\/e",
    "[a-\\]",
    "[\\",
)


@pytest.fixture(scope="module")
def restic(restic_program: Path, tmp_path_factory: pytest.TempPathFactory) -> BareRestic:
    return BareRestic(program=restic_program, repository=tmp_path_factory.mktemp("patterns") / "repository").init()


def by_chance(count: int, seed: int) -> set[str]:
    """Patterns put together from all the pieces that patterns have."""
    choose = random.Random(seed)
    pieces = ("a", "b", "d", "e", "f", "ab", "a.b", "*", "*", "?", "[ab]", "[^b]", "[a-f]", "\\a", "é", ".")
    parts = ("**", "*", "d", "e", "a", "f")

    def part() -> str:
        return (
            choose.choice(parts) if choose.random() < 0.5 else "".join(choose.choices(pieces, k=choose.randint(1, 3)))
        )

    chosen = {"/".join(part() for _ in range(choose.randint(1, 6))) for _ in range(count)}
    return {pattern for pattern in chosen if ".." not in pattern}  # those would lead out of their copy of the tree


def tagged(pattern: str, tag: str) -> str:
    """The pattern for the copy of the tree whose every name begins with the tag."""
    parts = [part if part in ("**", ".", "..", "") else tag + part for part in pattern.split("/")]
    return "/".join(parts)


def grow(root: Path, tag: str) -> None:
    for path in TREE:
        place = root.joinpath(*(tag + name for name in path.lstrip("/").split("/")))
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            place.touch()


def below(root: Path) -> set[str]:
    return {str(path) for path in root.rglob("*")}


@pytest.mark.parametrize("rooted", [False, True])
def test_excludes_what_restic_excludes(restic: BareRestic, tmp_path: Path, *, rooted: bool) -> None:
    """Each pattern has a copy of the tree for itself, with names that no other can match: one backup for all."""
    root = tmp_path / "tree"
    chosen = sorted({*BY_HAND, *by_chance(30, seed=rooted)} - {"**", "**/**", "."})
    texts = []
    for number, pattern in enumerate(chosen):
        tag = f"q{number:03d}-"
        grow(root / tag, tag)
        relative = tagged(pattern, tag)
        texts.append(f"{root}/{tag}/{relative}" if rooted else relative)
    stored = restic.nodes(restic.backup(*(f"--exclude={text}" for text in texts), str(root)))
    for number, (pattern, text) in enumerate(zip(chosen, texts, strict=True)):
        there = below(root / f"q{number:03d}-")
        excluded = patterns.compile([text])
        assert {path for path in there if excluded(path)} == there - stored.keys(), pattern
    together = patterns.compile(texts)
    assert {path for path in below(root) if not together(path)} == {p for p in stored if p.startswith(f"{root}/")}


def is_refused(pattern: str) -> bool:
    try:
        patterns.compile([pattern])
    except PatternError:
        return True
    return False


def test_a_refusal_names_the_pattern() -> None:
    for pattern in REFUSED:
        with pytest.raises(PatternError, match="^" + re.escape(f'"{pattern}": ')):
            patterns.compile(["fine", pattern])


def test_refuses_what_restic_refuses(restic: BareRestic, tmp_path: Path) -> None:
    chosen = [pattern for pattern in (*BY_HAND, *REFUSED) if not pattern.startswith("!")]
    said = restic.run("backup", *(f"--exclude={pattern}" for pattern in chosen), str(tmp_path))
    assert said.returncode == 1
    refused = {line for line in said.stderr.splitlines() if line in chosen}
    ours = {pattern for pattern in chosen if is_refused(pattern)}
    assert ours == refused == set(REFUSED)


def test_a_pattern_for_everything_matches_everything() -> None:
    for pattern in ("**", "**/**", "/", "/**", "//", "*", "/*"):
        excluded = patterns.compile([pattern])
        assert excluded("/a")
        assert excluded("/a/b")


@pytest.mark.parametrize("pattern", ["", "!a", "a\0b"])
def test_refuses_what_restic_would_ignore_or_take_back(pattern: str) -> None:
    with pytest.raises(PatternError):
        patterns.compile([pattern])


def test_no_pattern_matches_nothing() -> None:
    assert not patterns.compile([])("/a")


def test_names_that_are_not_utf_8() -> None:
    assert patterns.compile(["*.t?t"])("/a/\udcff\udce9.txt")
    assert not patterns.compile(["a?b"])("/a\udce2\udc82b")  # two bytes are two characters, as in Go
    assert patterns.compile(["a??b"])("/a\udce2\udc82b")


def test_no_class_reaches_into_the_next_name() -> None:
    for pattern in ("a[+-9]b", "a[^x]b", "a?b", "a*b"):
        assert not patterns.compile([pattern])("/a/b")


SHALLOW = ("a", "a/c", "b/a", "b/a/c", "b/d/e", "d/e", "d/e/a/c", "d/a/b/c", "a/b/c/d")


@pytest.mark.parametrize(
    "pattern",
    ["**/a/**/**/c.txt", "d/**/**/**/e.txt", "/d/**/**/e.txt", "**/**/**/a.txt", "/**/a/**/c.txt", "a/**/**/**"],
)
def test_chooses_what_restic_restores_also_near_the_root(
    restic: BareRestic, shallow: str, tmp_path: Path, pattern: str
) -> None:
    """What is restored is matched by its path within the snapshot, which may be short; then each folder counts."""
    restic.do("restore", shallow, "--target", str(tmp_path), f"--include={pattern}")
    chosen = patterns.compile([pattern])
    files = {f"/{name}.txt" for name in SHALLOW}
    found = {"/" + str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {file for file in files | {f"/{name}/{END}" for name in SHALLOW} if chosen(file)}


END = "end"


@pytest.fixture(scope="module")
def shallow(restic: BareRestic, tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("shallow")
    for name in SHALLOW:
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / f"{name}.txt").touch()
        (root / name / END).touch()
    return restic.backup(*sorted(path.name for path in root.iterdir()), cwd=root)


def test_a_long_name_and_many_stars_end_soon() -> None:
    excluded = patterns.compile(["*a" * 40 + "b", "**/a/" * 40 + "c"])
    assert not excluded("/" + "a" * 250)
    assert not excluded("/a" * 100)


names = st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=4).filter(lambda n: n not in {".", ".."})
paths = st.lists(names, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))


def quoted(name: str) -> str:
    return re.sub(r"([\\\[\]*?!])", r"\\\1", name)


@given(paths, names)
def test_a_quoted_path_matches_itself_and_all_below_it(path: str, name: str) -> None:
    for pattern in (quoted(path), quoted(path).lstrip("/")):
        excluded = patterns.compile([pattern])
        assert excluded(path)
        assert excluded(f"{path}/{name}")
        assert not excluded(path + "\x01")


@given(st.lists(paths, max_size=4), paths)
def test_several_patterns_match_what_one_of_them_matches(chosen: list[str], path: str) -> None:
    sources = [quoted(each) for each in chosen]
    assert patterns.compile(sources)(path) == any(patterns.compile([source])(path) for source in sources)


@given(paths, names)
def test_what_is_below_a_match_matches(path: str, name: str) -> None:
    for pattern in ("a", "*b", "/*/c", "d/**/e", "[^a]", "**/f"):
        excluded = patterns.compile([pattern])
        assert not excluded(path) or excluded(f"{path}/{name}")


@given(st.text(st.sampled_from("ab*?[]\\/ "), min_size=1).map(lambda text: "/" + text.strip("/")))
def test_a_literal_pattern_means_its_path_and_no_other(path: str) -> None:
    matches = patterns.compile([patterns.literal(path)])
    if "//" not in path and len(path) > 1:
        assert matches(path)
        assert not matches(path + "x")
