"""This machine: who we are, whether an owner still lives, what a process reads and writes, how much room a disk has.

Times of starting and the boot's id come from /proc (proc(5)): psutil derives a start time from the wall clock,
which may be stepped; the kernel's ticks since boot may not.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jobs.history import NOBODY, Owner
from jobs.lock import Here, Seen

if TYPE_CHECKING:
    import psutil  # 20 ms that `tandem --help` need not pay: imported where it is used

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
PID_NAMESPACE: Final = Path("/proc/self/ns/pid")
GONE: Final = frozenset({"Z", "X", "x"})  # zombie or dead: its threads have ended
PROCESSES: Final = Path("/proc")
UPTIME: Final = Path("/proc/uptime")
FIRST_NAMESPACE: Final = "pid:[4026531836]"  # of the kernel itself: PROC_PID_INIT_INO in its proc_ns.h

_TIMEX_BYTES: Final = 512  # more than any machine's struct timex
_UNSYNC: Final = 0x0040  # STA_UNSYNC of linux/timex.h


def this_process() -> Owner:
    """Who we are: host name, boot with process namespace, process id and start time in clock ticks since boot."""
    _, started = _state_and_start(os.getpid())
    return Owner(host=socket.gethostname(), boot=f"{_boot()}/{_pid_namespace()}", pid=os.getpid(), started=started)


def is_alive(owner: Owner) -> bool | None:
    """Whether that process still runs. None: it is on another host, or hidden from us, so we cannot know.

    A host may be renamed: what shares boot and process namespace with us is here, whatever its host was called. A
    container shares its host's boot but not its process ids: give each container a host name of its own.
    """
    if owner.pid == NOBODY:
        return False
    boot, _, namespace = owner.boot.partition("/")
    if not namespace or (boot, namespace) != (_boot(), _pid_namespace()):
        # Then its name alone tells whether it was on this machine, before a start or in a container of it.
        if owner.host != socket.gethostname():
            return None
        if boot != _boot():
            return False
    try:
        state, started = _state_and_start(owner.pid)
    except (FileNotFoundError, ProcessLookupError):
        return _hidden(owner.pid)
    return started == owner.started and state not in GONE


def here() -> Here:
    """Who looks at locks from here, and whether every process of this machine can be seen: those in containers too.

    That takes the first process namespace, and a /proc that hides nobody's processes from us (`hidepid`).
    """
    all_shown = os.access(PROCESSES / "1" / "status", os.R_OK)
    return Here(host=socket.gethostname(), sees_all=all_shown and _pid_namespace() == FIRST_NAMESPACE)


def processes_numbered(pid: int, now: datetime) -> tuple[Seen, ...]:
    """The living processes whose id is `pid` where they themselves count: here, or in a container that we can see."""
    up = timedelta(seconds=float(UPTIME.read_text(encoding="ascii").split()[0]))
    return tuple(found for own in _process_ids() if (found := _seen(own, pid, now - up)) is not None)


def _process_ids() -> Iterator[int]:
    return (int(entry.name) for entry in os.scandir(PROCESSES) if entry.name.isdecimal())


def _seen(own: int, wanted: int, booted: datetime) -> Seen | None:
    """That process, if its innermost id is the wanted one; None also when it has just ended."""
    try:
        if _innermost(own) != wanted:
            return None
        state, started = _state_and_start(own)
        name = Path(f"/proc/{own}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if state in GONE:
        return None
    since = booted + timedelta(seconds=int(started) / os.sysconf("SC_CLK_TCK"))
    return Seen(pid=own, name=name, started_at=since, is_restic="restic" in f"{name} {_program(own)}")


def _innermost(own: int) -> int:
    """Its id in its own process namespace: the last of NSpid in /proc/PID/status; kernels before 4.1 tell none."""
    for line in Path(f"/proc/{own}/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("NSpid:"):
            return int(line.split()[-1])
    return own


def _program(pid: int) -> str:
    """The file name of what it runs; empty where we may not know."""
    try:
        return Path(f"/proc/{pid}/exe").readlink().name
    except OSError:
        return ""


def user_name() -> str:
    """Who runs this, and who became that by sudo(8)."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = f"uid {os.getuid()}"
    before = os.environ.get("SUDO_USER", "")
    return f"{before} (as {name})" if before and before != name else name


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """A running program. `folder` None or no `ports`: we may not know, because it is another user's."""

    pid: int
    name: str
    folder: Path | None  # in which it works
    ports: tuple[int, ...]  # at which it listens


