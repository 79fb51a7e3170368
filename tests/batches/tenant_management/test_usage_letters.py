"""The letters about quotas that BATCH-018-01 queues for the tenants' administrators."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import psycopg

from tests import host_rows
from tests.batches.tenant_management.billing_rows import run_usage
from tests.conftest import Database

DAY = date(2026, 10, 31)
GIGABYTE_IN_KB = 1024**2


def stored(host: psycopg.Connection, tenant_id: str, gigabytes: float, **values: Any) -> None:
    """A tenant with 10 GB of storage in its contract, and files of this size."""
    host_rows.tenant(
        host, tenant_id, **({"admin_email": f"admin@{tenant_id}.example.jp", "max_storage_gb": 10} | values)
    )
    host_rows.insert(
        host,
        "TRN_SkillEvidence",
        id=f"film_{tenant_id}",
        tenant_id=tenant_id,
        file_size_kb=int(gigabytes * GIGABYTE_IN_KB),
        created_at=datetime(2026, 10, 1),
        updated_at=datetime(2026, 10, 1),
        created_by="x",
        updated_by="x",
    )


def letters(host: psycopg.Connection) -> list[tuple[Any, ...]]:
    """To whom, about what, and when."""
    return host.execute(
        "SELECT destination, subject, due_at FROM batch.outbox ORDER BY destination"
    ).fetchall()


def test_the_administrator_is_notified_once_of_the_highest_threshold(
    database: Database, host: psycopg.Connection
) -> None:
    stored(host, "A", 9.6)
    stored(host, "B", 8.5, locale="en-US")
    stored(host, "C", 7.9)

    run_usage(database, DAY)
    told = letters(host)
    run_usage(database, DAY)

    assert [(destination, subject) for destination, subject, _ in told] == [
        ("admin@A.example.jp", "【ご利用状況のお知らせ】ストレージ使用量が契約の 95 % に達しました"),
        ("admin@B.example.jp", "You have used 80 % of your storage"),
    ]
    assert all(due_at.astimezone(UTC).hour == 0 for _, _, due_at in told)  # nine o'clock in Japan
    assert letters(host) == told


def test_the_next_threshold_and_the_next_month_are_notified_again(
    database: Database, host: psycopg.Connection
) -> None:
    stored(host, "A", 8.5)
    run_usage(database, date(2026, 10, 30))
    host.execute('UPDATE "TRN_SkillEvidence" SET file_size_kb = %s', [int(9.6 * GIGABYTE_IN_KB)])
    run_usage(database, DAY)
    run_usage(database, date(2026, 11, 1))

    assert sorted(subject.split("の ")[1][:2] for _, subject, _ in letters(host)) == ["80", "95", "95"]


def test_a_dry_run_notifies_no_recipient(database: Database, host: psycopg.Connection) -> None:
    stored(host, "A", 9.6)

    run_usage(database, DAY, dry_run=True)

    assert letters(host) == []


def test_without_an_address_no_letter_is_sent_and_the_warning_stays(
    database: Database, host: psycopg.Connection
) -> None:
    stored(host, "A", 9.6, admin_email=None)

    assert run_usage(database, DAY).status == "completed"

    assert letters(host) == []
    assert host.execute("SELECT count(*) FROM batch.usage_warning").fetchone() == (2,)
