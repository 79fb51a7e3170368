"""One run of a scenario, undisturbed or with a kill, until an operator would be content; and its end state."""

from __future__ import annotations

import time
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import psycopg

from include.skillreport.core.catalog import NOTIFICATION_RETRY
from local_stack.demo.runs import DEMO_DATE
from local_stack.notifications import make_due_on_demo_date
from local_stack.stand_ins import StandIns
from tests.chaos.airflow_parts import AirflowParts
from tests.chaos.demo_installation import FRESH, DemoInstallation
from tests.chaos.end_state import (
    LATER_RUN,
    EndState,
    InFlight,
    digests,
    end_leases,
    has_waiting_alerts,
    read_end_state,
    with_later_alerts,
)
from tests.chaos.kills import Kill, Killer
from tests.chaos.person import ANSWER_TASK, Person
from tests.chaos.scenarios import Scenario
from tests.dags.running_airflow import Api

# Only reached by a trial that fails.
RUN_SECONDS = 300

# An operator who has cleared a run so often calls for help.
_CLEARS = 3

_ENDED = ("success", "failed")

# Than the moment of the scenarios, because a DAG has one run for a moment.
_AN_HOUR_LATER, _TWO_HOURS_LATER = f"{DEMO_DATE}T01:00:00Z", f"{DEMO_DATE}T02:00:00Z"


@dataclass(frozen=True)
class Run:
    """How a run has ended. ``tasks`` is the state of each task instance, ``seconds`` how long it ran; ``clears`` and ``failures`` count."""

    state: str
    tasks: dict[tuple[str, int], str]
    seconds: dict[tuple[str, int], float]
    clears: int = 0
    failures: int = 0

    @property
    def failed_tasks(self) -> set[tuple[str, int]]:
        return {key for key, state in self.tasks.items() if state not in ("success", "skipped")}


@dataclass(frozen=True)
class Result:
    """A trial. ``hit`` says what the kill has met."""

    run: Run
    end_state: EndState
    hit: str
    seconds: float


