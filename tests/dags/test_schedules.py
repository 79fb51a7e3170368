"""When Airflow starts the scheduled DAGs, and for which moment: the firings of the registry, under each value of Airflow's settings."""

from __future__ import annotations

from datetime import UTC, datetime

import pendulum
import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import DataInterval, TimeRestriction, Timetable

from skill_batch.dag_factory import START_DATE
from include.skillreport.core.catalog import BATCHES
from include.skillreport.core.execution.schedule import firings_before, next_firing
from tests.airflow_installation import PROJECT

INTERVALS = "AIRFLOW__SCHEDULER__CREATE_CRON_DATA_INTERVALS"


@pytest.fixture(scope="module", params=["True", "False"])
def timetables(request: pytest.FixtureRequest) -> dict[str, Timetable]:
    """The timetable of each batch by its id, as the scheduler reads it from Airflow's database."""
    with pytest.MonkeyPatch.context() as parsing:
        parsing.setenv(INTERVALS, request.param)
        bag = DagBag(dag_folder=str(PROJECT / "dags"))
    assert bag.import_errors == {}
    stored = {
        spec.id: DagSerialization.deserialize_dag(DagSerialization.serialize_dag(bag.dags[spec.dag_id]))
        for spec in BATCHES
    }
    return {batch_id: dag.timetable for batch_id, dag in stored.items()}


def test_a_run_starts_when_the_cron_fires_and_works_for_that_moment(timetables: dict[str, Timetable]) -> None:
    everything = TimeRestriction(earliest=START_DATE, latest=None, catchup=True)
    for spec in BATCHES:
        interval: DataInterval | None = None
        fires_at = datetime(2026, 3, 31, 14, 59, 59, tzinfo=UTC)  # a second before the start date
        for _ in range(2):
            fires_at = next_firing(spec.cron, fires_at)
            run = timetables[spec.id].next_dagrun_info(
                last_automated_data_interval=interval, restriction=everything
            )
            assert run is not None
            # Airflow takes the start of the interval for the run's logical date, from which the batches take their business date.
            assert (run.run_after, run.logical_date) == (fires_at, fires_at), spec.id
            interval = run.data_interval


def test_an_unpaused_dag_starts_its_last_missed_firing(timetables: dict[str, Timetable]) -> None:
    restriction = TimeRestriction(earliest=START_DATE, latest=None, catchup=False)
    long_ago = DataInterval.exact(pendulum.datetime(2026, 4, 2, tz="Asia/Tokyo"))
    for spec in BATCHES:
        before = datetime.now(UTC)
        run = timetables[spec.id].next_dagrun_info(
            last_automated_data_interval=long_ago, restriction=restriction
        )
        assert run is not None
        # A cron may fire during the call.
        last = {*firings_before(spec.cron, before, 1), *firings_before(spec.cron, datetime.now(UTC), 1)}
        assert run.logical_date in last, spec.id
