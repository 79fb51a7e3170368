"""異常・連携・バックアップ: findings that need an action, section by section."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from skill_batch.board.pages import findings
from skill_batch.board.rendering import told
from include.skillreport.core.catalog import SETTINGS_SYNC
from tests.board.conftest import Board
from tests.worlds.host_rows import tenant
from tests.worlds.night_rows import run

pytestmark = pytest.mark.tenants("A", tenant_code="CODE-{}", tenant_name="会社 {}")


def test_a_quiet_installation_says_so_section_by_section(board: Board) -> None:
    text = board.get("/findings").text
    for sentence in (
        "未解消の異常も",
        "保留中の名簿連携はありません",
        "通知設定の誤りはありません",
        "検証済みのバックアップがありません",
    ):
        assert sentence in text


def test_incidents_show_their_arithmetic_with_the_open_ones_first(
    board: Board, host: psycopg.Connection
) -> None:
    host.execute(
        """
        INSERT INTO batch.incident (
            tenant_id, check_name, opened_at, severity, evidence, breached_at, closed_at, closed_because, opened_by
        )
        VALUES
        ('A', 'latency', now() - interval '1 hour', 'warning', '平均 900 ms > 500 ms', now(), now(), 'recovered', 'run'),
        ('A', 'error_rate', now() - interval '2 days', 'critical', '37 / 200 = 18.5 % > 5 %', now(), NULL, NULL, 'run')
        """
    )
    host.execute(
        """
        INSERT INTO batch.platform_incident (check_name, opened_at, evidence, breached_at)
        VALUES ('api_silence', now() - interval '1 hour', '全 30 テナントで 0 件', now())
        """
    )
    text = board.get("/findings").text
    assert text.index("37 / 200 = 18.5 % &gt; 5 %") < text.index("平均 900 ms &gt; 500 ms")
    assert "✕ 重大" in text
    assert "全 30 テナントで 0 件" in text


def test_held_directory_plans_are_listed_until_a_newer_one_is_applied(
    board: Board, host: psycopg.Connection
) -> None:
    insert = """
        INSERT INTO batch.sync_plan (
            tenant_id, provider, execution_id, status, plan_hash, world_hash, entries, problems, counts, reason, planned_at
        )
        VALUES ('A', %s, %s, %s, 'h', 'w', '[{"display_name": "山田 花子"}]', '[]', '{"deactivated": 12}', %s, now() - %s::interval)
        """
    host.execute(insert, ["slack", "run-1", "held", "12 件の無効化は多すぎます", "1 day"])
    host.execute(insert, ["teams", "run-1", "held", "古い保留", "2 days"])
    host.execute(insert, ["teams", "run-2", "applied", "", "1 day"])
    text = board.get("/findings").text
    assert "12 件の無効化は多すぎます" in text
    assert "解除した連携: 12" in text
    assert "古い保留" not in text
    # The plan's entries name people.
    assert "山田 花子" not in text


def test_backups_show_their_age_against_the_schedule(board: Board, host: psycopg.Connection) -> None:
    host.execute(
        """
        INSERT INTO batch.backup (
            backup_id, business_date, status, location, snapshot_at, dump_bytes, total_bytes, manifest_sha256, verified_at
        )
        VALUES
        ('BKP_20261124_001', '2026-11-24', 'verified', 's3://secret', now() - interval '50 hours', 1048576, 2097152, 'x', now())
        """
    )
    late = board.get("/findings").text
    assert "✕ 検証済みの最新は BKP_20261124_001（50.0 時間前）" in late
    assert "1.0 MiB" in late
    assert "secret" not in late
    host.execute("UPDATE batch.backup SET snapshot_at = now() - interval '3 hours'")
    assert "✓ 検証済みの最新は BKP_20261124_001（3.0 時間前）" in board.get("/findings").text
    assert "compare" in late
    assert "compare" not in board.as_role("viewer").get("/findings").text


def test_wrong_settings_and_inactive_tenants_are_listed(board: Board, host: psycopg.Connection) -> None:
    host.execute(
        """
        INSERT INTO batch.setting_finding (tenant_id, subject, code, detail, english, found_on)
        VALUES ('A', 'slack', 'channel_missing', 'チャンネル <b>#x</b> がありません', 'gone', '2026-11-20')
        """
    )
    host.execute(
        """
        INSERT INTO batch.tenant_inactivity (tenant_id, stage, inactive_since, judged_on, entered_on, entered_by)
        VALUES ('A', 'warning', '2026-08-01', '2026-11-26', '2026-11-01', 'run')
        """
    )
    text = board.get("/findings").text
    assert "チャンネル &lt;b&gt;#x&lt;/b&gt; がありません" in text
    assert "2026-08-01" in text


def plan(host: psycopg.Connection, status: str, age: str, tenant_id: str = "A", **values: Any) -> None:
    """A plan of the tenant's Slack directory with this age."""
    row = {"counts": {"linksToEnd": 12}, "reason": f"{status} {age}"} | values
    host.execute(
        """
        INSERT INTO batch.sync_plan (
            tenant_id, provider, execution_id, status, plan_hash, world_hash, entries, problems, counts, reason, planned_at
        )
        VALUES (%s, 'slack', %s, %s, 'h', 'w', '[]', '[]', %s, %s, now() - %s::interval)
        """,
        [tenant_id, f"run {age}", status, Jsonb(row["counts"]), row["reason"], age],
    )


