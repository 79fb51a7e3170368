"""Employees, directories at the stand-ins, and runs of BATCH-019-03 for tests."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import aiohttp
import psycopg

from include.skillreport.batches.external_sync.batch import ExternalSyncBatch
from include.skillreport.batches.external_sync.settings import ExternalSyncSettings
from include.skillreport.core.catalog import EXTERNAL_SYNC
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.core.execution.settings import ExecutionSettings
from include.skillreport.core.network import Network
from include.skillreport.messaging.channels.directory import Access, Patience, ServiceDirectory
from include.skillreport.messaging.channels.line_works import LINE_WORKS, LineWorksConfig
from include.skillreport.messaging.channels.slack import SLACK, SlackConfig
from include.skillreport.messaging.channels.teams import TEAMS
from include.skillreport.messaging.channels.teams.directory import GraphConfig
from include.skillreport.messaging.settings import NotificationSettings
from local_stack.batch_runs import run_batch
from local_stack.stand_ins import StandInDirectory, StandIns
from tests.conftest import Database
from tests.messaging.sending import key_pair
from tests.worlds import host_rows
from tests.worlds.outbox_rows import integration

DAY = date(2026, 11, 1)

SLACK_TOKEN = "xoxb-test"
GRAPH_DIRECTORY = "entra-1"
LINE_WORKS_CLIENT = "client-1"

HASTY = Patience(attempts=2, first_pause=0.01, longest_pause=0.5, waits=3)


_SERVICES = {SlackConfig: SLACK, GraphConfig: TEAMS, LineWorksConfig: LINE_WORKS}

NEXT = DAY + timedelta(days=1)

AFTER = DAY + timedelta(days=2)

# The run for NEXT takes place when that day is over.
VANISHED, LATER = AFTER, AFTER + timedelta(days=1)


def open_directory(
    config: Any,
    session: aiohttp.ClientSession,
    allowed_hosts: Collection[str],
    patience: Patience,
    **options: Any,
) -> ServiceDirectory:
    """The directory for some credentials."""
    return _SERVICES[type(config)].directory(config, Access(session, allowed_hosts, patience, **options))


def batch(patience: Patience = HASTY) -> ExternalSyncBatch:
    """With the deployed settings, and in a hurry."""
    return ExternalSyncBatch(ExternalSyncSettings.load(), NotificationSettings.load(), patience)


def run_sync(
    database: Database,
    services: StandIns,
    day: date = DAY,
    *,
    codes: Sequence[str] = (),
    dry_run: bool = False,
    patience: Patience = HASTY,
    sharding: ExecutionSettings | None = None,
    **parameters: Any,
) -> RunResult:
    """One whole run."""
    with database.working() as (platform, connection):
        return run_batch(
            platform,
            connection,
            EXTERNAL_SYNC,
            batch(patience),
            day,
            codes=codes,
            dry_run=dry_run,
            parameters=parameters,
            sharding=sharding,
            network=Network(allowed_hosts=services.allowed_hosts),
        )


def employees(host: psycopg.Connection, numbers: Iterable[int], tenant_id: str = "A", **values: Any) -> None:
    """People of the tenant: E1 with the code 000001 and the address e1@example.jp, and so on."""
    for number in numbers:
        row = {
            "id": f"{tenant_id}-E{number}",
            "employee_code": f"{number:06}",
            "email": f"e{number}@{tenant_id.lower()}.example.jp",
            "tenant_id": tenant_id,
            "updated_at": host_rows.UPDATED_AT,
        }
        host_rows.insert(host, "MST_Employee", **(row | values))


def member(number: int, tenant_id: str = "A", **values: Any) -> dict[str, Any]:
    """Slack's account of an employee; ``email`` replaces the address, None omits it."""
    email = values.pop("email", f"e{number}@{tenant_id.lower()}.example.jp")
    return {
        "id": f"U{number:04}",
        "deleted": False,
        "is_bot": False,
        "is_email_confirmed": True,
        "profile": {"real_name": f"社員 {number}"} | ({"email": email} if email else {}),
    } | values


def graph_user(number: int, **values: Any) -> dict[str, Any]:
    """Microsoft's account of an employee."""
    return {
        "id": f"G{number:04}",
        "displayName": f"社員 {number}",
        "mail": f"e{number}@a.example.jp",
        "userPrincipalName": f"e{number}@a.onmicrosoft.example",
        "accountEnabled": True,
        "userType": "Member",
        "employeeId": None,
    } | values


