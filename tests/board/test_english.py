"""English pages have no Japanese but the names and the sentences of the data."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.types.json import Jsonb

from include.skillreport.core.catalog import (
    TENANT_BILLING,
    TENANT_USAGE,
)
from include.skillreport.core.operation_catalog import (
    OPERATE_NOTIFICATIONS,
    RUN_SPECS,
)
from include.skillreport.core.run_spec import BatchSpec
from tests.board.conftest import Board
from tests.board.crawler import japanese_outside_data, pages
from tests.worlds.night_rows import outcome, run
from tests.worlds.tenant_rows import everything_of

pytestmark = pytest.mark.tenants("A", "B", tenant_code="CODE-{}", tenant_name="会社 {}")

ENGLISH = {"skill_batch_language": "en"}


def test_a_text_beside_data_is_found() -> None:
    text = '<p>残り <bdi>会社</bdi> <span lang="ja">理由</span></p><a title="見る">ok</a><p lang="ja">文<br>文</p>'
    assert japanese_outside_data(text) == ["残り", "見る"]


@pytest.mark.slow("opens every page or dialog")
def test_every_page_of_a_night_is_english(board: Board, host: psycopg.Connection) -> None:
    everything_of(host, "A", "marker")
    for spec in RUN_SPECS.values():
        if isinstance(spec, BatchSpec):
            run(host, spec, hours_ago=30, failed={"A": ("NO_PRICE", "価格がありません")}, succeeded=("B",))
    run(host, TENANT_BILLING, hours_ago=2, failed={"A": ("X", "一つ目"), "B": ("X", "二つ目")}, dry_run=True)
    run(host, OPERATE_NOTIFICATIONS, hours_ago=3, failed={"A": ("X", "送れません")}, triggered_by="運用")
    running = run(host, TENANT_USAGE, hours_ago=0.1, minutes=None, pending=("B",))
    outcome(host, running, "A", "success", notes=["備考です"])
    host.execute(
        """
        INSERT INTO batch.operator_alert (alert_key, channel, severity, message, last_error)
        VALUES (%s, 'slack', 'CRITICAL', %s, '届きません')
        """,
        [f"late:{TENANT_USAGE.dag_id}:x", Jsonb({"title": "バッチ制限時間超過", "lines": [], "kinds": []})],
    )
    left = {
        (text, path.split("?")[0])
        for path, page in pages(
            board, "/", "/batches/APPROVE-INVOICES", "/batches/IMPORT-PAYMENTS", cookies=ENGLISH
        )
        for text in japanese_outside_data(page)
    }
    assert not left, sorted(left)


def test_refusals_are_english(board: Board) -> None:
    refused = [
        board.get("/documents?date_from=2026-11-02&date_to=2026-11-01", cookies=ENGLISH),
        board.as_role("viewer").get(f"/operations/{OPERATE_NOTIFICATIONS.dag_id}/stop", cookies=ENGLISH),
        board.get("/no-such-page", cookies=ENGLISH),
    ]
    assert [answer.status_code for answer in refused] == [400, 403, 404]
    for answer in refused:
        assert japanese_outside_data(answer.text) == []
