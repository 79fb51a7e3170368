"""The letters about quotas that BATCH-018-01 queues for the tenants' administrators."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import psycopg
import pytest

from include.skillreport.core.execution.business_date import JAPAN
from tests.conftest import Database
from tests.worlds import host_rows
from tests.worlds.billing_rows import run_usage

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


def test_without_an_address_no_letter_is_sent_and_the_warning_stays(
    database: Database, host: psycopg.Connection
) -> None:
    stored(host, "A", 9.6, admin_email=None)

    assert run_usage(database, DAY).status == "completed"

    assert letters(host) == []
    assert host.execute("SELECT count(*) FROM batch.usage_warning").fetchone() == (2,)


@pytest.mark.parametrize(("gigabytes", "percents"), [(11.2, []), (41, ["80"]), (48, ["95"])])
def test_a_past_month_is_compared_with_the_plan_of_that_day(
    database: Database, host: psycopg.Connection, gigabytes: float, percents: list[str]
) -> None:
    stored(host, "A", 0, subscription_plan="STANDARD", max_storage_gb=0)
    run_usage(database, DAY)
    host.execute("UPDATE \"MST_Tenant\" SET subscription_plan = 'BASIC', updated_at = '2026-11-10'")
    for day in (1, 10, 11):
        run_usage(database, date(2026, 11, day))
    host.execute('UPDATE "TRN_SkillEvidence" SET file_size_kb = %s', [int(gigabytes * GIGABYTE_IN_KB)])

    run_usage(database, DAY, run_at=datetime(2026, 11, 12, 10, tzinfo=JAPAN), triggered_by="someone")

    assert [subject.split("の ")[1][:2] for _, subject, _ in letters(host)] == percents


def test_a_plan_that_begins_at_midnight_does_not_count_for_yesterday(
    database: Database, host: psycopg.Connection
) -> None:
    stored(host, "A", 11.2, subscription_plan="STANDARD", max_storage_gb=0)
    run_usage(database, date(2026, 10, 30))
    # 00:10 in Japan; BATCH-018-01 reads it at 01:30.
    host.execute("UPDATE \"MST_Tenant\" SET subscription_plan = 'BASIC', updated_at = '2026-10-31 15:10'")
    run_usage(database, DAY)
    assert letters(host) == []

    run_usage(database, date(2026, 11, 1))

    assert len(letters(host)) == 1


def test_a_trial_has_the_allowances_of_the_plan_that_it_tries(
    database: Database, host: psycopg.Connection
) -> None:
    stored(host, "A", 9.6, status="TRIAL", subscription_plan="BASIC", max_storage_gb=0)

    run_usage(database, DAY)

    assert len(letters(host)) == 1


def test_the_days_of_a_former_trial_have_no_allowance(database: Database, host: psycopg.Connection) -> None:
    stored(host, "A", 11.2, status="TRIAL", subscription_plan="PREMIUM", max_storage_gb=0)
    run_usage(database, DAY)
    host.execute(
        "UPDATE \"MST_Tenant\" SET status = 'ACTIVE', subscription_plan = 'BASIC', updated_at = '2026-11-10'"
    )

    run_usage(database, DAY)

    assert letters(host) == []