def programs(names: frozenset[str]) -> tuple[Program, ...]:
    """The running programs of these names, by process id; a program's own children count as the program."""
    import psutil

    found = []
    for process in psutil.process_iter(["name"]):
        try:
            if process.info["name"] in names and _name_of_parent(process) != process.info["name"]:
                found.append(_described(process))
        except psutil.NoSuchProcess:  # it has just ended
            continue
    return tuple(sorted(found, key=lambda program: program.pid))


def _name_of_parent(process: psutil.Process) -> str:
    parent = process.parent()
    return "" if parent is None else str(parent.name())


def _described(process: psutil.Process) -> Program:
    import psutil

    try:
        folder: Path | None = Path(process.cwd())
    except psutil.AccessDenied:
        folder = None
    try:
        connections = process.net_connections("inet")
    except psutil.AccessDenied:
        connections = []
    ports = {each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN}
    return Program(pid=process.pid, name=process.info["name"], folder=folder, ports=tuple(sorted(ports)))


def io_bytes(pid: int) -> int:
    """Bytes that a process and its living descendants have read and written, through any descriptor, so far.

    What has ended or may not be asked counts nothing, so the sum can fall.
    """
    import psutil

    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0
    return sum(_io_bytes_of_one(member) for member in family)


def _io_bytes_of_one(process: psutil.Process) -> int:
    import psutil

    try:
        counters = process.io_counters()
    except psutil.Error:
        return 0
    return counters.read_chars + counters.write_chars


def free_space(path: Path) -> int:
    """Bytes that an ordinary user may still write below `path`, or below its nearest folder that is there already."""
    status = os.statvfs(_nearest(path))
    return status.f_bavail * status.f_frsize


def disk_of(path: Path) -> int:
    """A number that is equal for two paths whose files share one file system, and so its free space."""
    return _nearest(path).stat().st_dev


def _nearest(path: Path) -> Path:
    return next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())


def clock_is_kept() -> bool | None:
    """Whether a time service keeps this machine's clock, as adjtimex(2) tells it. None: we may not ask.

    systemd's ProtectClock forbids the question with the change. The status is the sixth field of struct timex, an int
    behind an unsigned int and four longs; UNSYNC is what the kernel sets when nobody has corrected it for a while.
    """
    record = ctypes.create_string_buffer(_TIMEX_BYTES)  # its mode 0 changes nothing
    if ctypes.CDLL(None, use_errno=True).adjtimex(record) < 0:
        return None
    long = ctypes.sizeof(ctypes.c_long)
    (status,) = struct.unpack_from("i", record, 5 * long)
    return not status & _UNSYNC


def peak_memory(pid: int | None = None) -> int:
    """The most bytes of memory that a living process (this one by default) has held resident; 0 when it has ended.

    Read from VmHWM, because getrusage counts what was resident before the program was started, too.
    """
    try:
        status = Path(f"/proc/{pid or 'self'}/status").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    line = next((line for line in status.splitlines() if line.startswith("VmHWM:")), "VmHWM: 0 kB")
    return int(line.split()[1]) * 1024


def _boot() -> str:
    return BOOT_ID.read_text(encoding="ascii").strip()


def _pid_namespace() -> str:
    """Which process namespace our ids count in, as namespaces(7) tells it: `pid:[4026531836]`; empty when hidden."""
    try:
        return str(PID_NAMESPACE.readlink())
    except OSError:
        return ""


def _state_and_start(pid: int) -> tuple[str, str]:
    """Fields 3 and 22 of /proc/PID/stat; the name in field 2 may hold spaces and parentheses."""
    after_name = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return after_name[0].decode(), after_name[19].decode()


def _hidden(pid: int) -> bool | None:
    """For a process without an entry in /proc: gone (False), or only hidden from us by `hidepid` (None)."""
    try:
        os.kill(pid, 0)  # sends nothing, and says whether it could (kill(2))
    except ProcessLookupError:
        return False
    except PermissionError:
        return None
    return None
