"""Children of every sort, real ones: they are started, heard, fed, limited, ended and counted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.failure import FailureKind
from targets import process
from targets.errors import TargetError
from targets.feed import Feed, StreamClosedError
from targets.process import Ended, Ending, Heard, Limits, ProcessRequest
from targets.secret import Secret
from tests.targets.test_host import MEBIBYTE, wait_for

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C"}
PASSWORD = Secret("correct horse battery staple")
QUICK = Limits(deadline_seconds=60, grace_seconds=20)
NEVER = process.Never()


def sh(script: str, **more: object) -> ProcessRequest:
    return ProcessRequest(argv=("sh", "-c", script), environment=ENVIRONMENT, **more)  # type: ignore[arg-type]  # fields


def python(script: str) -> ProcessRequest:
    return ProcessRequest(argv=(sys.executable, "-c", textwrap.dedent(script)), environment=ENVIRONMENT)


def run(
    request: ProcessRequest,
    *,
    limits: Limits = QUICK,
    stop: threading.Event | process.Never = NEVER,
    on_line: Callable[[bytes], Heard] = process.deaf,
) -> tuple[Ended, list[bytes]]:
    lines: list[bytes] = []

    def hear(line: bytes) -> Heard:
        lines.append(line)
        return on_line(line)

    return process.run(request, limits=limits, stop=stop, on_line=hear), lines


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def setting(stop: threading.Event) -> Callable[[bytes], Heard]:
    """A listener that sets `stop` on the first line."""

    def hear(_: bytes) -> Heard:
        stop.set()
        return Heard.NOTHING

    return hear


def is_dead(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in {b"Z", b"X"}


# --- starting ------------------------------------------------------------------------------------------------------


def test_it_says_its_lines_and_its_code() -> None:
    ended, lines = run(sh("echo one; printf two; echo oops >&2; exit 7"))
    assert (ended.code, ended.ending, lines, ended.errors) == (7, Ending.BY_ITSELF, [b"one", b"two"], b"oops\n")


def test_the_environment_is_complete_and_there_is_no_terminal_and_no_input() -> None:
    _, lines = run(ProcessRequest(argv=("env",), environment={**ENVIRONMENT, "A": Secret("shown")}))
    assert sorted(lines) == [b"A=shown", b"LANG=C", b"PATH=/usr/bin:/bin"]
    _, lines = run(python("import os, sys; print(os.getsid(0) == os.getpid(), sys.stdin.read())"))
    assert lines == [b"True "]


def test_it_runs_in_the_directory(tmp_path: Path) -> None:
    assert run(sh("pwd -P", directory=tmp_path))[1] == [os.fsencode(tmp_path.resolve())]


@pytest.mark.parametrize(
    ("request_", "kind", "words"),
    [
        (ProcessRequest(argv=("no-such-tool",), environment=ENVIRONMENT), FailureKind.TOOL_MISSING, "/usr/bin:/bin"),
        (ProcessRequest(argv=("/etc/passwd",), environment=ENVIRONMENT), FailureKind.TOOL_MISSING, "executed"),
        (sh("true", directory=Path("/no/such/folder")), FailureKind.SOURCE_MISSING, "/no/such/folder"),
        (sh("true " + "x" * (3 << 20)), FailureKind.TOOL_FAILED, "too long"),
    ],
    ids=["no program", "no program but a file", "no folder", "too much to say"],
)
def test_what_cannot_be_started_says_why(request_: ProcessRequest, kind: FailureKind, words: str) -> None:
    with pytest.raises(TargetError, match=words) as caught:
        run(request_)
    assert caught.value.kind is kind
    with pytest.raises(TargetError, match=words):
        Feed(request_, limits=QUICK, stop=NEVER, on_line=process.deaf)


def test_a_gentle_child_gives_way() -> None:
    assert run(ProcessRequest(argv=("nice",), environment=ENVIRONMENT, gentle=True))[1] == [b"10"]


# --- secrets -------------------------------------------------------------------------------------------------------


def test_a_secret_comes_through_a_pipe_once() -> None:
    _, lines = run(sh('cat "$PASSWORD_FILE"; cat "$PASSWORD_FILE"', secrets={"PASSWORD_FILE": PASSWORD}))
    assert lines == [PASSWORD.reveal().encode()]


def test_a_secret_is_in_no_list_of_processes() -> None:
    seen: list[bytes] = []
    stop = threading.Event()

    def look(line: bytes) -> Heard:
        seen.extend(Path(f"/proc/{int(line)}/{name}").read_bytes() for name in ("cmdline", "environ"))
        stop.set()
        return Heard.NOTHING

    waiting = python("import os, time; print(os.getpid(), flush=True); time.sleep(600)")
    run(replace(waiting, secrets={"PASSWORD_FILE": PASSWORD}), stop=stop, on_line=look)
    assert b"sleep(600)" in seen[0]
    assert b"PASSWORD_FILE=/dev/fd/" in seen[1]
    assert PASSWORD.reveal().encode() not in b"".join(seen)


def test_a_request_shows_no_secret() -> None:
    request = sh("true", secrets={"PASSWORD_FILE": PASSWORD})
    assert PASSWORD.reveal() not in repr(request)


def test_a_secret_that_no_pipe_holds_is_refused() -> None:
    before = open_files()
    with pytest.raises(ValueError, match="longer"):
        run(sh("true", secrets={"A": PASSWORD, "B": Secret("x" * 70_000)}))
    assert open_files() == before


# --- ending --------------------------------------------------------------------------------------------------------


def test_a_cancel_interrupts_the_child() -> None:
    stop = threading.Event()
    ended, lines = run(
        sh("trap 'echo interrupted; exit 130' INT; echo ready; while :; do sleep 0.05; done"),
        stop=stop,
        on_line=setting(stop),
    )
    assert (ended.code, ended.ending, lines) == (130, Ending.CANCELLED, [b"ready", b"interrupted"])


def test_a_child_that_will_not_end_is_killed_after_its_grace_with_all_its_group() -> None:
    stop = threading.Event()
    ended, lines = run(
        sh("trap '' INT; sleep 600 & echo $!; wait"),
        limits=Limits(grace_seconds=0.4),
        stop=stop,
        on_line=setting(stop),
    )
    assert (ended.code, ended.ending) == (-signal.SIGKILL, Ending.CANCELLED)
    assert wait_for(lambda: is_dead(int(lines[0])))


def test_whoever_of_the_group_outlives_an_interrupted_child_is_killed() -> None:
    """As whatever a shell starts in the background, this grandchild ignores SIGINT."""
    stop = threading.Event()
    stubborn = "sh -c 'trap \"\" INT; echo $$; exec sleep 600'"
    ended, lines = run(sh(f"{stubborn} & wait"), stop=stop, on_line=setting(stop))
    assert ended.code == -signal.SIGINT
    assert wait_for(lambda: is_dead(int(lines[0])))


def test_the_deadline_ends_it() -> None:
    ended, _ = run(sh("while :; do echo busy; sleep 0.05; done"), limits=Limits(deadline_seconds=0.3))
    assert (ended.ending, ended.code) == (Ending.DEADLINE, -signal.SIGINT)


HUNGRY = """
    import os, signal, time
    if os.environ.get("STUBBORN"):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    held = b"x" * (96 << 20)
    time.sleep(600)
