"""`serve` for a large operator: what ten thousand policies cost while nothing is due, and how late what is due is."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from bench import result
from bench.large import Operator, spread, tidy, write_past
from bench.measure import BrokenError, by_turns, cost_of
from bench.result import Result
from bench.serving import Serving, free_port, serving
from bench.stage import Stage, python, restic

POLICIES: Final = 10_000
_PAST_DAYS: Final = 8
_YEAR: Final = 365
_IN_A_YEAR: Final = 500
_IDLE_SECONDS: Final = 30.0
_WATCH_SHARE: Final = 50.0  # `serve` watches for one part in so many of the time
_WATCH_SECONDS: Final = 60.0
_BURST: Final = 1_000
_LINES: Final = 4  # that are due with a backup: itself, its copy, and a retention at either site
_LATE: Final = timedelta(minutes=1)  # what is looked at, from when the first is due
_MIB: Final = 1 << 20


def unattended(folder: Path, bytecode: Path) -> Iterator[Result]:
    """Settings, planning, idling, being on time, a year ahead and a year behind."""
    now = datetime.now(UTC)
    stage = Stage.at(folder / "large", bytecode)
    port = free_port()
    Operator(policies=POLICIES, schedules=spread(now), port=port, restic=restic()).write(stage.folder, now)
    stage.tandem("config", "schema")  # so that Python has its byte code
    yield from _settings(stage)
    yield from _planning(stage)
    write_past(stage.folder, days=_PAST_DAYS, recent=_PAST_DAYS, now=now)
    yield from _idling(stage, port)
    yield from _being_on_time(Stage.at(folder / "late", bytecode))
    year = Stage.at(folder / "year", bytecode)
    Operator(policies=_IN_A_YEAR, schedules=spread(now), restic=restic()).write(year.folder, now)
    yield from _a_year_ahead(year)
    yield from _a_year_behind(year, now)


def _settings(stage: Stage) -> Iterator[Result]:
    file = str(stage.folder / "settings.toml")
    parse = python("-c", f"import tomllib; tomllib.load(open({file!r}, 'rb'))")
    pair = by_turns(5, lambda: stage.tandem("config", "validate"), lambda: cost_of(parse, stage.environment))
    yield result.seconds("settings with 10,000 policies, validated", pair.ours, goal=2)
    yield result.ratio("the same", "tomllib alone", pair)


def _figures(stage: Stage, what: str, **environment: str) -> Mapping[str, Any]:
    """What bench/deciding.py says of these settings. Raises BrokenError."""
    root = str(Path(__file__).resolve().parent.parent)
    done = subprocess.run(
        python("-m", "bench.deciding", what, str(stage.folder / "settings.toml")),
        env={**stage.environment, **environment},
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BrokenError(f"bench.deciding {what} ended with {done.returncode}:\n{done.stderr[-4000:]}")
    figures: Mapping[str, Any] = json.loads(done.stdout)
    return figures


def _planning(stage: Stage) -> Iterator[Result]:
    found = sorted((_figures(stage, "due") for _ in range(5)), key=lambda figures: float(figures["dispatch"]))
    middle = found[len(found) // 2]
    least, most = found[0]["dispatch"], found[-1]["dispatch"]
    yield result.figure(
        "planning, 10,000 slots due at once",
        middle["dispatch"],
        shown=f"{middle['dispatch']:.2f} s ({least:.2f} to {most:.2f})",
        detail=f"{middle['answered']:,} answered, {middle['started']} of them started",
        goal=1,
        told="1.0 s",
        more=found,
    )
    births = middle["births"]
    yield result.figure("making these slots of 10,000 lines", births, shown=f"{births:.2f} s", more=births)


# --- idling -----------------------------------------------------------------------------------------------------------


def _idling(stage: Stage, port: int) -> Iterator[Result]:
    log = stage.folder / "serve.log"
    with serving(stage.command("serve"), stage.environment, port, log) as serve:
        serve.wait_until_quiet()
        started = serve.cpu
        settled = serve.memory
        loop = _used(serve, _IDLE_SECONDS) / _IDLE_SECONDS
        watching = _watched(serve)
        asked = serve.cpu
        began = time.monotonic()
        serve.ask("/metrics")
        took = time.monotonic() - began
        asked = serve.cpu - asked
        peak, now = serve.peak, serve.memory
    pause = max(_WATCH_SECONDS, _WATCH_SHARE * watching)
    idle = loop + watching / (pause + watching)
    yield result.figure(
        "serve, 10,000 policies: peak memory",
        peak,
        shown=_mib(peak),
        detail=f"{_mib(settled)} settled, {_mib(now)} after watching and /metrics",
        goal=200 * _MIB,
        told="200 MiB",
    )
    yield result.figure(
        "serve, 10,000 policies: idle CPU",
        idle,
        shown=f"{100 * idle:.1f} % of a core",
        detail=f"the loop {100 * loop:.1f} %; watching {watching:.1f} s of CPU every {pause:.0f} s",
        goal=0.03,
        told="3 %",
    )
    yield result.figure("serve: start to rest", started, shown=f"{started:.1f} s of CPU")
    yield result.figure("serve: /metrics made and sent", took, shown=f"{took:.1f} s", detail=f"CPU {asked:.1f} s")


def _mib(size: int) -> str:
    return f"{size / _MIB:.0f} MiB"


def _used(serve: Serving, seconds: float) -> float:
    before = serve.cpu
    time.sleep(seconds)
    return serve.cpu - before


def _watched(serve: Serving) -> float:
    """Wait for the next time that it watches, and give the CPU seconds that it took."""
    before = serve.cpu
    end = time.monotonic() + 4 * _WATCH_SECONDS
    while serve.cpu < before + 1.0:
        if time.monotonic() > end:
            raise BrokenError("serve does not watch")
        before = max(before, serve.cpu - 1.0)
        time.sleep(1)
    serve.wait_until_quiet()
    return serve.cpu - before


# --- being on time ----------------------------------------------------------------------------------------------------


def _being_on_time(stage: Stage) -> Iterator[Result]:
    """Most policies are due within ten minutes, one after the other; a thousand at one instant."""
    start = (datetime.now(UTC) + timedelta(seconds=120)).replace(second=0, microsecond=0)
    burst = start + timedelta(minutes=2)
    schedules = (f"daily at {burst:%H:%M}", *[f"daily at {start:%H:%M}"] * 9)
    source = stage.folder / "source"
    source.mkdir(parents=True)
    (source / "file").write_text("trivial\n")
    port = free_port()
    large = Operator(
        policies=POLICIES,
        schedules=schedules,
        splay=timedelta(minutes=10),
        unsplayed=_BURST,
        runs=1,
        port=port,
        source=str(source),
        restic=restic(),
    )
    large.write(stage.folder, start)
    with serving(stage.command("serve"), stage.environment, port, stage.folder / "serve.log") as serve:
        time.sleep(max(0.0, (start + _LATE - datetime.now(UTC)).total_seconds() + 5))
        yield _lateness("9,000 policies, one after the other", stage, start, start + _LATE)
        on_record = _on_record(stage, burst, _BURST * _LINES)
        yield _lateness("1,000 policies at one instant", stage, burst, burst + timedelta(seconds=1), on_record)
        detail = "as many of them are open as became due in three minutes"
        yield result.figure(
            "serve, thousands waiting: peak memory", peak := serve.peak, shown=_mib(peak), detail=detail
        )


def _on_record(stage: Stage, due: datetime, many: int) -> float:
    """Wait for so many slots of one instant, and give how many seconds after it others can read them."""
    time.sleep(max(0.0, (due - datetime.now(UTC)).total_seconds()))
    micros = int(due.timestamp()) * 10**6
    end = due + _LATE
    while (now := datetime.now(UTC)) < end:
        with closing(_reading(stage)) as connection:
            (found,) = connection.execute("SELECT count(*) FROM slot WHERE due = ?", (micros,)).fetchone()
        if found >= many:
            return (now - due).total_seconds()
        time.sleep(0.05)
    raise BrokenError(f"{many} slots do not come on record: {(stage.folder / 'serve.log').read_text()[-4000:]}")


def _reading(stage: Stage) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{stage.folder / 'tandem.db'}?mode=ro", uri=True)


def _lateness(name: str, stage: Stage, since: datetime, until: datetime, on_record: float | None = None) -> Result:
    """How long after it was due each slot was known; where it is told, how long after that the last was on record."""
    micros = [int(at.timestamp()) * 10**6 for at in (since, until)]
    question = "SELECT known_at - due FROM slot WHERE due >= ? AND due < ? ORDER BY 1"
    with closing(_reading(stage)) as connection:
        late = [row[0] / 10**6 for row in connection.execute(question, micros)]
    if not late:
        raise BrokenError(f"no slot was due: {(stage.folder / 'serve.log').read_text()[-4000:]}")
    p99 = late[int(len(late) * 0.99)]
    written = "" if on_record is None else f", all on record after {on_record:.2f} s"
    worst = max(p99, on_record or 0.0)
    return result.figure(
        f"late: {name}",
        worst,
        shown=f"{p99:.2f} s at p99",
        detail=f"{late[len(late) // 2]:.2f} s at p50, {late[-1]:.2f} s at most; {len(late):,} slots{written}",
        goal=1,
        told="1.0 s",
        more=late[:: max(1, len(late) // 1000)],
    )


# --- a year -----------------------------------------------------------------------------------------------------------


def _a_year_ahead(stage: Stage) -> Iterator[Result]:
    first, again = (_figures(stage, "year", PYTHONHASHSEED=seed) for seed in ("1", "2"))
    cron = _figures(stage, "cron")
    same = first["sha256"] == again["sha256"]
    middle = (first["seconds"] + again["seconds"]) / 2
    yield result.figure(
        "a year of 500 policies, planned",
        max(first["seconds"], again["seconds"]),
        shown=f"{middle:.1f} s",
        detail=f"CPU {first['cpu']:.1f} and {again['cpu']:.1f} s; {first['slots']:,} slots",
        goal=60,
        told="60 s",
        more=[first, again],
    )
    shown = f"the same: {first['sha256'][:12]}" if same else "DIFFERENT"
    yield result.figure("the same to the byte, of two processes", float(not same), shown=shown, goal=0, told="0 bytes")
    ratio = first["cpu"] / cron["cpu"]
    detail = f"CPU {cron['cpu']:.1f} s for {cron['moments']:,} moments, without windows, turns and slots"
    yield result.figure("the same, beside cron triggers alone", ratio, shown=f"{ratio:.2f}x", detail=detail, more=cron)


def _a_year_behind(stage: Stage, now: datetime) -> Iterator[Result]:
    many = write_past(stage.folder, days=_YEAR, recent=_YEAR, now=now)
    sealed, longest = tidy(stage.folder, now)
    size = (stage.folder / "tandem.db").stat().st_size >> 20
    month = (now.replace(day=1) - timedelta(days=1)).strftime("%Y-%m")
    report = ("report", "integrity", "--period", month, "--format", "html", "--output", str(stage.folder / "report"))
    objectives_missed = 5
    looks: tuple[tuple[tuple[str, ...], tuple[int, ...], float], ...] = (
        (("status",), (0, objectives_missed), 0.5),
        (("slots", "--limit", "20"), (0,), 1.0),
        (("slots", "--limit", "20", "--since", "2000-01-01"), (0,), 0.0),
        (report, (0,), 3.0),
    )
    for words, codes, goal in looks:
        costs = [stage.tandem(*words, codes=codes) for _ in range(3)]
        row_by_row = ", row by row" if "--since" in words else ""
        found = result.seconds(f"tandem {words[0]}{row_by_row}, a year of 500 policies", costs, goal=goal or None)
        most = max(cost.memory for cost in costs) // _MIB
        yield result.noted(found, f"{found.detail}, {most} MiB; {many:,} slots in {size:,} MiB")
    shown, detail = f"{sealed:.1f} s", f"the longest transaction {longest:.2f} s; {many:,} slots, then a day's a day"
    yield result.figure("the first housekeeping of a year", sealed, shown=shown, detail=detail)
