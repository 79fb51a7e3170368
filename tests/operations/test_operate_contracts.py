"""Contracts by form: what a person enters, what waits for a second one, and what it means for final invoices."""

from __future__ import annotations

import json
import re
from datetime import date
from threading import Thread
from typing import Any

import psycopg
import pytest

from include.skillreport.batches.tenant_monitoring import create_batch as monitoring
from include.skillreport.billing.errors import BillingError
from include.skillreport.core.catalog import TENANT_MONITORING
from include.skillreport.core.errors import ParameterError
from local_stack.batch_runs import LOCAL, run_batch
from tests.conftest import Database
from tests.worlds.approval_rows import HOLD, asked, items, text_of
from tests.worlds.billing_rows import (
    customer,
    exchange_rate,
    insert,
    invoice,
    outcomes,
    run_billing,
)
from tests.worlds.contract_entries import (
    AT,
    AUTHOR,
    FORMER,
    NEW,
    SECOND,
    changes,
    decide,
    discounts,
    enter,
    profile,
    run,
    set_discount,
    set_profile,
)


@pytest.mark.usefixtures("tenants")
def test_a_discount_counts_on_the_next_invoice_of_its_tenant(
    database: Database, host: psycopg.Connection
) -> None:
    set_discount(database, valid_from="2026-10-01")
    run_billing(database)

    assert changes(host) == [("A", "discount", "applied", AUTHOR, None)]
    assert (invoice(host, "A")["total"], invoice(host, "B")["total"]) == (9_900, 11_000)


@pytest.mark.usefixtures("tenants")
def test_a_discount_with_the_same_first_day_is_corrected(
    database: Database, host: psycopg.Connection
) -> None:
    set_discount(database)
    set_discount(database, value="20")
    set_discount(database, value="20.0")

    assert discounts(host) == [("A", "年間契約割引", 20, "2026-11-01", None)]
    assert len(changes(host)) == 2


@pytest.mark.usefixtures("tenants")
def test_an_overlap_is_refused_until_the_former_one_ends(
    database: Database, host: psycopg.Connection
) -> None:
    set_discount(database)
    with pytest.raises(BillingError, match=r"2026-11-01 から 期限なし のものと重なります"):
        set_discount(database, valid_from="2027-01-01")
    ending: dict[str, Any] = {"ended": "discount", "discount_name": "年間契約割引", "reason": "更新"}
    run(database, "end", tenants=["A"], valid_from="2026-11-01", last_day="2026-12-31", **ending)
    set_discount(database, valid_from="2027-01-01", value="15")

    assert discounts(host) == [
        ("A", "年間契約割引", 10, "2026-11-01", "2026-12-31"),
        ("A", "年間契約割引", 15, "2027-01-01", None),
    ]


@pytest.mark.usefixtures("tenants")
def test_an_end_before_the_first_day_removes_the_entry(database: Database, host: psycopg.Connection) -> None:
    commitment: dict[str, Any] = {"amount": "50000", "currency": "jpy", "reason": "契約書"}
    run(database, "set_commitment", tenants=["A"], valid_from="2026-12-01", **commitment)
    ending: dict[str, Any] = {"ended": "commitment", "valid_from": "2026-12-01", "reason": "取りやめ"}
    run(database, "end", tenants=["A"], last_day="2026-11-30", **ending)

    assert host.execute("SELECT count(*) FROM batch.commitment").fetchone() == (0,)
    with pytest.raises(BillingError, match="はありません"):
        run(database, "end", tenants=["A"], last_day="2026-11-30", **ending)


