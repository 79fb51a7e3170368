"""The buttons: a dialog asks once, the run starts as the signed-in user, and exactly the failed instances are cleared."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import psycopg
import pytest

from skill_batch.board.actions import Action, ActionError, find_action
from include.skillreport.core.catalog import BATCHES, OPERATIONS, SCHEDULED_NOTIFICATIONS
from tests.batches.tenant_management.billing_rows import customer, run_billing
from tests.board.conftest import Board
from tests.conftest import Database
from tests.host_rows import tenant


@pytest.fixture
def company(database: Database) -> str:
    """The code of a tenant."""
    with database.connect() as host:
        tenant(host, "A", tenant_code="CODE-A")
    return "CODE-A"


def _runs(board: Board, dag_id: str) -> list[dict[str, Any]]:
    answer = board.api("GET", f"/dags/{dag_id}/dagRuns", params={"order_by": "-run_after", "limit": 100})
    return list(answer.json()["dag_runs"])


def test_every_operation_of_the_forms_has_a_dialog_that_says_what_it_does(board: Board) -> None:
    from skill_batch.board import actions

    names = [(spec.dag_id, each.name) for spec, form in actions._FORMS.items() for each in form.operations]
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
    answer = user.post(
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
    }
    assert started["triggering_user_name"] == "user"
    # The fragment follows the run, and a viewer may follow it too.
    follow = f"/follow/operate_invoices/{started['dag_run_id']}"
    assert board.as_role("viewer").get(follow).status_code == 200


def test_nothing_starts_with_a_missing_value_or_an_unknown_tenant(board: Board, company: str) -> None:
    before = len(_runs(board, "operate_invoices"))
    for fields, problem in (
        ({"tenants": company}, "「理由」を入力してください"),
        ({"tenants": "NOBODY", "reason": "x"}, "テナントコード NOBODY は存在しません"),
        ({"tenants": company, "reason": "x", "business_date": "June"}, "YYYY-MM-DD"),
        ({"tenants": company, "reason": "x" * 3_000}, "長すぎます"),
    ):
        answer = board.post("/operations/operate_invoices/void", fields)
        assert answer.status_code == 422
        assert problem in answer.text
    forged = {"messages": "no-such-message"}
    assert (
        "メッセージ no-such-message は存在しません"
        in board.post("/operations/operate_notifications/resend", forged).text
    )
    assert len(_runs(board, "operate_invoices")) == before


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
    assert board.post(path, {"tenants": "CODE-GONE", **payment}).status_code == 200
    assert board.post(path, {"tenants": "CODE-NEVER", **payment}).status_code == 422


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
    dialog = board.get(f"{path}?task=open_run").text
    assert re.findall(r'name="instance" value="([^"]+)"', dialog) == ["open_run[-1]"]
    assert "open_run から再実行" in dialog
    assert board.post(path, {"instance": "open_run[-1]"}).status_code == 409  # it has not failed
    assert board.post(path, {"task": "open_run", "instance": "open_run[-1]"}).status_code == 200
    instances = board.api("GET", f"/dags/batch_003_statistics/dagRuns/{run_id}/taskInstances").json()
    assert {each["state"] for each in instances["task_instances"]} == {None}


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
    with psycopg.connect(migrated_metadata.replace("postgresql+psycopg2", "postgresql")) as metadata:
        metadata.execute(
            "UPDATE task_instance SET state = 'success' WHERE run_id = %s AND task_id = 'close_run'", [run_id]
        )
    dialog = board.get(f"/runs/batch_018_01_tenant_usage/{run_id}/clear").text
    assert "一緒に消去されるタスク: <code>close_run</code>" in dialog


def test_a_paused_dag_is_named_before_and_after(board: Board, company: str) -> None:
    board.api("PATCH", "/dags/operate_notifications", json={"is_paused": True})
    assert (
        "operate_notifications は一時停止中です" in board.get("/operations/operate_notifications/list").text
    )
    started = board.post("/operations/operate_notifications/list", {"tenants": company}).text
    assert "operate_notifications は一時停止中です" in started
    board.api("PATCH", "/dags/operate_notifications", json={"is_paused": False})
    assert "一時停止中" not in board.get("/operations/operate_notifications/list").text


def test_the_dry_run_of_a_paused_batch_says_first_that_unpausing_starts_a_real_run(board: Board) -> None:
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
    assert action.conf({"messages": ["a\n b \n\n", "c"]}) == {
        "operation": "resend",
        "messages": ["a", "b", "c"],
    }
    with pytest.raises(ActionError, match="200 件まで"):
        action.conf({"messages": ["\n".join(map(str, range(201)))]})


def _failed_run(board: Board, metadata_url: str, dag_id: str, mapped: dict[int, str]) -> str:
    """A run in Airflow's database with these states of the mapped task; ``close_run`` failed."""
    run = board.api("POST", f"/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": {}}).json()
    spec = next(spec for spec in BATCHES if spec.dag_id == dag_id)
    of_run = {"dag_id": dag_id, "run_id": run["dag_run_id"], "mapped": spec.mapped_task}
    url = metadata_url.replace("postgresql+psycopg2", "postgresql")
    with psycopg.connect(url) as metadata:
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
                        jsonb_build_object('id', gen_random_uuid(), 'map_index', %(index)s::int, 'state', %(state)s::text)
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
