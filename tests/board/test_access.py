"""Access to the board: logins, roles, other sites, and forged addresses."""

from __future__ import annotations

import re
from itertools import product

import psycopg
import pytest
from fastapi.routing import APIRoute
from psycopg.types.json import Jsonb

from skill_batch.board.access import Rights
from skill_batch.board.application import create_app
from include.skillreport.core.catalog import (
    BATCHES,
    FAMILIES,
    TENANT_BILLING,
    TENANT_USAGE,
)
from include.skillreport.core.operation_catalog import OPERATE_INVOICES, OPERATIONS
from local_stack.stack import PROJECT
from tests.board.conftest import Board
from tests.worlds.board_messages import message, open_resumption
from tests.worlds.night_rows import run
from tests.worlds.tenant_rows import everything_of

pytestmark = pytest.mark.tenants("A")

EVIL = (
    "..%2f..%2fetc%2fpasswd",
    "'; DROP TABLE batch.invoice; --",
    "<script>alert(1)</script>",
    "%00",
    "\u202eabc",
    "A" * 3_000,
)

# They are no segment of a path, or a path to something else.
NO_IDS = (
    "." * 30_000,
    "%2e",
    "%2e%2e",
    "%2e%2e%2f%2e%2e",
    "%252e%252e",
    "a%2f%2e%2e%2fb",
    # Airflow's own words for all DAGs or runs, and for a list.
    "~",
    "%3f",
    "%23",
    "",
    "%1f",
)

# The addresses that answer whoever has a login. The pages among them show each part only to who may see its DAG.
OPEN = {"/", "/durations", "/search", "/help/{page:path}", "/static/{name}", "/{path:path}"}


def _routes() -> list[APIRoute]:
    """Every route of the board."""
    return [route for route in create_app().routes if isinstance(route, APIRoute)]


def _path(route: APIRoute, **values: str) -> str:
    """An address of the route. The value of a parameter that has none here is its name."""
    return re.sub(r"{(\w+)[^}]*}", lambda found: values.get(found[1], found[1]), route.path)


def _paths() -> list[tuple[str, str]]:
    """The method and an address of every route of the board."""
    return [(method, _path(route)) for route in _routes() for method in route.methods]


def test_without_a_login_every_address_answers_401(board: Board) -> None:
    paths = _paths()
    assert len(paths) > 10
    for method, path in paths:
        answer = board.as_role(None).request(method, path)
        assert answer.status_code == 401, (method, path)
        assert "BATCH-" not in answer.text


