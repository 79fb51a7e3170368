"""契約の変更: personal values on their way into a run, a tenant's contract, and what waits for a second person."""

from __future__ import annotations

import html
import os
import re
from datetime import date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors

from skill_batch.board.pages.contracts import load_contract, load_waiting
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.operations.operate_contracts.fields import INCOMING
from include.skillreport.schema.deploy import BOARD
from tests.board.conftest import Board
from tests.conftest import Database
from tests.worlds.approval_rows import asked
from tests.worlds.billing_rows import billing_profile, customer, exchange_rate, insert
from tests.worlds.contract_entries import (
    AT,
    AUTHOR,
    SECOND,
    changes,
    decide,
    enter,
    profile,
    run,
    set_discount,
    set_profile,
)

EVIL = "<script>alert(1)</script>社"
NEW = "shin-keiri@customer.example"
FORMER = "keiri@customer.example"  # the application's contact of every customer

DIALOG = "/operations/operate_contracts/set_profile"
PAGE = "/tenants/A/contract"


@pytest.fixture(autouse=True)
def tenants(host: psycopg.Connection) -> None:
    """A and B."""
    for tenant_id in "AB":
        customer(host, tenant_id, tenant_code=f"CODE-{tenant_id}", tenant_name=f"{tenant_id} 商事")


@pytest.fixture
def reader(database: Database) -> Any:
    with database.connect(BOARD) as connection:
        yield connection


