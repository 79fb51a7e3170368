"""Batches that write rows, compared with a few set-based statements that leave the same rows.

The floors know which keys and kinds of rows these data have, use all cores, and record nothing about the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from functools import partial
from importlib import import_module
from itertools import zip_longest
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from benchmarks.floors.comparison import Comparison, Site, require_equal
from benchmarks.growth import ALONE, HOURLY, Case
from benchmarks.measurement import connected, measure, run_once
from benchmarks.scale_world import LAST_DAY, vacuum
from include.skillreport.batches.inactive_tenants.settings import InactivitySettings
from include.skillreport.batches.settings_sync.batch import SettingsSyncBatch
from include.skillreport.batches.settings_sync.plan_settings import PlanSettings, load_plan_settings
from include.skillreport.core.catalog import INACTIVE_TENANTS, SETTINGS_SYNC
from include.skillreport.core.database import Statements, count_of
from include.skillreport.core.execution.business_date import JAPAN, naive_utc, utc_bounds
from include.skillreport.core.run_spec import BatchSpec
from local_stack.batch_runs import run_batch

# A task imports its batch once, whatever the number of tenants. So the imports are not measured.
for _batch in ("tenant_usage", "statistics", "tenant_monitoring", "inactive_tenants"):
    import_module(f"include.skillreport.batches.{_batch}.batch")

_SQL = Statements(Path(__file__).parent)

_DAY, _HOUR = timedelta(days=1), timedelta(hours=1)
_MIDNIGHT = datetime.combine(LAST_DAY + _DAY, time(), JAPAN)
_USAGE, _STATISTICS, _INACTIVITY = ALONE

# The statements' parameters. Times are UTC without a zone. BATCH-018-04 reads a day before the last hour of its last run again.
_ABOUT: Mapping[str, object] = {
    "business_date": LAST_DAY,
    "run_date": LAST_DAY + _DAY,
    "day_start": utc_bounds(LAST_DAY).start,
    "day_end": utc_bounds(LAST_DAY).end,
    "hour_start": naive_utc(HOURLY.run_at - 2 * _HOUR),
    "hour_end": naive_utc(HOURLY.run_at),
    "read_from": naive_utc(_MIDNIGHT - _DAY - _HOUR),
}


def usage(site: Site) -> Iterator[Comparison]:
    """A new day, with known people; and the first run of all against its repetition."""
    run = _run_of(_USAGE)
    with site.copied(site.planted) as dsn, site.copied(site.planted) as floor_dsn:
        first = measure(run, dsn, LAST_DAY)
        vacuum(dsn)
        again = measure(run, dsn, LAST_DAY)
        _execute(dsn, "forget_usage")
        ours = measure(run, dsn, LAST_DAY)
        floor = measure(partial(run_blocks, ("floor_activity", "floor_usage")), floor_dsn, LAST_DAY)
        _require_equal_rows("usage", floor_dsn, dsn)
    yield Comparison("BATCH-018-01 usage", site.amount, 2.0, 3.6, [floor], [ours])
    yield Comparison("BATCH-018-01 first usage, against repeated", site.amount, 2.0, 3.2, [again], [first])


def statistics(site: Site) -> Iterator[Comparison]:
    """A new day, read from the logs."""
    blocks = ("floor_activity", "floor_statistics")
    yield _compare(site, "statistics", 2.0, 4, _STATISTICS, blocks, "forget_statistics")


def monitoring(site: Site) -> Iterator[Comparison]:
    """A usual hour; and the first run of all, which measures four weeks, against it."""
    usual = _compare(site, "monitoring", 2.5, 6.5, HOURLY, ("floor_monitoring",))
    yield usual
    label = "BATCH-018-03 first run, against a usual one"
    yield Comparison(label, site.amount, None, None, usual.ours, [site.settled[1]])


def inactivity(site: Site) -> Iterator[Comparison]:
    """A usual day, read from the logs; and a day on which each tenant gets a letter, against the day after it."""
    blocks = ("floor_inactivity",)
    yield _compare(site, "inactivity", 2.5, 4.5, _INACTIVITY, blocks, "forget_activity")
    day = LAST_DAY + timedelta(days=InactivitySettings.load().critical_days)
    with site.copied(site.planted) as dsn:
        letters, after = (
            measure(partial(run_once, INACTIVE_TENANTS), dsn, each) for each in (day, day + _DAY)
        )
        with psycopg.connect(dsn) as connection:
            written = count_of(connection, "SELECT count(*) FROM batch.outbox")
    require_equal("letters", site.tenants, written)
    label = "BATCH-018-04 letters to all, against none"
    yield Comparison(label, site.amount, None, None, [after], [letters])


def settings(site: Site) -> Iterator[Comparison]:
    """The first run with a complete file of plans: each tenant gets the settings of its plan."""
    with site.copied(site.planted) as dsn, site.copied(site.planted) as floor_dsn:
        floor = measure(partial(run_blocks, ("floor_settings",)), floor_dsn, LAST_DAY)
        ours = measure(run_settings, dsn, LAST_DAY)
        _require_equal_rows("settings", floor_dsn, dsn)
    yield Comparison("BATCH-018-05 settings", site.amount, None, 8, [floor], [ours])


def run_blocks(blocks: Sequence[str], dsn: str, _: date) -> None:
    """Run the statements of a floor, with memory for their sorts and hashes and without compilation."""
    about = {**_ABOUT, "wanted": Jsonb(_wanted_settings())}
    with psycopg.connect(dsn, cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute("SET work_mem = '256MB'")
        connection.execute("SET jit = off")
        for block in blocks:
            _SQL.execute(connection, block, **about)


def run_settings(dsn: str, day: date) -> None:
    """One run of BATCH-018-05 with a file that is no sample."""
    batch = SettingsSyncBatch(_plans())
    with connected(dsn) as (platform, connection):
        assert run_batch(platform, connection, SETTINGS_SYNC, batch, day).status == "completed"


def _plans() -> PlanSettings:
    return load_plan_settings().model_copy(update={"sample": False})


def _wanted_settings() -> list[dict[str, Any]]:
    plans = _plans()
    nothing_negotiated = {"max_users": None, "max_storage_gb": None}
    return [
        {
            "plan": plan,
            "setting_key": key,
            "setting_name": plans.settings[key].name,
            "data_type": plans.settings[key].data_type,
            "value": desired.value,
        }
        for plan in plans.plans
        for key, desired in plans.desired(plan, nothing_negotiated).items()
    ]


def _compare(
    site: Site, name: str, goal: float, bound: float, case: Case, blocks: Sequence[str], before: str = ""
) -> Comparison:
    """Both start from the state after the runs of the day before. ``before`` is a block that completes it."""
    settled, _ = site.settled
    with site.copied(settled) as dsn, site.copied(settled) as floor_dsn:
        if before:
            for each in (dsn, floor_dsn):
                _execute(each, before)
                vacuum(each)
        floor = measure(partial(run_blocks, blocks), floor_dsn, LAST_DAY)
        ours = measure(_run_of(case), dsn, LAST_DAY)
        _require_equal_rows(name, floor_dsn, dsn)
    return Comparison(f"{case.spec.id} {name}", site.amount, goal, bound, [floor], [ours])


def _run_of(case: Case) -> partial[None]:
    return partial(run_imported, case.spec, case.run_at)


def run_imported(spec: BatchSpec, run_at: datetime, dsn: str, day: date) -> None:
    """One run. The function is here because the measured process imports this module before the run."""
    run_once(spec, dsn, day, run_at=run_at)


def _execute(dsn: str, block: str) -> None:
    with psycopg.connect(dsn) as connection:
        _SQL.execute(connection, block)


def _require_equal_rows(name: str, floor_dsn: str, dsn: str) -> None:
    """Compare row by row. A process that had read all rows would give its memory to the figures of the processes that it starts."""
    with _rows(floor_dsn, name) as floor, _rows(dsn, name) as ours:
        count = 0
        for expected, found in zip_longest(floor, ours):
            require_equal(name, expected, found)
            count += 1
    assert count, "the batch has written no rows"


@contextmanager
def _rows(dsn: str, name: str) -> Iterator[Iterator[tuple[Any, ...]]]:
    with psycopg.connect(dsn) as connection, connection.cursor("rows") as cursor:
        _SQL.execute(cursor, f"floor_{name}_rows")
        yield iter(cursor)
