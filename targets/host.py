"""This machine: who we are, whether an owner still lives, what a process reads and writes, how much room a disk has.

Times of starting and the boot's id come from /proc (proc(5)): psutil derives a start time from the wall clock,
which may be stepped; the kernel's ticks since boot may not.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jobs.history import Owner

if TYPE_CHECKING:
    import psutil  # 20 ms that `tandem --help` need not pay: imported where it is used

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
PID_NAMESPACE: Final = Path("/proc/self/ns/pid")
GONE: Final = frozenset({"Z", "X", "x"})  # zombie or dead: its threads have ended


def this_process() -> Owner:
    """Who we are: host name, boot with process namespace, process id and start time in clock ticks since boot."""
    _, started = _state_and_start(os.getpid())
    return Owner(host=socket.gethostname(), boot=f"{_boot()}/{_pid_namespace()}", pid=os.getpid(), started=started)


def is_alive(owner: Owner) -> bool | None:
    """Whether that process still runs. None: it is on another host, or hidden from us, so we cannot know.

    A host may be renamed: what shares boot and process namespace with us is here, whatever its host was called. A
    container shares its host's boot but not its process ids: give each container a host name of its own.
    """
    boot, _, namespace = owner.boot.partition("/")
    if not namespace or (boot, namespace) != (_boot(), _pid_namespace()):
        if owner.host != socket.gethostname():
            return None
        if boot != _boot():
            return False
    try:
        state, started = _state_and_start(owner.pid)
    except (FileNotFoundError, ProcessLookupError):
        return _hidden(owner.pid)
    return started == owner.started and state not in GONE


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
    there = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    status = os.statvfs(there)
    return status.f_bavail * status.f_frsize


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
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return None
    return None
