"""A schema that is dropped and made again has no invoices. What was billed before stays billed."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import psycopg
import pytest

from include.skillreport.core.errors import ParameterError, SettingsError
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.schema.deploy import upgrade
from tests.conftest import Database
from tests.worlds.billing_rows import (
    MONTH,
    close_month,
    customer,
    files,
    numbers,
    operate,
    run_billing,
)
from tests.worlds.own_settings import change_billing

NOVEMBER = date(2026, 11, 1)


@pytest.mark.own_database
def test_a_month_that_was_billed_before_the_schema_is_not_billed_again(
    database: Database, host: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def billed() -> list[tuple[str]]:
        return host.execute(
            'SELECT invoice_number FROM "HIS_TenantBilling" ORDER BY invoice_number'
        ).fetchall()

    def written() -> set[str]:
        return {Path(name).stem for name in files(store) if name.endswith(".pdf")}

    def letters() -> int:
        return len(host.execute('SELECT FROM "HIS_NotificationLog"').fetchall())

    store = ObjectStore(tmp_path / "store")
    customer(host, "A")
    run_billing(database, store=store)
    first = "INV-2026-10-001"
    assert (billed(), written(), letters()) == ([(first,)], {first}, 1)

    host.execute("DROP SCHEMA batch CASCADE")
    upgrade(database.dsn)
    for month in (MONTH, NOVEMBER):
        close_month(host, "A", month)

    refused = r"2026-10 の請求書がある.*billing\.first_month"
    for month in (MONTH, NOVEMBER):
        with pytest.raises(SettingsError, match=refused):
            run_billing(database, month, store=store)
    with pytest.raises(SettingsError, match=refused):
        operate(database, "approve", store=store)
    host.execute('CREATE TABLE kept AS TABLE "HIS_TenantBilling"')
    host.execute('DELETE FROM "HIS_TenantBilling"')
    with pytest.raises(SettingsError, match=refused):
        run_billing(database, store=store)  # the store alone still has it
    host.execute('INSERT INTO "HIS_TenantBilling" TABLE kept')
    assert (billed(), written(), letters()) == ([(first,)], {first}, 1)

    change_billing(monkeypatch, tmp_path, first_month=NOVEMBER)
    run_billing(database, NOVEMBER, store=store)
    with pytest.raises(ParameterError, match="2026-10 は請求を始める月"):
        run_billing(database, store=store)
    november = "INV-2026-11-001"
    assert (billed(), letters()) == ([(first,), (november,)], 2)


def test_months_of_another_system_stay_closed_and_numbers_begin_above_theirs(
    database: Database, host: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A customer who moves: the old system has billed until October, and has written a row of its own form for November."""
    customer(host, "A", months=(MONTH, NOVEMBER))
    for number in ("INV-2026-09-004", "INV-2026-10-041", "CRN-2026-10-002", "2026/11-7", "INV-2026-11", None):
        host.execute(
            'INSERT INTO "HIS_TenantBilling" (id, tenant_id, invoice_number, updated_at) VALUES (%s, %s, %s, now())',
            [f"old {number}", "A", number],
        )
    with pytest.raises(SettingsError, match="2026-09、2026-10 の請求書がある"):
        run_billing(database)

    def change(name: str, **billing: date) -> None:
        (tmp_path / name).mkdir()  # settings are read once for each file
        change_billing(monkeypatch, tmp_path / name, **billing)

    change("earlier", first_month=MONTH, bill_again_until=date(2026, 9, 1))
    with pytest.raises(SettingsError, match="に 2026-10 の請求書がある"):
        run_billing(database)
    change("opened", first_month=MONTH, bill_again_until=MONTH)
    run_billing(database)
    run_billing(database, NOVEMBER)

    operate(database, "credit", reason="値引き")
    assert (numbers(host), numbers(host, NOVEMBER)) == (
        ["CRN-2026-10-003", "INV-2026-10-042"],
        ["INV-2026-11-001"],
    )
