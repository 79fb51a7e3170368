"""The commands behind the Makefile: ``python -m local_stack env|demo|up|down|db-start|db-stop|db-reset|psql``."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from include.catalog import (
    DATA_BACKUP,
    EXTERNAL_SYNC,
    INACTIVE_TENANTS,
    LOG_CLEANUP,
    MONTHLY_REPORT,
    NOTIFICATION_LOG_CLEANUP,
    NOTIFICATION_RETRY,
    NOTIFICATION_SETTINGS_CHECK,
    RESTORE_BACKUP,
    SCHEDULED_NOTIFICATIONS,
    SETTINGS_SYNC,
    STATISTICS,
    TENANT_BILLING,
    TENANT_MONITORING,
    TENANT_USAGE,
    RunSpec,
)
from include.errors import BatchError
from include.settings import SETTINGS_VARIABLE
from local_stack.airflow_processes import (
    AirflowEndedError,
    SupervisedAirflow,
    end_supervised,
    supervisor_of,
)
from local_stack.directories import put_directories
from local_stack.monitoring import MONITORING_RUNS
from local_stack.notifications import BOUNCING_AT_STAND_INS, REFUSED_BY_STAND_INS, make_due_on_demo_date
from local_stack.ports import require_free
from local_stack.postgres_server import EmbeddedPostgres, EmbeddedPostgresError
from local_stack.report import (
    backup_report,
    billing_report,
    cleanup_report,
    external_sync_report,
    inactivity_report,
    log_cleanup_report,
    monitoring_report,
    monthly_report,
    restore_report,
    retry_report,
    scheduled_report,
    settings_report,
    settings_sync_report,
    statistics_report,
    usage_report,
)
from local_stack.stack import DEMO_SETTINGS, LocalStack
from local_stack.stand_ins import StandIns

# The date of the runs. The business date is the day before, the last day of the demo data; the billing month is October.
DEMO_DATE = "2026-11-01"


@dataclass(frozen=True)
class DemoRun:
    """A batch or an operation of the demo. ``must_fail``: the run reports problems of the demo data by failing.

    ``fails_once``: a second demo on the same data succeeds, because the problems are reported once. ``date`` is the date of the run, and
    ``form`` has the values of the trigger form.
    """

    spec: RunSpec
    report: Callable[[psycopg.Connection], str]
    must_fail: bool = False
    fails_once: bool = False
    date: str = DEMO_DATE
    form: Mapping[str, object] = field(default_factory=dict)

    def ended_well(self, exit_code: int) -> bool:
        """Whether the run ended as expected."""
        return bool(exit_code) == self.must_fail or (self.fails_once and exit_code == 0)


DEMO_RUNS = (
    DemoRun(DATA_BACKUP, backup_report),
    DemoRun(STATISTICS, statistics_report),
    DemoRun(TENANT_USAGE, usage_report),
    DemoRun(TENANT_BILLING, billing_report),
    DemoRun(MONTHLY_REPORT, monthly_report),
    DemoRun(INACTIVE_TENANTS, inactivity_report),
    DemoRun(SETTINGS_SYNC, settings_sync_report),
    DemoRun(NOTIFICATION_SETTINGS_CHECK, settings_report),
    DemoRun(EXTERNAL_SYNC, external_sync_report, must_fail=True),
    DemoRun(SCHEDULED_NOTIFICATIONS, scheduled_report),
    *(DemoRun(TENANT_MONITORING, monitoring_report, date=moment) for moment in MONITORING_RUNS),
    DemoRun(NOTIFICATION_RETRY, retry_report, must_fail=True, fails_once=True),
    DemoRun(NOTIFICATION_LOG_CLEANUP, log_cleanup_report),
    DemoRun(LOG_CLEANUP, cleanup_report),
    DemoRun(RESTORE_BACKUP, restore_report, form={"operation": "compare", "tenants": ["TKH-HD"]}),
)

_WHERE_TO_LOOK = """\
どこを見るか:
  {storage}/invoices、{storage}/accounting
               請求書（PDF、JSON）とその一覧、会計用ファイル
  {storage}/reports
               月次レポート（Excel、PDF）
  {storage}/backups、{storage}/log_archive
               バックアップ（manifest.json に一覧）、保管したログファイル
  {storage}/notification_log
               保管した通知ログ（JSON Lines、gzip）
  {arrived}
               届いたメール・Slack・Teams・LINE WORKS・運用アラート（make up の間は http://127.0.0.1:{port}/）
  make psql    TABLE batch.usage_day;  TABLE batch.invoice;  TABLE batch.outbox;  TABLE batch.execution_log;
  make up      Airflow の画面（バッチ運用ボード、実行、消去、再実行）
  eval "$(make -s env)"; airflow dags test batch_018_01_tenant_usage 2026-11-01"""

_UI_START_SECONDS = 120


def env(stack: LocalStack) -> int:
    """Prepare everything and print the exports for a shell: ``eval "$(make -s env)"``."""
    _prepare(stack)
    for name, value in stack.environment().items():
        print(f"export {name}={shlex.quote(value)}")
    print("unset PYTHONDONTWRITEBYTECODE")  # with byte code Airflow starts in half the time
    return 0


def demo(stack: LocalStack) -> int:
    """Run the batches on the demo data through ``airflow dags test`` and print the results."""
    _prepare(stack)
    _arrived(stack).unlink(missing_ok=True)
    with _stand_ins(stack):
        for run in DEMO_RUNS:
            log = stack.directory / f"{run.spec.dag_id}.log"
            command = ["airflow", "dags", "test", run.spec.dag_id, run.date]
            command += ["--conf", json.dumps(run.form)] if run.form else []
            _say(f"running `{' '.join(command)}`; its log is {log}")
            with log.open("w") as output:
                code = subprocess.run(
                    command,
                    env=os.environ | stack.environment(),
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    check=False,
                ).returncode
            if not run.ended_well(code):
                sys.stderr.write("".join(log.read_text().splitlines(keepends=True)[-40:]))
                _say(f"`{' '.join(command)}` ended with exit code {code}")
                return code or 1
            with stack.database() as connection:
                make_due_on_demo_date(connection)
                print(f"\n{run.report(connection)}\n")
    print(_WHERE_TO_LOOK.format(storage=stack.storage, arrived=_arrived(stack), port=stack.ports.http))
    return 0


def up(stack: LocalStack) -> int:
    """Run Airflow (scheduler, API server, triggerer, DAG processor) and the stand-ins until Ctrl-C or ``make down``."""
    if other := supervisor_of(stack.directory):
        raise BatchError(
            f"`make up` already runs in this checkout (process {other.pid}); `make down` ends it."
        )
    end_supervised(stack.directory)  # what a killed `make up` has left
    _prepare(stack)
    port = stack.ports.ui
    require_free({"Airflow's UI (API server)": port})
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with (
            _stand_ins(stack) as stand_ins,
            SupervisedAirflow(os.environ | stack.environment(), stack.directory, _say) as airflow,
        ):
            _wait_for_ui(airflow, port)
            _say(f"Airflow: http://localhost:{port}/   what arrived: {stand_ins.page_url}")
            _say(f"logs: {stack.directory}/airflow-*.log   Ctrl-C (or `make down` elsewhere) ends it")
            while True:
                time.sleep(1)
                airflow.watch()
    except KeyboardInterrupt:
        return 0


def down(stack: LocalStack) -> int:
    """End what ``make up`` runs, and the database."""
    end_supervised(stack.directory)
    stack.server.stop()
    return 0


def db_start(stack: LocalStack) -> int:
    """Start the embedded database."""
    stack.start_database()
    return 0


def db_stop(stack: LocalStack) -> int:
    """Stop the embedded database and keep its data."""
    stack.server.stop()
    return 0


def db_reset(stack: LocalStack) -> int:
    """Delete the embedded database, including Airflow's metadata."""
    stack.server.reset()
    (stack.airflow_home / "imported_settings.sha256").unlink(missing_ok=True)
    return 0


