"""The initial state of the tests of killed workers, and the conditions at the end."""

from __future__ import annotations

import re
import signal
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import psycopg

from include.skillreport.core.catalog import NOTIFICATION_RETRY
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.execution.batch import Run
from include.skillreport.core.run_spec import BatchSpec
from include.skillreport.messaging import outbox
from include.skillreport.messaging.channels.slack import SLACK
from include.skillreport.messaging.outbox import MessageDraft
from local_stack.batch_runs import close_run, open_run
from local_stack.stand_ins import StandIns
from local_stack.stand_ins.http_services import WORKFLOW_ID
from tests.conftest import Database
from tests.messaging.killed_worker import APPLICATION, batch_of, start
from tests.messaging.statement_proxy import StatementProxy
from tests.waiting import wait_until
from tests.worlds import host_rows
from tests.worlds.outbox_rows import (
    TODAY,
    integration,
    line_works,
    lose_senders,
    make_due,
    network,
    run_notifications,
    slack,
    waiting,
)

# The tenant whose shard is killed, and its neighbour.
KILLED, NEIGHBOUR = "A", "B"

# The messages of the killed tenant that its services accept, and the destination that is refused permanently.
MESSAGES = 10
GONE = "gone@example.jp"

_COUNT_TOLD = re.compile(r"届いたか分からない通知 (\d+) 件")

# 08:30 in Japan on the run's day.
_DUE_AT = datetime(2026, 10, 31, 23, 30, tzinfo=UTC)


@dataclass(frozen=True)
class Kill:
    """When a worker is killed: ``before`` or ``after`` the statement of this number, at the ``arrival`` of so many messages, or before
    the ``next`` statement after it. 0: never.
    """

    moment: str = "never"
    number: int = 0

    def __str__(self) -> str:
        return f"{self.moment} {self.number}"


@dataclass(frozen=True)
class Worked:
    """The result of a worker."""

    statements: int
    was_killed: bool


