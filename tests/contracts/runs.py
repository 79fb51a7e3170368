"""Runs of a case: undisturbed, killed, cleared, or with a tenant that fails."""

from __future__ import annotations

from asyncio import CancelledError
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from include.skillreport.core.catalog import NOTIFICATION_RETRY
from include.skillreport.core.execution.batch import Batch, create_batch
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.flow import RunRequest
from local_stack.batch_runs import request_of
from local_stack.local_run import KilledError, LocalRun
from tests.chaos.end_state import EndState, InFlight, differences, end_leases, end_state_of
from tests.contracts.case import Case, Form, World
from tests.contracts.kills import MortalDatabase, Process
from tests.contracts.state import MESSAGES, OF_ALL_TENANTS, OF_RUNS, State
from tests.worlds.flow_run import FlowRun

FIRST = "first"

# Lanes of messages that come at the same time share a commit, so a sender may have so many acts fewer than the undisturbed one. The number
# is larger than the lanes of any case.
_SHARED_COMMITS = 5


@dataclass
class Trial:
    """The runs of a case in its world, which is planted. ``form`` are the values of its form; ``restore`` plants the world again."""

    case: Case
    world: World
    form: Form
    restore: Callable[[], object] = lambda: None

    def __post_init__(self) -> None:
        # For all ends that are compared: a planted row may be from the same second.
        self.started_at = datetime.now(UTC)
        self.messages = len(self.world.services.messages)

    def again(self) -> None:
        """Put the world back in which nothing has run."""
        self.restore()
        self.messages = len(self.world.services.messages)

    def run(self, run_id: str = FIRST, **options: Any) -> FlowRun:
        """A whole run, as undisturbed as ``options``, which are further values of ``FlowRun``, let it be."""
        case = self.case
        if case.create_batch:
            options["create_batch"] = case.create_batch(self.world)
        return FlowRun(
            self.world.database,
            case.spec,
            case.day,
            case.installation(self.world),
            dict(self.form) | options.pop("parameters", {}),
            case.at,
            person=case.person or None,
            run_id=run_id,
            **options,
        )

    def batch(self) -> Batch:
        """The batch, as a task makes it."""
        create = self.case.create_batch(self.world) if self.case.create_batch else None
        return create() if create else create_batch(self.case.spec, self.case.installation(self.world))

    def acts(self) -> list[str]:
        """What the processes of an undisturbed run do that is seen outside, in order; the end of a task is one of these acts."""
        return self._finish(self._process(None))

    def killed(self, at: int) -> list[str]:
        """A run whose process is killed before this act, and Airflow's next try of its task. Returns the acts of the killed process."""
        return self._finish(self._process(at))

    def figures(self) -> dict[str, float]:
        """The totals of the first run's newest execution, by name."""
        row = self.world.host.execute(
            """
            SELECT result -> 'totals' FROM batch.execution_log
            WHERE run_id = %s AND batch_id = %s ORDER BY started_at DESC LIMIT 1
            """,
            [FIRST, self.case.spec.id],
        ).fetchone()
        assert row is not None
        return dict(row[0])

    def end_later(self) -> EndState:
        """The state after the next hourly run of BATCH-019-02, if the run sends: it ends what a killed sender had in its hands, or alerts
        about what is in doubt.
        """
        in_flight = end_leases(self.world.host)
        if MESSAGES not in self.case.changes:
            return self.end_state()
        at = self._request().run_at + timedelta(hours=1)
        later = FlowRun(
            *(
                self.world.database,
                NOTIFICATION_RETRY,
                at.astimezone(JAPAN).date(),
                self.world.installation(),
            ),
            run_at=at,
            run_id="later",
        )
        alerts = ["\n".join((f"alert: {alert.title}", *alert.tenants)) for alert in later.alerts]
        return replace(self.end_state(in_flight), alerts=alerts)

    def end_state(self, in_flight: Sequence[InFlight] = ()) -> EndState:
        """The state now. Ids of runs and times since the begin of the trial are replaced.

        What a killed writer leaves of a file is not part of it: the store deletes it an hour later (``ObjectStore.delete_unfinished``).
        """
        world = self.world
        for unfinished in world.folder.rglob(".*.part"):
            unfinished.unlink()
        return end_state_of(
            world.host,
            {"files": world.folder},
            world.folder / "none",
            world.services.messages[self.messages :],
            self.started_at,
            in_flight=in_flight,
        )

    def _request(self) -> RunRequest:
        case = self.case
        return request_of(
            case.spec,
            case.day,
            parameters=self.form,
            run_at=case.at,
            run_id=FIRST,
            triggered_by=case.person or None,
        )

    def _process(self, dies_at: int | None) -> Process:
        services = self.world.services
        return Process(self.world.folder, (services.http_port, services.smtp_port), dies_at)

    def _finish(self, process: Process) -> list[str]:
        """Do each task of the run; returns the acts of the process."""
        case, request = self.case, self._request()
        database = MortalDatabase(self.world.database.name, self.world.database.server)

        @contextmanager
        def connect(role: str, _: timedelta) -> Iterator[psycopg.Connection]:
            with database.connect(role) as connection:
                yield connection

        installation = replace(case.installation(self.world), connect=connect, moment=request.run_at)
        batch = case.create_batch(self.world) if case.create_batch else None
        run = LocalRun(case.spec, request, installation, batch)
        for task in run.tasks():
            try:
                with process.living():
                    run.do(task)
                    process.act(f"end of {task.step}")
            except (KilledError, CancelledError):
                # A loop cancels what waits for a killed thread.
                assert process.is_dead
                run.do(task)
        assert run.closed is not None
        assert run.closed.failure is None, run.closed.failure
        fewer = _SHARED_COMMITS if MESSAGES in case.changes else 0
        assert process.is_dead or (process.dies_at or 0) < len(process.acts) + fewer, process.acts
        return process.acts


@dataclass(frozen=True)
class Finished:
    """The world of a trial after an undisturbed run, and its states before and after. One test may clear the run."""

    trial: Trial
    run: FlowRun
    before: State
    after: State


def difference_of(reference: EndState, trial: EndState) -> str:
    """What differs, as lines; empty if nothing does. A row that was planted as open is not left behind."""
    left = [line for line in trial.left if line not in reference.left]
    return "\n".join(differences(reference, replace(trial, left=left)))


def without(state: EndState, tables: Collection[str]) -> EndState:
    """The state without the rows of these tables."""
    return replace(state, rows={table: rows for table, rows in state.rows.items() if table not in tables})


def rows_of_others(state: EndState, tenant_id: str) -> EndState:
    """The rows of all but this tenant, without those of runs and those that say something about all tenants together."""
    rows = {
        table: Counter(
            {text: count for text, count in found.items() if f'"tenant_id": "{tenant_id}"' not in text}
        )
        for table, found in state.rows.items()
        if table not in OF_RUNS and table not in OF_ALL_TENANTS
    }
    return EndState(rows)


def sizes(state: EndState) -> dict[str, int]:
    """The number of rows of each table, without those of runs."""
    return {table: sum(found.values()) for table, found in state.rows.items() if table not in OF_RUNS}