@pytest.mark.usefixtures("tenants")
@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"value": "101"}, "率なら 100 まで"),
        ({"value": "-1"}, "0 より大きく"),
        ({"value": "abc"}, "数ではありません"),
        ({"discount_kind": "fixed"}, "「通貨」は、割引の種類「定額（月額）」では必要です"),
        ({"metric": "api_calls"}, "「指標」は、割引の種類「率（%）」では使いません"),
        ({"valid_to": "2026-10-31"}, "「初日」"),
        ({"discount_name": "あ" * 201}, "長すぎます"),
        ({"reason": " "}, "「理由」（reason）が必要です"),
    ],
)
def test_unusable_values_are_refused_by_the_field(
    database: Database, host: psycopg.Connection, values: dict[str, str], problem: str
) -> None:
    with pytest.raises(ParameterError, match=problem):
        set_discount(database, **values)
    assert changes(host) == []


@pytest.mark.usefixtures("tenants")
def test_an_operation_without_a_tenant_is_never_for_all(database: Database, host: psycopg.Connection) -> None:
    with pytest.raises(ParameterError, match="テナントコード"):
        run(database, "set_discount", reason="契約書")
    token = enter(database, "set_profile", {"department": "経理部", "reason": "契約書"})
    with pytest.raises(ParameterError, match="テナントコード"):
        run(database, "set_profile", entry=token)
    assert changes(host) == []


def test_a_rate_belongs_to_no_tenant(database: Database, host: psycopg.Connection) -> None:
    exchange_rate(host, date(2026, 10, 30), "155.10")
    rate: dict[str, Any] = {"currency": "usd", "rate_date": "2026-10-31", "reason": "TTM"}
    run(database, "set_rate", yen_per_unit="155.32", **rate)
    run(database, "set_rate", yen_per_unit="155.33", **rate)

    rates = host.execute("SELECT currency, yen_per_unit::text FROM batch.exchange_rate ORDER BY rate_date")
    assert rates.fetchall()[1:] == [("USD", "155.33")]
    assert [each[:3] for each in changes(host)] == [("", "exchange_rate", "applied")] * 2
    with pytest.raises(ParameterError, match="まだ来ていません"):
        run(database, "set_rate", currency="USD", rate_date="2026-11-11", yen_per_unit="1", reason="TTM")


@pytest.mark.usefixtures("tenants")
def test_terms_and_department_need_no_second_person(database: Database, host: psycopg.Connection) -> None:
    set_profile(database, department="経理部", due_months="2", due_day="31")

    assert profile(host) == {"tenant_id": "A", "department": "経理部", "due_months": 2, "due_day": 31}
    assert profile(host, "B") == {}


@pytest.mark.usefixtures("tenants")
@pytest.mark.parametrize(
    "values",
    [{"email": NEW}, {"cc_emails": [NEW]}, {"further_emails": [NEW]}, {"recipient_name": "株式会社ニセモノ"}],
)
def test_a_new_recipient_or_name_waits_for_somebody_else(
    database: Database, host: psycopg.Connection, values: dict[str, Any]
) -> None:
    request = asked(database, set_profile(database, **values))
    assert profile(host) == {}
    assert changes(host) == [("A", "profile", "waiting", AUTHOR, None)]

    decide(database, request)

    assert changes(host) == [("A", "profile", "applied", AUTHOR, SECOND)]
    ((name, value),) = values.items()
    assert profile(host)[name] == value


@pytest.mark.usefixtures("tenants")
@pytest.mark.parametrize("person", [AUTHOR, AUTHOR.upper()])
def test_nobody_approves_the_own_change(database: Database, host: psycopg.Connection, person: str) -> None:
    request = asked(database, set_profile(database, email=NEW))
    result = decide(database, request, person=person)

    assert (result.status, [each.code for each in result.problems]) == (
        "partial",
        ["CONTRACT_CHANGE_REFUSED"],
    )
    assert changes(host) == [("A", "profile", "waiting", AUTHOR, None)]
    assert profile(host) == {}
    (item,) = items(host, request).values()
    assert item["result"] == "out_of_date"
    assert "ほかの人が承認してください" in item["result_text"]
    for decided_by in ("entered_by", "upper(entered_by)", "null"):
        with pytest.raises(psycopg.errors.CheckViolation, match="has entered it"):
            host.execute(
                f"UPDATE batch.contract_change SET status = 'applied', decided_at = now(), decided_by = {decided_by}"
            )