"""


def test_a_child_that_holds_too_much_memory_is_ended() -> None:
    ended, _ = run(python(HUNGRY), limits=Limits(memory=64 * MEBIBYTE, deadline_seconds=60))
    assert (ended.ending, ended.code) == (Ending.MEMORY, -signal.SIGINT)
    assert ended.usage.peak_memory > 64 * MEBIBYTE


def test_a_child_that_will_not_give_its_memory_back_is_killed() -> None:
    request = replace(python(HUNGRY), environment={**ENVIRONMENT, "STUBBORN": "1"})
    limits = Limits(memory=64 * MEBIBYTE, deadline_seconds=60, grace_seconds=0.2)
    assert run(request, limits=limits)[0].code == -signal.SIGKILL


def test_a_child_that_keeps_within_its_memory_is_left_alone() -> None:
    ended, _ = run(sh("sleep 0.5"), limits=Limits(memory=64 * MEBIBYTE))
    assert (ended.ending, ended.code) == (Ending.BY_ITSELF, 0)


def test_a_stopped_child_makes_no_progress_and_can_still_end_well() -> None:
    def freeze(line: bytes) -> Heard:
        os.kill(int(line), signal.SIGSTOP)
        return Heard.PROGRESS

    ended, _ = run(
        sh("trap 'exit 5' INT; echo $$; while :; do sleep 0.05; done"),
        limits=Limits(no_progress_seconds=0.5, deadline_seconds=60),
        on_line=freeze,
    )
    assert (ended.ending, ended.code) == (Ending.NO_PROGRESS, 5)


def test_lines_that_say_nothing_new_are_no_progress() -> None:
    script = "import time\nwhile True:\n print('0 of 100 files', flush=True)\n time.sleep(0.05)"
    ended, lines = run(python(script), limits=Limits(no_progress_seconds=2.5, deadline_seconds=60))
    assert ended.ending is Ending.NO_PROGRESS
    assert len(lines) > 5


def test_reading_and_writing_is_progress() -> None:
    script = """
        import time
        for _ in range(30):
            open('/dev/zero', 'rb').read(1 << 20)
            time.sleep(0.1)
    """
    ended, _ = run(python(script), limits=Limits(no_progress_seconds=1.8))
    assert (ended.ending, ended.code) == (Ending.BY_ITSELF, 0)


def test_a_listener_that_has_heard_enough_ends_it() -> None:
    ended, _ = run(sh("echo hopeless; exec sleep 600"), on_line=lambda _: Heard.ENOUGH)
    assert (ended.ending, ended.code) == (Ending.GIVEN_UP, -signal.SIGINT)


def test_a_listener_that_fails_leaves_no_child_behind() -> None:
    pids: list[int] = []

    def fail(line: bytes) -> Heard:
        pids.append(int(line))
        raise KeyError("of the listener")

    with pytest.raises(KeyError, match="of the listener"):
        run(sh("echo $$; exec sleep 600"), on_line=fail)
    assert is_dead(pids[0])


def test_a_signal_from_elsewhere_is_told() -> None:
    ended, _ = run(sh("kill -9 $$"))
    assert (ended.code, ended.ending) == (-signal.SIGKILL, Ending.BY_ITSELF)


def test_a_grandchild_that_holds_the_pipe_is_not_waited_for() -> None:
    ended, lines = run(sh("sleep 10 & echo $!"))
    pid = int(lines[0])
    try:
        assert ended.code == 0
        assert not is_dead(pid)
    finally:
        os.kill(pid, signal.SIGKILL)


def test_children_die_with_us(tmp_path: Path) -> None:
    if not process._prefix(False):
        pytest.skip("no setpriv that can set a parent-death signal")
    script = f"""
        import sys, threading
        sys.path.insert(0, {str(ROOT)!r})
        from targets import process
        request = process.ProcessRequest(argv=("sh", "-c", "echo $$; exec sleep 600"), environment={ENVIRONMENT!r})
        say = lambda line: print(line.decode(), flush=True) or process.Heard.NOTHING
        call = lambda: process.run(request, limits=process.Limits(), stop=process.Never(), on_line=say)
        threading.Thread(target=call).start()
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE) as us:
        assert us.stdout is not None
        child = int(us.stdout.readline())
        assert not is_dead(child)
        us.kill()
    assert wait_for(lambda: is_dead(child))


