"""The alert about firings without a run: how an operator makes up for them depends on what the batch works on."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from skill_batch.batches.tenant_monitoring import not_started_alert
from skill_batch.notifiers.alert_kinds import MISSED_RUN
from include.skillreport.core.catalog import (
    LOG_CLEANUP,
    SETTINGS_SYNC,
    TENANT_BILLING,
    TENANT_USAGE,
)
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.schedule import MissedStarts
from include.skillreport.core.run_spec import BatchSpec

BEGIN = datetime(2026, 11, 1, 1, 30, tzinfo=JAPAN)


def missed(spec: BatchSpec, days: int, *, has_ended: bool = True, is_paused: bool = False) -> MissedStarts:
    """As many daily firings without a run."""
    before, *fired_at, after = (BEGIN + timedelta(days=number) for number in range(-1, days + 1))
    return MissedStarts(spec, tuple(fired_at), before, after if has_ended else None, is_paused, fired_at[0])


@pytest.mark.parametrize(
    ("gap", "action"),
    [
        (
            missed(TENANT_USAGE, 1),
            "対処: batch_018_01_tenant_usage を業務日 2026-10-31 で、Trigger してください。",
        ),
        (
            missed(TENANT_USAGE, 2, has_ended=False),
            "対処: batch_018_01_tenant_usage を、予定 2026-11-01 01:30 から 2026-11-02 01:30 まで、"
            "過去分再実行（Backfill）してください（「停止後の復旧」）。",
        ),
        (
            missed(replace(TENANT_USAGE, backfills=False), 2),
            "対処: batch_018_01_tenant_usage を業務日 2026-10-31、2026-11-01 で、古い業務日から順に、1 つずつ Trigger してください。",
        ),
        (
            missed(replace(TENANT_USAGE, backfills=False), 13),
            "対処: batch_018_01_tenant_usage を業務日 2026-10-31 から 2026-11-12 までのうち実行のない 13 日 で、"
            "古い業務日から順に、1 つずつ Trigger してください。",
        ),
        (
            missed(TENANT_BILLING, 1, has_ended=False),
            "対処: batch_018_02_tenant_billing を業務日 2026-10-01 で、Trigger してください。",
        ),
        (
            missed(SETTINGS_SYNC, 13),
            "対処: 予定はもう動いています。止まっていた間の実行をやり直す必要はありません。",
        ),
        (
            missed(SETTINGS_SYNC, 13, has_ended=False),
            "対処: batch_018_05_settings_sync を 1 回 Trigger してください（業務日は空欄）。",
        ),
    ],
)
def test_it_says_which_business_dates_to_run(gap: MissedStarts, action: str) -> None:
    cause = () if gap.started_after else (MISSED_RUN.action,)
    assert not_started_alert(gap, []).actions == (*cause, action)


def test_it_gives_the_gap_and_lists_the_paused_batches() -> None:
    paused = [missed(LOG_CLEANUP, 2, is_paused=True)]
    assert not_started_alert(missed(TENANT_USAGE, 13), paused).lines == (
        "予定: 2026-11-01 01:30 から 2026-11-13 01:30 までの 13 回（日本時間）の実行がありません",
        "その前に始まった予定: 2026-10-31 01:30",
        "その後に始まった予定: 2026-11-14 01:30",
        "ほかに、一時停止中で始まっていないバッチ: BATCH-002（2026-11-01 01:30 から）",
        "重要度: HIGH",
    )