def test_an_invalid_or_expired_token_is_refused(board: Board) -> None:
    for token in ("nonsense", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9."):
        answer = board.as_role(None).request("GET", "/", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code in (401, 403)


def test_a_viewer_reads_but_gets_no_buttons_and_no_dialogs(board: Board, host: psycopg.Connection) -> None:
    run(host, TENANT_BILLING, failed={"A": ("NO_PRICE", "価格がありません")}, run_id="manual__1")
    viewer = board.as_role("viewer")
    assert "失敗した分だけ再実行" not in viewer.get("/").text
    assert "失敗した分だけ再実行" in board.as_role("user").get("/").text
    for path in (
        "/operations/operate_invoices/approve",
        "/runs/batch_018_02_tenant_billing/manual__1/clear",
    ):
        assert viewer.get(path).status_code == 403
        assert viewer.post(path, {"tenants": "A", "instance": "bill_tenant[0]"}).status_code == 403


def test_without_rights_on_dags_every_page_but_the_open_ones_refuses(
    board: Board, host: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {
        # What a page looks up before it knows the DAG.
        "execution_id": run(host, TENANT_BILLING, succeeded=("A",)),
        "batch_id": TENANT_BILLING.id,
        "dag_id": OPERATE_INVOICES.dag_id,
        "name": "approve",
        "month": "2026-10-01",
        "sheet": "1",
    }
    # The built-in viewer may read every DAG.
    monkeypatch.setattr(Rights, "_may", lambda *_: False)
    codes = {
        route.path: board.get(_path(route, **values)).status_code
        for route in _routes()
        if "GET" in route.methods
    }
    # 404 would not do: a page that lost its check answers so here, and shows a row that exists.
    assert {path for path, code in codes.items() if code != 403} == OPEN


def test_an_open_page_shows_nothing_of_a_hidden_dag(
    board: Board, host: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything_of(host, "A", "mark")
    message(host, "m1")
    run(host, TENANT_BILLING, failed={"A": ("X", "だめ")})
    run(host, TENANT_USAGE, hours_ago=0.1, minutes=None, pending=("A",))
    open_resumption(host)
    host.execute(
        "INSERT INTO batch.operator_alert (alert_key, channel, severity, message) VALUES (%s, 'slack', 'HIGH', %s)",
        [f"late:{TENANT_USAGE.dag_id}:x", Jsonb({"title": "遅い実行", "lines": [], "kinds": []})],
    )
    rows = {
        "/": ("BATCH-", "だめ", "重大な異常", "送れなかった通知", "再開の承認", "遅い実行"),
        "/durations": ("BATCH-",),
    }
    for path, shown in rows.items():
        text = board.get(path).text
        assert [each for each in shown if each not in text] == []
    monkeypatch.setattr(Rights, "_may", lambda *_: False)
    for path, hidden in rows.items():
        answer = board.get(path)
        assert answer.status_code == 200
        assert [each for each in hidden if each in answer.text] == []


def test_a_form_of_another_site_changes_nothing(board: Board) -> None:
    posts = [path for method, path in _paths() if method == "POST"]
    assert {board.post(path, {}, {}).status_code for path in posts} == {403}
    before = board.api("GET", "/dags/operate_invoices/dagRuns").json()["total_entries"]
    for headers in (
        {},
        {"HX-Request": "true", "Sec-Fetch-Site": "cross-site"},
        {"HX-Request": "true", "Sec-Fetch-Site": "same-site"},
        {"HX-Request": "true", "Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "same-origin"},
    ):
        answer = board.post("/operations/operate_invoices/approve", {"tenants": "A"}, headers)
        assert answer.status_code == 403, headers
    assert board.api("GET", "/dags/operate_invoices/dagRuns").json()["total_entries"] == before


def test_a_board_page_is_framed_by_airflow_and_runs_own_scripts(board: Board) -> None:
    policy = board.get("/").headers["Content-Security-Policy"]
    assert "frame-ancestors 'self'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy


def test_no_value_in_an_address_reaches_files_sql_or_the_page(board: Board) -> None:
    paths = (
        "/runs/{}/x",
        "/runs/batch_018_02_tenant_billing/{}",
        "/executions/{}",
        "/operations/operate_invoices/{}",
        "/operations/{}/approve",
        "/follow/batch_018_02_tenant_billing/{}",
        "/static/{}",
        "/help/{}",
        "/help/operate/{}",
        "/invoices/{}",
        "/invoices/{}/sheets",
        "/invoices/{}/page/1.png",
        "/invoices/x/page/{}.png",
        "/invoices/{}/file",
        "/invoices?month={}",
        "/documents?date_from={}",
        "/documents?amount_to={}",
        "/receivables?age={}",
        "/durations?date_from={}",
        "/tenants?problem={}",
        "/invoices/{}/calculation",
    )
    for path, value in product(paths, EVIL):
        answer = board.get(path.format(value))
        assert answer.status_code in (400, 404), (path, value, answer.text[:500])
        assert "<script>alert" not in answer.text
        assert "root:" not in answer.text


def test_no_id_in_an_address_names_something_else_of_airflow(board: Board) -> None:
    runs = "/runs/operate_invoices/{}"
    paths = (
        runs,
        f"{runs}/again",
        f"{runs}/clear",
        f"{runs}/note",
        "/follow/operate_invoices/{}",
        "/runs/{}/x",
        "/runs/{}/x/clear",
    )
    # The wildcard of Airflow's API would list this one.
    with board.living_run("operate_invoices", "manual__1"):
        board.end_run("operate_invoices", "manual__1")
        for path, value in product(paths, NO_IDS):
            answer = board.get(path.format(value))
            assert answer.status_code in (400, 404), (path, value, answer.status_code)
        for path, value in product((f"{runs}/clear", f"{runs}/note"), NO_IDS):
            answer = board.post(path.format(value), {"text": "x", "instance": "open_run"})
            assert answer.status_code in (400, 404), (path, value, answer.status_code)


def test_static_files_need_a_login_and_are_only_the_boards(board: Board) -> None:
    assert board.get("/static/board.css").headers["content-type"].startswith("text/css")
    assert board.get("/static/htmx.LICENSE").status_code == 404
    assert board.get("/static/..%2fapplication.py").status_code == 404


def test_the_documented_roles_name_every_dag() -> None:
    text = (PROJECT / "docs" / "install" / "rights.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\bDAG:(\w+)", text))
    assert named == {each.dag_id for each in BATCHES} | {each.dag_id for each in OPERATIONS} | {
        each.dag_id for each in FAMILIES
    }