def psql(stack: LocalStack) -> int:
    """Open the skill report database."""
    stack.start_database()
    return subprocess.run([EmbeddedPostgres.binary("psql"), stack.admin_dsn()], check=False).returncode


COMMANDS = {
    "env": env,
    "demo": demo,
    "up": up,
    "down": down,
    "db-start": db_start,
    "db-stop": db_stop,
    "db-reset": db_reset,
    "psql": psql,
}


def _prepare(stack: LocalStack) -> None:
    stack.directory.mkdir(exist_ok=True)
    _say("database")
    stack.start_database()
    _say("schema and demo data")
    stack.deploy()
    _say("Airflow's metadata")
    stack.prepare_airflow()


def _arrived(stack: LocalStack) -> Path:
    """The file with the messages that the stand-ins have received."""
    return stack.directory / "arrived.jsonl"


@contextmanager
def _stand_ins(stack: LocalStack) -> Iterator[StandIns]:
    """Run the stand-ins on the ports of the settings file, with the errors and directories of the demo."""
    ports = stack.ports
    require_free(ports.of_stand_ins)
    with (
        stack.kept_on_its_ports(),
        StandIns(ports.http, ports.smtp, imap_port=ports.imap, record=_arrived(stack)) as stand_ins,
    ):
        for recipient, code in REFUSED_BY_STAND_INS.items():
            stand_ins.refuse_recipient(recipient, code)
        for recipient, status in BOUNCING_AT_STAND_INS.items():
            stand_ins.bounce_later(recipient, status)
        with stack.database() as connection:
            put_directories(stand_ins, connection)
        yield stand_ins


def _wait_for_ui(airflow: SupervisedAirflow, port: int) -> None:
    for _ in range(_UI_START_SECONDS):
        airflow.watch()
        try:
            with urllib.request.urlopen(f"http://localhost:{port}/api/v2/monitor/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(1)
    raise SystemExit(f"Airflow did not answer on port {port} within {_UI_START_SECONDS} s; its logs say why.")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    # Uses standard error, because `make env` prints exports to standard output.
    print(f"» {text}", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local_stack", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    # For this process; Airflow's processes get the variable from the environment of the stack.
    os.environ[SETTINGS_VARIABLE] = str(DEMO_SETTINGS)
    try:
        return COMMANDS[parser.parse_args().command](LocalStack())
    except (AirflowEndedError, BatchError, EmbeddedPostgresError) as error:
        _say(str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main())
