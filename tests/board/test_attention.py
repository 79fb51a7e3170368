"""昨夜: what needs attention is what failed, with its reason, and who works on it. The rest stands apart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from psycopg.types.json import Jsonb

from skill_batch.board.airflow_api import note_of
from skill_batch.board.attention import REFUSED
from include.skillreport.core.catalog import (
    TENANT_BILLING,
    TENANT_USAGE,
)
from include.skillreport.core.failure_kinds import kind_of
from include.skillreport.core.operation_catalog import OPERATE_NOTIFICATIONS
from include.skillreport.core.run_spec import RunSpec
from tests.airflow_installation import connect_metadata
from tests.board.conftest import Board
from tests.worlds.night_rows import run

pytestmark = pytest.mark.tenants("A", "B", tenant_code="CODE-{}", tenant_name="会社 {}")

NO_PRICE = ("NO_PRICE", "プラン GOLD の価格がありません。料金表に追加してください。")
WRONG_DAY = "業務日 2031-01-01 はまだ来ていません。過去の日付を入力してください。"


class FailedRuns:
    """Runs that Airflow has as failed, and the alerts about them."""

    def __init__(self, board: Board, host: psycopg.Connection, airflow: psycopg.Connection) -> None:
        self._board, self._host, self._airflow = board, host, airflow

    def add(self, dag_id: str, **conf: Any) -> str:
        """A failed run of this form; returns its id."""
        started = self._board.api(
            "POST", f"/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": conf}
        )
        run_id = str(started.json()["dag_run_id"])
        self._airflow.execute(
            "UPDATE dag_run SET state = 'failed', start_date = now(), end_date = now() WHERE run_id = %s",
            [run_id],
        )
        return run_id

    def copy(self, run_id: str, count: int) -> None:
        """So many runs that differ from this one in their ids only."""
        self._airflow.execute(
            """
            INSERT INTO dag_run
            SELECT (
                jsonb_populate_record(
                    run, jsonb_build_object('id', nextval('dag_run_id_seq'), 'run_id', run_id || '_' || number)
                )
            ).*
            FROM dag_run AS run CROSS JOIN generate_series(1, %s) AS number
            WHERE run_id = %s
            """,
            [count, run_id],
        )

    def alert(self, spec: RunSpec, run_id: str, reason: str, kind: str, person: str | None = None) -> None:
        """The alert about the run, as ``FailureAlert`` stores it."""
        lines = [f"{spec.name}（重要度 HIGH）", f"実行ID: {run_id}", f"エラー: {reason}"]
        message = {"title": "バッチ実行失敗", "lines": lines, "kinds": [kind]}
        self._host.execute(
            "INSERT INTO batch.operator_alert (alert_key, channel, severity, message) VALUES (%s, 'slack', 'HIGH', %s)",
            [
                f"failure:{spec.dag_id}:{run_id}:{spec.id}:0",
                Jsonb(message | ({"triggering_user": person} if person else {})),
            ],
        )


@pytest.fixture
def failed(board: Board, host: psycopg.Connection, migrated_metadata: str) -> Iterator[FailedRuns]:
    others = "DELETE FROM dag_run WHERE state = 'failed'"
    with connect_metadata(migrated_metadata, autocommit=True) as airflow:
        # Other tests leave failed runs, which the page would show, too.
        airflow.execute(others)
        yield FailedRuns(board, host, airflow)
        airflow.execute(others)


def _parts(board: Board, **arguments: Any) -> tuple[str, str]:
    """What needs attention, and the small list below it."""
    text = board.get("/", **arguments).text
    section = text[text.index('id="failures"') : text.index('id="night"')]
    attention, _, others = section.partition('<details class="others"')
    return attention, others


def test_refused_dry_runs_are_a_small_list_with_their_reason(board: Board, failed: FailedRuns) -> None:
    for _ in range(8):
        run_id = failed.add(TENANT_BILLING.dag_id, dry_run=True)
        failed.alert(TENANT_BILLING, run_id, WRONG_DAY, "parameters", "admin")
    attention, others = _parts(board)
    assert "bad-text" not in attention
    assert others.count(WRONG_DAY) == 8
    assert others.count("admin") == 8


def test_a_refused_form_of_a_real_run_is_not_a_failure_either(board: Board, failed: FailedRuns) -> None:
    failed.alert(TENANT_BILLING, failed.add(TENANT_BILLING.dag_id), WRONG_DAY, "parameters")
    attention, others = _parts(board)
    assert WRONG_DAY not in attention
    assert WRONG_DAY in others


def test_a_run_that_never_opened_says_why_as_its_alert_did(board: Board, failed: FailedRuns) -> None:
    run_id = failed.add(TENANT_USAGE.dag_id)
    reason = "データベースに接続できません: <connection refused>"
    failed.alert(TENANT_USAGE, run_id, reason, "outage")
    attention, _ = _parts(board)
    assert "データベースに接続できません: &lt;connection refused&gt;" in attention
    page = board.get(f"/runs/{TENANT_USAGE.dag_id}/{quote(run_id)}").text
    assert "データベースに接続できません: &lt;connection refused&gt;" in page


def test_an_unopened_run_without_an_alert_says_where_to_look(board: Board, failed: FailedRuns) -> None:
    failed.add(TENANT_USAGE.dag_id)
    attention, _ = _parts(board)
    assert "理由は open_run のログにあります" in attention


def test_only_operations_that_nobody_has_started_need_attention(
    board: Board, host: psycopg.Connection
) -> None:
    run(
        host,
        OPERATE_NOTIFICATIONS,
        operation="resend",
        triggered_by="operator",
        error_message="宛先なし",
        failed={},
    )
    run(host, OPERATE_NOTIFICATIONS, failed={"A": NO_PRICE}, triggered_by="operator")
    run(host, OPERATE_NOTIFICATIONS, status="failed", error_message="誰のものでもない失敗")
    run(host, TENANT_BILLING, failed={"A": NO_PRICE}, dry_run=True)
    attention, others = _parts(board)
    assert "誰のものでもない失敗" in attention
    assert NO_PRICE[1] not in attention
    # The operation and the dry run.
    assert others.count(NO_PRICE[1]) == 2


def test_a_refused_run_does_not_hide_the_failure_before_it(board: Board, host: psycopg.Connection) -> None:
    run(host, TENANT_BILLING, hours_ago=5, failed={"A": NO_PRICE})
    run(
        host,
        TENANT_BILLING,
        hours_ago=1,
        triggered_by="operator",
        status="failed",
        error_message=WRONG_DAY,
        error_count=0,
        result=Jsonb({"codes": ["ParameterError"]}),
    )
    attention, others = _parts(board)
    assert "CODE-A" in attention
    assert WRONG_DAY not in attention
    assert WRONG_DAY in others


def test_a_failure_that_somebody_works_on_looks_known_and_names_them(
    board: Board, host: psycopg.Connection, failed: FailedRuns
) -> None:
    billing, usage = failed.add(TENANT_BILLING.dag_id), failed.add(TENANT_USAGE.dag_id)
    run(host, TENANT_BILLING, failed={"A": NO_PRICE}, run_id=billing)
    run(host, TENANT_USAGE, failed={"A": NO_PRICE}, run_id=usage, hours_ago=100)
    for dag_id, run_id in ((TENANT_BILLING.dag_id, billing), (TENANT_USAGE.dag_id, usage)):
        address = f"/runs/{dag_id}/{quote(run_id, safe='')}/note"
        assert address in _parts(board)[0]
        assert "対応中にする" in board.get(address).text
        answer = board.as_role("user").post(address, {"text": "料金表を<b>直します"})
        assert (answer.status_code, answer.headers["HX-Refresh"]) == (204, "true")
        # Airflow's own pages show the same note.
        note = board.api("GET", f"/dags/{dag_id}/dagRuns/{run_id}").json()["note"]
        assert note == "対応中（user）: 料金表を<b>直します"
    attention, _ = _parts(board)
    assert attention.count('<article class="card known') == 2
    assert attention.count("料金表を&lt;b&gt;直します") == 2
    assert "対応中" in board.get(f"/runs/{TENANT_USAGE.dag_id}/{quote(usage)}").text
    # An empty text takes it back.
    address = f"/runs/{TENANT_BILLING.dag_id}/{quote(billing, safe='')}/note"
    assert board.post(address, {"text": ""}).status_code == 204
    assert _parts(board)[0].count('<article class="card known') == 1


def test_unknown_failures_come_before_known_ones(
    board: Board, host: psycopg.Connection, failed: FailedRuns
) -> None:
    billing = failed.add(TENANT_BILLING.dag_id)
    run(host, TENANT_BILLING, failed={"A": NO_PRICE}, run_id=billing)
    run(host, TENANT_USAGE, failed={"A": NO_PRICE})
    board.post(f"/runs/{TENANT_BILLING.dag_id}/{quote(billing, safe='')}/note", {"text": "見ています"})
    attention, _ = _parts(board)
    assert attention.index("BATCH-018-01") < attention.index("BATCH-018-02")


def test_only_who_may_change_a_run_writes_a_note(
    board: Board, host: psycopg.Connection, failed: FailedRuns
) -> None:
    run_id = failed.add(TENANT_BILLING.dag_id)
    run(host, TENANT_BILLING, failed={"A": NO_PRICE}, run_id=run_id)
    viewer, address = board.as_role("viewer"), f"/runs/{TENANT_BILLING.dag_id}/{quote(run_id, safe='')}/note"
    assert address not in viewer.get("/").text
    assert viewer.get(address).status_code == 403
    assert viewer.post(address, {"text": "見ています"}).status_code == 403
    assert board.post(address, {"text": "x" * 501}).status_code == 422
    assert board.post(address, {"text": "a\0b"}).status_code == 422
    assert board.post(address, {"text": "見ています"}, {"Sec-Fetch-Site": "cross-site"}).status_code == 403


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, None),
        ("バッチ運用ボードから", None),
        ("対応中（operator）: 確認中（後で）: はい", ("operator", "確認中（後で）: はい")),
        ("Airflow で書いたもの", ("", "Airflow で書いたもの")),
    ],
)
def test_a_note_is_read_whoever_wrote_it(content: str | None, found: tuple[str, str] | None) -> None:
    note = note_of({"note": content})
    assert (note and (note.person, note.text)) == found


def test_many_refused_runs_do_not_push_a_failed_one_out(board: Board, failed: FailedRuns) -> None:
    run_id = failed.add(TENANT_USAGE.dag_id)
    failed.copy(failed.add(TENANT_BILLING.dag_id, dry_run=True), 100)
    attention, others = _parts(board)
    assert re.findall("BATCH-018-01|tenant_usage", attention)
    assert quote(run_id, safe="") in attention
    assert "ほか 81 件" in others


def test_a_queued_run_says_that_it_waits_and_for_what(board: Board) -> None:
    dag_id = TENANT_USAGE.dag_id
    run_id = str(
        board.api("POST", f"/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": {}}).json()[
            "dag_run_id"
        ]
    )
    pages = (f"/runs/{dag_id}/{quote(run_id)}", f"/follow/{dag_id}/{quote(run_id)}")
    try:
        board.api("PATCH", f"/dags/{dag_id}", json={"is_paused": False})
        assert ["待っています。" in board.get(page).text for page in pages] == [True, True]
        assert "前の実行が終わり、ワーカーが空くのを待っています。" in board.get("/").text
        board.api("PATCH", f"/dags/{dag_id}", json={"is_paused": True})
        assert ["一時停止中です" in board.get(page).text for page in pages] == [True, True]
        assert "一時停止中の DAG なので始まりません。" in board.get("/").text
    finally:
        board.api("PATCH", f"/dags/{dag_id}", json={"is_paused": False})
        board.api("DELETE", f"/dags/{dag_id}/dagRuns/{run_id}")


def test_the_followed_run_says_why_it_failed_and_what_to_do(
    board: Board, host: psycopg.Connection, failed: FailedRuns
) -> None:
    opened, refused, silent = (failed.add(TENANT_BILLING.dag_id) for _ in range(3))
    run(host, TENANT_BILLING, failed={"A": NO_PRICE}, run_id=opened)
    failed.alert(TENANT_BILLING, refused, WRONG_DAY, "parameters")
    told = board.get(f"/follow/{TENANT_BILLING.dag_id}/{quote(opened)}").text
    assert NO_PRICE[1] in told
    assert "朝まで待てるか" in told
    told = board.get(f"/follow/{TENANT_BILLING.dag_id}/{quote(refused)}").text
    assert WRONG_DAY in told
    assert kind_of(TENANT_BILLING, REFUSED).remedy() in told
    assert "data-follow" not in told
    # The alert of a failed task is stored shortly after the run has ended, so the dialog goes on to look for it.
    assert "data-follow" in board.get(f"/follow/{TENANT_BILLING.dag_id}/{quote(silent)}").text


def test_tenants_with_different_reasons_have_each_their_own(board: Board, host: psycopg.Connection) -> None:
    reasons = {
        tenant_id: ("NO_PRICE", f"プラン {tenant_id} の価格がありません。") for tenant_id in ("A", "B")
    }
    run(host, TENANT_BILLING, failed=reasons)
    attention = _parts(board)[0].partition('<ul class="groups">')[2]
    assert [attention.count(reason) for _, reason in reasons.values()] == [1, 1]
    assert attention.index("会社 A") < attention.index(reasons["A"][1]) < attention.index("会社 B")
    assert attention.index("会社 B") < attention.index(reasons["B"][1])


def test_the_clear_dialog_names_batch_run_tenants_and_effect(
    board: Board, host: psycopg.Connection, failed: FailedRuns
) -> None:
    run_id = failed.add(TENANT_USAGE.dag_id)
    run(
        host,
        TENANT_USAGE,
        failed={"A": NO_PRICE},
        succeeded=("B",),
        run_id=run_id,
        business_date="2026-10-31",
    )
    path = f"/runs/{TENANT_USAGE.dag_id}/{quote(run_id)}/clear"
    board.api("PATCH", f"/dags/{TENANT_USAGE.dag_id}", json={"is_paused": False})
    text = board.get(path, params={"task": "open_run"}).text
    assert f"{TENANT_USAGE.id} {TENANT_USAGE.name}" in text
    assert "業務日 2026-10-31" in text
    assert "もう一度処理する対象（1 件）: <bdi>CODE-A</bdi> <bdi>会社 A</bdi>" in text
    assert "本番です。" in text
    assert "CODE-B" not in text
    assert "一時停止中です" not in text
    board.api("PATCH", f"/dags/{TENANT_USAGE.dag_id}", json={"is_paused": True})
    assert "一時停止中です" in board.get(path, params={"task": "open_run"}).text
    board.api("PATCH", f"/dags/{TENANT_USAGE.dag_id}", json={"is_paused": False})


def test_a_failure_says_who_has_run_it_again(
    board: Board, host: psycopg.Connection, failed: FailedRuns
) -> None:
    run_id = failed.add(TENANT_USAGE.dag_id)
    path = f"/runs/{TENANT_USAGE.dag_id}/{quote(run_id)}"
    run(host, TENANT_USAGE, failed={"A": NO_PRICE}, succeeded=("B",), run_id=run_id)
    again = "再実行後も失敗"
    assert again not in board.get("/").text + board.get(path).text

    cleared = board.as_role("user").post(f"{path}/clear", {"task": "open_run", "instance": "open_run[-1]"})
    assert cleared.status_code == 200
    board.end_run(TENANT_USAGE.dag_id, run_id)
    body = {"dry_run": False, "dag_run_id": run_id, "task_ids": ["open_run"], "only_failed": False}
    board.api(
        "POST", f"/dags/{TENANT_USAGE.dag_id}/clearTaskInstances", json={**body, "note": "権限を直した"}
    )
    board.end_run(TENANT_USAGE.dag_id, run_id)

    lines = re.findall(
        "<li>(.*?)</li>", board.as_role("viewer").get(path).text.split('"reruns">')[1], re.DOTALL
    )
    assert ["<bdi>user</bdi>" in lines[0], "<bdi>admin</bdi>" in lines[1]] == [True, True]
    assert ["権限を直した" in line for line in lines[:2]] == [False, True]
    assert all("再実行: <bdi>" in line for line in lines[:2])
    card = re.findall(r'<article class="card.*?</article>', board.get("/").text, re.DOTALL)[0]
    assert again in card[: card.index("</p>")]
    assert "権限を直した" in card
    assert again in board.get(path).text
