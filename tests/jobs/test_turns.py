"""Of those that are ready the most urgent start, as many as may run together, and nobody waits for ever."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.claim import HOLDS, Hold, clash
from jobs.dispatch import Concurrency, Moves, Situation, Start, dispatch
from jobs.history import Job, RunRecord, RunState
from jobs.planner import CYCLE
from jobs.policy import Objectives, Policy, PolicyName
from jobs.ruling import Ready
from jobs.slot import Slot, WhyKind
from jobs.turns import PATIENCE, Turns
from tests.jobs.making import DAY, HELD, HOUR, MINUTE, NOW, RETRY, answer, policy, run, situation, slot, waits


def starts(moves: Moves) -> list[str]:
    return [start.slot.policy for start in moves.starts]


# --- whose turn it is --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("job", CYCLE)
def test_who_needs_the_repository_alone_waits_for_who_holds_it_and_the_other_way_round(job: Job) -> None:
    holder = run(job, "other")
    known = situation(policy(), under_way=[holder], last_backups=[run(state=RunState.SUCCEEDED)])
    for wanted in (Job.BACKUP, Job.CHECK, Job.RESTORE_TEST, Job.RETENTION):
        made = answer(slot(wanted), known=known)
        if clash(slot(wanted), holder):
            assert waits(made) == (WhyKind.HELD, holder.id)
        else:
            assert isinstance(made, Start)


def test_a_persons_run_is_waited_for_as_well() -> None:
    known = situation(policy(), under_way=[run()])
    assert waits(answer(slot(), known=known)) == (WhyKind.HELD, "run-backup-files")


@pytest.mark.parametrize(
    ("limits", "started"),
    [
        (Concurrency(runs=3), 3),
        (Concurrency(runs=9), 6),
        (Concurrency(runs=9, per_site=1), 2),
        (Concurrency(runs=9, per_vault=2), 2),  # a copy counts in both of its vaults
        (Concurrency(runs=9, per_host=1), 4),  # only backups count from a host
    ],
)
def test_no_more_start_than_the_limits_allow(limits: Concurrency, started: int) -> None:
    policies = [policy(name, tenant=f"t{name}") for name in "abc"]
    slots = [
        replace(slot(job, of=each.name), tenant=each.tenant) for each in policies for job in (Job.BACKUP, Job.REPLICATE)
    ]
    moves = dispatch(slots, situation(*policies, limits=limits), NOW)
    assert len(moves.starts) == started
    assert {waits(each)[0] for each in moves.waits} <= {WhyKind.LIMIT}


def test_runs_under_way_count_too() -> None:
    known = situation(policy(), under_way=[run(Job.RESTORE, "other")], limits=Concurrency(runs=1))
    assert waits(answer(slot(), known=known))[0] is WhyKind.LIMIT


@pytest.mark.parametrize("limits", [Concurrency(runs=2), Concurrency(per_site=2), Concurrency(per_host=2)])
def test_the_dead_whose_vault_is_away_stop_nobody_else(limits: Concurrency) -> None:
    """As many as may run together were killed in it: what became of them is not known before it is back."""
    policies = [policy(name, tenant=f"t{name}") for name in "abc"]
    dead = [replace(run(of=each.name), tenant=each.tenant) for each in policies[:2]]
    known = situation(*policies, under_way=dead, limits=limits, dead=dead)
    assert isinstance(answer(replace(slot(of="c"), tenant=policies[2].tenant), known=known), Start)
    for each in policies[:2]:
        held = answer(replace(slot(Job.RETENTION, of=each.name), tenant=each.tenant), known=known)
        assert not isinstance(held, Start)


@settings(deadline=None, max_examples=150)
@given(
    data=st.lists(
        st.tuples(st.sampled_from(CYCLE), st.sampled_from("abcdef"), st.booleans()), unique_by=lambda each: each[1]
    ),
    most=st.integers(1, 4),
)
def test_who_is_dead_takes_no_place_and_holds_as_much_as_if_it_lived(
    data: list[tuple[Job, str, bool]], most: int
) -> None:
    policies = [policy(name, tenant=f"t{ord(name) % 3}") for name in "abcdef"]
    tenants = {each.name: each.tenant for each in policies}
    under_way = [replace(run(job, name), tenant=tenants[PolicyName(name)]) for job, name, _ in data]
    dead = [each for each, (_, _, is_dead) in zip(under_way, data, strict=True) if is_dead]
    slots = [replace(slot(of=name), tenant=tenant) for name, tenant in tenants.items()]
    slots += [replace(slot(Job.CHECK, of=name), tenant=tenant) for name, tenant in tenants.items()]

    def started(limits: Concurrency, dead: Iterable[RunRecord] = ()) -> list[Slot]:
        known = situation(*policies, under_way=under_way, limits=limits, dead=dead)
        return [start.slot for start in dispatch(slots, known, NOW).starts]

    found = started(Concurrency(runs=most), dead)
    assert found == started(Concurrency(runs=most + len(dead)))
    assert not any(clash(each, other) for each in found for other in under_way)


def test_who_is_nearest_to_missing_its_objective_goes_first() -> None:
    def promise(name: str, hours: int) -> Policy:
        return policy(name, objectives=Objectives(rpo=hours * HOUR))

    policies = [promise("late", 3), promise("calm", 40), promise("soon", 4), policy("none")]
    slots = [slot(of=each.name) for each in policies]
    good = [run(of=each.name, state=RunState.SUCCEEDED) for each in policies]
    moves = dispatch(slots, situation(*policies, good=good), NOW)
    assert starts(moves) == ["late", "soon", "none", "calm"]


def test_what_never_went_well_has_missed_its_objective_since_it_was_due() -> None:
    policies = [policy(name, objectives=Objectives(rpo=30 * MINUTE)) for name in ("a", "never")]
    good = [run(of="a", state=RunState.SUCCEEDED)]
    moves = dispatch([slot(of="a"), slot(of="never")], situation(*policies, good=good), NOW)
    assert starts(moves) == ["never", "a"]


def test_without_objectives_backups_go_before_what_follows_them() -> None:
    known = situation(policy(replica=None), policy("b"), last_backups=[run(state=RunState.SUCCEEDED)])
    slots = [slot(job, of="b" if job is Job.REPLICATE else "files") for job in (Job.RESTORE_TEST, Job.REPLICATE)]
    moves = dispatch([*slots, slot()], known, NOW)
    assert [start.slot.job for start in moves.starts] == [Job.BACKUP, Job.REPLICATE, Job.RESTORE_TEST]


@pytest.mark.parametrize(("waited", "overtaken"), [(PATIENCE - MINUTE, True), (PATIENCE, False)])
def test_a_retention_that_waits_too_long_is_not_overtaken_by_more_backups(waited: object, overtaken: bool) -> None:
    """Backups green, retention dead: so it begins."""
    retention = slot(Job.RETENTION, due=NOW - waited)  # type: ignore[operator]  # (a duration)
    known = situation(policy(), policy("b"), under_way=[run(of="other")], last_backups=[run(state=RunState.SUCCEEDED)])
    made = answer(retention, slot(of="b", due=NOW - MINUTE), known=known)
    if overtaken:
        assert isinstance(made, Start)
    else:
        assert waits(made) == (WhyKind.HELD, retention.id)


def test_a_backup_that_waits_too_long_is_not_overtaken_by_more_checks() -> None:
    backup = slot(due=NOW - PATIENCE)
    known = situation(policy(), policy("b", objectives=Objectives(check_age=MINUTE)), under_way=[run(Job.CHECK, "o")])
    assert waits(answer(backup, slot(Job.CHECK, of="b"), known=known))[0] is WhyKind.HELD
    free = situation(policy(), policy("b", objectives=Objectives(check_age=MINUTE)))
    assert isinstance(answer(backup, slot(Job.CHECK, of="b"), known=free, of=backup), Start)


def test_who_must_not_overtake_lends_its_place_in_the_order() -> None:
    """One place: the urgent backup has to let the retention go first, and the calm one of another tenant waits."""
    urgent = policy("urgent", objectives=Objectives(rpo=MINUTE))
    calm = policy("calm", tenant="south", objectives=Objectives(rpo=20 * HOUR))
    retention = slot(Job.RETENTION, due=NOW - HOUR)
    slots = [slot(of="urgent"), replace(slot(of="calm", due=NOW - 2 * HOUR), tenant=calm.tenant), retention]
    ended = run(of="calm", state=RunState.SUCCEEDED, tenant=calm.tenant)
    last = [run(state=RunState.SUCCEEDED)]
    known = situation(urgent, calm, policy(), good=[ended], last_backups=last, limits=Concurrency(runs=1))
    moves = dispatch(slots, known, NOW)
    assert [start.slot for start in moves.starts] == [retention]


def test_waiting_for_a_place_alone_gives_nobody_a_turn() -> None:
    """After an outage all wait since Tandem is back, however long ago they were due: the urgent ones go first."""
    urgent = policy("urgent", objectives=Objectives(rpo=MINUTE))
    retention = slot(Job.RETENTION, due=NOW - 20 * HOUR, known_at=NOW - HOUR)
    backup = slot(of="urgent", due=NOW - 2 * HOUR, known_at=NOW - HOUR)
    known = situation(urgent, policy(), last_backups=[run(state=RunState.SUCCEEDED)], limits=Concurrency(runs=1))
    assert isinstance(answer(retention, backup, known=known), Start)


# --- whatever is due ---------------------------------------------------------------------------------------------

POLICIES = [
    policy(name, tenant=tenant, replica=replica, objectives=objectives)
    for name, tenant, replica, objectives in (
        ("a", "north", "two", Objectives(rpo=2 * HOUR)),
        ("b", "north", None, Objectives()),
        ("c", "south", "two", Objectives(check_age=DAY)),
        ("d", "north", "two", Objectives()),
    )
]


def at_places(of: Policy, job: Job, which: int) -> Slot:
    places = {Job.BACKUP: of.places[:1], Job.REPLICATE: of.places[1:]}.get(job, of.places) or of.places
    made = slot(job, of=of.name, vault=places[which % len(places)][1])
    return replace(made, tenant=of.tenant)


slots = st.builds(
    lambda of, job, which, ago, late, attempts, why: replace(
        at_places(of, job, which),
        nominal=NOW - ago * MINUTE,
        due=NOW - ago * MINUTE,
        key=f"K{ago}",
        id=f"{of.name}/{job}/{which}/K{ago}",
        known_at=NOW - ago * MINUTE + min(late, ago) * MINUTE,
        attempts=attempts,
        run="run-8" if attempts else None,
        why=why,
    ),
    st.sampled_from(POLICIES),
    st.sampled_from(CYCLE),
    st.integers(0, 1),
    st.sampled_from([0, 1, 14, 15, 60, 1000, 2000]),
    st.sampled_from([0, 0, 30]),
    st.sampled_from([0, 0, 2]),
    st.sampled_from([None, HELD, RETRY]),
)
many = st.lists(slots, max_size=25, unique_by=lambda each: each.id)
under_way = st.lists(
    st.builds(
        lambda of, job: replace(run(job, of.name), tenant=of.tenant), st.sampled_from(POLICIES), st.sampled_from(Job)
    ),
    max_size=3,
    unique_by=lambda each: each.id,
)
limits = st.builds(
    Concurrency,
    runs=st.integers(1, 6),
    per_site=st.sampled_from([None, 1, 2]),
    per_vault=st.sampled_from([None, 1, 2]),
    per_host=st.sampled_from([None, 1]),
)


def knows(under: Iterable[RunRecord], limits: Concurrency) -> Situation:
    last = [replace(run(of=each.name, state=RunState.SUCCEEDED), tenant=each.tenant) for each in POLICIES]
    return situation(*POLICIES, under_way=under, limits=limits, last_backups=last, good=last)


@settings(deadline=None)
@given(many, under_way, limits)
def test_every_slot_has_one_answer_and_what_starts_may_run_together(
    due: list[Slot], under: list[RunRecord], limits: Concurrency
) -> None:
    moves = dispatch(due, knows(under, limits), NOW)
    answers = (moves.closings, moves.starts, moves.waits)
    assert Counter(each.slot.id for kind in answers for each in kind) == Counter(each.id for each in due)
    begun = [start.slot for start in moves.starts]
    for one, other in combinations(begun, 2):
        assert not clash(one, other)
    assert not any(clash(one, other) for one in begun for other in under)
    counted = sum(each.job is not Job.REPORT for each in under)
    assert not begun or len(begun) + counted <= limits.runs
    vaults = Counter(vault for each in begun for vault in {each.vault, each.source_vault} - {None})
    assert limits.per_vault is None or not vaults or max(vaults.values()) <= limits.per_vault
    sites = Counter(each.site for each in begun)
    assert limits.per_site is None or not sites or max(sites.values()) <= limits.per_site
    assert limits.per_host is None or sum(each.job is Job.BACKUP for each in begun) <= limits.per_host


@settings(deadline=None)
@given(many, under_way, limits, st.randoms())
def test_the_order_in_which_slots_are_told_changes_nothing(
    due: list[Slot], under: list[RunRecord], limits: Concurrency, chance: object
) -> None:
    shuffled = list(due)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]  # (random.Random)
    assert dispatch(due, knows(under, limits), NOW) == dispatch(shuffled, knows(under, limits), NOW)


@settings(deadline=None)
@given(many, under_way)
def test_what_waits_for_its_turn_has_somebody_in_its_way(due: list[Slot], under: list[RunRecord]) -> None:
    """Without limits nobody is kept from starting but by a run, or by one who has waited longer and is kept itself."""
    moves = dispatch(due, knows(under, Concurrency(runs=1000)), NOW)
    busy = {each.id: each for each in under} | {start.slot.id: start.slot for start in moves.starts}
    patient = {wait.slot.id: wait.slot for wait in moves.waits}
    for wait in moves.waits:
        if wait.why.kind is WhyKind.HELD and not wait.slot.attempts:
            other = busy.get(wait.why.other) or patient[wait.why.other]
            assert clash(wait.slot, other)


@settings(deadline=None, max_examples=60)
@given(many, limits)
def test_while_runs_end_every_slot_comes_to_its_end(due: list[Slot], limits: Concurrency) -> None:
    """No deadlock: each pass starts something, or nothing is left."""
    left, now = {each.id: replace(each, until=None) for each in due}, NOW
    while left:
        moves = dispatch(tuple(left.values()), knows((), limits), now)
        for done in (each.slot for kind in (moves.closings, moves.starts) for each in kind):
            del left[done.id]
        assert moves.closings or moves.starts
        left |= {wait.slot.id: replace(wait.slot, why=wait.why) for wait in moves.waits}
        now += 7 * MINUTE


def test_a_stream_of_backups_and_a_retention_share_a_repository_for_ever() -> None:
    """Each hour a dozen policies back up into one repository, ten minutes each, two at once: the retention runs too."""
    policies = [policy(f"p{number}") for number in range(12)]
    last = [run(of=each.name, state=RunState.SUCCEEDED) for each in policies]
    running: dict[str, tuple[Slot, object]] = {}
    left: dict[str, Slot] = {}
    retention_ran_at: list[object] = []
    for minute in range(6 * 60):
        now = NOW + minute * MINUTE
        if minute % 60 == 0:
            made = [slot(of=each.name, due=now, until=now + HOUR) for each in policies]
            left |= {each.id: each for each in made}
        if minute == 5:
            waits_for_turn = slot(Job.RETENTION, of="p0", due=now)
            left[waits_for_turn.id] = waits_for_turn
        running = {key: value for key, value in running.items() if value[1] != now}
        under = [run(each.job, each.policy, id=key) for key, (each, _) in running.items()]
        known = situation(*policies, under_way=under, last_backups=last, limits=Concurrency(runs=2))
        moves = dispatch(tuple(left.values()), known, now)
        for done in (each.slot for kind in (moves.closings, moves.starts) for each in kind):
            del left[done.id]
        for start in moves.starts:
            running[start.slot.id] = (start.slot, now + 10 * MINUTE)
            if HOLDS[start.slot.job] is Hold.EXCLUSIVE:
                retention_ran_at.append(minute)
    assert len(retention_ran_at) == 1
    assert 60 <= retention_ran_at[0] <= 90  # type: ignore[operator]  # (when those of the first hour have ended)


def test_one_that_has_anothers_place_no_more_still_has_its_own() -> None:
    """What stood back for it has ended otherwise: it has waited for less long, and long enough."""
    rank = (NOW, 0, NOW, "")
    turns = Turns(Concurrency(runs=9), ())
    waits = Ready(slot(Job.RETENTION), policy(), rank, NOW - 40 * MINUTE)
    turns.enter(waits, NOW)
    turns.enter(replace(waits, since=NOW - 20 * MINUTE), NOW)
    late = Ready(slot(of="other"), policy("other"), rank, NOW - MINUTE)
    turns.enter(late, NOW)
    obstacle = turns.obstacle(late, NOW)
    assert obstacle is not None
    assert obstacle.by == waits.slot.id
