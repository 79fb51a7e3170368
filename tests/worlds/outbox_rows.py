"""Messages in the outbox, tenants with channels, and runs that send them or operate on them, for tests."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any

import psycopg

from include.skillreport.core.catalog import SCHEDULED_NOTIFICATIONS
from include.skillreport.core.execution.batch import create_batch
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.core.network import EmailConfig, Network
from include.skillreport.core.operation_catalog import OPERATE_NOTIFICATIONS
from include.skillreport.core.run_spec import BatchSpec, RunSpec
from include.skillreport.messaging.outbox import Claimed, Exchange, Lane, SendAttempt, exchange
from include.skillreport.messaging.retry import Status
from include.skillreport.operations.operate_notifications import create_batch as notification_operations
from local_stack.batch_runs import LOCAL, open_run, process_tenants, run_batch
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.messaging.sending import key_pair
from tests.waiting import wait_until
from tests.worlds import host_rows

TODAY = date(2026, 11, 1)
# 08:30 in Japan on the run's day.
DUE = datetime(2026, 10, 31, 23, 30)

_ids = count(1)

TICK = datetime(2026, 11, 1, 9, tzinfo=JAPAN)


def network(stand_ins: StandIns) -> Network:
    """An installation whose mail server and services are the stand-ins."""
    email = EmailConfig("127.0.0.1", stand_ins.smtp_port, "no-reply@cloud-service.example", security="none")
    return Network(email, stand_ins.allowed_hosts)


def slack(host: psycopg.Connection, tenant_id: str, stand_ins: StandIns) -> None:
    """The tenant's Slack."""
    integration(
        host,
        tenant_id,
        "slack",
        # A separate workspace, with its own rate limit.
        auth={"bot_token": f"xoxb-{tenant_id}"},
        connection={"base_url": stand_ins.slack_base_url},
    )


def line_works(
    host: psycopg.Connection, tenant_id: str, stand_ins: StandIns, bot_id: str = "1000001"
) -> None:
    """The tenant's LINE WORKS."""
    integration(
        host,
        tenant_id,
        "line_works",
        auth={
            "client_id": f"client of {tenant_id}",
            "client_secret": "client-very-secret",
            "service_account": "batch@example",
            "private_key": key_pair()[0],
        },
        connection={
            "bot_id": bot_id,
            "auth_url": stand_ins.line_works_auth_url,
            "base_url": stand_ins.line_works_base_url,
        },
    )


def integration(
    host: psycopg.Connection,
    tenant_id: str,
    key: str,
    *,
    auth: dict[str, Any],
    connection: dict[str, Any] | None = None,
) -> None:
    """A row of SYS_IntegrationConfig."""
    host_rows.insert(
        host,
        "SYS_IntegrationConfig",
        id=f"integration_{next(_ids)}",
        tenant_id=tenant_id,
        integration_key=key,
        auth_config=json.dumps(auth),
        connection_config=json.dumps(connection or {}),
        is_enabled=True,
        updated_at=datetime(2026, 10, 1),
    )


def waiting(host: psycopg.Connection, tenant_id: str, kind: str = "EMAIL", **values: Any) -> str:
    """A notification of the application that waits; returns its id."""
    log_id = str(values.pop("id", f"ntf_{next(_ids)}"))
    values = {
        "recipient_address": "member@example.jp",
        "subject": "お知らせ",
        "message_body": "本文",
        "send_status": "PENDING",
        "send_attempts": 0,
        "scheduled_at": DUE,
        "updated_at": DUE,
    } | values
    host_rows.insert(
        host, "HIS_NotificationLog", id=log_id, tenant_id=tenant_id, notification_type=kind, **values
    )
    return log_id


def run_notifications(
    database: Database,
    stand_ins: StandIns,
    *,
    spec: BatchSpec = SCHEDULED_NOTIFICATIONS,
    on: date | None = None,
    codes: Sequence[str] = (),
    dry_run: bool = False,
    through: Network | None = None,
    store: ObjectStore | None = None,
    **parameters: Any,
) -> RunResult:
    """One whole run of a batch that sends or asks."""
    batch = create_batch(spec, LOCAL)
    with database.working() as (platform, connection):
        # For tests that end this connection.
        connection.execute("SET application_name = 'sender'")
        return run_batch(
            platform,
            connection,
            spec,
            batch,
            on or TODAY,
            codes=codes,
            dry_run=dry_run,
            parameters=parameters,
            network=through or network(stand_ins),
            store=store,
        )