# --- what it says --------------------------------------------------------------------------------------------------


def test_a_flood_on_both_outputs_is_read_and_bounded() -> None:
    script = """
        import sys
        for _ in range(16):
            sys.stderr.write('e' * (1 << 20)); sys.stdout.write('o' * (1 << 20))
        sys.stderr.write('the end')
    """
    ended, lines = run(python(script))
    assert ended.code == 0
    assert len(ended.errors) <= 64 << 10
    assert ended.errors.endswith(b"eethe end")
    assert [len(line) for line in lines] == [MEBIBYTE]


def test_its_cost_is_counted() -> None:
    ended, _ = run(
        python("x = bytearray(b'x') * (300 << 20)\nfor _ in range(10**6): pass\nimport time; time.sleep(0.5)")
    )
    assert ended.usage.cpu_seconds > 0.01
    assert ended.usage.seconds > 0.5
    assert 300 * MEBIBYTE < ended.usage.peak_memory < 400 * MEBIBYTE


def test_what_we_hold_is_not_counted_as_the_childs() -> None:
    ours = bytearray(b"x") * (100 * MEBIBYTE)
    ended, _ = run(ProcessRequest(argv=("sleep", "1.5"), environment=ENVIRONMENT))
    assert 0 < ended.usage.peak_memory < len(ours) // 2


