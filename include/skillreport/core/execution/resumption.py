"""Detect scheduled runs after a pause or an outage, so that users approve their messages before they are sent."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from include.skillreport.core.database import Statements
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.schedule import firings_before
from include.skillreport.core.run_spec import RunSpec

if TYPE_CHECKING:
    from include.skillreport.core.execution.flow import RunRequest

log = logging.getLogger(__name__)

_SQL = Statements(Path(__file__).parent)

# The shortest pause, even for a batch that runs often.
_SHORTEST = timedelta(hours=24)
_MISSED_PERIODS = 2

_UNCONFIRMED = "前の実行の分の「再開の承認」に、まだ答えがありません"


def pause_before(
    cron: str, ticked_at: datetime, started_at: datetime, last_tick: datetime | None
) -> str | None:
    """The reason why a run counts as the first one after a pause, in one sentence, or None. Pure; all times are aware.

    ``ticked_at`` is its scheduled time (``cron``, Asia/Tokyo). ``last_tick`` is the latest earlier scheduled time that started a run; None
    if there is none.
    """
    if started_at - ticked_at > _SHORTEST:
        return f"予定（{_minute(ticked_at)}）から 24 時間を過ぎて始まりました"
    if last_tick is None:
        return "予定の実行が始まるのは初めてです"
    *_, earliest = firings_before(cron, ticked_at, _MISSED_PERIODS + 1)
    if last_tick < earliest and ticked_at - last_tick >= _SHORTEST:
        return f"予定の実行は {_minute(last_tick)} の次です。その間は止まっていました"
    return None


def decide_deferral(
    platform: psycopg.Connection, spec: RunSpec, request: RunRequest, started_at: datetime
) -> str | None:
    """The reason why a scheduled run holds its messages, or None. A cleared run keeps its first decision.

    Until users have approved an earlier run's held messages, later runs are held too. A backfill is always held: nobody receives a message
    about a past day without approval. ``started_at`` is aware.
    """
    if request.ticked_at is None or not spec.confirms_resumption:
        return None
    about = {
        "batch_id": spec.id,
        "dag_id": request.dag_id,
        "run_id": request.run_id,
        "ticked_at": request.ticked_at,
    }
    decided: str | None
    with platform.transaction():
        is_decided, decided, last_tick, is_repeated, is_unconfirmed = _SQL.row(platform, "find_tick", **about)
        if request.is_backfill:
            deferral_reason: str | None = f"過ぎた予定（{_minute(request.ticked_at)}）の過去分再実行です"
        elif is_decided or is_repeated:
            return decided
        else:
            deferral_reason = pause_before(spec.cron, request.ticked_at, started_at, last_tick)
            deferral_reason = deferral_reason or (_UNCONFIRMED if is_unconfirmed else None)
        _SQL.execute(platform, "record_tick", **about, deferral_reason=deferral_reason)
    if deferral_reason:
        log.warning("What people would receive is deferred until somebody confirms it: %s", deferral_reason)
    return deferral_reason


def _minute(moment: datetime) -> str:
    return f"{moment.astimezone(JAPAN):%Y-%m-%d %H:%M}"
