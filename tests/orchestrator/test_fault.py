"""What is said of a fault of our own holds its place, and nothing of what was at hand."""

from __future__ import annotations

from orchestrator import fault


def _calls(address: str) -> None:
    _opens(address)


def _opens(address: str) -> None:
    raise ValueError(f"cannot open {address}")


def _caught() -> Exception:
    try:
        _calls("postgresql://tandem:hunter2@db/")
    except ValueError as error:
        return error
    raise AssertionError("nothing failed")


def test_a_fault_is_told_by_its_kind_and_place() -> None:
    error = _caught()
    assert fault.words(error) == "ValueError at line 13 of test_fault.py"
    assert fault.path(error).endswith("_calls (test_fault.py:9) > _opens (test_fault.py:13)")


def test_nothing_of_what_it_says_is_told() -> None:
    error = _caught()
    assert "hunter2" not in fault.words(error) + fault.path(error)


def test_an_error_that_was_never_raised_has_no_place() -> None:
    assert (fault.words(KeyError("x")), fault.path(KeyError("x"))) == ("KeyError", "")