@dataclass
class Trials:
    """Trials in one installation with one Airflow."""

    installation: DemoInstallation
    airflow: AirflowParts
    # Parts that have ended by themselves, or that somebody else has killed.
    revived: list[str] = field(default_factory=list)
    # Of the saved states.
    digests: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)

    def prepare(self, scenario: Scenario) -> str:
        """The name of the state from which the scenario runs."""
        if scenario.after is None:
            return FRESH
        state = scenario.after.name.lower().replace("-", "_")
        if state not in self.installation.states:
            with self.installation.restored(self.prepare(scenario.after)):
                self.airflow.forget_runs()
                self._run(scenario.after, None, None)
                with self.installation.connect() as connection:
                    make_due_on_demo_date(connection)
                self.installation.save(state)
        return state

    def begin(self) -> None:
        """Prepare what the installation does not restore itself."""

    def finish(self) -> None:
        """Put the files where the end state is read."""

    def run_here(self, scenario: Scenario) -> Run:
        """Run the scenario undisturbed on what there is."""
        return self._run(scenario, None, None)[0]

    def run(self, scenario: Scenario, kill: Kill | None = None, reference: Run | None = None) -> Result:
        """Run the scenario from its state. Tasks that have failed, and not in the ``reference``, are cleared."""
        state = self.prepare(scenario)
        began = time.monotonic()
        with self.installation.restored(state) as services:
            if state not in self.digests:
                with self.installation.connect() as host:
                    self.digests[state] = digests(host)
            self.begin()
            self.airflow.forget_runs()
            started_at = datetime.now(UTC)
            run, hit = self._run(scenario, kill, reference)
            in_flight: list[InFlight] = []
            if scenario.sends:
                with self.installation.connect() as host:
                    in_flight = end_leases(host)
                # The hourly run finds what a killed sender had in its hands.
                self._run(Scenario("after-leases", NOTIFICATION_RETRY, _AN_HOUR_LATER), None, None)
            self.finish()
            end_state = read_end_state(
                self.installation,
                self.airflow,
                services.messages,
                started_at,
                self.digests[state],
                in_flight,
            )
            if has_waiting_alerts(end_state):
                end_state = self._with_later_alerts(end_state, services, started_at)
        return Result(run, end_state, hit, time.monotonic() - began)

    def _run(self, scenario: Scenario, kill: Kill | None, reference: Run | None) -> tuple[Run, str]:
        api = self.airflow.api(scenario.dag_id)
        api.unpause()
        if scenario.arrange:
            with self.installation.connect() as host:
                scenario.arrange(host)
        run_id = _trigger(api, scenario)
        killer = Killer(self.installation, self.airflow, lambda: self._state(scenario, run_id) in _ENDED)
        person = Person(self.airflow, scenario.dag_id, run_id)
        with person.at_work() if scenario.waits_for_people else nullcontext():
            # A kill of what asks meets the wait too. What comes after it runs only when the person has answered.
            if kill is None or kill.moment.task_id != ANSWER_TASK:
                person.may_answer.set()
            hit = killer.kill(kill) if kill else ""
            person.may_answer.set()
            return self._finish(scenario, run_id, reference), hit

    def _finish(self, scenario: Scenario, run_id: str, reference: Run | None) -> Run:
        """Wait for the end of the run, and clear what has failed unless it fails in the reference too."""
        expected = reference.failed_tasks if reference else None
        clears = failures = 0
        while True:
            run = self._wait(scenario, run_id)
            if run.state == "failed":
                failures += 1
                self.airflow.await_callback()
            if (
                expected is None
                or run.failed_tasks == expected
                or clears == _CLEARS
                or run.state not in _ENDED
            ):
                return replace(run, clears=clears, failures=failures)
            _clear_failed(self.airflow.api(scenario.dag_id), run_id)
            clears += 1

    def _wait(self, scenario: Scenario, run_id: str) -> Run:
        deadline = time.monotonic() + RUN_SECONDS
        while (state := self._state(scenario, run_id)) not in _ENDED and time.monotonic() < deadline:
            self.revived += self.airflow.revive()
            time.sleep(0.1)
        with self._metadata() as metadata:
            query = """
                SELECT task_id, map_index, state, coalesce(extract(epoch FROM end_date - start_date), 0)::float8
                FROM task_instance WHERE dag_id = %s AND run_id = %s
            """
            found = metadata.execute(query, [scenario.dag_id, run_id]).fetchall()
        tasks = {(task_id, map_index): str(task_state) for task_id, map_index, task_state, _ in found}
        seconds = {(task_id, map_index): float(duration) for task_id, map_index, _, duration in found}
        return Run(state, tasks, seconds)

    def _state(self, scenario: Scenario, run_id: str) -> str:
        with self._metadata() as metadata:
            found = metadata.execute(
                "SELECT state FROM dag_run WHERE dag_id = %s AND run_id = %s", [scenario.dag_id, run_id]
            ).fetchone()
        return str(found[0]) if found else "absent"

    def _with_later_alerts(self, found: EndState, services: StandIns, started_at: datetime) -> EndState:
        """The next run of any batch sends the alerts whose sender was killed."""
        with self.installation.connect() as host:
            host.execute("UPDATE batch.operator_alert SET due_at = now() WHERE due_at IS NOT NULL")
            self._run(Scenario(LATER_RUN, NOTIFICATION_RETRY, _TWO_HOURS_LATER), None, None)
            return with_later_alerts(found, host, services.messages, started_at)

    @contextmanager
    def _metadata(self) -> Iterator[psycopg.Connection]:
        with psycopg.connect(self.airflow.metadata_dsn, autocommit=True) as metadata:
            yield metadata


def _trigger(api: Api, scenario: Scenario) -> str:
    """With the scenario's name as the run's id, which so is the same in all trials."""
    body: dict[str, Any] = {"dag_run_id": scenario.name, "logical_date": scenario.moment, "conf": {}}
    deadline = time.monotonic() + RUN_SECONDS
    while True:
        try:
            return str(api.call("POST", f"/api/v2/dags/{api.dag_id}/dagRuns", body)["dag_run_id"])
        except urllib.error.HTTPError as error:
            # The DAG is not there yet, or the API server was killed.
            if error.code == 400 or time.monotonic() > deadline:
                raise AssertionError(error.read().decode()) from error
            time.sleep(0.5)


def _clear_failed(api: Api, run_id: str) -> None:
    """As the board's button does: failed tasks, with what comes after them."""
    api.call(
        "POST",
        f"/api/v2/dags/{quote(api.dag_id)}/clearTaskInstances",
        {"dag_run_id": run_id, "include_downstream": True, "only_failed": True, "dry_run": False},
    )