@pytest.mark.usefixtures("tenants")
def test_a_held_change_changes_nothing(database: Database, host: psycopg.Connection) -> None:
    decide(database, asked(database, set_profile(database, email=NEW)), HOLD)

    assert changes(host) == [("A", "profile", "waiting", AUTHOR, None)]
    assert profile(host) == {}


@pytest.mark.usefixtures("tenants")
def test_an_approval_is_refused_after_another_change(database: Database, host: psycopg.Connection) -> None:
    request = asked(database, set_profile(database, email=NEW))
    set_profile(database, department="総務部")
    result = decide(database, request)

    assert "入力した後に元の内容が変わったため" in str(items(host, request))
    assert result.status == "partial"
    assert profile(host) == {"tenant_id": "A", "department": "総務部"}


@pytest.mark.usefixtures("tenants")
def test_a_withdrawn_change_keeps_no_values(database: Database, host: psycopg.Connection) -> None:
    set_profile(database, email=NEW)
    ((change_id,),) = host.execute("SELECT change_id FROM batch.contract_change").fetchall()
    run(database, "withdraw", changes=[change_id], reason="誤り")

    assert host.execute("SELECT status, before, after, reason FROM batch.contract_change").fetchall() == [
        ("refused", None, None, "契約書／取り下げ: 誤り")
    ]
    with pytest.raises(ParameterError, match="承認を待っていません"):
        run(database, "withdraw", changes=[change_id], reason="誤り")


@pytest.mark.usefixtures("tenants")
def test_a_late_approval_says_what_became_of_the_change(database: Database, host: psycopg.Connection) -> None:
    request = asked(database, set_profile(database, email=NEW))
    ((change_id,),) = host.execute("SELECT change_id FROM batch.contract_change").fetchall()
    run(database, "withdraw", changes=[change_id], reason="誤り")
    decide(database, request)

    (item,) = items(host, request).values()
    assert (item["result"], item["result_text"]) == ("out_of_date", "この変更は、取り下げられています")


@pytest.mark.usefixtures("tenants")
def test_a_change_that_nobody_decides_about_expires(database: Database, host: psycopg.Connection) -> None:
    request = asked(database, set_profile(database, email=NEW))
    assert "30 日たつと期限が切れ" in text_of(database, request)[1]
    host.execute("UPDATE batch.contract_change SET entered_at = entered_at - interval '31 days'")
    result = decide(database, request)

    sentence = "この変更は、30 日の間に承認されず、期限が切れています。もう一度入力してください"
    (item,) = items(host, request).values()
    assert (result.status, item["result"], item["result_text"]) == ("partial", "out_of_date", sentence)
    assert host.execute("SELECT status, before, after FROM batch.contract_change").fetchall() == [
        ("expired", None, None)
    ]
    assert profile(host) == {}


@pytest.mark.usefixtures("tenants")
def test_the_hourly_batch_ends_what_nobody_used(database: Database, host: psycopg.Connection) -> None:
    enter(database, "set_profile", {"email": NEW}, minutes_ago=16)
    set_profile(database, email=NEW)
    host.execute("UPDATE batch.contract_change SET entered_at = entered_at - interval '31 days'")
    enter(database, "set_profile", {"email": NEW}, person="waiting")
    with database.working() as (platform, connection):
        run_batch(
            platform, connection, TENANT_MONITORING, monitoring(LOCAL), AT.date(), run_at=AT, codes=["A"]
        )

    assert host.execute("SELECT status, after FROM batch.contract_change").fetchall() == [("expired", None)]
    unused = "SELECT entered_by FROM batch.entered_values WHERE form_values IS NOT null"
    assert host.execute(unused).fetchall() == [("waiting",)]


