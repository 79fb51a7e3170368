"""The task graph of a run, for batches, operations and families."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from airflow.sdk import TaskGroup, chain

from skill_batch.batch_flow import BatchFlow
from include.skillreport.core.operation_catalog import APPROVALS, APPROVE_RESUMPTION
from include.skillreport.core.run_plan import OPEN_RUN, WAIT_FOR_USAGE, WATCH_RUNS, Step, plan_of
from include.skillreport.core.run_spec import BatchSpec, RunSpec


def add_tasks(spec: RunSpec) -> None:
    """Add the plan's tasks to the current DAG or task group, in order."""
    flow = _flow_of(spec)
    tasks: list[Any] = []
    run, shards = None, None
    for step in plan_of(spec):
        if step == OPEN_RUN:
            run, shards = flow.open_run()
            tasks.append(shards)
        elif step.is_mapped:
            tasks.append(flow.mapped_step(step, run, shards))
        elif step.is_own:
            tasks.append(flow.own_step(step, run))
        elif own_task := _own_task(step):
            tasks.append(own_task(run))
        else:
            tasks.append(getattr(flow, step.id)())
    chain(*tasks)


def add_group(spec: BatchSpec, default_args: Mapping[str, Any]) -> TaskGroup:
    """Add the batch's tasks as a group to its family's DAG."""
    with TaskGroup(
        group_id=spec.slug,
        group_display_name=f"{spec.id} {spec.name}",
        default_args=default_args,  # type: ignore[arg-type]  # typed as a type variable
    ) as group:
        add_tasks(spec)
    return group


def _own_task(step: Step) -> Callable[[Any], Any] | None:
    """A batch-specific step that needs Airflow. Imported here, so that other DAG files do not import it."""
    if step == WATCH_RUNS:
        from skill_batch.batches.tenant_monitoring import watch_runs

        return watch_runs
    if step == WAIT_FOR_USAGE:
        from skill_batch.batches.tenant_billing import wait_for_closed_usage

        return wait_for_closed_usage
    return None


def _flow_of(spec: RunSpec) -> BatchFlow:
    if spec not in APPROVALS.values():
        return BatchFlow(spec)
    from skill_batch.approvals import ApprovalFlow, ResumptionFlow

    return ResumptionFlow(spec) if spec is APPROVE_RESUMPTION else ApprovalFlow(spec)
