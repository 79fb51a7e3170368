"""昨夜: the first page for a night operator."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote

import psycopg
import pytest
from psycopg.types.json import Jsonb

from include.skillreport.core.catalog import (
    BATCHES,
    DATA_BACKUP,
    EXTERNAL_SYNC,
    NOTIFICATION_RETRY,
    TENANT_BILLING,
    TENANT_USAGE,
)
from include.skillreport.core.failure_kinds import kind_of
from include.skillreport.core.run_spec import BatchSpec
from tests.board.conftest import Board
from tests.conftest import Database
from tests.worlds import contract_entries
from tests.worlds.billing_rows import customer, operate, run_billing
from tests.worlds.board_messages import close_channel, suppress
from tests.worlds.host_rows import tenant
from tests.worlds.night_rows import run
from tests.worlds.own_settings import settings

__all__ = ["settings"]

pytestmark = pytest.mark.tenants("A", "B", "C", tenant_code="CODE-{}", tenant_name="会社 {}")

MISSED = "に開始していません"
NO_PRICE = ("NO_PRICE", "プラン GOLD の価格がありません。料金表に追加してください。")


def test_an_empty_installation_shows_every_batch_and_that_nothing_failed(board: Board) -> None:
    page = board.get("/")
    assert page.status_code == 200
    assert "失敗したままのバッチはありません" in page.text
    assert page.text.count('<span class="batch">') == 2 * len(BATCHES)


@pytest.mark.parametrize("setting", ["required", "none"])
def test_the_pages_say_that_nobody_else_looks(
    board: Board, database: Database, host: psycopg.Connection, settings: Callable[..., None], setting: str
) -> None:
    settings(second_person=setting, operation_limit=0)
    customer(host, "D")
    line = {"line_date": "2026-10-15", "line_text": "作業費", "line_price": "1"}
    operate(database, "extra_line", "D", values=line, triggered_by="admin")
    contract_entries.set_discount(database, "D", value="50")
    is_alone = setting == "none"

    assert ("登録を見るほかの人がいません" in board.get("/").text) == is_alone
    assert ("登録した人以外が承認します" in board.get("/invoices").text) != is_alone
    assert ("登録した人が「1 人での確認」に金額を" in board.get("/invoices").text) == is_alone
    assert ("入力した人が、「1 人での確認」に" in board.get("/contracts").text) == is_alone


def test_failed_tenants_are_grouped_by_reason_with_the_worst_batch_first(
    board: Board, host: psycopg.Connection
) -> None:
    run(host, TENANT_USAGE, failed={"C": ("40P01", "ほかの処理と競合しました")}, succeeded=("A", "B"))
    run(host, TENANT_BILLING, failed={"A": NO_PRICE, "B": NO_PRICE}, succeeded=("C",), run_id="manual__1")
    text = board.get("/").text
    failures = re.findall(r'<article class="card.*?</article>', text, re.DOTALL)
    assert ["BATCH-018-02" in failures[0], "BATCH-018-01" in failures[1]] == [True, True]
    assert "プラン GOLD の価格がありません" in failures[0][: failures[0].index("</p>")]
    assert "<strong>2 件</strong> <code>NO_PRICE</code>" in failures[0]
    assert all(shown in failures[0] for shown in ("CODE-A", "会社 B", "CRITICAL", "2 / 3 件が失敗"))
    assert "CODE-C" not in failures[0]
    # The action: whether it can wait, and the button that clears.
    assert "朝まで待てるか" in failures[0]
    assert "/skill-batch-board/runs/batch_018_02_tenant_billing/manual__1/clear" in failures[0]
    assert "/dags/batch_018_02_tenant_billing/runs/manual__1" in failures[0]


def undelivered(host: psycopg.Connection, code: str, kind: str | None = None, channel: str = "email") -> None:
    """A message of A that did not arrive."""
    host.execute(
        """
        INSERT INTO batch.outbox (
            message_id, tenant_id, dedupe_key, channel, destination, subject, body, status, attempts, due_at, next_attempt_at,
            error_code, template_key, created_by, finished_at, reported_by
        )
        SELECT id, 'A', id, %s, 'x', 'x', 'x', 'dead', 3, now(), now(), %s, %s, 'run', now(), 'an earlier run'
        FROM (SELECT gen_random_uuid()::text AS id) AS made
        """,
        [channel, code, kind],
    )


def test_undelivered_messages_stay_there_after_the_run_that_reported_them(
    board: Board, host: psycopg.Connection
) -> None:
    run(
        host,
        NOTIFICATION_RETRY,
        hours_ago=2,
        failed={"A": ("NOTIFICATIONS_FAILED", "送信できなかった通知 2 件")},
    )
    run(host, NOTIFICATION_RETRY, hours_ago=1, succeeded=("A",))
    assert "送れなかった通知" not in board.get("/").text
    for code, kind in (("5.1.1", "invoice"), ("channel_not_found", None), ("suppressed", "goal_due")):
        undelivered(host, code, kind)
    suppress(host, address="x", reason="unsubscribe")
    close_channel(host, "A", "slack", "無効")
    page = board.get("/").text
    kinds = ("送れなかった契約の通知 1 件", "送れなかった通知 1 件", "停止中のチャネル 1 件")
    assert [kind in page for kind in kinds] == [True, True, True]
    assert "<b>3</b><span>承認・判断を待つもの" in page


def airflow_run(board: Board, spec: BatchSpec, *, has_failed: bool = False, **changes: str) -> str:
    """A run in Airflow that nothing has opened; returns its id."""
    made = board.api("POST", f"/dags/{spec.dag_id}/dagRuns", json={"logical_date": None, "conf": {}}).json()
    if changes:
        board.api("PATCH", f"/dags/{spec.dag_id}/dagRuns/{made['dag_run_id']}", json=changes)
    if has_failed:
        board.end_run(spec.dag_id, made["dag_run_id"])
    return str(made["dag_run_id"])


def test_a_note_that_is_nobodys_leaves_the_failure_red(board: Board, host: psycopg.Connection) -> None:
    run_id = airflow_run(board, TENANT_BILLING, note="9月分の再計算")
    run(host, TENANT_BILLING, failed={"A": NO_PRICE}, run_id=run_id)
    text = board.get("/").text
    assert "9月分の再計算" in text
    assert 'class="card bad"' in text
    board.api("DELETE", f"/dags/{TENANT_BILLING.dag_id}/dagRuns/{run_id}")


@pytest.mark.parametrize("has_failed", [False, True])
def test_a_run_that_airflow_has_begun_has_not_missed_its_start(
    board: Board, host: psycopg.Connection, has_failed: bool
) -> None:
    run(host, TENANT_USAGE, hours_ago=72, succeeded=("A",))
    run_id = airflow_run(board, TENANT_USAGE, has_failed=has_failed)
    text = board.get("/").text
    assert MISSED not in text
    assert run_id in unquote(text)
    board.api("DELETE", f"/dags/{TENANT_USAGE.dag_id}/dagRuns/{run_id}")


def test_a_batch_that_succeeded_again_is_no_failure_any_more(board: Board, host: psycopg.Connection) -> None:
    run(host, TENANT_BILLING, hours_ago=5, failed={"A": NO_PRICE})
    run(host, TENANT_BILLING, hours_ago=1, succeeded=("A",))
    assert "失敗したままのバッチはありません" in board.get("/").text


def test_a_later_run_for_other_tenants_does_not_hide_a_failure(
    board: Board, host: psycopg.Connection
) -> None:
    day: dict[str, Any] = {"business_date": "2026-10-01"}
    run(host, TENANT_BILLING, hours_ago=5, failed={"A": NO_PRICE, "B": NO_PRICE}, succeeded=("C",), **day)
    for_b: dict[str, Any] = {"parameters": Jsonb({"tenants": ["CODE-B"]}), **day}
    run(host, TENANT_BILLING, hours_ago=2, succeeded=("B",), **for_b)
    text = board.get("/").text
    (failure,) = re.findall(r'<article class="card.*?</article>', text, re.DOTALL)
    assert "CODE-A" in failure
    assert "CODE-B" not in failure
    # For another day it makes nothing good.
    other: dict[str, Any] = {"parameters": Jsonb({"tenants": ["CODE-A"]}), "business_date": "2026-09-01"}
    run(host, TENANT_BILLING, hours_ago=1.5, succeeded=("A",), **other)
    assert "CODE-A" in "".join(
        re.findall(r'<article class="card.*?</article>', board.get("/").text, re.DOTALL)
    )
    # After all failed tenants have succeeded, no action is needed.
    for_a: dict[str, Any] = {"parameters": Jsonb({"tenants": ["CODE-A"]}), **day}
    run(host, TENANT_BILLING, hours_ago=1, succeeded=("A",), **for_a)
    assert "失敗したままのバッチはありません" in board.get("/").text


@pytest.fixture
def nothing_begun(board: Board) -> None:
    """Airflow has no run of BATCH-018-01, and its DAG is not paused: other tests may have left some, or have paused it."""
    board.api("PATCH", f"/dags/{TENANT_USAGE.dag_id}", json={"is_paused": False})
    runs = f"/dags/{TENANT_USAGE.dag_id}/dagRuns"
    for made in board.api("GET", runs, params={"limit": 100}).json()["dag_runs"]:
        board.api("DELETE", f"{runs}/{quote(made['dag_run_id'], safe='')}")


@pytest.mark.usefixtures("nothing_begun")
def test_a_batch_that_did_not_start_is_named(board: Board, host: psycopg.Connection) -> None:
    run(host, TENANT_USAGE, hours_ago=72, succeeded=("A",))
    assert MISSED in board.get("/").text
    run(host, TENANT_USAGE, hours_ago=0, minutes=None, pending=("A",))
    assert MISSED not in board.get("/").text


@pytest.mark.usefixtures("nothing_begun")
def test_dry_runs_do_not_hide_a_missed_start(board: Board, host: psycopg.Connection) -> None:
    run(host, TENANT_USAGE, hours_ago=72, succeeded=("A",))
    for hour in range(14):
        run(host, TENANT_USAGE, hours_ago=hour + 1, succeeded=("A",), dry_run=True)
    assert MISSED in board.get("/").text


def test_a_run_that_failed_before_it_was_opened_is_shown(board: Board) -> None:
    started = board.api(
        "POST", "/dags/batch_002_log_cleanup/dagRuns", json={"logical_date": None, "conf": {}}
    ).json()["dag_run_id"]
    text = board.get("/").text
    assert started not in unquote(text[: text.index('id="running"')])
    board.end_run("batch_002_log_cleanup", started)
    text = board.get("/").text
    assert "開始か終了の処理で失敗しました" in text
    assert started in unquote(text)
    page = board.get(f"/runs/batch_002_log_cleanup/{started}").text
    assert "open_run のログ" in page
    board.api("DELETE", f"/dags/batch_002_log_cleanup/dagRuns/{started}")


def test_a_dry_run_that_fails_is_not_last_nights_failure(board: Board, host: psycopg.Connection) -> None:
    run(host, TENANT_BILLING, failed={"A": NO_PRICE}, dry_run=True)
    assert "失敗したままのバッチはありません" in board.get("/").text


def test_a_tenant_without_a_result_is_shown_as_such(board: Board, host: psycopg.Connection) -> None:
    run(host, TENANT_BILLING, succeeded=("A",), pending=("B",))
    text = board.get("/").text
    assert "結果を残さずに止まりました" in text
    assert "CODE-B" in text


def test_a_running_batch_shows_how_far_it_is_and_when_it_ends(board: Board, host: psycopg.Connection) -> None:
    run(host, TENANT_USAGE, hours_ago=0.5, minutes=None, succeeded=("A",), pending=("B", "C"))
    text = board.get("/").text
    assert '<progress max="3" value="1"' in text
    assert "実行中のバッチはありません" not in text


def test_a_slow_run_is_marked_with_its_ratio(board: Board, host: psycopg.Connection) -> None:
    for night in range(6):
        run(host, DATA_BACKUP, hours_ago=24 * (night + 2), minutes=10, succeeded=("A",))
    run(host, DATA_BACKUP, hours_ago=2, minutes=40, succeeded=("A",))
    assert re.search(r"<small>2\.\d×</small>", board.get("/").text)


def test_names_and_errors_are_text_and_never_markup(board: Board, host: psycopg.Connection) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    tenant(host, "X", tenant_code='"><b>', tenant_name=evil)
    run(host, TENANT_BILLING, failed={"X": (evil, evil)}, run_id='"><i>')
    text = board.get("/").text
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert '"><i>' not in text
    assert "&lt;script&gt;" in text


def test_a_failure_that_no_clear_mends_has_the_button_of_its_page(
    board: Board, host: psycopg.Connection
) -> None:
    undelivered = ("NOTIFICATIONS_FAILED", "送信できなかった通知 1 件")
    run(host, NOTIFICATION_RETRY, failed={"A": undelivered}, succeeded=("B",), run_id="hour")
    for page in ("/", "/runs/batch_019_02_notification_retry/hour"):
        text = board.get(page).text
        assert kind_of(NOTIFICATION_RETRY, "undelivered").remedy() in text
        assert '<a class="button primary" href="/skill-batch-board/messages">通知を決める</a>' in text
        assert "/hour/clear" not in text


@pytest.mark.parametrize(
    ("spec", "failure", "first", "clear"),
    [
        (
            EXTERNAL_SYNC,
            ("CREDENTIALS_REFUSED", "トークンが使えません。"),
            "テナントを開く",
            "直したあとに、失敗した分だけ再実行",
        ),
        (TENANT_BILLING, NO_PRICE, "理由と対処を見る", "直したあとに、失敗した分だけ再実行"),
        (TENANT_USAGE, ("NO_RESULT", "止まりました"), "失敗した分だけ再実行", "失敗した分だけ再実行"),
        (TENANT_USAGE, ("08006", "接続が切れました"), "失敗した分だけ再実行", "失敗した分だけ再実行"),
    ],
)
def test_the_first_action_is_a_clear_only_if_it_can_help(
    board: Board, host: psycopg.Connection, spec: BatchSpec, failure: tuple[str, str], first: str, clear: str
) -> None:
    run(host, spec, failed={"A": failure}, succeeded=("B",), run_id="night")
    with board.living_run(spec.dag_id, "night"):
        board.end_run(spec.dag_id, "night")
        pages = {page: board.get(page).text for page in ("/", f"/runs/{spec.dag_id}/night")}
    for page, text in pages.items():
        blue = re.findall(r'class="(?:button )?primary"[^>]*>([^<]+)<', text)
        assert blue == ([first] if page == "/" or first != "理由と対処を見る" else [])
        assert re.findall(r'/night/clear"[^>]*>([^<]+)<', text) == [clear]
        assert kind_of(spec, failure[0]).change in text


def test_a_refused_token_names_who_corrects_it_and_where(board: Board, host: psycopg.Connection) -> None:
    run(host, EXTERNAL_SYNC, failed={"A": ("CREDENTIALS_REFUSED", "トークンが使えません。")})
    close_channel(host, "A", "slack", "トークンが正しくありません")
    who = "テナントの管理者が、アプリの「外部連携」の画面で"
    assert who in board.get("/").text
    strip = board.get("/tenants/A").text.split('class="strip"')[1].split("</div>")[0]
    assert strip.count(who) == 2


def test_kinds_of_failure_with_the_same_clear_have_one_button(board: Board, host: psycopg.Connection) -> None:
    held = ("APPROVAL_NEEDED", "保留しました")
    run(host, TENANT_BILLING, failed={"A": held, "B": NO_PRICE})
    page = board.get("/").text
    assert page.count("承認の DAG を開く") == 1
    assert page.count("失敗した分だけ再実行") == 1


def test_a_run_that_was_not_opened_has_the_advice_of_its_alert(
    board: Board, host: psycopg.Connection
) -> None:
    dag_id = TENANT_USAGE.dag_id
    started = board.api("POST", f"/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": {}}).json()
    run_id = started["dag_run_id"]
    board.end_run(dag_id, run_id)
    host.execute(
        "INSERT INTO batch.operator_alert (alert_key, channel, severity, message) VALUES (%s, 'slack', 'HIGH', %s)",
        [
            f"failure:{dag_id}:{run_id}:{TENANT_USAGE.id}:0",
            Jsonb({"title": "バッチ実行失敗", "lines": [], "kinds": ["parameters"]}),
        ],
    )
    page = board.get(f"/runs/{dag_id}/{run_id}").text
    assert kind_of(TENANT_USAGE, "parameters").remedy() in page
    assert "DAG を開いて実行" in page
    assert "/clear" not in page
    board.api("DELETE", f"/dags/{dag_id}/dagRuns/{run_id}")


def test_the_first_page_counts_what_waits_for_another_person(
    board: Board, database: Database, host: psycopg.Connection
) -> None:
    assert 'id="decisions"' not in board.get("/").text
    customer(host, "D", tenant_code="CODE-D")
    line = {"line_date": "2026-10-15", "line_text": "特別対応費", "line_price": "9000000"}
    operate(database, "extra_line", "CODE-D", values=line, triggered_by="suzuki")
    run_billing(database, codes=["CODE-D"])
    host.execute(
        """
        INSERT INTO batch.contract_change (change_id, tenant_id, kind, changed, reason, entered_by, execution_id, status)
        VALUES ('C-1', 'D', 'profile', '{recipient_name}', '宛名', 'suzuki', 'E-1', 'waiting')
        """
    )

    text = board.get("/").text
    waiting = text[text.index('id="decisions"') :]
    waiting = waiting[: waiting.index("</ul>")]
    # The draft that waits for the line is the line.
    kinds = ("個別明細 1 件", "契約の変更 1 件", "保留中の請求書")
    assert [kind in waiting for kind in kinds] == [True, True, False]
    assert "特別対応費" not in waiting


def test_a_card_gives_each_tenant_its_own_reason(board: Board, host: psycopg.Connection) -> None:
    reasons = {"A": "teams: URL が許可されていません", "B": "slack: トークンが失効しました"}
    run(host, TENANT_BILLING, failed={each: ("NO_PRICE", text) for each, text in reasons.items()})
    (head,) = re.findall(r'<div class="why">(.*?)<details', board.get("/").text, re.DOTALL)
    said = re.sub(r"<[^>]+>", "", head)
    assert "CODE-A: teams: URL が許可されていません" in said
    assert "CODE-B: slack: トークンが失効しました" in said
