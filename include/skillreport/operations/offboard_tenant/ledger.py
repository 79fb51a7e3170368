"""The rows of leaving tenants (``batch.offboarding`` …). All statements act as ``batch_platform``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from include.skillreport.core.database import Statements
from include.skillreport.core.errors import BatchError
from include.skillreport.core.execution.object_store import tenant_folder
from include.skillreport.core.execution.tenant_selection import ACTIVE_STATUSES
from include.skillreport.schema.deletion import listed_tables

_SQL = Statements(Path(__file__).parent)


class OffboardingError(BatchError):
    """The tenant's stage does not allow the operation, or the deletion stopped."""

    code = "OFFBOARDING_REFUSED"


@dataclass(frozen=True)
class Offboarding:
    """An open offboarding of a tenant. ``waits_until`` is a day in Asia/Tokyo, the times are aware."""

    offboarding_id: str
    tenant_id: str
    tenant_code: str
    tenant_name: str
    stage: str
    begun_by: str
    begun_at: datetime
    age_key: str | None
    waits_until: date | None
    asked_by: str | None
    asked_in: str | None
    approved_by: str | None
    deleting_since: datetime | None
    problem: str | None

    @property
    def folder(self) -> str:
        """The folder in the store with the tenant's exports."""
        return f"offboarding/{tenant_folder(self.tenant_id)}"

    @property
    def fingerprint(self) -> str:
        """The question that an approval answers."""
        return f"{self.offboarding_id} {self.asked_in}"

    @property
    def askers(self) -> tuple[str | None, ...]:
        """Who may not approve."""
        return self.begun_by, self.asked_by


@dataclass(frozen=True)
class Dispute:
    """A user's claim that the register's entry of a tenant is wrong."""

    tenant_id: str
    offboarding_id: str
    asked_by: str
    asked_in: str

    @property
    def fingerprint(self) -> str:
        """The question that an approval answers."""
        return f"dispute {self.asked_in}"

    @property
    def askers(self) -> tuple[str | None, ...]:
        """Who may not approve."""
        return (self.asked_by,)


@dataclass(frozen=True)
class TableCount:
    """The rows of a table (with its schema) in the newest export, and the number of deleted or blanked ones."""

    table_name: str
    rule: str
    exported: int
    done: int

    @property
    def reason(self) -> str:
        """The reason (in Japanese) why the table's rows are deleted, blanked or kept."""
        schema, _, name = self.table_name.partition(".")
        listed = listed_tables().get((schema, name))
        return listed.reason if listed else ""


def find_open(platform: psycopg.Connection, tenant_id: str) -> Offboarding | None:
    """The tenant's offboarding, locked until the end of the transaction."""
    rows = _SQL.rows(platform, "open_offboarding", tenant_id=tenant_id)
    return Offboarding(**rows[0]) if rows else None


def require_open(platform: psycopg.Connection, tenant_id: str) -> Offboarding:
    """As ``find_open``. :raises OffboardingError: there is none."""
    found = find_open(platform, tenant_id)
    if found is None:
        raise OffboardingError("このテナントの退会は始まっていません。先に「退会の開始」を行ってください。")
    return found


def ask_about_entry(
    platform: psycopg.Connection,
    tenant_id: str,
    *,
    reason: str,
    person: str,
    now: datetime,
    execution_id: str,
) -> None:
    """Record a user's claim that the register's entry of the tenant is wrong. Another user decides.

    :raises OffboardingError: no entry requires the tenant's deletion.
    """
    named = {"reason": reason, "person": person, "now": now, "execution_id": execution_id}
    if _SQL.execute(platform, "dispute_entry", tenant_id=tenant_id, **named).fetchone() is None:
        raise OffboardingError(
            "このテナントに、取り消せる退会の記録はありません。取り消せるのは、復元したデータベースで削除のやり直しを求める記録だけです。"
        )


def find_dispute(platform: psycopg.Connection, tenant_id: str, offboarding_id: str) -> Dispute | None:
    """The dispute of this entry, decided or not."""
    rows = _SQL.rows(platform, "dispute", tenant_id=tenant_id, offboarding_id=offboarding_id)
    return Dispute(**rows[0]) if rows else None


def decide_dispute(platform: psycopg.Connection, dispute: Dispute, person: str, now: datetime) -> None:
    """Void the entry in the open transaction, so that the tenant need not be deleted."""
    named = {"tenant_id": dispute.tenant_id, "offboarding_id": dispute.offboarding_id}
    _SQL.execute(platform, "decide_dispute", **named, person=person, now=now)
    _SQL.execute(platform, "strike_off", **named)


