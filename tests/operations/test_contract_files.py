"""Contracts from a file: checked as a whole, applied in one transaction, and written as a file again."""

from __future__ import annotations

from datetime import date

import psycopg
import pytest

from include.skillreport.billing.contract_kinds import KINDS
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution import flow
from include.skillreport.core.execution.flow import RunRequest
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.openings import TaskKey
from include.skillreport.core.operation_catalog import OPERATE_CONTRACTS
from include.skillreport.operations.operate_contracts import create_batch
from include.skillreport.operations.operate_contracts.fields import KIND_TITLES
from local_stack.batch_runs import LOCAL, LocalInstallation
from tests.conftest import Database
from tests.worlds import billing_rows, host_rows
from tests.worlds.approval_rows import asked
from tests.worlds.billing_rows import insert
from tests.worlds.contract_entries import (
    AT,
    AUTHOR,
    PROFILES,
    SECOND,
    changes,
    decide,
    discounts,
    load,
    profile,
    run,
    set_discount,
)

DISCOUNTS = "tenant,discount_name,discount_kind,value,currency,metric,valid_from,valid_to\r\n"


def test_the_form_and_the_tables_name_the_kinds_alike() -> None:
    # DAG files load the form's titles without the database driver.
    assert {kind.name: kind.title for kind in KINDS.values()} == KIND_TITLES


@pytest.mark.usefixtures("tenants")
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp932"])
def test_a_file_adds_all_rows_and_repeats_without_effect(
    database: Database, host: psycopg.Connection, store: ObjectStore, encoding: str
) -> None:
    text = (
        DISCOUNTS
        + "A,年間割引,percentage,10,,,2026-11-01,\r\nB,年間割引,fixed,500,JPY,,2026-11-01,2027-10-31\r\n"
    )
    for _ in range(2):
        load(database, store, "discount", text, encoding=encoding)

    assert discounts(host) == [
        ("A", "年間割引", 10, "2026-11-01", None),
        ("B", "年間割引", 500, "2026-11-01", "2027-10-31"),
    ]
    assert changes(host) == [(each, "discount", "applied", AUTHOR, None) for each in "AB"]


