"""Every statement over a log of the application can use the recommended indexes: the tests read its plan.

A new block that names a view of such a table fails the first test until it has parameters here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from skill_batch.board.statements import SQL as BOARD_SQL
from include.skillreport.approvals.requests import HOLDS
from include.skillreport.core.catalog import (
    BATCHES,
    TENANT_BILLING,
)
from include.skillreport.schema.host_contract import HostVariant
from include.skillreport.schema.host_indexes.creation import create_indexes
from include.skillreport.schema.host_indexes.listing import HOST_INDEXES
from tests.conftest import Database, Server, copied_database
from tests.schema.host_plan_rows import LAST_DAY, TENANTS, plant_host
from tests.schema.statement_plans import INCLUDE, Statement, all_statements, explain, index_names, reads

VIEWS = INCLUDE / "schema" / "host_views"

LOGS = ("SYS_SystemLog", "HIS_AuditLog", "HIS_NotificationLog", "SYS_TokenStore")
"""Tables that grow with time. No statement may read one as a whole."""

GROWING = (
    *LOGS,
    "HIS_ReportGeneration",
    "TRN_EmployeeSkillGrade",
    "TRN_GoalProgress",
    "TRN_PDU",
    "TRN_ProjectRecord",
    "TRN_SkillEvidence",
    "TRN_SkillRecord",
    "TRN_TrainingHistory",
)

NOW = datetime(2026, 11, 1, tzinfo=UTC)
DAY = {"day_start": LAST_DAY - timedelta(days=1), "day_end": LAST_DAY}
IDS = {"ids": ["n99001", "n99002"]}
SOURCES = dict.fromkeys(
    ("has_requests", "has_files", "has_reports", "has_assessments", "has_notifications", "has_logins"), True
)


_STORED = "storage is what a tenant owns, not what is new"
_HELD = "the statistics count what people hold, not what is new"
_DUE = "the rows are as many as people hold, and the due date is an expression"
_ASKED = "an operator asks for all rows"
_ONCE = "read while a source has no row, at most once a day, and then remembered in batch.host_source"

STATEMENTS: dict[str, Statement] = {
    "activity/collect_signals": Statement(
        {
            **DAY,
            **SOURCES,
            "execution_id": "e",
            "business_date": date(2026, 10, 31),
            "tenant_ids": list(TENANTS),
            "reads_logs": True,
            "reads_edits": True,
        },
        scans=True,
        whole={"HIS_ReportGeneration": _STORED, "TRN_SkillEvidence": _STORED},
    ),
    "activity/last_rows": Statement(
        {"sources": ["SYS_SystemLog", "HIS_AuditLog"], "day_end": LAST_DAY},
        scans=True,
        whole=dict.fromkeys(GROWING, _ONCE),
    ),
    "billing/copy_letter": Statement(
        {
            "tenant_id": "T1",
            "letter_id": "n99001",
            "notification_ids": ["n99001-copy-1"],
            "place_list": [1],
            "kind_list": ["cc"],
            "addresses": ["x"],
        },
        role="batch_tenant",
    ),
    "billing/forget_copies": Statement({"letter_id": "n99001"}, role="batch_tenant"),
    "billing/queue_letters": Statement(
        {
            **{
                f"{name}_list": ["x"]
                for name in (
                    "recipient_address",
                    "letter_id",
                    "subject",
                    "message_body",
                    "file_name",
                    "object_key",
                    "attached_text",
                    "unattached_text",
                )
            },
            "place_list": [1],
            "kind_list": ["cc"],
            "sha256_list": [None],
            "bytes_list": [None],
            "is_attached_list": [None],
            "notification_id_list": ["invoice-1"],
            "tenant_id_list": ["T1"],
            "scheduled_at": None,
        },
        role="batch_tenant",
    ),
    "billing/release_letters": Statement(
        {
            "notification_ids": ["n99001"],
            "addresses": ["x"],
            "scheduled_at": datetime(2026, 11, 1),  # a column without a time zone
        },
        role="batch_tenant",
    ),
    "billing/load_accounts": Statement(
        {"period_start": date(2026, 10, 1), "period_end": date(2026, 10, 31)}, role="batch_tenant"
    ),
    "billing/lock_letters": Statement({"notification_ids": ["n99001"]}, role="batch_tenant"),
    "billing/unsent_reminders": Statement({"notification_ids": ["n99001"]}, role="batch_tenant"),
    "billing/withdraw_letters": Statement({"notification_ids": ["n99001"]}, role="batch_tenant"),
    "batches/log_cleanup/old all_system_log": Statement({"before": LAST_DAY - timedelta(days=33)}),
    "batches/log_cleanup/delete all_system_log": Statement(
        {"id": ["1", "2"], "before": LAST_DAY - timedelta(days=33)}
    ),
    "batches/log_cleanup/old all_token": Statement({"before": LAST_DAY - timedelta(days=33)}),
    "batches/log_cleanup/delete all_token": Statement(
        {"id": ["1", "2"], "before": LAST_DAY - timedelta(days=33)}
    ),
    "batches/monthly_report/show_file": Statement(
        {
            "id": "r1",
            "tenant_id": "T1",
            "title": "t",
            "format": "pdf",
            "parameters": "{}",
            "location": "x",
            "size": 1,
        },
        role="batch_tenant",
    ),
    "batches/monthly_report/withdraw_file": Statement({"id": "r1"}, role="batch_tenant"),
    "batches/statistics/collect_signals": Statement(
        {
            **DAY,
            "execution_id": "e",
            "business_date": date(2026, 10, 31),
            "tenant_ids": list(TENANTS),
            "smallest_group": 5,
            "expiring_until": date(2026, 12, 31),
        },
        scans=True,
        whole={
            "TRN_SkillRecord": _HELD,
            "TRN_GoalProgress": _HELD,
            "TRN_PDU": _HELD,
            "TRN_TrainingHistory": _HELD,
        },
    ),
    "core/execution/remember_sources": Statement(
        {"logins": "HIS_AuditLog LOGIN", "patience": timedelta(hours=20)},
        scans=True,
        whole=dict.fromkeys(GROWING, _ONCE),
    ),
    "messaging/mirror_to_host": Statement({"message_ids": ["m99001"]}, role="batch_tenant"),
    "messaging/claim": Statement(
        {
            "tenant_id": "T1",
            "channel": "email",
            "statuses": ["pending"],
            "count": 10,
            "owner": "run",
            "due_before": NOW,
            "now": NOW,
            "lease": timedelta(minutes=5),
            "apart": False,
            "busy": [],
        },
        role="batch_tenant",
    ),
    "schema/checks/row_placements": Statement(
        {"person_keys": ["x"], "kinds": ["placeholder"]},
        role="batch_owner",
        scans=True,
        whole=dict.fromkeys(GROWING, _ASKED),
    ),
    "schema/checks/empty_sources": Statement(
        {}, role="batch_owner", scans=True, whole=dict.fromkeys(GROWING, _ASKED)
    ),
    "batches/notification_log_cleanup/collect_notifications": Statement(
        {
            "staging_id": "e",
            "tenant_ids": list(TENANTS),
            "cutoffs": [LAST_DAY - timedelta(days=33 + number) for number in range(4)],
            "last_cutoff": LAST_DAY - timedelta(days=33),
        }
    ),
    "batches/notification_log_cleanup/notifications_to_archive": Statement(
        {**IDS, "tenant_id": "T1", "cutoff": LAST_DAY}, role="batch_tenant"
    ),
    "batches/notification_log_cleanup/messages_to_archive": Statement(
        {"ids": ["m99001"], "tenant_id": "T1", "cutoff": LAST_DAY, "today": NOW}, role="batch_tenant"
    ),
    "batches/notification_log_cleanup/delete_notifications": Statement(
        {**IDS, "tenant_id": "T1", "digests": [b"x"]}, role="batch_tenant"
    ),
    "batches/notification_log_cleanup/collect_messages": Statement(
        {
            "staging_id": "e",
            "message_staging_id": "m",
            "tenant_ids": list(TENANTS),
            "cutoffs": [LAST_DAY - timedelta(days=33)] * 4,
            "today": NOW,
        },
        role="batch_tenant",
    ),
    "batches/notification_retry/take_behind_closed_channels": Statement(
        {
            "tenant_ids": ["T1"],
            "hours": [1],
            "now": NOW,
            "contract_letters": ["invoice"],
            "switched_off": Jsonb([]),
        },
        role="batch_tenant",
    ),
    "batches/scheduled_notifications/expire_host_notifications": Statement(
        {**IDS, "code": "expired", "reason": "x"}, role="batch_tenant"
    ),
    "batches/scheduled_notifications/former_tenants_with_letters": Statement({"cutoff": LAST_DAY}),
    "batches/scheduled_notifications/collect_signals": Statement(
        {
            "execution_id": "e",
            "tenant_ids": list(TENANTS),
            "cutoff": LAST_DAY,
            "today": date(2026, 11, 1),
            "last_day": date(2027, 1, 31),
        },
        scans=True,
        whole={"TRN_PDU": _DUE, "TRN_GoalProgress": _DUE},
    ),
    "batches/inactive_tenants/collect_signals": Statement(
        {
            **DAY,
            "execution_id": "e",
            "business_date": date(2026, 10, 31),
            "run_day_end": LAST_DAY + timedelta(days=1),
            "read_from": LAST_DAY - timedelta(days=2),
            "reads_logs": True,
            "reads_all": False,
            "tenant_ids": list(TENANTS),
        },
        scans=True,
    ),
    "batches/tenant_monitoring/collect_signals": Statement(
        {
            **SOURCES,
            "execution_id": "e",
            "batch_ids": [spec.id for spec in BATCHES],
            "billing_id": TENANT_BILLING.id,
            "invoice_operations_id": "OPERATE",
            "check_at": NOW,
            "history_start": NOW - timedelta(days=28),
            "first_hour": NOW - timedelta(hours=2),
            "read_from": NOW - timedelta(hours=2),
            "kept_from": NOW - timedelta(hours=2),
            "failures_since": NOW - timedelta(days=28),
            "tenant_ids": list(TENANTS),
        },
        scans=True,
        whole={"HIS_ReportGeneration": _STORED, "TRN_SkillEvidence": _STORED},
    ),
}


@cache
def growing_views() -> frozenset[str]:
    """The views that read a growing table, directly or through another view."""
    texts: dict[str, str] = {}
    for file in VIEWS.glob("*.sql"):
        for name, text in re.findall(
            r"CREATE OR REPLACE VIEW batch\.(\w+)(.*?);\n", _code(file.read_text(encoding="utf-8")), re.DOTALL
        ):
            texts[name] = texts.get(name, "") + text
    found = {name for name, text in texts.items() if any(f'"{table}"' in text for table in GROWING)}
    while True:
        further = {
            name for name, text in texts.items() if found.intersection(re.findall(r"batch\.(\w+)", text))
        }
        if further <= found:
            return frozenset(found)
        found |= further


def growing_blocks() -> dict[str, str]:
    """The blocks that name such a view, by folder and name."""
    return {
        f"{folder}/{name}": text
        for folder, name, text in all_statements()
        if growing_views().intersection(re.findall(r"batch\.(\w+)", _code(text)))
    }


def _code(text: str) -> str:
    """The SQL without its comments."""
    return re.sub(r"--.*", "", text)


@pytest.fixture(scope="module")
def indexed(server: Server, templates: dict[HostVariant, str]) -> Iterator[Database]:
    """A host with 40 days of logs and all recommended indexes."""
    with copied_database(server, templates[HostVariant.MULTI_TENANT], "host_plans") as database:
        with database.connect() as owner:
            plant_host(owner)
        list(create_indexes(database.dsn))
        yield database


def test_every_statement_over_a_growing_table_has_its_plan_read() -> None:
    assert "all_user_action" in growing_views()
    assert "tenant_notification_now" in growing_views()
    assert sorted(growing_blocks()) == sorted(STATEMENTS)


@pytest.mark.slow("needs many rows")
@pytest.mark.parametrize("name", ["activity/collect_signals", "batches/inactive_tenants/collect_signals"])
def test_no_log_is_read_if_the_hourly_pass_has_counted_it(indexed: Database, name: str) -> None:
    statement = STATEMENTS[name]
    statement = replace(
        statement, parameters={**statement.parameters, "reads_logs": False, "reads_edits": False}
    )
    with indexed.connect(statement.role) as connection:
        plan = explain(connection, growing_blocks()[name], statement)

    of_the_day = {"HIS_NotificationLog", "TRN_SkillRecord", *statement.whole}
    assert {table for table, _ in reads(plan)}.intersection(GROWING) <= of_the_day


@pytest.mark.parametrize("name", sorted(STATEMENTS))
def test_no_statement_reads_a_log_as_a_whole(indexed: Database, name: str) -> None:
    statement = STATEMENTS[name]
    with indexed.connect(statement.role) as connection:
        plan = explain(connection, growing_blocks()[name], statement)

    read = {table for table, is_whole in reads(plan) if is_whole}
    assert read.intersection(GROWING) <= set(statement.whole)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        (
            "documents_of_month",
            {
                "month": date(2026, 10, 1),
                "today": date(2026, 11, 1),
                "state": None,
                "codes_of_holds": HOLDS,
                "most": 50,
                "skipped": 0,
            },
        ),
        ("invoice", {"invoice_id": "i", "codes_of_holds": HOLDS}),
    ],
)
def test_the_board_looks_letters_up_by_their_ids(
    indexed: Database, name: str, parameters: dict[str, Any]
) -> None:
    statement = Statement(parameters, role="batch_board")
    with indexed.connect(statement.role) as connection:
        read = list(reads(explain(connection, BOARD_SQL[name], statement)))

    assert {table: is_whole for table, is_whole in read if table in ("HIS_NotificationLog", "outbox")} == {
        "HIS_NotificationLog": False,
        "outbox": False,
    }


def test_a_statement_reads_each_index_of_the_list(indexed: Database) -> None:
    read: set[str] = set()
    for name, text in growing_blocks().items():
        with indexed.connect(STATEMENTS[name].role) as connection:
            read |= set(index_names(explain(connection, text, STATEMENTS[name])))

    assert {index.name for index in HOST_INDEXES} - read == set()
