"""The tasks of a batch, which its own DAG and its family's DAG share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from airflow.sdk import TaskGroup, chain

from skill_batch.batch_flow import BatchFlow
from skill_batch.batches.tenant_billing import wait_for_closed_usage
from skill_batch.batches.tenant_monitoring import watch_runs
from include.skillreport.core.operation_catalog import APPROVALS
from include.skillreport.core.run_spec import BatchSpec

# The batches' own tasks before the mapped task, by the id that the registry has.
_STEPS: Mapping[str, Callable[[BatchFlow, Any], Any]] = {
    "read_logs": lambda flow, run: flow.read_logs(run),
    "read_mailbox": lambda flow, run: flow.read_mailbox(run),
    "dump": lambda flow, run: flow.step(run, "dump", "ダンプ"),
    "check": lambda flow, run: flow.step(run, "check", "復元検証"),
    "watch_runs": lambda _, run: watch_runs(run),
    "wait_for_usage": lambda _, run: wait_for_closed_usage(run),
}


def add_batch(spec: BatchSpec, create_batch: Callable[[Any], Any]) -> None:
    """Add the batch's tasks to the current DAG or task group.

    :param create_batch: the function of the batch's package. A task calls it.
    """
    flow = BatchFlow(spec, create_batch)
    run, shards = flow.open_run()
    steps = [_STEPS[task_id](flow, run) for task_id in spec.steps]
    tenants = flow.mapped_task().partial(run=run).expand(shard=shards)
    approval = [flow.request_approval()] if spec.id in APPROVALS else []
    # A task knows its earlier steps by the order in which they are made.
    closing = flow.close_run()
    announcement = [flow.announce(spec)] if spec.makes else []
    chain(*steps, tenants, *approval, closing, *announcement)


def add_group(spec: BatchSpec, default_args: Mapping[str, Any]) -> TaskGroup:
    """Add a task group with the batch's tasks to its family's DAG."""
    package = import_module(f"include.skillreport.batches.{spec.slug}")
    with TaskGroup(
        group_id=spec.slug,
        group_display_name=f"{spec.id} {spec.name}",
        default_args=default_args,  # type: ignore[arg-type]  # typed as a type variable
    ) as group:
        add_batch(spec, package.create_batch)
    return group