@pytest.mark.usefixtures("tenants")
def test_every_wrong_line_is_named_and_nothing_is_written(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    lines = [
        "A,年間割引,percentage,10,,,2026-11-01,",
        "X,年間割引,percentage,10,,,2026-11-01,",
        "B,年間割引,percentage,abc,,,2026-11-01,",
        "A,年間割引,percentage,12,,,2026-11-01,",
        "C,年間割引,percentage,10,,,2026/13/01,",
    ]
    with pytest.raises(ParameterError) as refused:
        load(database, store, "discount", DISCOUNTS + "\r\n".join(lines))

    text = str(refused.value)
    assert "何も記録していません" in text
    for expected in (
        "3 行目「割引」: テナントコード 'X'",
        "4 行目",
        "'abc'",
        "5 行目「割引」: 2 行目と同じもの",
        "6 行目",
    ):
        assert expected in text
    assert discounts(host) == []


@pytest.mark.usefixtures("tenants")
def test_an_overlap_in_a_file_takes_all_rows_back(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    lines = [
        "B,年間割引,percentage,10,,,2026-11-01,",
        "A,年間割引,percentage,10,,,2026-11-01,",
        "A,年間割引,percentage,12,,,2027-01-01,",
        "B,年間割引,percentage,12,,,2027-01-01,",
    ]
    with pytest.raises(
        ParameterError, match=r"4 行目「割引」: A の割引.*重なります.*5 行目「割引」: B の割引"
    ):
        load(database, store, "discount", DISCOUNTS + "\r\n".join(lines))
    assert (discounts(host), changes(host)) == ([], [])


@pytest.mark.usefixtures("tenants")
def test_new_recipients_in_a_file_wait_as_a_whole(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    lines = ["A,,経理部,,,,a@kyaku.example,,,,,,,,,,", "B,,総務部,,,,,,,,,,,,1,31,"]
    result = load(database, store, "profile", PROFILES + "\r\n".join(lines))
    assert profile(host, "A") == profile(host, "B") == {}
    assert changes(host) == [("", "import", "waiting", AUTHOR, None)]

    decide(database, asked(database, result))

    assert profile(host, "A") == {"tenant_id": "A", "department": "経理部", "email": "a@kyaku.example"}
    assert profile(host, "B") == {"tenant_id": "B", "department": "総務部", "due_months": 1, "due_day": 31}
    assert sorted(changes(host)) == [
        ("", "import", "applied", AUTHOR, SECOND),
        ("A", "profile", "applied", AUTHOR, SECOND),
        ("B", "profile", "applied", AUTHOR, SECOND),
    ]
    assert host.execute(
        """SELECT recipient_address FROM "HIS_NotificationLog" WHERE subject LIKE '%送付先の変更%'"""
    ).fetchall() == [("keiri@customer.example",)]


@pytest.mark.usefixtures("tenants")
def test_an_export_is_imported_without_effect(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    set_discount(database, discount_name='=HYPERLINK("x")')
    lines = ['A,,"経理部, 第1",100-0001,,JP,,x@kyaku.example;y@kyaku.example,,en,USD,export,@T1,link,0,31,']
    decide(database, asked(database, load(database, store, "profile", PROFILES + lines[0])))
    billing_rows.exchange_rate(host, date(2026, 10, 29), "155")
    run(database, "set_rate", currency="USD", rate_date="2026-10-30", yen_per_unit="155.320", reason="TTM")
    run(database, "set_plan", tenants=["A"], plan="basic", plan_from="2026-01-01", reason="契約書")
    run(database, "set_plan", tenants=["A"], plan_from="2027-01-01", reason="解約")
    run(database, "export_files", store=store)
    before = len(changes(host))
    for kind in ("profile", "plan", "discount", "commitment", "order_number", "payer", "exchange_rate"):
        text = store.read(f"contracts/exported/{kind}.csv").decode("utf-8-sig")
        assert not text.splitlines()[-1].startswith("=")
        load(database, store, kind, text)

    assert len(changes(host)) == before
    assert "'=HYPERLINK" in store.read("contracts/exported/discount.csv").decode("utf-8-sig")


@pytest.mark.usefixtures("tenants")
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "空です"),
        ("tenant,name\r\nA,x", "1 行目は、種類「割引」の列の名前"),
        (DISCOUNTS + 'A,"x', "CSV として読めません"),
    ],
)
def test_an_unreadable_file_is_refused_by_a_sentence(
    database: Database, store: ObjectStore, text: str, problem: str
) -> None:
    with pytest.raises(ParameterError, match=problem):
        load(database, store, "discount", text)


@pytest.mark.usefixtures("tenants")
@pytest.mark.parametrize("name", ["../../etc/passwd", ".hidden", "a/b.csv", "absent.csv"])
def test_only_a_file_in_the_folder_is_read(database: Database, store: ObjectStore, name: str) -> None:
    with pytest.raises(ParameterError):
        run(
            database,
            "import_file",
            store=store,
            imported_kind="discount",
            imported_file=name,
            reason="初回の登録",
        )


def test_a_code_of_two_tenants_is_refused(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    # A tenant without a code is named by its id.
    host_rows.tenant(host, "SAME", tenant_code="")
    host_rows.tenant(host, "B", tenant_code="SAME")
    with pytest.raises(ParameterError, match="ないか、複数あります"):
        load(database, store, "discount", DISCOUNTS + "SAME,年間割引,percentage,10,,,2026-11-01,")


@pytest.mark.usefixtures("tenants")
def test_a_wrong_address_in_a_file_is_not_quoted(database: Database, store: ObjectStore) -> None:
    with pytest.raises(
        ParameterError, match="2 行目「請求先」: 「送付先」（email）に、メールアドレスではない"
    ) as refused:
        load(database, store, "profile", PROFILES + "A,,,,,,himitsu@@kyaku.example,,,,,,,,,,")
    assert "himitsu" not in str(refused.value)


@pytest.mark.usefixtures("tenants")
@pytest.mark.parametrize(
    ("kind", "text", "cells"),
    [
        ("discount", DISCOUNTS + "A,年間割引,percentage,10,,,2026-11-01,,2027-10-31", 9),
        ("profile", PROFILES + "A,,経理部", 3),
    ],
    ids=["a_cell_too_many", "cells_missing"],
)
def test_a_line_needs_the_cells_of_the_header(
    database: Database, host: psycopg.Connection, store: ObjectStore, kind: str, text: str, cells: int
) -> None:
    with pytest.raises(ParameterError, match=f"2 行目.*列が {cells} 個あります"):
        load(database, store, kind, text)
    assert changes(host) == []


@pytest.mark.usefixtures("tenants")
@pytest.mark.parametrize("day", ["2026/11/1", "2026年11月1日", "２０２６／１１／０１"])
def test_days_as_excel_saves_them_are_read(
    database: Database, host: psycopg.Connection, store: ObjectStore, day: str
) -> None:
    load(database, store, "discount", DISCOUNTS + f"A,年間割引,percentage,10,,,{day},")
    assert discounts(host) == [("A", "年間割引", 10, "2026-11-01", None)]


def test_a_currency_in_full_width_is_the_usual_one(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    billing_rows.exchange_rate(host, date(2026, 10, 30), "155")
    load(database, store, "exchange_rate", "currency,rate_date,yen_per_unit\r\nＵＳｄ,2026/10/31,155\r\n")
    assert host.execute("SELECT currency FROM batch.exchange_rate").fetchall() == [("USD",)] * 2


@pytest.mark.usefixtures("tenants")
def test_a_file_replaced_during_its_run_changes_nothing(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    path = "contracts/incoming/x.csv"
    store.write(path, (PROFILES + "A,,経理部,,,,,,,,,,,,,,").encode())
    conf = {
        "operation": "import_file",
        "imported_kind": "profile",
        "imported_file": "x.csv",
        "reason": "登録",
    }
    with database.working() as (platform, connection):
        batch, local = create_batch(LOCAL), LocalInstallation(platform, connection, store, moment=AT)
        request = RunRequest(OPERATE_CONTRACTS.dag_id, "swapped", AT, conf, triggered_by=AUTHOR)
        opened, _ = flow.open_run(OPERATE_CONTRACTS, batch, request, local)
        store.write(path, (PROFILES + "B,,総務部,,,,,,,,,,,,,,").encode())
        key = TaskKey("change_contracts")
        with pytest.raises(ParameterError, match="置き直したなら、新しく実行してください"):
            flow.run_step(OPERATE_CONTRACTS, batch, opened, local, key)
    assert (profile(host, "A"), profile(host, "B"), changes(host)) == ({}, {}, [])


@pytest.mark.usefixtures("tenants")
def test_an_export_has_the_order_of_the_tenants_codes(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    host.execute("""UPDATE "MST_Tenant" SET tenant_code = 'Z' WHERE tenant_id = 'A'""")
    for tenant_id, first in (("B", "2026-06-01"), ("B", "2026-01-01"), ("A", "2026-01-01")):
        insert(host, "commitment", tenant_id=tenant_id, valid_from=first, amount=1000, currency="JPY")

    run(database, "export_files", store=store)

    lines = store.read("contracts/exported/commitment.csv").decode("utf-8-sig").splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == ["B", "B", "Z"]
    assert "2026-01-01" in lines[1]


@pytest.mark.usefixtures("tenants")
def test_stored_rows_that_overlap_are_imported_without_effect(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    for first in ("2026-01-01", "2026-06-01"):
        insert(host, "commitment", tenant_id="A", valid_from=first, amount=1000, currency="JPY")
    run(database, "export_files", store=store)
    text = store.read("contracts/exported/commitment.csv").decode("utf-8-sig")
    load(database, store, "commitment", text)

    assert changes(host) == []
    with pytest.raises(ParameterError, match=r"2 行目.*重なります"):
        load(database, store, "commitment", text.replace("1000", "2000"))


@pytest.mark.usefixtures("tenants")
def test_a_row_of_a_file_keeps_when_it_was_entered(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    result = load(database, store, "profile", PROFILES + "A,,,,,,a@kyaku.example,,,,,,,,,,")
    host.execute("UPDATE batch.contract_change SET entered_at = entered_at - interval '3 days'")
    decide(database, asked(database, result))

    rows = host.execute(
        "SELECT kind, entered_at, decided_at > entered_at + interval '2 days' FROM batch.contract_change ORDER BY 1"
    ).fetchall()
    assert [(row[0], row[2]) for row in rows] == [("import", True), ("profile", True)]
    assert rows[0][1] == rows[1][1]


@pytest.mark.usefixtures("tenants")
def test_each_unknown_plan_of_a_file_is_named(database: Database, store: ObjectStore) -> None:
    lines = [
        f"{tenant},{plan},2026-11-01" for tenant, plan in (("A", "GOLD"), ("B", "BASIC"), ("C", "SILVER"))
    ]
    with pytest.raises(
        ParameterError, match=r"2 行目「プラン」: プラン GOLD は料金表に.*4 行目「プラン」: プラン SILVER"
    ) as refused:
        load(database, store, "plan", "\r\n".join(["tenant,plan,plan_from", *lines]))
    assert "3 行目" not in str(refused.value)


@pytest.mark.usefixtures("tenants")
def test_fifty_problems_of_a_file_are_listed(database: Database, store: ObjectStore) -> None:
    lines = [f"A,割引 {number},percentage,abc,,,2026-11-01," for number in range(52)]
    with pytest.raises(ParameterError) as refused:
        load(database, store, "discount", DISCOUNTS + "\r\n".join(lines))
    assert "51 行目" in str(refused.value)
    assert str(refused.value).endswith("ほか 2 件。")
