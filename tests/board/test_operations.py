"""The buttons: a dialog asks once, the run starts as the signed-in user, and exactly the failed instances are cleared."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from skill_batch.board.actions import Action, find_action
from include.skillreport.core.catalog import (
    BATCHES,
    SCHEDULED_NOTIFICATIONS,
)
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.operation_catalog import OPERATIONS
from include.skillreport.operations.forms import FORMS
from tests.airflow_installation import connect_metadata
from tests.board.conftest import Board
from tests.conftest import Database
from tests.worlds.billing_rows import customer, operate, run_billing
from tests.worlds.board_entries import example_texts
from tests.worlds.host_rows import tenant
from tests.worlds.own_settings import change_billing

NOW = datetime(2026, 12, 1, tzinfo=UTC)


@pytest.fixture
def company(database: Database) -> str:
    """The code of a tenant."""
    with database.connect() as host:
        tenant(host, "A", tenant_code="CODE-A")
    return "CODE-A"


def _runs(board: Board, dag_id: str) -> list[dict[str, Any]]:
    answer = board.api("GET", f"/dags/{dag_id}/dagRuns", params={"order_by": "-run_after", "limit": 100})
    return list(answer.json()["dag_runs"])


def test_every_operation_has_a_dialog_that_states_its_effect(board: Board) -> None:
    names = [(dag_id, each.name) for dag_id, form in FORMS.items() for each in form.operations]
    assert {dag_id for dag_id, _ in names} <= {spec.dag_id for spec in OPERATIONS}
    for dag_id, name in names:
        dialog = board.get(f"/operations/{dag_id}/{name}", params={"tenants": company})
        assert dialog.status_code == 200
        action = find_action(dag_id, name)
        assert action is not None
        assert action.effect in dialog.text
        assert "admin として" in dialog.text


def test_an_operation_starts_as_the_user_with_the_values_of_the_dialog(board: Board, company: str) -> None:
    user = board.as_role("user")
    answer = user.press(
        "/operations/operate_invoices/void",
        {"tenants": f"{company}\n", "reason": "宛名の誤り", "business_date": "2026-06-01", "dry_run": "on"},
    )
    assert answer.status_code == 200
    assert "実行の様子" in answer.text
    started = _runs(board, "operate_invoices")[0]
    assert started["conf"] == {
        "operation": "void",
        "tenants": [company],
        "reason": "宛名の誤り",
        "business_date": "2026-06-01",
        "dry_run": True,
        "shown": ["テナント A: なし"],
    }
    assert started["triggering_user_name"] == "user"
    # The fragment follows the run, and a viewer may follow it too.
    follow = f"/follow/operate_invoices/{started['dag_run_id']}"
    assert board.as_role("viewer").get(follow).status_code == 200


def test_nothing_starts_with_a_missing_value_or_an_unknown_tenant(board: Board, company: str) -> None:
    before = len(_runs(board, "operate_invoices"))
    for fields, problem in (
        ({"tenants": company}, "「理由」（reason）が必要です"),
        ({"tenants": "NOBODY", "reason": "x"}, "テナントコード NOBODY は存在しません"),
        ({"tenants": company, "reason": "x", "business_date": "June"}, "YYYY-MM-DD"),
        ({"tenants": company, "reason": "x" * 3_000}, "長すぎます"),
    ):
        answer = board.post("/operations/operate_invoices/void", fields)
        assert answer.status_code == 422
        assert problem in answer.text
    forged = {"messages": "no-such-message", "reason": "x"}
    assert (
        "メッセージ no-such-message は存在しません"
        in board.post("/operations/operate_notifications/resend", forged).text
    )
    assert len(_runs(board, "operate_invoices")) == before


PAYMENT = {
    "paid_on": "2026-10-05",
    "paid_amount": "1000",
    "paid_method": "銀行振込",
    "paid_reference": "Ｒ－１",
}


@pytest.mark.parametrize(
    ("name", "fields", "conf"),
    [
        ("record_payment", PAYMENT | {"paid_amount": "１０００"}, PAYMENT),
        ("record_payment", PAYMENT | {"paid_amount": " 1,000 "}, PAYMENT),
        ("record_payment", PAYMENT | {"paid_on": "２０２６－１０－０５"}, PAYMENT),
        (
            "move_payment",
            {"reason": "誤り", "paid_reference": "Ｒ－１", "paid_to": "ＩＮＶ－２０２６－１１－００１"},
            {"reason": "誤り", "paid_reference": "Ｒ－１", "paid_to": "INV-2026-11-001"},
        ),
        (
            "part_credit",
            {"reason": "障害", "credit_lines": "２＝１，５００\n3=2X"},
            {"reason": "障害", "credit_lines": ["2=1500", "3=2x"]},
        ),
    ],
)
def test_full_width_digits_and_codes_start_a_run_with_usual_ones(
    board: Board, company: str, name: str, fields: dict[str, str], conf: dict[str, Any]
) -> None:
    wide = {"tenants": "ＣＯＤＥ－Ａ", "business_date": "２０２６-０６-０１", **fields}
    answer = board.press(f"/operations/operate_invoices/{name}", wide)
    assert answer.status_code == 200, answer.text
    assert _runs(board, "operate_invoices")[0]["conf"] == {
        "operation": name,
        "tenants": [company],
        "business_date": "2026-06-01",
        "shown": ["テナント A: なし"],
        **conf,
    }


@pytest.mark.parametrize(
    ("name", "fields", "problem"),
    [
        ("record_payment", PAYMENT | {"paid_amount": "1,00"}, "「入金額」（paid_amount）の"),
        ("record_payment", PAYMENT | {"paid_amount": "千円"}, "「入金額」（paid_amount）の"),
        ("record_payment", PAYMENT | {"paid_on": "2026-02-30"}, "「入金日」（paid_on）の"),
        ("record_payment", PAYMENT | {"paid_on": "1026-10-05"}, "「入金日」（paid_on）の"),
        ("record_payment", PAYMENT | {"tenants": "CODE-A\nB"}, "「テナントコード」（tenants）に 1 件だけ"),
        ("void", {"reason": "x", "business_date": "2999-01-01"}, "業務日（business_date）"),
        ("part_credit", {"reason": "x", "credit_lines": "2-1500"}, "「返還する明細」（credit_lines）の"),
        ("import_payments", {"payment_file": "../a.csv"}, "「入金ファイル」（payment_file）の"),
        (
            "extra_line",
            {"line_date": "2126-01-01", "line_text": "x", "line_price": "1"},
            "「利用日」（line_date）の",
        ),
        (
            "extra_line",
            {"line_date": "2026-01-01", "line_text": "x", "line_price": "0"},
            "「単価」（line_price）",
        ),
        ("void", {"reason": "a\x00b"}, "「理由」"),
        ("void", {"reason": "a", "tenants": "\x00"}, "「テナントコード」"),
    ],
)
def test_a_value_that_the_run_would_refuse_starts_no_run(
    board: Board, company: str, name: str, fields: dict[str, str], problem: str
) -> None:
    before = len(_runs(board, "operate_invoices"))
    given = {} if name == "import_payments" else {"tenants": company}
    answer = board.post(f"/operations/operate_invoices/{name}", given | fields)
    assert answer.status_code == 422, answer.text
    assert problem in answer.text
    assert len(_runs(board, "operate_invoices")) == before


def test_a_refused_run_opens_its_dialog_with_what_was_typed(board: Board, company: str) -> None:
    values = {"tenants": company, "business_date": "2026-06-01", "is_other": "on", **PAYMENT}
    assert board.press("/operations/operate_invoices/record_payment", values).status_code == 200
    run_id = _runs(board, "operate_invoices")[0]["dag_run_id"]
    path = f"/runs/operate_invoices/{quote(run_id)}/again"
    follow = f"/follow/operate_invoices/{run_id}"
    assert "入力し直す" not in board.get(follow).text
    board.end_run("operate_invoices", run_id)
    assert f'hx-get="/skill-batch-board{path}"' in board.get(f"/runs/operate_invoices/{run_id}").text
    dialog = board.get(path).text
    for name, text in (("paid_on", "2026-10-05"), ("paid_amount", "1000"), ("paid_reference", "Ｒ－１")):
        assert f'name="{name}" value="{text}" required' in dialog
    assert '<input type="checkbox" name="is_other" checked>' in dialog
    assert f'<input type="hidden" name="tenants" value="{company}">' in dialog
    assert board.as_role("viewer").get(path).status_code == 403
    assert board.get("/runs/operate_invoices/none/again").status_code == 404


@pytest.mark.parametrize("dag_id", FORMS)
def test_a_button_gives_its_run_only_fields_of_the_dags_form(board: Board, dag_id: str) -> None:
    params = board.api("GET", f"/dags/{dag_id}/details").json()["params"]
    for operation in FORMS[dag_id].operations:
        action = find_action(dag_id, operation.name)
        assert action is not None
        texts = example_texts(action)
        conf = action.conf(texts, NOW)
        assert action.is_personal or conf.keys() - params.keys() == set()
        assert conf.keys() - {"operation"} == {name for name, (text,) in texts.items() if text}


def test_a_tenant_that_the_application_has_deleted_can_still_pay(board: Board, database: Database) -> None:
    with database.connect() as host:
        customer(host, "GONE", months=(date(2026, 9, 1),), tenant_code="CODE-GONE")
        run_billing(database, date(2026, 9, 1))
        host.execute("""DELETE FROM "MST_Tenant" WHERE tenant_id = 'GONE'""")
    payment = {
        "paid_on": "2026-10-05",
        "paid_amount": "11000",
        "paid_method": "銀行振込",
        "paid_reference": "R1",
    }
    path = "/operations/operate_invoices/record_payment"
    assert board.press(path, {"tenants": "CODE-GONE", **payment}).status_code == 200
    assert board.post(path, {"tenants": "CODE-NEVER", **payment}).status_code == 422
    again = {"tenants": "CODE-GONE", "reason": "x", "business_date": "2026-09-01"}
    assert board.post("/operations/operate_invoices/bill_again", again).status_code == 422


@pytest.mark.parametrize(("name", "is_about"), [("approve", True), ("drop_credit", True), ("void", False)])
def test_the_dialog_lists_the_waiting_credits_that_it_decides_about(
    board: Board,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str,
    is_about: bool,
) -> None:
    change_billing(monkeypatch, tmp_path, operation_limit=0)
    with database.connect() as host:
        customer(host, "A")
    run_billing(database)
    for person, amount in (("佐藤", 1000), ("鈴木", 2000)):
        credited = {"credit_lines": [f"1={amount}"]}
        operate(database, "part_credit", reason=f"{person}の値引き", values=credited, triggered_by=person)
    query = {"tenants": "A", "business_date": "2026-10-01"}
    dialog = board.get(f"/operations/operate_invoices/{name}", params=query).text
    assert ("対象（3 件）" in dialog) == is_about
    for shown in ("-1,100 JPY", "佐藤の値引き", "-2,200 JPY", "鈴木の値引き", "登録した人"):
        assert (shown in dialog) == is_about, shown
    assert "INV-2026-10-001" in dialog


def test_the_dry_run_of_a_batch_can_never_be_a_real_one(board: Board, company: str) -> None:
    board.post("/operations/batch_018_01_tenant_usage/dry_run", {"tenants": company, "dry_run": ""})
    assert _runs(board, "batch_018_01_tenant_usage")[0]["conf"] == {"dry_run": True, "tenants": [company]}


def test_a_dag_that_is_no_operation_cannot_be_started(board: Board) -> None:
    for path in ("/operations/batch_018_02_tenant_billing/approve", "/operations/operate_invoices/dry_run"):
        assert board.get(path).status_code == 404
        assert board.post(path, {}).status_code == 404


def test_clearing_takes_exactly_the_failed_instances_that_were_chosen(
    board: Board, migrated_metadata: str
) -> None:
    run_id = _failed_run(
        board, migrated_metadata, "batch_003_statistics", {0: "failed", 1: "success", 2: "failed"}
    )
    path = f"/runs/batch_003_statistics/{run_id}/clear"
    dialog = board.get(path).text
    assert "update_statistics[0]" in dialog
    assert "update_statistics[1]" not in dialog
    # Airflow names all instances of a mapped task but the first by its id.
    assert dialog.count('統計の更新 <code class="muted">update_statistics</code>') == 2
    assert board.post(path, {"instance": "update_statistics[1]"}).status_code == 409
    assert board.as_role("user").post(path, {"instance": "update_statistics[0]"}).status_code == 200
    states = {
        (each["task_id"], each["map_index"]): each["state"]
        for each in board.api("GET", f"/dags/batch_003_statistics/dagRuns/{run_id}/taskInstances").json()[
            "task_instances"
        ]
    }
    assert states["update_statistics", 0] is None
    assert states["update_statistics", 1] == "success"
    assert states["update_statistics", 2] == "failed"
    assert states["close_run", -1] is None
    assert states["open_run", -1] == "success"


def test_the_task_of_the_advice_is_cleared_whatever_its_state(board: Board, migrated_metadata: str) -> None:
    run_id = _failed_run(board, migrated_metadata, "batch_003_statistics", {0: "failed"})
    path = f"/runs/batch_003_statistics/{run_id}/clear"
    assert board.get(f"{path}?task=aggregate_usage").status_code == 404
    dialog = board.get(f"{path}?task=open_run").text
    assert re.findall(r'name="instance" value="([^"]+)"', dialog) == ["open_run[-1]"]
    assert "open_run から再実行" in dialog
    assert board.post(path, {"instance": "open_run[-1]"}).status_code == 409  # it has not failed
    assert board.post(path, {"task": "open_run", "instance": "open_run[-1]"}).status_code == 200
    instances = board.api("GET", f"/dags/batch_003_statistics/dagRuns/{run_id}/taskInstances").json()
    assert {each["state"] for each in instances["task_instances"]} == {None}


@pytest.mark.slow("needs many rows")
def test_a_night_with_hundreds_of_failures_is_cleared_at_once(board: Board, migrated_metadata: str) -> None:
    run_id = _failed_run(
        board, migrated_metadata, "batch_003_statistics", dict.fromkeys(range(250), "failed")
    )
    path = f"/runs/batch_003_statistics/{run_id}/clear"
    dialog = board.get(path).text
    assert dialog.count('name="instance"') == 251
    chosen = re.findall(r'name="instance" value="([^"]+)"', dialog)
    assert board.post(path, {"instance": chosen}).status_code == 200
    left = board.api(
        "GET", f"/dags/batch_003_statistics/dagRuns/{run_id}/taskInstances", params={"state": "failed"}
    )
    assert left.json()["total_entries"] == 0


def test_the_dialog_says_what_is_cleared_besides(board: Board, migrated_metadata: str) -> None:
    run_id = _failed_run(board, migrated_metadata, "batch_018_01_tenant_usage", {0: "failed", 1: "success"})
    with connect_metadata(migrated_metadata) as metadata:
        metadata.execute(
            "UPDATE task_instance SET state = 'success' WHERE run_id = %s AND task_id = 'close_run'", [run_id]
        )
    dialog = board.get(f"/runs/batch_018_01_tenant_usage/{run_id}/clear").text
    assert re.search('一緒に消去されるタスク: .+ <code class="muted">close_run</code>', dialog)


def test_the_dialog_says_that_a_clear_keeps_what_waits_after_a_pause(
    board: Board, migrated_metadata: str
) -> None:
    said = "「再開の承認」に答えるまで止まっています"
    for dag_id, is_said in ((SCHEDULED_NOTIFICATIONS.dag_id, True), ("batch_003_statistics", False)):
        run_id = _failed_run(board, migrated_metadata, dag_id, {0: "failed"})
        assert (said in board.get(f"/runs/{dag_id}/{run_id}/clear").text) == is_said


def test_a_paused_dag_is_named_before_and_after(board: Board, company: str) -> None:
    board.api("PATCH", "/dags/operate_notifications", json={"is_paused": True})
    assert (
        "operate_notifications は一時停止中です" in board.get("/operations/operate_notifications/list").text
    )
    started = board.post("/operations/operate_notifications/list", {"tenants": company}).text
    assert "operate_notifications は一時停止中です" in started
    board.api("PATCH", "/dags/operate_notifications", json={"is_paused": False})
    assert "一時停止中" not in board.get("/operations/operate_notifications/list").text


def test_a_dry_run_of_a_paused_batch_warns_about_unpausing(board: Board) -> None:
    dag_id, path = SCHEDULED_NOTIFICATIONS.dag_id, f"/operations/{SCHEDULED_NOTIFICATIONS.dag_id}/dry_run"
    warning = (
        f"DAG {dag_id} は一時停止中です。再開すると、動かなかった予定の 1 回が本番で動き、送信もします。"
    )
    board.api("PATCH", f"/dags/{dag_id}", json={"is_paused": True})
    dialog = board.get(path).text
    first, *_ = re.findall(r"<p[^>]*>(.*?)</p>", dialog, re.DOTALL)
    assert first.startswith(warning)
    assert f"DAG {SCHEDULED_NOTIFICATIONS.family.dag_id} の「バッチ」" in first
    assert warning in board.post(path, {}).text
    board.api("PATCH", f"/dags/{dag_id}", json={"is_paused": False})
    assert "一時停止中" not in board.get(path).text


def test_a_form_that_is_too_large_or_of_unknown_length_is_refused(board: Board) -> None:
    path = "/operations/operate_invoices/void"
    assert board.post(path, {"reason": "x" * 400_000}).status_code == 413

    async def endless() -> AsyncIterator[bytes]:
        yield b"reason=x"

    headers = {"HX-Request": "true", "Sec-Fetch-Site": "same-origin"}
    answer = board.request("POST", path, content=endless(), headers=headers)
    assert answer.status_code == 411


def test_values_of_a_dialog_are_checked_by_their_kind() -> None:
    action = find_action("operate_notifications", "resend")
    assert isinstance(action, Action)
    assert action.conf({"messages": ["a\n b \n\n", "c"], "reason": [" x "]}, NOW) == {
        "operation": "resend",
        "messages": ["a", "b", "c"],
        "reason": "x",
    }
    with pytest.raises(ParameterError, match="200 件まで"):
        action.conf({"messages": ["\n".join(map(str, range(201)))]}, NOW)


def _failed_run(board: Board, metadata_url: str, dag_id: str, mapped: dict[int, str]) -> str:
    """A run in Airflow's database with these states of the mapped task; ``close_run`` failed."""
    run = board.api("POST", f"/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": {}}).json()
    spec = next(spec for spec in BATCHES if spec.dag_id == dag_id)
    of_run = {"dag_id": dag_id, "run_id": run["dag_run_id"], "mapped": spec.mapped_task}
    with connect_metadata(metadata_url) as metadata:
        metadata.execute(
            """
            UPDATE task_instance
            SET
                state = CASE task_id WHEN 'close_run' THEN 'failed' ELSE 'success' END,
                map_index = CASE task_id WHEN %(mapped)s THEN 0 ELSE -1 END
            WHERE dag_id = %(dag_id)s AND run_id = %(run_id)s
            """,
            of_run,
        )
        metadata.execute(
            """
            INSERT INTO task_map (dag_id, task_id, run_id, map_index, length)
            VALUES (%(dag_id)s, 'open_run', %(run_id)s, -1, %(length)s)
            """,
            of_run | {"length": len(mapped)},
        )
        for index, state in mapped.items():
            metadata.execute(
                """
                INSERT INTO task_instance
                SELECT (
                    jsonb_populate_record(
                        instance,
                        jsonb_build_object(
                            'id', gen_random_uuid(), 'map_index', %(index)s::int, 'state', %(state)s::text, 'task_display_name', null
                        )
                    )
                ).*
                FROM task_instance AS instance
                WHERE dag_id = %(dag_id)s AND run_id = %(run_id)s AND task_id = %(mapped)s AND map_index = 0
                """
                if index
                else """
                UPDATE task_instance SET state = %(state)s
                WHERE dag_id = %(dag_id)s AND run_id = %(run_id)s AND task_id = %(mapped)s
                """,
                of_run | {"index": index, "state": state},
            )
    return str(run["dag_run_id"])
