"""A worker in a separate process: it processes a shard of a batch that sends, like the mapped task, and may be killed."""

from __future__ import annotations

from multiprocessing.context import ForkServerContext, ForkServerProcess

import psycopg

from include.skillreport.core.catalog import (
    NOTIFICATION_RETRY,
    SCHEDULED_NOTIFICATIONS,
)
from include.skillreport.core.execution import flow
from include.skillreport.core.execution.batch import Batch, Run, create_batch
from include.skillreport.core.execution.openings import TaskKey
from include.skillreport.core.execution.sharding import Shard
from include.skillreport.core.network import Network
from include.skillreport.core.run_spec import BatchSpec
from local_stack.batch_runs import LOCAL, LocalInstallation

# The connections' name in pg_stat_activity.
APPLICATION = "killed worker"

CONTEXT = ForkServerContext()
# A worker is a fork of a process that has imported all this.
CONTEXT.set_forkserver_preload(["pytest", __name__])


def batch_of(spec: BatchSpec) -> Batch:
    """The steps of a batch."""
    return create_batch(spec, LOCAL)


_BATCHES = {spec.id: batch_of(spec) for spec in (SCHEDULED_NOTIFICATIONS, NOTIFICATION_RETRY)}


def start(dsn: str, network: Network, spec: BatchSpec, run: Run) -> ForkServerProcess:
    """Start a worker for the first shard of an open run. It ends with 0 if it is not killed."""
    worker = CONTEXT.Process(target=_process, args=(dsn, network, spec, run), daemon=True)
    worker.start()
    return worker


def _process(dsn: str, network: Network, spec: BatchSpec, run: Run) -> None:
    with (
        psycopg.connect(dsn, autocommit=True) as platform,
        psycopg.connect(dsn, autocommit=True) as connection,
    ):
        platform.execute("SET ROLE batch_platform")
        connection.execute("SET ROLE batch_tenant")
        assert run.run_at is not None
        installation = LocalInstallation(platform, connection, services=network, moment=run.run_at)
        shard = Shard(0, "")
        flow.process_shard(spec, _BATCHES[spec.id], run, shard, installation, TaskKey(spec.mapped_task, 0))