def require_left(
    platform: psycopg.Connection, tenant_id: str, today: date, *, may_be_active: bool
) -> dict[str, Any]:
    """The tenant's row: ``tenant_code``, ``tenant_name``, ``status``, ``tenants`` and ``is_to_repeat``.

    ``today`` is in Asia/Tokyo. ``may_be_active``: an ended contract is enough. A deleted tenant in a restored database has left.
    :raises OffboardingError: the tenant has not left.
    """
    (tenant,) = _SQL.rows(platform, "leaving_tenant", tenant_id=tenant_id, today=today)
    if tenant["is_to_repeat"]:
        return tenant
    if not tenant["has_left"]:
        raise OffboardingError(
            f"このテナントの契約は終わっていません（状態 {tenant['status']}）。"
            "契約の終了日が過ぎるか、状態が INACTIVE、EXPIRED、DELETED になってから行ってください。"
        )
    if tenant["status"] in ACTIVE_STATUSES and not may_be_active:
        raise OffboardingError(
            f"このテナントの状態は {tenant['status']} なので、利用者とバッチが行を増やします。"
            "アプリで状態を INACTIVE にしてから、もう一度行ってください。"
        )
    return tenant


def is_deleted(platform: psycopg.Connection, offboarding_id: str) -> bool:
    """True if this offboarding has ended with the deletion."""
    return [row["stage"] for row in _SQL.rows(platform, "record_of", offboarding_id=offboarding_id)] == [
        "deleted"
    ]


def tables_of(platform: psycopg.Connection, offboarding_id: str) -> list[TableCount]:
    """The tables, in the order of deletion."""
    return [TableCount(**row) for row in _SQL.rows(platform, "tables_of", offboarding_id=offboarding_id)]


def record_counts(
    platform: psycopg.Connection, offboarding_id: str, counts: Sequence[tuple[str, str, str, int]]
) -> None:
    """Replace the numbers of exported rows: schema, table, rule and rows. Adds the rows that are already done."""
    places = {key: place for place, key in enumerate(listed_tables())}
    with platform.transaction():
        _SQL.execute(platform, "forget_counts", offboarding_id=offboarding_id)
        for schema, name, rule, rows in counts:
            _SQL.execute(
                platform,
                "count_table",
                offboarding_id=offboarding_id,
                table_name=f"{schema}.{name}",
                place=places.get((schema, name), len(places)),
                rule=rule,
                rows=rows,
            )


def drop_frozen(platform: psycopg.Connection, offboarding: Offboarding) -> None:
    """Delete the frozen people and keys, in the open transaction."""
    named = {"offboarding_id": offboarding.offboarding_id}
    _SQL.execute(platform, "drop_chunks", **named, only_undone=False)
    _SQL.execute(platform, "drop_persons", tenant_id=offboarding.tenant_id)


def record_frozen(
    platform: psycopg.Connection,
    offboarding: Offboarding,
    *,
    person: str,
    answered_at: datetime | None,
    now: datetime,
    manifest: tuple[str, int],
    unowned: int,
) -> None:
    """Record in the open transaction that everything is frozen. ``manifest``: the export's SHA-256 and bytes.

    :raises OffboardingError: the offboarding was cancelled.
    """
    sha256, export_bytes = manifest
    frozen = _SQL.execute(
        platform,
        "record_frozen",
        offboarding_id=offboarding.offboarding_id,
        person=person,
        answered_at=answered_at,
        now=now,
        manifest_sha256=sha256,
        export_bytes=export_bytes,
        unowned=unowned,
    ).fetchone()
    if frozen is None:
        raise OffboardingError("書き出しの間に、退会が取りやめられました。")


def recorded_manifests(platform: psycopg.Connection, offboarding: Offboarding) -> list[str]:
    """The hashes of the manifests of the approved exports."""
    return _SQL.column(platform, "manifests_of", offboarding_id=offboarding.offboarding_id)


def record_problem(platform: psycopg.Connection, offboarding: Offboarding, problem: str) -> None:
    """Record why the deletion stopped."""
    _SQL.execute(platform, "record_problem", offboarding_id=offboarding.offboarding_id, problem=problem)


def record_deleted(
    platform: psycopg.Connection,
    offboarding: Offboarding,
    now: datetime,
    *,
    remains: Sequence[str],
    awaits_supplement: bool,
) -> int:
    """Record the end in the open transaction and in the register. Returns the number of deleted and blanked rows.

    ``awaits_supplement``: the certificate names backups with the tenant.
    """
    named = {"offboarding_id": offboarding.offboarding_id, "now": now}
    (export_bytes,) = _SQL.row(platform, "record_deleted", **named, remains=Jsonb(remains))
    _SQL.execute(
        platform,
        "register",
        **named,
        tenant_id=offboarding.tenant_id,
        export_bytes=export_bytes,
        awaits_supplement=awaits_supplement,
    )
    return sum(each.done for each in tables_of(platform, offboarding.offboarding_id))
