"""When a run is slow, and by which earlier runs it is measured."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import psycopg
import pytest

from skill_batch.performance import load_history, slowness
from tests.conftest import Database

HISTORY = [Decimal(seconds) for seconds in (60, 62, 58, 60, 60)]


@pytest.mark.parametrize(
    ("seconds", "is_slow"), [("60", False), ("90.0", False), ("90.1", True), ("900", True)]
)
def test_slow_is_strictly_over_one_and_a_half_times_the_average(seconds: str, is_slow: bool) -> None:
    assert (slowness(Decimal(seconds), HISTORY) is not None) == is_slow


def test_it_reports_average_ratio_and_number_of_runs() -> None:
    slow = slowness(Decimal("150"), HISTORY)
    assert slow is not None
    assert (slow.average_seconds, slow.ratio, slow.runs) == (Decimal(60), Decimal("2.50"), 5)


def test_four_runs_are_too_few_to_say() -> None:
    assert slowness(Decimal(1_000), HISTORY[:4]) is None
    assert slowness(Decimal(1_000), []) is None


def test_a_run_of_half_a_minute_is_never_slow() -> None:
    assert slowness(Decimal(30), [Decimal(5)] * 5) is None
    assert slowness(Decimal("30.1"), [Decimal(5)] * 5) is not None
    assert slowness(Decimal(31), [Decimal(0)] * 5) is None


def test_history_has_the_last_twenty_comparable_runs_without_the_current(
    shared_database: Database,
) -> None:
    with shared_database.connect("batch_platform") as platform:
        for number in range(25):
            _ran(platform, f"r{number}", seconds=number, days_ago=25 - number)
        _ran(platform, "partial", seconds=900, is_comparable=False)
        _ran(platform, "other", seconds=900, batch_id="BATCH-018-02")
        _ran(platform, "current", seconds=900)
        assert load_history(platform, "BATCH-018-01", "current") == [
            Decimal(number) for number in range(24, 4, -1)
        ]


def _ran(
    platform: psycopg.Connection,
    run_id: str,
    *,
    seconds: int,
    days_ago: int = 0,
    batch_id: str = "BATCH-018-01",
    is_comparable: bool = True,
) -> None:
    platform.execute(
        """
        INSERT INTO batch.performance_metric (
            execution_id, batch_id, run_id, business_date, execution_seconds, cpu_seconds, peak_memory_bytes, records_processed,
            is_comparable, recorded_at
        )
        VALUES (%s, %s, %s, %s, %s, 1, 1, 1, %s, now() - make_interval(days => %s))
        """,
        [run_id, batch_id, run_id, date(2026, 11, 1), seconds, is_comparable, days_ago],
    )