def incident(
    host: psycopg.Connection, check: str, opened: str, closed: str | None, tenant_id: str = "A"
) -> None:
    host.execute(
        """
        INSERT INTO batch.incident (
            tenant_id, check_name, opened_at, severity, evidence, breached_at, closed_at, closed_because, opened_by
        )
        VALUES (
            %(tenant_id)s, %(check)s, now() - %(opened)s::interval, 'warning', %(evidence)s, now(),
            now() - %(closed)s::interval, CASE WHEN %(closed)s IS NOT null THEN 'recovered' END, 'run'
        )
        """,
        {
            "tenant_id": tenant_id,
            "check": check,
            "opened": opened,
            "closed": closed,
            "evidence": f"{check} {opened}",
        },
    )


def test_an_incident_is_shown_for_a_week_after_its_end(board: Board, host: psycopg.Connection) -> None:
    incident(host, "error_rate", "10 days", "1 hour")
    incident(host, "error_rate", "20 days", "8 days")
    for check, closed in (("api_calls", "1 hour"), ("response_time", "8 days")):
        host.execute(
            """
            INSERT INTO batch.platform_incident (check_name, opened_at, evidence, breached_at, closed_at)
            VALUES (%s, now() - interval '10 days', %s, now(), now() - %s::interval)
            """,
            [check, f"全体 {check}", closed],
        )
    text = board.get("/findings").text
    assert "error_rate 10 days" in text
    assert "error_rate 20 days" not in text
    assert "全体 api_calls" in text
    assert "全体 response_time" not in text
    assert "<td>エラー率</td>" in text
    assert "<strong>API 呼び出し数</strong>" in text


@pytest.mark.parametrize(
    ("plans", "shown"),
    [
        ([("held", "60 days")], "held 60 days"),
        ([("held", "60 days"), ("skipped", "1 day")], "held 60 days"),
        ([("held", "60 days"), ("planned", "1 day")], "held 60 days"),
        ([("held", "60 days"), ("held", "2 days")], "held 2 days"),
        ([("held", "60 days"), ("applied", "59 days")], None),
        ([("skipped", "2 days")], "skipped 2 days"),
        ([("skipped", "8 days")], None),
        ([("skipped", "2 days"), ("applied", "1 day")], None),
    ],
)
def test_a_directory_stays_held_until_a_plan_is_applied(
    board: Board, host: psycopg.Connection, plans: list[tuple[str, str]], shown: str | None
) -> None:
    tenant(host, "gone", status="DELETED")
    plan(host, "held", "1 day", "gone", reason="削除済みの保留")
    for status, age in plans:
        plan(host, status, age)
    text = board.get("/findings").text
    reasons = {f"{status} {age}" for status, age in plans}
    assert {each for each in reasons if f"<td>{told(each)}</td>" in text} == ({shown} if shown else set())
    assert ("✓ 保留中の名簿連携はありません" in text) == (shown is None)
    assert ("解除する連携: 12" in text) == (shown is not None)
    assert "linksToEnd" not in text