def _plain(text: str) -> str:
    """The text of a page without tags."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", re.sub("</?bdi>", "", text))).split())


def _newest_conf(board: Board) -> dict[str, Any]:
    answer = board.api("GET", "/dags/operate_contracts/dagRuns", params={"order_by": "-run_after"})
    return dict(answer.json()["dag_runs"][0]["conf"])


# Personal values ---------------------------------------------------------------------------------------------------------


def test_personal_values_reach_the_run_by_a_token_and_airflow_keeps_none(
    board: Board, database: Database, host: psycopg.Connection
) -> None:
    entered = {
        "tenants": "CODE-A",
        "recipient_name": "株式会社アオバ",
        "email": NEW,
        "due_months": "2",
        "due_day": "31",
    }
    answer = board.as_role("user").press(DIALOG, entered | {"reason": "担当の変更"})
    assert answer.status_code == 200, answer.text

    conf = _newest_conf(board)
    assert conf.keys() == {"operation", "tenants", "shown", "entry"}
    assert (conf["operation"], conf["tenants"]) == ("set_profile", ["CODE-A"])
    (kept,) = host.execute("SELECT form_values, entered_by, dag_id FROM batch.entered_values").fetchall()
    assert kept == (
        {
            "recipient_name": "株式会社アオバ",
            "email": NEW,
            "due_months": "2",
            "due_day": "31",
            "reason": "担当の変更",
        },
        "user",
        "operate_contracts",
    )
    log = board.api("GET", "/eventLogs", params={"dag_id": "operate_contracts", "limit": 100}).text
    assert conf["entry"] in log
    assert NEW not in log
    assert "アオバ" not in log

    result = run(database, "set_profile", tenants=["CODE-A"], person="user", entry=conf["entry"])
    assert result.status == "completed"
    assert changes(host) == [("A", "profile", "waiting", "user", None)]
    assert host.execute("SELECT form_values FROM batch.entered_values").fetchall() == [(None,)]


def test_a_dry_run_of_personal_values_is_ticked_in_the_conf(board: Board) -> None:
    board.press(DIALOG, {"tenants": "CODE-A", "email": NEW, "reason": "x", "dry_run": "on"})
    assert _newest_conf(board).keys() == {"operation", "tenants", "shown", "entry", "dry_run"}


def test_a_token_of_somebody_else_is_of_no_use(
    board: Board, database: Database, host: psycopg.Connection
) -> None:
    board.as_role("user").press(DIALOG, {"tenants": "CODE-A", "email": NEW, "reason": "担当の変更"})
    token = _newest_conf(board)["entry"]
    with pytest.raises(ParameterError, match="ほかの人のもの"):
        run(database, "set_profile", tenants=["CODE-A"], person="thief", entry=token)
    assert profile(host) == {}
    assert changes(host) == []


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT form_values FROM batch.entered_values",
        "UPDATE batch.entered_values SET entered_by = 'me'",
        "DELETE FROM batch.entered_values",
        "INSERT INTO batch.entered_values (token, dag_id, operation, form_values, entered_by, execution_id)"
        " VALUES (repeat('x', 32), 'd', 'o', '{}', 'me', 'run')",
        "SELECT * FROM batch.contract_change",
        "SELECT * FROM batch.billing_profile",
        "INSERT INTO batch.discount (tenant_id, name, kind, value, valid_from) VALUES ('A', 'x', 'percentage', 1, now())",
    ],
)
def test_the_board_s_role_writes_an_entry_and_nothing_else(
    database: Database, reader: psycopg.Connection, statement: str
) -> None:
    enter(database, "set_profile", {"email": NEW})
    with pytest.raises(errors.InsufficientPrivilege):
        reader.execute(statement.encode())


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"email": "keiri"}, "メールアドレスではないもの"),
        ({"tenants": "CODE-A\nCODE-B", "email": NEW}, "「テナントコード」（tenants）に、1 つのテナントだけ"),
        ({"tenants": "NOBODY", "email": NEW}, "テナントコード NOBODY は存在しません"),
        ({"email": NEW, "reason": ""}, "「理由」（reason）が必要です"),
    ],
)
def test_unusable_values_are_kept_nowhere(
    board: Board, host: psycopg.Connection, fields: dict[str, str], problem: str
) -> None:
    answer = board.post(DIALOG, {"tenants": "CODE-A", "reason": "x"} | fields)
    assert answer.status_code == 422
    assert problem in answer.text
    # The dialog still has what was entered.
    assert fields.get("email", "") in answer.text
    assert host.execute("SELECT count(*) FROM batch.entered_values").fetchone() == (0,)


def test_the_dialog_has_the_present_row_and_nothing_of_the_address(
    board: Board, host: psycopg.Connection
) -> None:
    billing_profile(
        host,
        "A",
        recipient_name=EVIL,
        email=NEW,
        cc_emails=["cc1@customer.example", "cc2@customer.example"],
        language="en",
        due_months=2,
        due_day=31,
    )
    billing_profile(host, "B", email="b@b.example")
    forged = {"tenants": "CODE-A", "email": "forged@evil.example", "department": "偽の部署"}
    text = board.get(DIALOG, params=forged).text
    assert f'name="email" value="{NEW}"' in text
    assert 'value="&lt;script&gt;alert(1)&lt;/script&gt;社"' in text
    assert ">cc1@customer.example\ncc2@customer.example</textarea>" in text
    assert '<option value="en" selected>' in text
    assert 'name="due_months" value="2"' in text
    assert '<input type="hidden" name="tenants" value="CODE-A">' in text
    for absent in ("forged@evil.example", "偽の部署", "b@b.example", "<script>alert"):
        assert absent not in text
    # Of no tenant or of several, nothing is filled in.
    for codes in ([], ["CODE-A", "CODE-B"]):
        assert NEW not in board.get(DIALOG, params={"tenants": codes}).text
    assert board.as_role("viewer").get(DIALOG, params={"tenants": "CODE-A"}).status_code == 403


# A tenant's contract -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("role", "status"), [("viewer", 403), ("user", 200), ("admin", 200), (None, 401)])
@pytest.mark.parametrize("path", [PAGE, "/contracts"])
def test_only_those_who_may_change_contracts_see_them(
    board: Board, role: Any, status: int, path: str
) -> None:
    billed = board.as_role(role).get(path)
    assert billed.status_code == status
    assert (FORMER in billed.text) == (status == 200 and path == PAGE)


def test_pages_link_to_contracts_for_those_who_may_change_them(board: Board) -> None:
    for path, link in (("/tenants/A", "/tenants/A/contract"), ("/receivables", "/contracts")):
        assert f'href="/skill-batch-board{link}"' in board.get(path).text
        assert link not in board.as_role("viewer").get(path).text
    assert board.get("/tenants/NOBODY/contract").status_code == 404


def test_the_page_shows_what_is_entered_and_what_the_application_says(
    board: Board, host: psycopg.Connection
) -> None:
    billing_profile(host, "A", recipient_name="株式会社アオバ", language="en", pdf_delivery="link")
    billing_profile(host, "B", recipient_name="株式会社ビー", department="B の部署")
    text = _plain(board.get(PAGE).text)
    for shown in (
        "宛名 株式会社アオバ 部署 —",
        f"送付先 {FORMER}（アプリの値）",
        "言語 英語",
        "通貨 JPY（アプリの値）",
        "住所 — 国",
        "税区分 料金表か設定のとおり",
        "取引先コード CODE-A",
        "PDF の渡し方 リンク",
    ):
        assert shown in text
    assert "ビー" not in text
    assert "B の部署" not in text


def test_terms_are_in_force_later_or_over(database: Database, reader: psycopg.Connection) -> None:
    set_discount(database, valid_from="2026-11-10")
    set_discount(database, discount_name="旧割引", valid_from="2026-01-01", valid_to="2026-11-09")
    set_discount(database, tenant="B", discount_name="B の割引")
    common: dict[str, Any] = {"tenants": ["A"], "reason": "契約書"}
    run(database, "set_commitment", amount="50000.50", currency="JPY", valid_from="2026-11-11", **common)
    run(database, "set_order_number", order_number="PO-1", valid_from="2026-11-01", **common)
    run(database, "set_plan", plan="BASIC", plan_from="2026-01-01", **common)
    run(database, "set_plan", plan="STANDARD", plan_from="2026-12-01", **common)

    page = load_contract(reader, "A", datetime(2026, 11, 10, 23, 59, tzinfo=JAPAN))
    assert page is not None
    found = [
        (row["state"], row["kind"], *(value for value in row["terms"].values() if value is not None))
        for row in page.terms
    ]
    assert sorted(found[:3]) == [
        ("now", "discount", "percentage", "年間契約割引", "10"),
        ("now", "order_number", "PO-1"),
        ("now", "plan", "BASIC"),
    ]
    assert sorted(found[3:5]) == [("later", "commitment", "50000.5", "JPY"), ("later", "plan", "STANDARD")]
    assert found[5:] == [("earlier", "discount", "percentage", "旧割引", "10")]
    assert {(row["kind"], row["valid_to"]) for row in page.terms if row["kind"] == "plan"} == {
        ("plan", date(2026, 11, 30)),
        ("plan", None),
    }


@pytest.mark.parametrize(
    ("operation", "values"),
    [
        (
            "set_discount",
            {"discount_name": "値引 & 割引", "discount_kind": "fixed", "value": "500", "currency": "JPY"},
        ),
        ("set_commitment", {"amount": "50000", "currency": "JPY"}),
        ("set_order_number", {"order_number": "PO-1"}),
        ("set_plan", {"plan": "BASIC"}),
    ],
)
def test_the_button_of_a_term_opens_its_filled_dialog(
    board: Board, database: Database, operation: str, values: dict[str, Any]
) -> None:
    first = "plan_from" if operation == "set_plan" else "valid_from"
    given: dict[str, Any] = values | {first: "2026-11-01"}
    run(database, operation, tenants=["A"], reason="契約書", **given)
    text = board.get(PAGE).text
    buttons = [html.unescape(each) for each in re.findall(rf'hx-get="([^"]*/{operation}\?[^"]*)"', text)]
    filled = next(each for each in buttons if f"{first}=2026-11-01" in each)
    dialog = board.get(filled.removeprefix("/skill-batch-board")).text
    for name, value in given.items():
        shown = html.escape(value)
        assert f'name="{name}" value="{shown}"' in dialog or f'<option value="{shown}" selected>' in dialog
    assert ("/end?" in text) == (operation != "set_plan")


def test_hostile_texts_are_text(board: Board, database: Database, host: psycopg.Connection) -> None:
    billing_profile(host, "A", recipient_name=EVIL, address=EVIL)
    set_discount(database, discount_name=EVIL, reason=EVIL)
    insert(host, "order_number", tenant_id="A", order_number=EVIL, valid_from=date(2026, 11, 1))
    token = enter(database, "add_payer", {"payer_name": EVIL, "reason": EVIL})
    run(database, "add_payer", tenants=["A"], entry=token)
    insert(
        host,
        "payer",
        tenant_id="A",
        payer_key="k",
        payer_code="",
        payer_name=EVIL,
        confirmed_by=EVIL,
        execution_id="x",
    )
    for path in (PAGE, "/contracts"):
        text = board.get(path).text
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert(1)" in text


def test_an_address_that_bounces_is_red_with_its_advice(board: Board, host: psycopg.Connection) -> None:
    billing_profile(host, "A", further_emails=["lost@customer.example", "fine@customer.example"])
    # The same address of another tenant bounces, too, and a suppression that has ended is over.
    for tenant_id, address, until in (
        ("A", "lost@customer.example", None),
        ("A", "fine@customer.example", "2026-01-01"),
        ("B", FORMER, None),
    ):
        host.execute(
            "INSERT INTO batch.suppressed_address (tenant_id, address, error_code, suppressed_until) VALUES (%s, %s, '5.1.1', %s)",
            [tenant_id, address, until],
        )
    for number, (address, status) in enumerate(((FORMER, "sent"), ("fine@customer.example", "dead"))):
        _letter(host, f"letter {number}", address, status)
    rows = re.findall(
        r"<tr( class=\"bad-row\")?><td>([^<@]+@[^<]+)</td>(.*?)</tr>", board.get(PAGE).text, re.S
    )
    assert [(address, bool(red)) for red, address, _ in rows] == [
        (FORMER, False),
        ("lost@customer.example", True),
        ("fine@customer.example", True),
    ]
    told = {address: _plain(rest) for _, address, rest in rows}
    assert "送信済み" in told[FORMER]
    assert "不達 5.1.1" in told["lost@customer.example"]
    assert "「請求先の変更」で直してください" in told["lost@customer.example"]
    assert "送信できず mailbox_full" in told["fine@customer.example"]


def _letter(host: psycopg.Connection, message_id: str, address: str, status: str) -> None:
    insert(
        host,
        "outbox",
        message_id=message_id,
        tenant_id="A",
        dedupe_key=message_id,
        channel="email",
        destination=address,
        subject="請求書",
        body="本文",
        status=status,
        error_code="mailbox_full" if status == "dead" else None,
        due_at=datetime.now(JAPAN),
        next_attempt_at=datetime.now(JAPAN),
        finished_at=datetime.now(JAPAN),
        created_by="run",
    )


# What waits and what was decided -----------------------------------------------------------------------------------------


def test_a_change_waits_is_approved_and_stays_in_the_history(
    board: Board, database: Database, host: psycopg.Connection
) -> None:
    billing_profile(host, "A", email=FORMER, department="総務部")
    request = asked(database, set_profile(database, email=NEW, department="経理部"))
    for path in (PAGE, "/contracts"):
        with board.living_run("approve_contracts", request.run_id):
            text = board.get(path).text
        assert f"部署: 総務部 → 経理部 送付先: {FORMER} → {NEW}" in _plain(text).replace(" : ", ": ")
        assert f"{AUTHOR} " in _plain(text)
        assert f"/dags/approve_contracts/runs/{request.run_id}/required_actions" in text.replace(
            "%3A", ":"
        ).replace("%2B", "+")
        assert "operate_contracts/withdraw?changes=C-" in text
    assert NEW not in board.get("/tenants/B/contract").text

    decide(database, request)
    page = _plain(board.get(PAGE).text)
    assert "承認を待っている変更はありません。" in page
    assert f"決めた人: {SECOND}" in page
    assert f"{FORMER} → {NEW}" in page
    assert "承認を待っている変更はありません。" in _plain(board.get("/contracts").text)


def test_a_change_that_nobody_is_asked_about_says_what_to_do(board: Board, database: Database) -> None:
    set_profile(database, email=NEW)
    assert "承認依頼が出ていません。承認の DAG を実行してください" in board.get(PAGE).text
    assert "自分の入力は、ほかの人が承認します" not in board.get(PAGE).text
    set_profile(database, "B", person="admin", email=NEW)
    assert "自分の入力は、ほかの人が承認します" in board.get("/contracts").text


def test_a_withdrawn_and_an_expired_change_have_no_values(
    board: Board, database: Database, host: psycopg.Connection
) -> None:
    set_profile(database, email=NEW)
    (change_id,) = host.execute("SELECT change_id FROM batch.contract_change").fetchone() or ("",)
    run(database, "withdraw", changes=[change_id], reason="誤り", person=SECOND)
    set_profile(database, email="late@customer.example")
    host.execute(
        "UPDATE batch.contract_change SET entered_at = entered_at - interval '31 days' WHERE status = 'waiting'"
    )
    set_discount(database)

    page = _plain(board.get(PAGE).text)
    assert "late@customer.example" not in page
    assert NEW not in page
    assert "値は消えました（送付先）" in page
    assert f"取り下げ 決めた人: {SECOND}" in page
    assert "期限切れ（30 日）" in page
    assert "承認は不要" in page


def test_a_file_that_waits_is_shown_with_its_rows(
    board: Board, database: Database, host: psycopg.Connection, reader: psycopg.Connection, tmp_path: Path
) -> None:
    billing_profile(host, "A", department="総務部")
    store = ObjectStore(tmp_path)
    store.write(
        "contracts/incoming/初回.csv",
        (
            "tenant,recipient_name,department,honorific,postal_code,address,country,email,further_emails,cc_emails,language,currency,"
            "tax_category,partner_code,pdf_delivery,due_months,due_day\r\n"
            f"CODE-A,,経理部,,,,,{NEW},,,,,,,,,\r\nCODE-B,株式会社ビー,,,,,,b@b.example,,,,,,,,,\r\n"
        ).encode(),
    )
    result = run(
        database,
        "import_file",
        store=store,
        imported_kind="profile",
        imported_file="初回.csv",
        reason="初回の登録",
    )
    asked(database, result)

    of_all = board.get("/contracts").text
    for shown in ("初回.csv", "2 行", "CODE-A", "CODE-B", NEW, "b@b.example", AUTHOR, "初回の登録"):
        assert shown in of_all
    assert f"部署: 総務部 → 経理部 送付先: {FORMER}（アプリの値） → {NEW}" in _plain(of_all)
    assert "宛名: B 商事（アプリの値） → 株式会社ビー" in _plain(of_all)
    # A tenant's page has only its own row.
    of_tenant = board.get(PAGE).text
    assert NEW in of_tenant
    assert "b@b.example" not in of_tenant
    assert "CODE-B" not in of_tenant
    assert [len(rows) for rows in load_waiting(reader).rows.values()] == [2]


def test_rates_are_listed_and_corrected(board: Board, database: Database, host: psycopg.Connection) -> None:
    exchange_rate(host, date(2026, 10, 30), "155")
    run(database, "set_rate", currency="USD", rate_date="2026-10-31", yen_per_unit="155.32", reason="TTM")
    run(database, "set_rate", currency="USD", rate_date="2026-10-31", yen_per_unit="155.50", reason="誤記")
    text = board.get("/contracts").text
    assert "operate_contracts/set_rate?currency=USD&amp;rate_date=2026-10-31&amp;yen_per_unit=155.50" in text
    assert "USD 日付: 2026-10-31 1 単位の円: 155.32 → 155.5" in _plain(text)
    for name in ("import_file", "export_files", "set_rate"):
        assert f'/operations/operate_contracts/{name}"' in text


def test_the_pages_are_english_for_english_readers(board: Board, database: Database) -> None:
    set_discount(database)
    text = _plain(board.get(PAGE, cookies={"skill_batch_language": "en"}).text)
    assert "Name of the discount: 年間契約割引 Kind: Percentage (%) Value: 10" in text


def test_the_contract_of_a_tenant_that_has_left_can_be_changed(
    board: Board, host: psycopg.Connection
) -> None:
    host.execute("""UPDATE "MST_Tenant" SET status = 'SUSPENDED' WHERE tenant_id = 'A'""")
    text = board.get(PAGE).text
    assert "操作できません" not in text
    assert "/operations/operate_contracts/" in text


def test_the_time_of_the_page_is_japan_s(database: Database, reader: psycopg.Connection) -> None:
    set_discount(database, valid_from="2026-11-11")
    assert AT.date() == date(2026, 11, 10)
    # 23:30 UTC on 10 November is 11 November in Japan.
    page = load_contract(reader, "A", datetime.fromisoformat("2026-11-10T23:30:00+00:00"))
    assert page is not None
    assert [row["state"] for row in page.terms] == ["now"]


def test_the_page_says_where_letters_go_without_an_address(
    board: Board, database: Database, host: psycopg.Connection
) -> None:
    billing_profile(host, "A", email=NEW)
    set_profile(database, "CODE-A", department="経理部")

    assert f"送付先: {NEW} → {FORMER}" in _plain(board.get(PAGE).text)


def test_the_rows_of_a_file_that_need_the_approval_come_first(
    database: Database, host: psycopg.Connection, tmp_path: Path, reader: psycopg.Connection
) -> None:
    store = ObjectStore(tmp_path)
    codes = [f"T{number:03}" for number in range(201)]
    for each in codes:
        customer(host, each, months=())
    columns = "recipient_name,department,honorific,postal_code,address,country,email,further_emails,cc_emails,language,currency"
    further = "tax_category,partner_code,pdf_delivery,due_months,due_day"
    lines = [f"{each},,経理部,,,,,,,,,,,,,," for each in codes[:-1]] + [f"{codes[-1]},,,,,,,{NEW},,,,,,,,,"]
    text = "\r\n".join([f"tenant,{columns},{further}", *lines])
    store.write("contracts/incoming/profile.csv", text.encode())
    run(
        database,
        "import_file",
        store=store,
        imported_kind="profile",
        imported_file="profile.csv",
        reason="初回の登録",
    )

    (rows,) = load_waiting(reader).rows.values()
    assert rows[0]["owner"] == codes[-1]


def test_the_import_offers_the_files_that_wait(
    board: Board, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = "/operations/operate_contracts/import_file"
    monkeypatch.setenv("AIRFLOW_VAR_SKILL_BATCH_STORAGE_URL", f"file://{tmp_path}")
    typed = '<input type="text" name="imported_file"'
    assert typed in board.get(path).text
    folder = tmp_path / INCOMING
    folder.mkdir(parents=True)
    for name, modified in (("old.csv", 1), (".hidden", 2), ("割引<1>.csv", 3)):
        (folder / name).write_text("")
        os.utime(folder / name, (modified, modified))
    dialog = board.get(path, params={"imported_file": "old.csv"}).text
    assert typed not in dialog
    assert "<option>割引&lt;1&gt;.csv</option><option selected>old.csv</option></select>" in dialog
    monkeypatch.setenv("AIRFLOW_VAR_SKILL_BATCH_STORAGE_URL", "s3://")
    assert typed in board.get(path).text