@pytest.mark.usefixtures("tenants")
def test_a_payer_is_remembered_after_the_second_person(database: Database, host: psycopg.Connection) -> None:
    token = enter(database, "add_payer", {"payer_name": "カ)アオバ", "reason": "契約書"})
    request = asked(database, run(database, "add_payer", tenants=["A"], entry=token))
    assert host.execute("SELECT count(*) FROM batch.payer").fetchone() == (0,)
    decide(database, request)

    assert host.execute("SELECT tenant_id, payer_key, confirmed_by FROM batch.payer").fetchall() == [
        ("A", "[ｶ]ｱｵﾊﾞ", AUTHOR)
    ]


@pytest.mark.usefixtures("tenants")
def test_values_are_used_once_by_their_author_within_minutes(
    database: Database, host: psycopg.Connection
) -> None:
    values = {"department": "経理部", "reason": "契約書"}
    late = enter(database, "set_profile", values, minutes_ago=16)
    others = enter(database, "set_profile", values, person="another")
    used = enter(database, "set_profile", values)
    run(database, "set_profile", tenants=["A"], entry=used)
    for token in (late, others, used, "x" * 40):
        with pytest.raises(ParameterError, match="ボードでもう一度入力してください"):
            run(database, "set_profile", tenants=["B"], entry=token)

    assert len(changes(host)) == 1
    # The late ones are deleted by the next run, and the used values with their work.
    assert host.execute("SELECT entered_by, form_values FROM batch.entered_values ORDER BY 1").fetchall() == [
        ("another", values),
        (AUTHOR, None),
    ]


@pytest.mark.usefixtures("tenants")
def test_airflows_form_takes_no_personal_values(database: Database, host: psycopg.Connection) -> None:
    with pytest.raises(ParameterError, match="Airflow のフォームでは入力できません"):
        run(database, "set_profile", tenants=["A"], department="経理部", reason="契約書")
    token = enter(database, "set_profile", {"department": "経理部", "reason": "契約書"})
    with pytest.raises(ParameterError, match="Airflow のフォームでは入力できません"):
        run(database, "set_profile", tenants=["A"], entry=token, email=NEW)
    assert changes(host) == []


@pytest.mark.usefixtures("tenants")
def test_nothing_personal_is_left_where_airflow_shows_it(
    database: Database, host: psycopg.Connection
) -> None:
    result = set_profile(
        database, email=NEW, recipient_name="株式会社ヒミツ", cc_emails=["cc@secret.example"]
    )
    request = asked(database, result)
    shown = "\n".join(text_of(database, request))
    decide(database, request)
    kept = json.dumps(
        host.execute(
            """
            SELECT log.parameters, log.result, log.error_message, outcome.details, outcome.notes, remark.details, item.figures
            FROM batch.execution_log AS log
            LEFT JOIN batch.tenant_outcome AS outcome USING (execution_id)
            LEFT JOIN batch.run_remark AS remark USING (execution_id)
            LEFT JOIN batch.approval_item AS item ON item.held_by = log.execution_id
            """
        ).fetchall(),
        ensure_ascii=False,
    )
    for secret in (NEW, "ヒミツ", "secret.example"):
        assert secret not in shown
        assert secret not in kept
    assert "宛名、送付先、Cc" in shown.replace("\\", "")


@pytest.mark.usefixtures("tenants")
def test_a_former_recipient_is_told_once(database: Database, host: psycopg.Connection) -> None:
    decide(database, asked(database, set_profile(database, email=NEW)))

    letters = host.execute(
        """SELECT tenant_id, recipient_address, subject, message_body FROM "HIS_NotificationLog" """
    ).fetchall()
    assert [row[:2] for row in letters] == [("A", FORMER)]
    assert "送付先の変更" in letters[0][2]
    assert NEW not in letters[0][3]


