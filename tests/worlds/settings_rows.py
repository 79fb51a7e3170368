"""Tenants' settings as rows for tests, runs of BATCH-018-05 and its undo on them, and their results."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import psycopg
from hypothesis import strategies as st
from psycopg.rows import dict_row

from include.skillreport.batches.settings_sync.batch import SettingsSyncBatch
from include.skillreport.batches.settings_sync.plan_settings import load_plan_settings
from include.skillreport.core.catalog import SETTINGS_SYNC
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.core.execution.settings import ExecutionSettings
from include.skillreport.core.operation_catalog import UNDO_SETTINGS_SYNC
from include.skillreport.operations.undo_settings_sync import create_batch as settings_sync_undo
from local_stack.batch_runs import LOCAL, run_batch
from tests.conftest import Database
from tests.worlds import host_rows

DAY = date(2026, 10, 31)

NOON = datetime(2026, 10, 31, 3, 0)


BASIC = {
    "limits.max_users": "20",
    "limits.storage_gb": "10",
    "limits.api_calls_per_month": "100000",
    "features.report_pdf": "true",
    "features.api_access": "false",
    "features.slack_integration": "false",
}

STANDARD = BASIC | {
    "limits.max_users": "50",
    "limits.storage_gb": "50",
    "limits.api_calls_per_month": "500000",
    "features.api_access": "true",
}

_PROTECTED = (
    "security", "authentication", "auth", "password", "passwd", "pwd", "sso", "mfa", "2fa", "token", "secret", "credential",
    "billing", "payment", "invoice", "charge", "card", "tax",
)  # fmt: skip

_HARMLESS = ("", "limits", "max", "default", "user", "enabled", "length", "features")

_FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}


def create_batch(*, sample: bool = False) -> SettingsSyncBatch:
    """The batch with the deployed plans, as if they were no sample."""
    return SettingsSyncBatch(load_plan_settings().model_copy(update={"sample": sample}))


def run(
    database: Database,
    day: date = DAY,
    *,
    codes: tuple[str, ...] = (),
    dry_run: bool = False,
    shards: int = 1,
) -> RunResult:
    """One whole run of BATCH-018-05, its tenants in this many shards."""
    sharding = ExecutionSettings(
        max_mapped_tenants=1, shards=shards, tenants_per_shard=1000, seconds_per_shard=5
    )
    with database.working() as (platform, connection):
        return run_batch(
            platform,
            connection,
            SETTINGS_SYNC,
            create_batch(),
            day,
            codes=codes,
            dry_run=dry_run,
            sharding=sharding,
        )


def undo(
    database: Database,
    execution_id: str,
    *,
    codes: tuple[str, ...] = (),
    dry_run: bool = False,
    reason: str = "誤った一覧",
) -> RunResult:
    """One whole run that takes the changes of another one back, its tenants in one shard."""
    sharding = ExecutionSettings(max_mapped_tenants=1, shards=1, tenants_per_shard=1000, seconds_per_shard=5)
    with database.working() as (platform, connection):
        return run_batch(
            platform,
            connection,
            UNDO_SETTINGS_SYNC,
            settings_sync_undo(LOCAL),
            DAY,
            codes=codes,
            dry_run=dry_run,
            parameters={"execution": execution_id, "reason": reason},
            sharding=sharding,
        )


def tenant(host: psycopg.Connection, tenant_id: str = "A", plan: str | None = "BASIC", **values: Any) -> None:
    host_rows.tenant(host, tenant_id, subscription_plan=plan, **values)


def setting(
    host: psycopg.Connection, key: str, value: str | None, tenant_id: str = "A", **values: Any
) -> None:
    row = {"last_modified_by": "user-1", "updated_at": NOON} | values
    host_rows.insert(
        host,
        "MST_TenantSettings",
        id=f"{key} of {tenant_id}",
        tenant_id=tenant_id,
        setting_key=key,
        setting_value=value,
        **row,
    )


def change(host: psycopg.Connection, key: str, value: str, tenant_id: str = "A") -> None:
    """A person changes the setting in the application."""
    host.execute(
        'UPDATE "MST_TenantSettings" SET setting_value = %s, last_modified_by = %s'
        " WHERE tenant_id = %s AND setting_key = %s",
        [value, "user-1", tenant_id, key],
    )


def move(host: psycopg.Connection, plan: str, tenant_id: str = "A") -> None:
    host.execute('UPDATE "MST_Tenant" SET subscription_plan = %s WHERE tenant_id = %s', [plan, tenant_id])


def values(host: psycopg.Connection, tenant_id: str = "A") -> dict[str, str]:
    return dict(
        host.execute(
            'SELECT setting_key, setting_value FROM "MST_TenantSettings" WHERE tenant_id = %s AND NOT is_deleted',
            [tenant_id],
        ).fetchall()
    )


def host_settings(host: psycopg.Connection) -> list[tuple[Any, ...]]:
    return host.execute('SELECT * FROM "MST_TenantSettings" ORDER BY tenant_id, setting_key').fetchall()


def everything_written(host: psycopg.Connection) -> list[Any]:
    """All rows that the batch writes, except the log of its runs."""
    return [
        host_settings(host),
        host.execute("SELECT * FROM batch.setting_plan ORDER BY tenant_id").fetchall(),
        host.execute("SELECT * FROM batch.applied_setting ORDER BY tenant_id, setting_key").fetchall(),
        host.execute(
            "SELECT * FROM batch.setting_change ORDER BY tenant_id, setting_key, changed_at"
        ).fetchall(),
    ]


def outcome(host: psycopg.Connection, tenant_id: str = "A") -> dict[str, Any]:
    """Of the newest run."""
    with host.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            "SELECT * FROM batch.tenant_outcome WHERE tenant_id = %s ORDER BY recorded_at DESC LIMIT 1",
            [tenant_id],
        ).fetchone()
    assert row is not None
    return row


def notes(host: psycopg.Connection, tenant_id: str = "A") -> str:
    return "\n".join(outcome(host, tenant_id)["notes"])


def counts(host: psycopg.Connection, *names: str, tenant_id: str = "A") -> tuple[int, ...]:
    return tuple(outcome(host, tenant_id)["details"][name] for name in names)


def history(host: psycopg.Connection) -> list[tuple[Any, ...]]:
    return host.execute(
        "SELECT setting_key, kind, old_value, new_value, reason FROM batch.setting_change"
        " ORDER BY changed_at, setting_key"
    ).fetchall()


@st.composite
def protected_spellings(draw: st.DrawFn) -> str:
    """A protected key in a possible spelling."""
    words = [draw(st.sampled_from(words)) for words in (_HARMLESS, _PROTECTED, _HARMLESS)]
    words = [word for word in words if word]
    style = draw(st.sampled_from(["camel", "Pascal", "snake", "KEBAB", "dots", "joined", "spaces", "random"]))
    if style == "camel":
        key = words[0] + "".join(word.capitalize() for word in words[1:])
    elif style == "random":
        key = "".join(
            (letter.upper() if draw(st.booleans()) else letter)
            + draw(st.sampled_from(["", "_", "-", "\u200b"]))
            for letter in "".join(words)
        )
    else:
        joints = {"snake": "_", "KEBAB": "-", "dots": ".", "spaces": " "}
        key = joints.get(style, "").join(word.capitalize() if style == "Pascal" else word for word in words)
        key = key.upper() if style == "KEBAB" else key
    return key.translate(_FULL_WIDTH) if draw(st.booleans()) else key
