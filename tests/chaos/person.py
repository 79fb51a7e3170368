"""A person who answers the requests of a run that waits for people."""

from __future__ import annotations

import threading
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psycopg

from include.skillreport.approvals import APPROVE
from tests.chaos.airflow_parts import AirflowParts
from tests.dags.running_airflow import answer_request

# The task that waits.
ANSWER_TASK = "ask"

# Airflow takes a task that is answered within a second after it begins to wait for a killed one, and asks again.
_READING_SECONDS = 2.0
_POLL_SECONDS = 0.5


@dataclass
class Person:
    """Approves everything, each time that the run's task waits. ``may_answer`` is set when the person may begin."""

    airflow: AirflowParts
    dag_id: str
    run_id: str
    may_answer: threading.Event = field(default_factory=threading.Event)
    _left: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Until the end of the block, in a thread."""
        thread = threading.Thread(target=self._work, name="person")
        thread.start()
        try:
            yield
        finally:
            self._left.set()
            self.may_answer.set()
            thread.join()

    def _work(self) -> None:
        while not self._left.wait(_POLL_SECONDS):
            if self._is_asked() and self.may_answer.wait() and not self._left.wait(_READING_SECONDS):
                # The API server may have been killed. Then the person tries again.
                with suppress(AssertionError, OSError, urllib.error.URLError):
                    self._answer()

    def _is_asked(self) -> bool:
        query = """
            SELECT count(*) FROM task_instance
            WHERE (dag_id, run_id, task_id) = (%s, %s, %s) AND state = 'awaiting_input'
        """
        with psycopg.connect(self.airflow.metadata_dsn, autocommit=True) as metadata:
            (waiting,) = metadata.execute(query, [self.dag_id, self.run_id, ANSWER_TASK]).fetchone() or (0,)
        return bool(waiting)

    def _answer(self) -> None:
        answer_request(self.airflow.api(self.dag_id), self.run_id, APPROVE)
