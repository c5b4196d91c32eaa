"""The beat: about as often as asked, and by the waiter's own clock where nobody beats."""

from __future__ import annotations

import threading
import time

from orchestrator.serve.metronome import Metronome


def test_it_beats_and_who_waits_hears_it() -> None:
    with Metronome(0.05) as metronome:
        assert sum(metronome.wait() for _ in range(10)) >= 5


def test_where_nobody_beats_the_waiter_goes_on_and_says_so() -> None:
    metronome = Metronome(0.02)
    assert not metronome.wait()
    metronome.wake()
    assert metronome.wait()
    assert not metronome.wait()  # one wake ends one wait


def test_somebody_is_woken_long_before_the_next_beat() -> None:
    with Metronome(60.0) as metronome:
        threading.Timer(0.05, metronome.wake).start()
        assert metronome.wait()


def test_it_beats_anew_after_the_clock_was_set_and_no_more_once_it_is_left() -> None:
    before = threading.active_count()
    with Metronome(0.05) as metronome:
        for _ in range(3):
            metronome.again()
        assert sum(metronome.wait() for _ in range(10)) >= 5
    time.sleep(0.1)
    metronome.wait()
    assert not metronome.wait()
    assert threading.active_count() == before