def test_samples_tell_what_was_moved() -> None:
    samples: list[int] = []
    script = "head -c 20000000 /dev/zero > /dev/null; sleep 2.5"
    process.run(sh(script), limits=QUICK, stop=NEVER, on_line=process.deaf, on_sample=samples.append)
    assert samples
    assert samples[-1] >= 20_000_000


# --- a child's output in pieces ------------------------------------------------------------------------------------


def drained(request: ProcessRequest, limits: Limits = QUICK) -> tuple[bytes, Ended]:
    pieces: list[bytes] = []
    generator = process.pipe(request, limits=limits, stop=NEVER)
    while True:
        try:
            pieces.append(next(generator))
        except StopIteration as done:
            return b"".join(pieces), done.value


def test_pieces_are_the_output_and_then_comes_the_code() -> None:
    output, ended = drained(sh("head -c 3000000 /dev/zero; echo broken >&2; exit 4"))
    assert output == bytes(3_000_000)
    assert (ended.code, ended.errors) == (4, b"broken\n")


def test_pieces_that_nobody_wants_any_more_end_the_child() -> None:
    generator = process.pipe(sh("echo $$; while :; do echo more; done"), limits=QUICK, stop=NEVER)
    pid = int(next(generator).split()[0])
    generator.close()
    assert is_dead(pid)


def test_a_slow_consumer_is_not_the_childs_fault() -> None:
    generator = process.pipe(sh("head -c 3000000 /dev/zero"), limits=Limits(no_progress_seconds=0.4), stop=NEVER)
    output = len(next(generator))
    threading.Event().wait(0.7)  # sooner than the first sample of what was moved
    output += sum(map(len, generator))
    assert output == 3_000_000


def test_a_short_command_is_captured() -> None:
    done = process.capture(("sh", "-c", "printf secret; echo no >&2; exit 3"), ENVIRONMENT, 20)
    assert (done.code, done.stdout, done.stderr) == (3, b"secret", b"no\n")
    assert "secret" not in repr(done)


def test_a_short_command_that_takes_long_is_ended() -> None:
    with pytest.raises(TargetError, match=r"0\.3 s") as caught:
        process.capture(("sleep", "600"), ENVIRONMENT, 0.3)
    assert caught.value.kind is FailureKind.DEADLINE


def test_a_short_command_that_floods_is_cut() -> None:
    assert process.capture(("head", "-c", "5000000", "/dev/zero"), ENVIRONMENT, 20, limit=10).stdout == bytes(10)


# --- a child that is fed -------------------------------------------------------------------------------------------


def feed(
    request: ProcessRequest, *, limits: Limits = QUICK, stop: threading.Event | process.Never = NEVER
) -> tuple[Feed, list[bytes]]:
    lines: list[bytes] = []

    def hear(line: bytes) -> Heard:
        lines.append(line)
        return Heard.NOTHING

    return Feed(request, limits=limits, stop=stop, on_line=hear), lines


