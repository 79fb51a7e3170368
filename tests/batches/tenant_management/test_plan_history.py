"""The plan history of BATCH-018-01: the host has only the present plan, but billing needs its start date."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import psycopg
import pytest

from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.run_log import RunResult
from tests.conftest import Database
from tests.worlds import billing_rows, host_rows

DAY = date(2026, 10, 31)
NEXT_DAY = date(2026, 11, 1)


def run_usage(database: Database, day: date = DAY, **fields: Any) -> RunResult:
    """One whole run of BATCH-018-01, the night after the day."""
    return billing_rows.run_usage(database, day, **fields)


def subscribe(host: psycopg.Connection, **values: Any) -> None:
    """From now on the host has this plan of tenant A."""
    for column, value in values.items():
        host.execute(f'UPDATE "MST_Tenant" SET {column} = %s WHERE tenant_id = %s'.encode(), [value, "A"])


def history(host: psycopg.Connection, tenant_id: str = "A") -> list[tuple[Any, ...]]:
    """Since when the tenant has had which plan."""
    return host.execute(
        "SELECT effective_from, plan FROM batch.plan_change WHERE tenant_id = %s ORDER BY effective_from",
        [tenant_id],
    ).fetchall()


@pytest.mark.parametrize(
    ("dates", "since"),
    [
        # 2026-04-01 in Japan begins at 15:00 UTC of the day before.
        ({"contract_start_date": datetime(2026, 3, 31, 15, 0)}, date(2026, 4, 1)),
        ({"contract_start_date": datetime(2026, 3, 31, 14, 59)}, date(2026, 3, 31)),
        ({"created_at": datetime(2026, 5, 9, 16, 0)}, date(2026, 5, 10)),
        (
            {"contract_start_date": datetime(2026, 4, 1), "created_at": datetime(2026, 5, 9)},
            date(2026, 4, 1),
        ),
        ({"contract_start_date": datetime(2026, 12, 1)}, DAY),
        ({"created_at": datetime(2026, 11, 5)}, DAY),
    ],
)
def test_a_new_tenant_has_had_its_plan_since_its_contract_began(
    database: Database, host: psycopg.Connection, dates: dict[str, datetime], since: date
) -> None:
    host_rows.tenant(host, "A", subscription_plan=" basic ", **dates)

    result = run_usage(database)

    assert history(host) == [(since, "BASIC")]
    recorded = host.execute("SELECT recorded_by FROM batch.plan_change").fetchone()
    assert recorded == (result.execution_id,)


def test_a_tenant_without_plan_history_has_its_plan_since_first_closing(
    database: Database, host: psycopg.Connection
) -> None:
    host_rows.tenant(host, "A", subscription_plan="BASIC", created_at=datetime(2026, 11, 20))
    billing_rows.close_month(host, "A", date(2026, 10, 1), first=3, last=30)

    run_usage(database)

    assert history(host) == [(date(2026, 10, 3), "BASIC")]


def test_a_change_holds_from_the_business_date_on(database: Database, host: psycopg.Connection) -> None:
    host_rows.tenant(host, "A", subscription_plan="BASIC", contract_start_date=datetime(2026, 4, 1))
    run_usage(database, date(2026, 10, 30))
    subscribe(host, subscription_plan="STANDARD")
    run_usage(database, DAY)
    subscribe(host, subscription_plan="BASIC")
    run_usage(database, NEXT_DAY)

    assert history(host) == [(date(2026, 4, 1), "BASIC"), (DAY, "STANDARD"), (NEXT_DAY, "BASIC")]


def test_the_same_day_twice_changes_nothing(database: Database, host: psycopg.Connection) -> None:
    host_rows.tenant(host, "A", subscription_plan="BASIC")
    run_usage(database)
    rows = host.execute("TABLE batch.plan_change").fetchall()

    run_usage(database)
    run_usage(database, NEXT_DAY)

    assert host.execute("TABLE batch.plan_change").fetchall() == rows


def test_the_last_run_of_a_day_decides_its_plan(database: Database, host: psycopg.Connection) -> None:
    host_rows.tenant(host, "A", subscription_plan="BASIC", contract_start_date=datetime(2026, 4, 1))
    run_usage(database, date(2026, 10, 30))
    for plan in ("STANDARD", "PREMIUM"):
        subscribe(host, subscription_plan=plan)
        run_usage(database, DAY)

    assert history(host) == [(date(2026, 4, 1), "BASIC"), (DAY, "PREMIUM")]


def test_a_plan_that_is_missing_for_a_while_changes_nothing(
    database: Database, host: psycopg.Connection
) -> None:
    host_rows.tenant(host, "A", subscription_plan="BASIC", contract_start_date=datetime(2026, 4, 1))
    run_usage(database, date(2026, 10, 30))
    for plan in (None, " "):
        subscribe(host, subscription_plan=plan)
        run_usage(database, DAY)

    assert history(host) == [(date(2026, 4, 1), "BASIC")]


def test_a_tenant_without_a_plan_has_no_history(database: Database, host: psycopg.Connection) -> None:
    host_rows.tenant(host, "A", subscription_plan=None)

    assert run_usage(database).status == "completed"

    assert history(host) == []


def test_a_trial_is_recorded_as_such_whatever_plan_it_tries(
    database: Database, host: psycopg.Connection
) -> None:
    host_rows.tenant(
        host, "A", status="trial", subscription_plan="PREMIUM", contract_start_date=datetime(2026, 10, 1)
    )
    host_rows.tenant(host, "B", status="TRIAL", contract_start_date=datetime(2026, 10, 1))
    run_usage(database, date(2026, 10, 30))
    subscribe(host, status="ACTIVE")
    run_usage(database, DAY)

    assert history(host) == [(date(2026, 10, 1), "TRIAL"), (DAY, "PREMIUM")]
    assert history(host, "B") == [(date(2026, 10, 1), "TRIAL")]


def test_an_old_day_that_is_closed_again_does_not_record_todays_plan(
    database: Database, host: psycopg.Connection
) -> None:
    host_rows.tenant(host, "A", subscription_plan="BASIC", contract_start_date=datetime(2026, 4, 1))
    for day in (date(2026, 10, 30), DAY):
        run_usage(database, day)
    subscribe(host, subscription_plan="PREMIUM")

    run_usage(database, date(2026, 10, 30))

    assert history(host) == [(date(2026, 4, 1), "BASIC")]
    run_usage(database, NEXT_DAY)
    assert history(host) == [(date(2026, 4, 1), "BASIC"), (NEXT_DAY, "PREMIUM")]


def test_an_end_that_a_person_recorded_stays(database: Database, host: psycopg.Connection) -> None:
    host_rows.tenant(host, "A", subscription_plan="BASIC", contract_start_date=datetime(2026, 4, 1))
    run_usage(database, date(2026, 10, 29))
    billing_rows.plan_change(host, "A", date(2026, 10, 30), None)

    for day in (date(2026, 10, 30), DAY, NEXT_DAY):
        run_usage(database, day)

    assert history(host) == [(date(2026, 4, 1), "BASIC"), (date(2026, 10, 30), None)]


def test_the_first_run_adds_nothing_to_an_entered_history(
    database: Database, host: psycopg.Connection
) -> None:
    """The same for a history that begins later: a person must enter the time before, and billing requires it."""
    host_rows.tenant(host, "A", subscription_plan="BASIC", contract_start_date=datetime(2026, 4, 1))
    billing_rows.plan_change(host, "A", date(2026, 12, 1), "PREMIUM")

    run_usage(database)

    assert history(host) == [(date(2026, 12, 1), "PREMIUM")]
    billing_rows.close_month(host, "A", last=30)
    assert billing_rows.reasons(billing_rows.run_billing(database))["A"].startswith(
        "プランが設定されていません。"
    )


def test_a_plan_entered_by_an_accountant_is_never_overwritten(
    database: Database, host: psycopg.Connection
) -> None:
    host_rows.tenant(host, "A", subscription_plan="BASIC", contract_start_date=datetime(2026, 4, 1))
    run_usage(database, date(2026, 10, 29))
    billing_rows.plan_change(host, "A", date(2026, 10, 30), "PREMIUM")
    entered = host.execute("TABLE batch.plan_change").fetchall()

    for day in (date(2026, 10, 30), DAY, DAY, NEXT_DAY):
        run_usage(database, day)

    assert host.execute("TABLE batch.plan_change").fetchall() == entered


def test_a_plan_entered_by_an_accountant_precedes_the_plan_of_the_host(
    database: Database, host: psycopg.Connection
) -> None:
    host_rows.tenant(host, "A", subscription_plan="BASIC", contract_start_date=datetime(2026, 4, 1))
    run_usage(database, date(2026, 10, 30))
    billing_rows.plan_change(host, "A", DAY, "PREMIUM")
    billing_rows.plan_change(host, "A", date(2026, 12, 1), "FREE")
    subscribe(host, subscription_plan="STANDARD")

    run_usage(database, DAY)
    run_usage(database, NEXT_DAY)

    assert history(host) == [(date(2026, 4, 1), "BASIC"), (DAY, "PREMIUM"), (date(2026, 12, 1), "FREE")]


@pytest.mark.parametrize(
    ("updated_at", "since"),
    [
        (datetime(2026, 9, 1), DAY),
        # 23:59 in Japan, and midnight.
        (datetime(2026, 10, 31, 14, 59, 59), DAY),
        (datetime(2026, 10, 31, 15, 0), NEXT_DAY),
        (datetime(2026, 10, 31, 16, 30), NEXT_DAY),
        # Not later than the night of the run, even if the task runs later.
        (datetime(2026, 11, 20), NEXT_DAY),
    ],
)
def test_a_plan_change_holds_from_its_day_and_never_after_the_run(
    database: Database, host: psycopg.Connection, updated_at: datetime, since: date
) -> None:
    host_rows.tenant(host, "A", subscription_plan="BASIC", contract_start_date=datetime(2026, 4, 1))
    run_usage(database, date(2026, 10, 30))
    subscribe(host, subscription_plan="PREMIUM", updated_at=updated_at)

    run_usage(database, DAY)

    assert history(host) == [(date(2026, 4, 1), "BASIC"), (since, "PREMIUM")]


@pytest.mark.slow("needs many rows")
@pytest.mark.parametrize(
    ("updated_at", "since"),
    [
        # Midnight in Japan, after the last closed day.
        (datetime(2026, 10, 10, 15, 0), date(2026, 10, 11)),
        (datetime(2026, 10, 12, 3, 0), date(2026, 10, 12)),
        (datetime(2026, 10, 15, 3, 0), date(2026, 10, 15)),
        (datetime(2026, 10, 20), date(2026, 10, 16)),
    ],
)
@pytest.mark.parametrize("days", [(15, 11, 12, 13, 14), (11, 12, 13, 14, 15), (14, 15, 11, 12, 13)])
def test_a_plan_change_during_an_outage_holds_from_its_day(
    database: Database, host: psycopg.Connection, days: tuple[int, ...], updated_at: datetime, since: date
) -> None:
    host_rows.tenant(host, "A", subscription_plan="STANDARD", contract_start_date=datetime(2026, 4, 1))
    run_usage(database, date(2026, 10, 10))
    subscribe(host, subscription_plan="PREMIUM", updated_at=updated_at)

    # All runs are in the night after the 15th.
    for day in days:
        run_usage(database, date(2026, 10, day), run_at=datetime(2026, 10, 16, 1, 30, tzinfo=JAPAN))

    assert history(host) == [(date(2026, 4, 1), "STANDARD"), (since, "PREMIUM")]


def test_a_change_that_left_the_rows_time_holds_from_the_business_date(
    database: Database, host: psycopg.Connection
) -> None:
    host_rows.tenant(host, "A", subscription_plan="STANDARD", contract_start_date=datetime(2026, 4, 1))
    run_usage(database, date(2026, 10, 10))
    # 23:59 of the last closed day in Japan.
    subscribe(host, subscription_plan="PREMIUM", updated_at=datetime(2026, 10, 10, 14, 59))

    run_usage(database, date(2026, 10, 15))

    assert history(host) == [(date(2026, 4, 1), "STANDARD"), (date(2026, 10, 15), "PREMIUM")]


def test_a_change_found_after_the_invoice_leaves_it_as_sent(
    database: Database, host: psycopg.Connection
) -> None:
    billing_rows.customer(host, "A", months=())
    billing_rows.close_month(host, "A", last=9)
    run_usage(database, date(2026, 10, 10))
    billing_rows.run_billing(database, parameters={"allow_incomplete": True})
    sent = billing_rows.invoice(host, "A")
    subscribe(host, subscription_plan="PREMIUM", updated_at=datetime(2026, 10, 12, 3, 0))

    run_usage(database, date(2026, 11, 2))
    billing_rows.run_billing(database, parameters={"allow_incomplete": True})

    assert history(host)[-1] == (date(2026, 10, 12), "PREMIUM")
    assert (sent["status"], billing_rows.invoice(host, "A")) == ("finalized", sent)


def test_a_plan_change_on_the_1st_does_not_affect_last_month(
    database: Database, host: psycopg.Connection
) -> None:
    host_rows.tenant(host, "A", subscription_plan="BASIC", contract_start_date=datetime(2026, 4, 1))
    billing_rows.close_month(host, "A", last=29)
    run_usage(database, date(2026, 10, 30))
    # 00:10 in Japan; BATCH-018-01 looks at 01:00.
    subscribe(host, subscription_plan="PREMIUM", updated_at=datetime(2026, 10, 31, 15, 10))
    run_usage(database, DAY)

    assert billing_rows.run_billing(database).status == "completed"

    assert [line["description"] for line in billing_rows.invoice(host, "A")["content"]["lines"]][:1] == [
        "ベーシックプラン 基本料金"
    ]
    assert billing_rows.invoice(host, "A")["total"] == 11_000


def test_the_second_change_of_a_day_is_not_lost(database: Database, host: psycopg.Connection) -> None:
    host_rows.tenant(host, "A", subscription_plan="BASIC", contract_start_date=datetime(2026, 4, 1))
    run_usage(database, date(2026, 10, 30))
    # 00:10 in Japan, before the night's look, and 10:00, after it.
    subscribe(host, subscription_plan="STANDARD", updated_at=datetime(2026, 10, 31, 15, 10))
    run_usage(database, DAY)
    subscribe(host, subscription_plan="PREMIUM", updated_at=datetime(2026, 11, 1, 1, 0))
    run_usage(database, NEXT_DAY)
    run_usage(database, date(2026, 11, 2))

    assert history(host)[-1][1] == "PREMIUM"


def test_an_older_day_does_not_replace_the_plan_seen(database: Database, host: psycopg.Connection) -> None:
    host_rows.tenant(host, "A", subscription_plan="BASIC", contract_start_date=datetime(2026, 4, 1))
    run_usage(database, date(2026, 10, 30))
    subscribe(host, subscription_plan="STANDARD")
    run_usage(database, DAY)
    subscribe(host, subscription_plan="PREMIUM")
    run_usage(database, date(2026, 10, 30))

    assert host.execute("TABLE batch.plan_seen").fetchall() == [("A", "STANDARD", DAY)]


def test_each_tenant_has_a_history_of_its_own(database: Database, host: psycopg.Connection) -> None:
    for tenant_id, plan in (("A", "BASIC"), ("B", "STANDARD")):
        host_rows.tenant(host, tenant_id, subscription_plan=plan, contract_start_date=datetime(2026, 4, 1))
    run_usage(database, date(2026, 10, 30))
    subscribe(host, subscription_plan="PREMIUM")

    run_usage(database)

    assert history(host) == [(date(2026, 4, 1), "BASIC"), (DAY, "PREMIUM")]
    assert history(host, "B") == [(date(2026, 4, 1), "STANDARD")]