@pytest.mark.usefixtures("tenants")
def test_a_final_invoice_that_would_differ_is_named(database: Database, host: psycopg.Connection) -> None:
    run_billing(database)
    before = invoice(host, "A")
    result = set_discount(database, valid_from="2026-10-01")

    assert invoice(host, "A") == before
    ((note,),) = (row["notes"] for row in outcomes(host, result).values())
    assert "11,000 JPY のままです。今の契約なら 9,900（差額 -1,100）" in note
    assert "「一部の返還」" in note
    later = set_discount(database, valid_from="2026-11-01", discount_name="別の割引")
    assert [row["notes"] for row in outcomes(host, later).values()] == [[]]


@pytest.mark.usefixtures("tenants")
def test_an_earlier_plan_is_compared_with_the_final_invoice(
    database: Database, host: psycopg.Connection
) -> None:
    run(database, "set_plan", tenants=["A"], plan="basic", plan_from="2026-01-01", reason="契約書")
    run_billing(database)
    result = run(database, "set_plan", tenants=["A"], plan="free", plan_from="2026-10-01", reason="無料の月")

    ((note,),) = (row["notes"] for row in outcomes(host, result).values())
    assert "今の契約なら 0（差額 -11,000）" in note
    with pytest.raises(ParameterError, match="プラン GOLD は料金表にありません"):
        run(database, "set_plan", tenants=["A"], plan="gold", plan_from="2026-10-01", reason="誤り")


@pytest.mark.usefixtures("tenants")
def test_the_honorific_is_on_the_document_and_in_the_letter(
    database: Database, host: psycopg.Connection
) -> None:
    set_profile(database, honorific="sama")
    run_billing(database)

    contents = host.execute("SELECT content -> 'recipient' -> 'honorific' FROM batch.invoice ORDER BY number")
    assert contents.fetchall() == [("様",), (None,), (None,)]
    bodies = host.execute('SELECT message_body FROM "HIS_NotificationLog" ORDER BY tenant_id').fetchall()
    assert [re.split(r"[ \n]", body)[1] for (body,) in bodies] == ["様", "御中", "御中"]


@pytest.mark.usefixtures("tenants")
def test_a_changed_department_names_the_correction(database: Database, host: psycopg.Connection) -> None:
    run_billing(database)
    result = set_profile(database, department="経理部")

    ((note,),) = (row["notes"] for row in outcomes(host, result).values())
    assert "「訂正」を使ってください" in note