def line_works_user(number: int, **values: Any) -> dict[str, Any]:
    """LINE WORKS' account of an employee."""
    return {
        "userId": f"L{number:04}",
        "userExternalKey": None,
        "email": f"e{number}@a.example.jp",
        "userName": {"lastName": "社員", "firstName": str(number)},
        "isPending": False,
        "isSuspended": False,
        "isDeleted": False,
        "isAwaiting": False,
        "leaveOfAbsence": None,
    } | values


def slack(
    host: psycopg.Connection, services: StandIns, tenant_id: str = "A", token: str = SLACK_TOKEN
) -> StandInDirectory:
    """The tenant's Slack, empty as yet."""
    integration(
        host,
        tenant_id,
        "slack",
        auth={"bot_token": token},
        connection={"base_url": services.slack_base_url},
    )
    return _shown(services, "slack", token)


def teams(host: psycopg.Connection, services: StandIns, tenant_id: str = "A") -> StandInDirectory:
    """The tenant's Microsoft Teams, empty as yet."""
    integration(
        host,
        tenant_id,
        "microsoft-teams",
        auth={"tenant_id": GRAPH_DIRECTORY, "client_id": "app-1", "client_secret": "graph-very-secret"},
        connection={"graph_auth_url": services.graph_auth_url, "graph_base_url": services.graph_base_url},
    )
    return _shown(services, "teams", GRAPH_DIRECTORY)


def line_works(host: psycopg.Connection, services: StandIns, tenant_id: str = "A") -> StandInDirectory:
    """The tenant's LINE WORKS, empty as yet."""
    integration(
        host,
        tenant_id,
        "line-works",
        auth={
            "client_id": LINE_WORKS_CLIENT,
            "client_secret": "client-very-secret",
            "service_account": "bot@a",
            "private_key": key_pair()[0],
        },
        connection={
            "bot_id": "1001",
            "auth_url": services.line_works_auth_url,
            "base_url": services.line_works_base_url,
        },
    )
    return _shown(services, "line_works", LINE_WORKS_CLIENT)


def setting(host: psycopg.Connection, key: str, kind: str, config: str, tenant_id: str = "A") -> None:
    """A row of MST_NotificationSettings; ``config`` is its JSON."""
    host_rows.insert(
        host,
        "MST_NotificationSettings",
        id=f"setting_{key}",
        tenant_id=tenant_id,
        setting_key=key,
        notification_type=kind,
        trigger_event="REPORT_READY",
        channel_config=config,
        is_enabled=True,
        updated_at=datetime(2026, 10, 1),
    )


def links(host: psycopg.Connection, tenant_id: str = "A") -> list[tuple[str, str, str]]:
    """Account, employee and status of each link."""
    return host.execute(
        """
        SELECT external_id, employee_id, status FROM batch.account_link
        WHERE tenant_id = %s ORDER BY provider, external_id
        """,
        [tenant_id],
    ).fetchall()


def outcome(host: psycopg.Connection, part: str = "slack", tenant_id: str = "A") -> dict[str, Any]:
    """The newest outcome of a tenant's directory: status, details, notes, error."""
    row = host.execute(
        """
        SELECT status, details, notes, error_message FROM batch.tenant_outcome
        WHERE tenant_id = %s AND part = %s ORDER BY recorded_at DESC LIMIT 1
        """,
        [tenant_id, part],
    ).fetchone()
    assert row is not None
    return dict(zip(("status", "details", "notes", "error"), row, strict=True))


def changes(host: psycopg.Connection) -> list[tuple[str, str]]:
    """Kind and subject of every change so far."""
    return host.execute(
        "SELECT kind, subject_id FROM batch.directory_change ORDER BY kind, subject_id"
    ).fetchall()


def everything(host: psycopg.Connection) -> list[tuple[str, ...]]:
    """All rows that a sync may change, except its records of runs."""
    return host.execute(
        """
        SELECT 'link', row_to_json(link)::jsonb - 'absent_on' - 'is_absence_doubtful' - 'changed_by' FROM batch.account_link AS link
        UNION ALL SELECT 'account', row_to_json(account)::jsonb FROM batch.directory_account AS account
        UNION ALL SELECT 'channel', row_to_json(channel)::jsonb - 'absent_on' FROM batch.directory_channel AS channel
        UNION ALL SELECT 'setting', row_to_json(setting)::jsonb FROM "MST_NotificationSettings" AS setting
        UNION ALL SELECT 'change', row_to_json(change)::jsonb FROM batch.directory_change AS change
        UNION ALL SELECT 'message', jsonb_build_array(dedupe_key) FROM batch.outbox
        ORDER BY 1, 2
        """
    ).fetchall()


def _shown(services: StandIns, service: str, account: str) -> StandInDirectory:
    directory = StandInDirectory()
    services.show_directory(service, account, directory)
    return directory