def test_it_eats_what_it_is_fed() -> None:
    child, lines = feed(ProcessRequest(argv=("wc", "-c"), environment=ENVIRONMENT))
    for _ in range(30):
        child.write(bytes(200_000))
    assert child.finish().code == 0
    assert lines == [b"6000000"]
    assert child.finish() == child.abort()


def test_a_child_that_ends_early_is_noticed() -> None:
    child, _ = feed(sh("exit 9"))
    with pytest.raises(StreamClosedError):
        child.write(bytes(10_000_000))
    assert child.wait().code == 9


def test_a_grandchild_that_holds_the_input_does_not_hide_a_death() -> None:
    child, lines = feed(sh("exec 3<&0; sleep 600 <&3 >/dev/null 2>&1 & echo $!; exit 9"))
    try:
        with pytest.raises(StreamClosedError):
            child.write(bytes(10_000_000))
        assert child.wait().code == 9
    finally:
        os.kill(int(lines[0]), signal.SIGKILL)


# Like restic 0.18: told of the interrupt, it waits for the end of its input before it acts on it.
STUBBORN = """
    import signal, sys
    interrupted = []
    def note(*_):
        interrupted.append(True)
        print("signal interrupt received", file=sys.stderr, flush=True)
    signal.signal(signal.SIGINT, note)
    print("ready", flush=True)
    sys.stdin.buffer.read()
    print("a whole stream" if not interrupted else "half a stream", flush=True)
    sys.exit(1)
"""


def test_an_abort_comes_before_the_end_of_the_stream() -> None:
    child, lines = feed(python(STUBBORN))
    assert wait_for(lambda: lines == [b"ready"])
    child.write(b"half")
    ended = child.abort()
    assert (ended.code, ended.ending, lines) == (1, Ending.CANCELLED, [b"ready", b"half a stream"])


def test_an_abort_never_ends_the_stream_of_a_child_that_did_not_hear() -> None:
    child, lines = feed(sh("trap '' INT; echo ready; cat; echo whole"), limits=Limits(grace_seconds=1.0))
    assert wait_for(lambda: lines == [b"ready"])
    assert child.abort().code == -signal.SIGKILL
    assert lines == [b"ready"]


def test_a_cancel_reaches_a_child_that_is_fed() -> None:
    stop = threading.Event()
    child, _ = feed(sh("exec sleep 600"), stop=stop)
    stop.set()
    with pytest.raises(StreamClosedError):
        child.write(bytes(10_000_000))
    assert child.wait().ending is Ending.CANCELLED


def test_waiting_for_us_is_no_lack_of_progress_but_not_reading_is() -> None:
    child, _ = feed(sh("cat > /dev/null"), limits=Limits(no_progress_seconds=0.4))
    threading.Event().wait(1.2)
    assert child.finish().ending is Ending.BY_ITSELF
    child, _ = feed(sh("exec sleep 600"), limits=Limits(no_progress_seconds=0.4))
    with pytest.raises(StreamClosedError):
        child.write(bytes(10_000_000))
    assert child.wait().ending is Ending.NO_PROGRESS


def test_nothing_is_left_open() -> None:
    def once() -> None:
        run(sh("echo a", secrets={"A": PASSWORD}))
        feed(sh("cat"))[0].finish()
        feed(sh("cat"))[0].abort()
        drained(sh("echo a"))

    once()
    before = open_files()
    once()
    assert open_files() == before


def test_who_asks_is_told_which_children_have_ended_whichever_thread_waited_for_them() -> None:
    said: list[int] = []

    def hear(line: bytes) -> Heard:
        said.append(int(line))
        return Heard.NOTHING

    with process.children() as outer:
        with process.children() as inner:
            thread = threading.Thread(
                target=process.run,
                args=(sh("echo $$"),),
                kwargs={"limits": QUICK, "stop": NEVER, "on_line": hear},
            )
            thread.start()
            thread.join()
        process.run(sh("echo $$"), limits=QUICK, stop=NEVER, on_line=hear)
    process.run(sh("echo $$"), limits=QUICK, stop=NEVER, on_line=hear)
    assert set(inner) == {said[0]}
    assert set(outer) == {said[0], said[1]}