@pytest.mark.usefixtures("tenants")
def test_two_people_at_once_leave_one_of_two_overlapping_discounts(
    database: Database, host: psycopg.Connection
) -> None:
    problems: list[str] = []

    def enter_one(first: str) -> None:
        try:
            set_discount(database, valid_from=first)
        except BillingError as error:
            problems.append(str(error))

    threads = [Thread(target=enter_one, args=[first]) for first in ("2026-11-01", "2026-12-01")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(discounts(host)) == 1
    assert ["重なります" in each for each in problems] == [True]


@pytest.mark.usefixtures("tenants")
def test_the_board_cannot_read_what_was_entered(database: Database) -> None:
    enter(database, "set_profile", {"email": NEW})
    with database.connect("batch_board") as board, pytest.raises(psycopg.errors.InsufficientPrivilege):
        board.execute("SELECT form_values FROM batch.entered_values")


@pytest.mark.usefixtures("tenants")
def test_a_tenants_work_changes_no_contract_record(database: Database) -> None:
    set_discount(database)
    with database.connect("batch_tenant") as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("UPDATE batch.contract_change SET status = 'waiting'")


@pytest.mark.usefixtures("tenants")
def test_a_stored_text_that_is_entered_again_is_no_change(
    database: Database, host: psycopg.Connection
) -> None:
    stored = {"recipient_name": "株式会社\u3000アオバ", "address": "千代田区\n1-1"}
    insert(host, "billing_profile", tenant_id="A", **stored)
    set_profile(database, department="経理部", **stored)

    assert profile(host) == {"tenant_id": "A", "department": "経理部", **stored}
    assert host.execute("SELECT status, changed FROM batch.contract_change").fetchall() == [
        ("applied", ["department"])
    ]


@pytest.mark.usefixtures("tenants")
def test_a_discount_is_found_by_its_stored_name(database: Database, host: psycopg.Connection) -> None:
    stored = "年間\u3000割引"
    insert(host, "discount", tenant_id="A", name=stored, kind="percentage", value=10, valid_from="2026-11-01")
    set_discount(database, discount_name=stored)
    set_discount(database, discount_name=stored, value="20")

    assert discounts(host) == [("A", stored, 20, "2026-11-01", None)]
    assert host.execute("SELECT changed FROM batch.contract_change").fetchall() == [(["value"],)]


@pytest.mark.usefixtures("tenants")
def test_an_address_gets_each_letter_once(database: Database, host: psycopg.Connection) -> None:
    repeated = ["x@customer.example", "X@Customer.example", FORMER.upper()]
    decide(
        database,
        asked(
            database,
            set_profile(
                database,
                email=FORMER,
                further_emails=repeated * 4,
                cc_emails=["cc@customer.example", *repeated],
            ),
        ),
    )
    assert profile(host) == {
        "tenant_id": "A",
        "email": FORMER,
        "further_emails": ["x@customer.example"],
        "cc_emails": ["cc@customer.example"],
    }


@pytest.mark.usefixtures("tenants")
def test_more_copies_than_the_table_holds_are_refused(database: Database, host: psycopg.Connection) -> None:
    addresses = [f"{number}@customer.example" for number in range(11)]
    with pytest.raises(ParameterError, match="合わせて 10 件までです"):
        set_profile(database, email="", further_emails=addresses[:5], cc_emails=addresses[5:])
    set_profile(database, email=NEW, further_emails=addresses[:5], cc_emails=addresses[5:10])
    assert [each[2] for each in changes(host)] == ["waiting"]


@pytest.mark.usefixtures("tenants")
@pytest.mark.parametrize(("honorific", "shown"), [("", " 御中\n"), ("sama", " 様\n"), ("none", "\n")])
def test_the_letter_to_a_former_recipient_has_no_new_name(
    database: Database, host: psycopg.Connection, honorific: str, shown: str
) -> None:
    profile = {"email": NEW, "recipient_name": "株式会社シンメイ", "honorific": honorific}
    decide(database, asked(database, set_profile(database, **profile)))

    ((body,),) = host.execute("""SELECT message_body FROM "HIS_NotificationLog" """).fetchall()
    ((name,),) = host.execute("SELECT tenant_name FROM batch.all_tenant WHERE tenant_id = 'A'").fetchall()
    assert "シンメイ" not in body
    assert body.startswith(f"{name}{shown}")


@pytest.mark.usefixtures("tenants")
def test_another_case_of_an_address_is_the_same_recipient(
    database: Database, host: psycopg.Connection
) -> None:
    set_profile(database, email=FORMER.title())

    assert profile(host)["email"] == FORMER.title()
    assert host.execute("SELECT status, former_emails FROM batch.contract_change").fetchall() == [
        ("applied", [])
    ]
    assert host.execute("""SELECT count(*) FROM "HIS_NotificationLog" """).fetchone() == (0,)


def test_a_profile_is_never_entered_for_two_tenants(database: Database, host: psycopg.Connection) -> None:
    # A tenant without a code is named by its id.
    customer(host, "SAME", tenant_code="")
    customer(host, "B", tenant_code="SAME")
    with pytest.raises(ParameterError, match="1 つのテナントだけ"):
        set_profile(database, "SAME", department="経理部")
    assert profile(host, "SAME") == profile(host, "B") == {}
