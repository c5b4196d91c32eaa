"""Echo requests through icmplib, in sockets that need no privilege where the system grants them.

https://www.kernel.org/doc/html/latest/networking/ip-sysctl.html (ping_group_range)
"""

from __future__ import annotations

from typing import Final

from jobs.availability.probe import Finding, IcmpProbe, Reason, judged_echoes
from jobs.availability.span import SECOND, State
from targets.probes.reach import resolved, within

_PAUSE: Final = 0.05  # seconds between two packets: a probe is no flood


async def look(probe: IcmpProbe, patience: float) -> Finding:
    """Send the probe's packets, and wait for their answers. `patience` is in seconds, for all of it."""

    async def echo() -> Finding:
        import icmplib

        address, _ = await resolved(probe.host, 0, probe.family)
        each = max(0.05, (patience - _PAUSE * probe.count) / probe.count)
        for privileged in (False, True):
            try:
                host = await icmplib.async_ping(
                    address, count=probe.count, interval=_PAUSE, timeout=each, privileged=privileged
                )
            except icmplib.SocketPermissionError:
                continue
            except icmplib.ICMPLibError as error:
                return Finding(state=State.UNKNOWN, reason=Reason.NO_MEANS.value, detail=type(error).__name__)
            return judged_echoes(probe, [round(rtt * SECOND / 1000) for rtt in host.rtts])
        detail = "this account may not send echo requests: see net.ipv4.ping_group_range"
        return Finding(state=State.UNKNOWN, reason=Reason.NO_MEANS.value, detail=detail)

    return await within(patience, echo)
