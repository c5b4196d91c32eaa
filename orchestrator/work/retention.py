"""Remove the recovery points that a policy does not keep, at one vault: decide, remove, list again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from jobs.history import Outcome, RetentionResult, RunState, Usage
from jobs.plan import Step
from jobs.policy import Policy
from jobs.retention import Decision, decide, points, spare
from jobs.snapshot import Snapshot
from orchestrator.work import repositories
from orchestrator.work.tools import Tools
from targets.errors import TargetError


def preview(step: Step, policy: Policy, tools: Tools) -> Decision:
    """What would stay and go at the step's vault, each with its reason. Changes nothing. Raises TargetError."""
    of = repositories.existing(tools, step.tenant, step.vault)
    return _decide(step, policy, tools, repositories.ours(tools, of, policy.name))


def work(run: str, step: Step, policy: Policy, tools: Tools) -> Outcome:
    """Forget what the retention does not keep and prune what nobody needs then. Raises TargetError.

    The engine lists the repository afterwards: NOT_REMOVED where a vault said yes and did nothing. What is to go is on
    record before anything does, so that nobody takes what a cut retention removed for lost.
    """
    of = repositories.existing(tools, step.tenant, step.vault)
    listed = repositories.ours(tools, of, policy.name)
    decision = _decide(step, policy, tools, listed)
    gone = tuple(snapshot.id for snapshot in decision.forget)
    removed = tuple(snapshot.id for snapshot in decision.forget if snapshot.content == "data")
    usage, place = Usage(), (step.tenant, step.site, step.vault)
    if gone:
        tools.ledger.set_out(run, RetentionResult(intended=removed), tools.clock.now())
        try:
            usage = tools.engine.forget(of, gone, prune=True, watch=tools.watch("forget and prune"), stop=tools.stop)
        except TargetError:
            with suppress(TargetError):  # the next listing knows as well what was to go
                repositories.note_points(tools, place, policy.name, repositories.ours(tools, of, policy.name))
            raise
    left = [snapshot for snapshot in listed if snapshot.id not in gone]
    repositories.note_points(tools, place, policy.name, left)
    result = RetentionResult(kept=len(decision.keep), removed=removed)
    return Outcome(state=RunState.SUCCEEDED, result=result, usage=usage)


def _decide(step: Step, policy: Policy, tools: Tools, listed: Sequence[Snapshot]) -> Decision:
    if policy.retention is None:
        raise ValueError("the planner makes no retention step for a policy without a retention")
    partial = {point.run for point in tools.ledger.points(policy=policy.name) if not point.complete}
    here = points(listed, policy=policy.name, partial=partial)
    decision = decide(here, policy.retention, now=tools.clock.now(), zone=tools.zone)
    return spare(decision, _not_yet_copied(step, policy, tools, decision), "not yet at the other site")


def _not_yet_copied(step: Step, policy: Policy, tools: Tools, decision: Decision) -> frozenset[str]:
    """The runs at the first site whose snapshots the replica does not hold: they may be all there is of them.

    Only asked where something would go; at the replica itself nothing is waiting to be copied.
    """
    if policy.replica is None or step.vault == policy.replica or not decision.remove:
        return frozenset()
    replica = repositories.existing(tools, policy.tenant, policy.replica)
    there = {snapshot.origin for snapshot in repositories.ours(tools, replica, policy.name)}
    return frozenset(point.run for point in decision.remove if any(s.origin not in there for s in point.snapshots))
