"""Copy what the second site lacks, then list both sites again: parity is seen, not assumed."""

from __future__ import annotations

from jobs.failure import Failure, FailureKind
from jobs.history import Outcome, ReplicateResult, RunState, Usage
from jobs.plan import Step
from jobs.policy import Policy
from jobs.snapshot import Parity, Snapshot, parity
from orchestrator.work import repositories
from orchestrator.work.tools import Tools


def work(_run: str, step: Step, policy: Policy, tools: Tools) -> Outcome:
    """Copy the policy's missing snapshots (data and manifests) from `step.source_vault` to `step.vault`.

    Raises TargetError when either site cannot be read or written. A run that was cut off copies the rest next time.
    """
    if step.source_vault is None:
        raise ValueError("a replicate step names the vault it copies from")
    source = repositories.existing(tools, step.tenant, step.source_vault)
    to = repositories.existing_or_new(tools, step.tenant, step.vault, like=source)
    here = repositories.ours(tools, source, policy.name)
    there = repositories.ours(tools, to, policy.name)
    before = after = parity(here, there)
    usage = Usage()
    if before.missing:
        ids = tuple(snapshot.id for snapshot in before.missing)
        usage = tools.engine.copy(source, to, ids, watch=tools.watch("copy"), stop=tools.stop)
        there = repositories.ours(tools, to, policy.name)
        after = parity(here, there)
    repositories.note_points(tools, (step.tenant, policy.site, step.source_vault), policy.name, here)
    repositories.note_points(tools, (step.tenant, step.site, step.vault), policy.name, there)
    return _outcome(before, after, step, usage)


def _outcome(before: Parity, after: Parity, step: Step, usage: Usage) -> Outcome:
    result = ReplicateResult(
        copied=_points(before.missing) - _points(after.missing),
        already_there=_points(before.equal),
        missing_after=len(after.missing),
        differing=len(after.differing),
    )
    failure = _failure(after, step)
    state = RunState.FAILED if failure else RunState.SUCCEEDED
    return Outcome(state=state, failure=failure, result=result, usage=usage)


def _points(snapshots: tuple[Snapshot, ...]) -> int:
    """How many recovery points they are: a point's manifest travels with it, and is not counted."""
    return sum(snapshot.content == "data" for snapshot in snapshots)


def _failure(after: Parity, step: Step) -> Failure | None:
    if after.differing:
        first = after.differing[0][0].id[:8]
        message = f"{len(after.differing)} snapshots differ between {step.source_vault} and {step.vault}, first {first}"
        return Failure(kind=FailureKind.DIFFERENCES_FOUND, message=message)
    if after.missing:
        message = f"{len(after.missing)} snapshots are still missing in {step.vault} after the copy"
        return Failure(kind=FailureKind.SNAPSHOT_MISSING, message=message)
    return None