@dataclass
class Scene:
    """Two tenants, the services, and the runs so far. ``send_seconds``: how long a killed worker's shard sends."""

    database: Database
    host: psycopg.Connection
    services: StandIns
    send_seconds: int = 1
    runs: list[tuple[BatchSpec, Run]] = field(default_factory=list)

    def fill(self) -> None:
        """Messages over all channels: one is throttled, one is refused, one was cancelled, and two reminders are one message."""
        for tenant_id in (KILLED, NEIGHBOUR):
            # A killed run leaves its messages to the next day's run.
            host_rows.tenant(self.host, tenant_id)
            _setting(self.host, tenant_id, "expire_hours", "48")
            slack(self.host, tenant_id, self.services)
        for number in (1, 2):
            waiting(self.host, KILLED, recipient_address=f"{number}@example.jp")
        waiting(self.host, KILLED, recipient_address=GONE)
        for number in range(4):
            waiting(self.host, KILLED, "SLACK", recipient_address=f"C{number}")
        for number in range(2):
            waiting(self.host, KILLED, "LINE_WORKS", recipient_address=f"users/U{number}")
        waiting(self.host, KILLED, "TEAMS")
        waiting(self.host, NEIGHBOUR, "SLACK", recipient_address="C9")
        waiting(self.host, NEIGHBOUR, recipient_address="9@example.jp")
        self._integrations()
        self._goals()
        self.cancel()
        self.services.refuse_recipient(GONE, "5.1.1")
        self._lift_limits()

    def throttle(self) -> None:
        """Let Slack refuse the fourth message within a second."""
        self.services.set_limit("slack_workspace", 3, 1)

    def _lift_limits(self) -> None:
        self.services.limit_rates(False)
        # LINE WORKS states a limit for which no message waits.
        self.services.set_limit("line_works", 60_000, 60)

    def _integrations(self) -> None:
        integration(self.host, KILLED, "teams", auth={"webhook_url": self.services.teams_webhook_url})
        line_works(self.host, KILLED, self.services)

    def _goals(self) -> None:
        host_rows.user(self.host, KILLED, "hanako")
        for number in (1, 2):
            host_rows.insert(
                self.host,
                "TRN_GoalProgress",
                id=f"goal-{number}",
                tenant_id=KILLED,
                employee_id="emp_hanako",
                goal_title=f"英語 {number}",
                goal_type="SKILL",
                progress_rate=50,
                target_date=datetime(2026, 11, 6),
                achievement_status="in_progress",
                updated_at=datetime(2026, 10, 1),
                created_by="hanako",
                updated_by="hanako",
            )

    def cancel(self) -> None:
        """Put a message into the outbox that the application has cancelled since."""
        log_id = waiting(self.host, KILLED, "SLACK", recipient_address="C-cancelled", send_status="CANCELLED")
        draft = MessageDraft(
            KILLED,
            f"host:{log_id}",
            SLACK,
            "C-cancelled",
            "件名",
            "本文",
            _DUE_AT,
            host_log_id=log_id,
        )
        with (
            self.database.connect("batch_tenant") as connection,
            tenant_transaction(connection, [KILLED]),
        ):
            outbox.enqueue(connection, [draft], created_by="test")

    # The runs.

    def open(self, spec: BatchSpec) -> Run:
        """Open a run of the killed tenant only."""
        with self.database.connect("batch_platform") as platform:
            run, _ = open_run(platform, spec, batch_of(spec), TODAY, codes=[KILLED])
        run = replace(run, send_seconds=self.send_seconds)
        self.runs.append((spec, run))
        return run

    def work(self, spec: BatchSpec, run: Run, kill: Kill) -> Worked:
        """Process the shard in a worker, and kill it at this moment unless it ends before."""
        proxy = StatementProxy(self.database.dsn, after=kill.moment == "after")
        if kill.moment in ("before", "after"):
            proxy.stop_at = kill.number
        earlier = len(self.services.messages)

        def have_arrived() -> bool:
            return len(self.services.messages) - earlier >= kill.number

        if kill.moment == "next":
            proxy.stop_when = have_arrived

        def is_reached() -> bool:
            return proxy.stopped.is_set() or (kill.moment == "arrival" and have_arrived())

        with proxy.listening(APPLICATION) as dsn:
            worker = start(dsn, network(self.services), spec, run)
            wait_until(lambda: is_reached() or not worker.is_alive(), f"the worker ends or comes to: {kill}")
            if is_reached():
                worker.kill()
            worker.join()
            assert worker.exitcode in (0, -signal.SIGKILL), f"the worker failed: {worker.exitcode}"
        wait_until(self._has_no_worker, "PostgreSQL ends the worker's sessions")
        return Worked(proxy.statements, worker.exitcode != 0)

    def _has_no_worker(self) -> bool:
        found = self.host.execute("SELECT FROM pg_stat_activity WHERE application_name = %s", [APPLICATION])
        return not found.fetchall()

    def close(self) -> None:
        """Do what close_run does when the worker's task has finally failed."""
        for spec, run in self.runs:
            with self.database.connect("batch_platform") as platform:
                close_run(platform, spec, batch_of(spec), run)

    def go_on(self) -> None:
        """The leases end; the next hourly run, the next daily run and another hourly run work on both tenants."""
        self._lift_limits()
        lose_senders(self.host)
        self.close()
        make_due(self.host)
        run_notifications(self.database, self.services, spec=NOTIFICATION_RETRY)
        self._mend_channels()
        make_due(self.host)
        # A day later the killed worker is no sender any more.
        self.host.execute("UPDATE batch.limit_sender SET seen_at = seen_at - interval '2 days'")
        run_notifications(self.database, self.services, on=TODAY + timedelta(days=1))
        make_due(self.host)
        run_notifications(self.database, self.services, spec=NOTIFICATION_RETRY)

    def _mend_channels(self) -> None:
        """The operators know of each closed channel, and its administrator saves new settings."""
        told = self.host.execute(
            """
            SELECT circuit.channel, outcome.error_message, log.status
            FROM batch.channel_circuit AS circuit
            LEFT JOIN batch.tenant_outcome AS outcome
                ON circuit.reported_by = outcome.execution_id AND circuit.tenant_id = outcome.tenant_id
            LEFT JOIN batch.execution_log AS log ON circuit.reported_by = log.execution_id
            """
        )
        for channel, reason, status in told:
            assert f"チャネル {channel} を停止しました" in (reason or ""), f"{channel}: {reason}"
            assert status in ("failed", "partial"), f"{channel}: {status}"
        self.host.execute(
            """UPDATE "SYS_IntegrationConfig" SET updated_at = clock_timestamp() AT TIME ZONE 'UTC'"""
        )

    # The conditions at the end.

    def neighbours(self) -> list[tuple[object, ...]]:
        """All rows of the other tenant."""
        return [
            row
            for query in (
                "SELECT message.* FROM batch.outbox AS message WHERE tenant_id = %s ORDER BY message_id",
                'SELECT log.* FROM "HIS_NotificationLog" AS log WHERE tenant_id = %s ORDER BY id',
                "SELECT outcome.* FROM batch.tenant_outcome AS outcome WHERE tenant_id = %s ORDER BY execution_id",
            )
            for row in self.host.execute(query.encode(), [NEIGHBOUR])
        ]

    def check(self) -> None:
        """:raises AssertionError: a message was lost, arrived too often, or is not known to the operators."""
        self._check_arrivals()
        self._check_outbox()
        self._check_reports()
        suppressed = self.host.execute("SELECT tenant_id, address, bounces FROM batch.suppressed_address")
        assert suppressed.fetchall() == [(KILLED, GONE, 1)]
        assert self.host.execute("SELECT owner FROM batch.limit_sender").fetchall() == []

    def _check_arrivals(self) -> None:
        letters = defaultdict[str, list[str]](list)
        posts = Counter[tuple[str, str]]()
        for arrived in self.services.messages:
            if arrived.channel == "email":
                letters[arrived.destination].append(arrived.headers["Message-ID"])
            else:
                posts[arrived.channel, arrived.destination] += 1
        assert set(posts.values()) <= {1}, f"arrived twice: {posts}"
        for destination, ids in letters.items():
            assert len(set(ids)) == 1, f"{destination} got several Message-IDs"
            assert len(ids) <= 2, f"{destination} got {len(ids)} letters"

    def _check_outbox(self) -> None:
        rows = self.host.execute(
            "SELECT tenant_id, channel, destination, status, host_log_id, mirrored_status FROM batch.outbox"
        ).fetchall()
        arrived = {(each.channel, each.destination) for each in self.services.messages}
        sendable = 0
        for tenant_id, channel, destination, status, host_log_id, mirrored in rows:
            about = f"{tenant_id} {channel} {destination}: {status}"
            if destination == GONE:
                assert status == "dead", about
            elif destination == "C-cancelled":
                assert status == "withdrawn", about
            elif status != "merged":
                assert status in ("sent", "ambiguous"), about
                assert tenant_id == KILLED or status == "sent", about
                sendable += 1
                if status == "sent":
                    to = WORKFLOW_ID if channel == "teams" else destination
                    assert (channel, to) in arrived, f"lost: {about}"
            assert host_log_id is None or mirrored == status, f"{about}, mirrored {mirrored}"
        assert sendable == MESSAGES + 2
        shown = self.host.execute(
            """
            SELECT message.status, log.send_status
            FROM "HIS_NotificationLog" AS log
            LEFT JOIN batch.outbox AS message ON log.id = message.host_log_id
            """
        ).fetchall()
        expected = {"sent": "SUCCESS", "ambiguous": "FAILED", "dead": "FAILED", "withdrawn": "CANCELLED"}
        assert [status for status, _ in shown if status is None] == []
        assert all(send_status == expected[status] for status, send_status in shown), shown

    def _check_reports(self) -> None:
        """Each failure is in the outcome of one run, with the right count, and that run is closed."""
        told = self.host.execute(
            """
            SELECT message.reported_by, count(*) FILTER (WHERE message.status = 'ambiguous'), outcome.error_code,
                outcome.error_message, log.status
            FROM batch.outbox AS message
            LEFT JOIN batch.tenant_outcome AS outcome
                ON message.reported_by = outcome.execution_id AND message.tenant_id = outcome.tenant_id
            LEFT JOIN batch.execution_log AS log ON message.reported_by = log.execution_id
            WHERE message.status IN ('ambiguous', 'dead')
            GROUP BY 1, 3, 4, 5
            """
        ).fetchall()
        for run, count, code, reason, status in told:
            about = f"{run}: {count} in doubt, {code} {reason} {status}"
            assert code == "NOTIFICATIONS_FAILED", about
            assert status in ("failed", "partial"), about
            found = _COUNT_TOLD.search(reason)
            assert (int(found[1]) if found else 0) == count, about
        running = self.host.execute("SELECT batch_id FROM batch.execution_log WHERE status = 'running'")
        assert running.fetchall() == []


def _setting(host: psycopg.Connection, tenant_id: str, name: str, value: str) -> None:
    host_rows.insert(
        host,
        "MST_TenantSettings",
        id=f"{tenant_id}-{name}",
        tenant_id=tenant_id,
        setting_key=f"batch.notification.{name}",
        setting_value=value,
        updated_at=datetime(2026, 10, 1),
    )