def test_a_list_that_is_cut_says_how_long_it_is(
    board: Board, host: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(findings, "_MOST", 2)
    for number in range(3):
        tenant(host, f"T{number}")
        incident(host, "error_rate", "1 day", None, f"T{number}")
        plan(host, "held", "1 day", f"T{number}")
        host.execute(
            """
            INSERT INTO batch.tenant_inactivity (tenant_id, stage, inactive_since, judged_on, entered_on, entered_by)
            VALUES (%s, 'warning', '2026-08-01', '2026-11-26', '2026-11-01', 'run')
            """,
            [f"T{number}"],
        )
        change_setting(host, "sync", f"T{number}")
        host.execute(
            "INSERT INTO batch.setting_finding VALUES (%s, 's', 'c', 'd', 'd', '2026-11-20')",
            [f"T{number}"],
        )
    run(host, SETTINGS_SYNC, execution_id="sync")
    assert board.get("/findings").text.count("3 件のうち 2 件を表示しています。") == 5


def change_setting(host: psycopg.Connection, execution_id: str, tenant_id: str = "A") -> None:
    host.execute(
        """
        INSERT INTO batch.setting_change (tenant_id, setting_key, execution_id, kind, new_value, reason, changed_by)
        VALUES (%s, 'max_users', %s, 'updated', '10', %s, 'batch')
        """,
        [tenant_id, execution_id, f"理由 {execution_id}"],
    )


def test_the_newest_run_that_changed_settings_can_be_undone_once(
    board: Board, host: psycopg.Connection
) -> None:
    for execution_id, hours_ago in (("older", 50), ("newest", 26), ("for-one-tenant", 2)):
        run(host, SETTINGS_SYNC, execution_id=execution_id, hours_ago=hours_ago)
    for execution_id in ("older", "newest"):
        change_setting(host, execution_id)
    text = board.get("/findings").text
    assert "理由 newest" in text
    assert "理由 older" not in text
    assert "/operations/undo_settings_sync/undo?execution=newest" in text
    host.execute(
        "UPDATE batch.setting_change SET undone_at = now(), undone_by = 'x' WHERE execution_id = 'newest'"
    )
    undone = board.get("/findings").text
    assert "理由 newest" in undone
    assert "すべて取り消し済みです" in undone
    assert "/undo?" not in undone


def test_open_requests_about_directories_link_to_airflows_page(
    board: Board, host: psycopg.Connection
) -> None:
    plan(host, "held", "1 day", reason="多すぎます")
    host.execute(
        """
        INSERT INTO batch.approval_request (request_id, kind, business_date, asked_by, dag_id, run_id, asked_at, closed_at)
        VALUES
        ('open', 'directory_changes', '2026-11-25', 'run', 'approve_directory_changes', 'run+1', now(), null),
        ('invoices', 'invoices', '2026-10-01', 'run', 'approve_invoices', 'other-kind', now(), null)
        """
    )
    host.execute(
        """
        INSERT INTO batch.approval_item (
            request_id, tenant_id, item_id, tenant_code, tenant_name, held_by, fingerprint, figures, reason
        )
        VALUES
        ('open', 'A', 'slack', 'CODE-A', '会社 A', 'run', 'f', '{}', '多すぎます'),
        ('open', 'A', 'teams', 'CODE-A', '会社 A', 'run', 'f', '{}', '古い理由'),
        ('invoices', 'A', 'i', 'CODE-A', '会社 A', 'run', 'f', '{}', 'x')
        """
    )
    with board.living_run("approve_directory_changes", "run+1"):
        text = board.as_role("viewer").get("/findings").text
    assert 'href="/dags/approve_directory_changes/runs/run%2B1/required_actions"' in text
    assert '<td class="n">2</td>' in text
    assert "! 1" in text
    assert "other-kind" not in text
    dead = board.get("/findings").text
    assert "required_actions" not in dead
    assert "承認依頼が出ていません。承認の DAG を実行してください" in dead
    host.execute("UPDATE batch.approval_request SET closed_at = now(), close_reason = 'answered'")
    assert "required_actions" not in board.get("/findings").text


def test_a_backup_is_restored_from_its_row_and_a_tenants_page(board: Board, host: psycopg.Connection) -> None:
    host.execute(
        "INSERT INTO batch.backup (backup_id, business_date, status, location, snapshot_at, dump_bytes, total_bytes, manifest_sha256,"
        " verified_at) VALUES ('BKP_20261101_001', '2026-11-01', 'verified', 'x', now(), 1, 2, 'x', now())"
    )
    proposed = "backup=BKP_20261101_001&amp;target=restored_bkp_20261101_001"
    assert f"restore_backup/new_database?{proposed}" in board.get("/findings").text
    button = f"restore_backup/new_database?{proposed}&amp;tenants=CODE-A"
    assert button in board.get("/tenants/A").text
    assert button not in board.as_role("viewer").get("/tenants/A").text
    dialog = board.get(f"/operations/{button}".replace("&amp;", "&")).text
    for value in ("restored_bkp_20261101_001", 'name="tenants" value="CODE-A"', "取得時と照合"):
        assert value in dialog, value
