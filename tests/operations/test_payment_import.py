"""The accountant's payment file is recorded tenant by tenant, once, however often it is imported."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import psycopg
import pytest

from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.flow import RunRequest, open_run
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.operation_catalog import OPERATE_INVOICES
from include.skillreport.operations.operate_invoices import create_batch as invoice_operations
from local_stack.batch_runs import LOCAL, LocalInstallation
from tests.conftest import Database
from tests.worlds.billing_rows import (
    host_billing,
    invoice,
    invoices,
    operate,
    outcomes,
    process,
)

pytestmark = [pytest.mark.usefixtures("billed"), pytest.mark.billed("A", "B", "C")]

HEADER = "請求書番号,入金日,金額,通貨,方法,参照番号"
RUN_AT = datetime(2026, 12, 10, 10, tzinfo=JAPAN)


def row(number: int, amount: str = "11000", reference: str = "", **values: str) -> str:
    """A row of the file: a payment of the invoice with this number."""
    values = {"day": "2026-11-27", "currency": "JPY"} | values
    return f"INV-2026-10-{number:03},{values['day']},{amount},{values['currency']},銀行振込,{reference or f'F-{number}'}"


def put(store: ObjectStore, *rows: str, name: str = "2026-11.csv") -> None:
    """Put a payment file into the store."""
    store.write(f"payments/{name}", "\n".join([HEADER, *rows, ""]).encode("cp932"))


def import_file(database: Database, store: ObjectStore, name: str = "2026-11.csv", **options: Any) -> Any:
    return operate(
        database,
        "import_payments",
        values={"payment_file": name},
        store=store,
        run_at=RUN_AT,
        **({"codes": ()} | options),
    )


def paid(host: psycopg.Connection) -> dict[str, Any]:
    return {each["tenant_id"]: each["paid_total"] for each in invoices(host)}


def statuses(host: psycopg.Connection) -> list[str]:
    return [host_billing(host, each["invoice_id"])["billing_status"] for each in invoices(host)]


def test_a_file_is_recorded_for_the_tenants_of_its_invoices(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    put(store, row(1, "5000", "F-1"), row(3), row(1, "6000", "F-2"))

    result = import_file(database, store)

    assert result.status == "completed"
    assert sorted(outcomes(host, result)) == ["A", "C"]
    assert paid(host) == {"A": 11000, "B": 0, "C": 11000}
    assert statuses(host) == ["PAID", "INVOICED", "PAID"]


def test_a_longer_version_of_the_file_adds_only_what_is_new(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    put(store, row(1, "5000", "F-1"))
    import_file(database, store)
    put(store, row(1, "5000", "F-1"), row(1, "6000", "F-2"))

    import_file(database, store)

    assert paid(host)["A"] == 11000


def test_one_transfer_may_pay_several_invoices(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    put(store, row(1, reference="T"), row(2, reference="T"))

    import_file(database, store)

    assert paid(host) == {"A": 11000, "B": 11000, "C": 0}


def test_one_invalid_line_stops_the_whole_file_before_the_run(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    put(store, row(1), row(2, currency="USD"), row(9), row(3, day="2027-01-01"))

    with pytest.raises(ParameterError) as refused:
        import_file(database, store)

    text = str(refused.value)
    for problem in ("3 行目「通貨」", "4 行目「請求書番号」", "5 行目「入金日」"):
        assert problem in text
    assert paid(host) == {"A": 0, "B": 0, "C": 0}
    assert host.execute("SELECT count(*) FROM batch.execution_log").fetchone() == (1,)


@pytest.mark.parametrize("name", ["../2026-11.csv", "a/b.csv", "..", "a\\b.csv", ".hidden"])
def test_a_name_that_leads_out_of_the_folder_is_refused(
    database: Database, store: ObjectStore, name: str
) -> None:
    with pytest.raises(ParameterError, match="「入金ファイル」"):
        import_file(database, store, name)


def test_a_missing_file_is_named_with_its_place(database: Database, store: ObjectStore) -> None:
    with pytest.raises(ParameterError, match=r"'2026-11\.csv' が保存先の payments/ にありません"):
        import_file(database, store)


def test_the_form_takes_no_tenants_because_the_file_has_them(database: Database, store: ObjectStore) -> None:
    put(store, row(1))

    with pytest.raises(ParameterError, match="「テナントコード」"):
        import_file(database, store, codes=["A"])


def test_a_tenant_that_has_left_is_paid_too(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    host.execute("""UPDATE "MST_Tenant" SET is_deleted = true WHERE tenant_id = 'A'""")
    put(store, row(1))

    assert import_file(database, store).status == "completed"
    assert paid(host)["A"] == 11000


def test_a_number_belongs_to_its_own_tenant_only(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    """B's number in a file of A's payments pays B's invoice."""
    put(store, row(1), row(2))

    import_file(database, store)

    owners = host.execute(
        """
        SELECT payment.tenant_id, invoice.tenant_id FROM batch.payment
        INNER JOIN batch.invoice ON payment.invoice_id = invoice.invoice_id
        ORDER BY payment.tenant_id
        """
    ).fetchall()
    assert owners == [("A", "A"), ("B", "B")]


# An import that is interrupted ---------------------------------------------------------------------------------------


def open_import(database: Database, store: ObjectStore) -> Any:
    """An import that has only been opened."""
    with database.connect("batch_platform") as platform:
        request = RunRequest(
            OPERATE_INVOICES.dag_id,
            "test",
            RUN_AT,
            {
                "operation": "import_payments",
                "payment_file": "2026-11.csv",
                "business_date": "2026-10-01",
                "tenants": [],
            },
        )
        installation = LocalInstallation(platform, object_store=store, moment=RUN_AT)
        return open_run(OPERATE_INVOICES, invoice_operations(LOCAL), request, installation)[0]


def test_an_interrupted_import_keeps_its_payments_and_a_retry_completes_it(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    put(store, row(1), row(2), row(3))
    run = open_import(database, store)

    process(database, run, ["A"], store)
    assert paid(host) == {"A": 11000, "B": 0, "C": 0}
    for _ in range(2):
        process(database, run, ["A", "B", "C"], store)

    assert paid(host) == {"A": 11000, "B": 11000, "C": 11000}
    assert host.execute("SELECT count(*) FROM batch.payment").fetchone() == (3,)


def test_a_tenant_whose_invoice_was_voided_meanwhile_fails_alone(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    put(store, row(1), row(2))
    run = open_import(database, store)
    operate(database, "void", "B", reason="訂正")

    report = process(database, run, ["A", "B"], store)

    (failure,) = report.failures
    assert (failure.unit_id, failure.code) == ("B", "NOT_PAYABLE")
    assert paid(host)["A"] == 11000


def test_a_file_that_changes_after_the_run_was_opened_is_refused(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    put(store, row(1))
    run = open_import(database, store)
    put(store, row(1, "1"))

    with pytest.raises(ParameterError, match="この実行を始めたあとに変わりました"):
        process(database, run, ["A"], store)

    assert invoice(host, "A")["paid_total"] == 0


def test_a_second_reference_for_another_amount_is_refused_with_its_line(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    put(store, row(1, "5000"))
    import_file(database, store)
    put(store, row(1, "6000"))

    with pytest.raises(ParameterError, match="2 行目「参照番号」"):
        import_file(database, store)

    assert paid(host)["A"] == 5000