def operate(
    database: Database,
    stand_ins: StandIns,
    operation: str,
    *messages: str,
    codes: Sequence[str] = (),
    dry_run: bool = False,
    addresses: Sequence[str] = (),
    **parameters: Any,
) -> RunResult:
    """One whole run of an operation on these messages or addresses, or on the channels. ``parameters``: further fields of the form, such
    as another reason.
    """
    reason = {} if operation in ("list", "list_suppressed") else {"reason": "宛先を直したため"}
    with database.working() as (platform, connection):
        return run_batch(
            platform,
            connection,
            OPERATE_NOTIFICATIONS,
            notification_operations(LOCAL),
            TODAY,
            codes=codes,
            dry_run=dry_run,
            parameters={
                "operation": operation,
                "messages": list(messages),
                "addresses": list(addresses),
                **reason,
                **parameters,
            },
            network=network(stand_ins),
        )


def claim_due(
    connection: psycopg.Connection,
    lane: Lane,
    statuses: Iterable[Status],
    *,
    count: int,
    owner: str,
    due_before: datetime,
    now: datetime,
) -> Sequence[Claimed]:
    """Claim up to ``count`` due messages of a lane."""
    (claims,) = exchange(
        connection, [Exchange(lane, (), count)], statuses, owner=owner, started_at=due_before, now=now
    )
    return claims.messages


def record_sent(
    connection: psycopg.Connection, lane: Lane, sent: Sequence[SendAttempt], *, owner: str, now: datetime
) -> None:
    """Record the results of claimed messages."""
    exchange(connection, [Exchange(lane, sent, 0)], (), owner=owner, started_at=now, now=now)


def unsigned(text: str) -> str:
    """The text of an e-mail without the service's signature."""
    return text.partition("\n\n-- \n")[0]


def ambiguous(database: Database, host: psycopg.Connection, stand_ins: StandIns) -> str:
    """A message of tenant A that may have arrived, and a tenant B without messages; returns the message's id."""
    for tenant_id in ("A", "B"):
        host_rows.tenant(host, tenant_id)
        slack(host, tenant_id, stand_ins)
    waiting(host, "A", "SLACK", recipient_address="C1", message_body="極秘の本文")
    stand_ins.fail_next("slack", "internal_error")
    run_notifications(database, stand_ins)
    row = host.execute("SELECT message_id FROM batch.outbox WHERE status = 'ambiguous'").fetchone()
    assert row is not None
    return str(row[0])


def statuses(host: psycopg.Connection) -> Counter[tuple[str, str]]:
    """How many messages of the outbox are in which channel and status."""
    rows = host.execute("SELECT channel, status FROM batch.outbox").fetchall()
    return Counter((channel, status) for channel, status in rows)


def make_due(host: psycopg.Connection) -> None:
    """Time has passed: whatever waits for another attempt is due."""
    host.execute(
        "UPDATE batch.outbox SET next_attempt_at = %s WHERE status IN ('retry', 'pending')",
        [datetime(2026, 11, 1, tzinfo=UTC)],
    )


def lose_senders(host: psycopg.Connection) -> None:
    """The leases of all messages in flight have expired, as after a kill."""
    host.execute(
        "UPDATE batch.outbox SET lease_until = clock_timestamp() - interval '1 second' WHERE status = 'sending'"
    )


def wait_for(services: StandIns, messages: int) -> None:
    """Wait until this many messages have arrived."""
    wait_until(lambda: len(services.messages) >= messages, f"{messages} messages arrive")


def listing(database: Database, tenant_id: str = "A") -> list[str]:
    """The lines that the task's log shows."""
    batch = notification_operations(LOCAL)
    with database.working() as (platform, connection):
        run, _ = open_run(platform, OPERATE_NOTIFICATIONS, batch, TODAY, codes=[tenant_id])
        report = process_tenants(connection, platform, batch, run, [tenant_id])
    (result,) = report.results
    return list(result.report)


def scheduled(
    database: Database,
    services: StandIns,
    spec: RunSpec = SCHEDULED_NOTIFICATIONS,
    *,
    ticked_at: datetime | None = TICK,
    after: timedelta = timedelta(seconds=5),
    on: date = TODAY,
    **options: Any,
) -> RunResult:
    """A whole run that the schedule has started at this tick; None: that a person has started."""
    batch = create_batch(spec, LOCAL)
    with database.working() as (platform, connection):
        return run_batch(
            platform,
            connection,
            spec,
            batch,
            on,
            network=network(services),
            ticked_at=ticked_at,
            run_at=(ticked_at or TICK) + after,
            **options,
        )
