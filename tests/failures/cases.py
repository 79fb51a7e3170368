"""A case of each kind of failure: how it happens, and what the operator does, by the advice, before a clear or instead of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from include.skillreport.approvals.requests import ApprovalRequest
from include.skillreport.batches.data_backup.access import BackupAccess
from include.skillreport.batches.data_backup.batch import DataBackupBatch
from include.skillreport.batches.data_backup.deleted_tenants import RegisterEntry, delete_entry, write_entry
from include.skillreport.batches.data_backup.mac import MacKeys
from include.skillreport.batches.external_sync.settings import ExternalSyncSettings
from include.skillreport.core.catalog import (
    DATA_BACKUP,
    EXTERNAL_SYNC,
    NOTIFICATION_RETRY,
    SCHEDULED_NOTIFICATIONS,
    TENANT_BILLING,
    TENANT_USAGE,
)
from include.skillreport.core.execution import run_log
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.network import Network
from include.skillreport.core.operation_catalog import (
    APPROVE_CONTRACTS,
    APPROVE_DIRECTORY_CHANGES,
    APPROVE_INVOICES,
    IMPORT_PAYMENTS,
    OPERATE_INVOICES,
    RESTORE_BACKUP,
)
from include.skillreport.core.run_spec import BatchSpec
from include.skillreport.core.settings import SETTINGS_VARIABLE
from include.skillreport.messaging.contract_letters import USAGE_WARNING
from include.skillreport.messaging.settings import NotificationSettings
from include.skillreport.operations.approve_directory_changes.batch import DirectoryApproval
from include.skillreport.operations.restore_backup.batch import BackupRestore
from local_stack.batch_runs import LocalInstallation
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.worlds import bank_files, billing_rows, contract_entries, directory_rows, host_rows, outbox_rows
from tests.worlds.approval_rows import ACCOUNTANT, NOW, asked_about, record
from tests.worlds.backups import Backups, migration_after_pg_dump
from tests.worlds.billing_rows import MONTH, FullStore
from tests.worlds.feedback_mails import with_mailbox
from tests.worlds.flow_run import FlowRun, kill
from tests.worlds.own_settings import change_billing
from tests.worlds.queued_letters import TOO_OLD, draft, queue
from tests.worlds.zengin_files import OWN_ACCOUNT

DAY = date(2026, 10, 31)
TODAY = outbox_rows.TODAY


@dataclass
class Scene:
    """What a case works with."""

    database: Database
    host: psycopg.Connection
    services: StandIns
    folder: Path
    environment: pytest.MonkeyPatch


@dataclass
class Failure:
    """A failed run, and what the operator does, by the advice: before a clear, if the kind has one, otherwise instead of it.

    ``mend`` returns the run that ends the failure, if another run does.
    """

    run: FlowRun
    mend: Callable[[], FlowRun | None]


def _run(scene: Scene, spec: BatchSpec, day: date = DAY, **options: Any) -> FlowRun:
    return FlowRun(scene.database, spec, day, **options)


# Any batch


def cause(scene: Scene) -> Failure:
    """A tenant's setting overflows."""
    for tenant_id in ("A", "B"):
        host_rows.tenant(scene.host, tenant_id)
    healthy = host_rows.break_settings_of(scene.host, "B")

    def mend() -> None:
        scene.host.execute(healthy.encode())

    return Failure(_run(scene, TENANT_USAGE), mend)


def parameters(scene: Scene) -> Failure:
    """The form names a tenant that does not exist."""
    host_rows.tenant(scene.host, "A")
    run = _run(scene, TENANT_USAGE, parameters={"tenants": ["X"]})
    return Failure(run, lambda: run.again(tenants=["A"]))


def installation(scene: Scene) -> Failure:
    """The settings file has an error."""
    host_rows.tenant(scene.host, "A")
    valid = os.environ[SETTINGS_VARIABLE]
    scene.environment.setenv(SETTINGS_VARIABLE, str(scene.folder / "none.yaml"))
    return Failure(_run(scene, TENANT_USAGE), lambda: scene.environment.setenv(SETTINGS_VARIABLE, valid))


def unreachable(scene: Scene) -> Failure:
    """Somebody holds a lock on a table for longer than the batch waits."""
    host_rows.tenant(scene.host, "A")
    locks = ExitStack()
    blocker = locks.enter_context(psycopg.connect(scene.database.dsn))
    blocker.execute('LOCK TABLE "SYS_TenantUsage" IN ACCESS EXCLUSIVE MODE')
    return Failure(_run(scene, TENANT_USAGE), locks.close)


def disk_full(scene: Scene) -> Failure:
    """The server cannot extend a table."""
    host_rows.tenant(scene.host, "A")
    scene.host.execute(
        """
        CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;
        CREATE TRIGGER no_room BEFORE INSERT OR UPDATE ON "SYS_TenantUsage" EXECUTE FUNCTION no_room()
        """
    )

    def mend() -> None:
        scene.host.execute("DROP FUNCTION no_room CASCADE")

    return Failure(_run(scene, TENANT_USAGE), mend)


def killed(scene: Scene) -> Failure:
    """The process of a mapped instance is killed."""
    for tenant_id in ("A", "B"):
        host_rows.tenant(scene.host, tenant_id)
    return Failure(_run(scene, TENANT_USAGE, before={"aggregate_usage[0]": kill}), lambda: None)


def rows_gone(scene: Scene) -> Failure:
    """A run is cleared whose rows were deleted since."""
    failure = cause(scene)
    failure.mend()
    scene.host.execute("DELETE FROM batch.execution_log")
    failure.run.clear()
    return Failure(failure.run, lambda: None)


def lost(scene: Scene) -> Failure:
    """A run has ended in Airflow without closing its row."""
    host_rows.tenant(scene.host, "A")
    run = _run(scene, TENANT_USAGE, before={"close_run": kill})
    with scene.database.connect("batch_platform") as platform:
        assert run_log.close_orphan(platform, run.run.execution_id, "Airflow の実行が終わっていました")
    return Failure(run, run.again)


def operation_gone(scene: Scene) -> Failure:
    """The run of an operation has ended in Airflow without closing its row."""
    billing_rows.customer(scene.host, "A")
    billing_rows.run_billing(scene.database)
    form = {"operation": "explain", "tenants": ["A"]}
    run = FlowRun(scene.database, OPERATE_INVOICES, MONTH, parameters=form, before={"close_run": kill})
    with scene.database.connect("batch_platform") as platform:
        assert run_log.close_orphan(platform, run.run.execution_id, "Airflow の実行が終わっていました")
    return Failure(run, run.again)


def operation_cleared(scene: Scene) -> Failure:
    """Somebody clears the operation of an accountant that is done."""
    billing_rows.customer(scene.host, "A")
    billing_rows.run_billing(scene.database)
    form = {"operation": "explain", "tenants": ["A"]}
    run = FlowRun(scene.database, OPERATE_INVOICES, MONTH, parameters=form, person=ACCOUNTANT)
    run.clear("open_run")
    return Failure(run, run.again)


def unclosed(scene: Scene) -> Failure:
    """A run was cleared, and its close_run was killed."""
    failure = cause(scene)
    failure.mend()
    failure.run.before = {"close_run": kill}
    failure.run.clear()
    return Failure(failure.run, lambda: None)


def unplaced(scene: Scene) -> Failure:
    """Most rows of the application's log belong to nobody."""
    host_rows.tenant(scene.host, "A")
    for number in range(11):
        host_rows.audit(scene.host, f"ghost {number}", datetime(2026, 10, 31, 3))

    def mend() -> None:
        scene.host.execute('DELETE FROM "HIS_AuditLog"')

    return Failure(_run(scene, TENANT_USAGE), mend)


def no_space(scene: Scene) -> Failure:
    """The store is full."""
    return _unusable(scene, FullStore())


def storage(scene: Scene) -> Failure:
    """Nobody may write into the store."""
    return _unusable(scene, ObjectStore(Path("/sys/store")))


def _unusable(scene: Scene, store: ObjectStore) -> Failure:
    billing_rows.customer(scene.host, "A")
    run = _run(scene, TENANT_BILLING, MONTH, installation=LocalInstallation(object_store=store))

    def mend() -> None:
        run.installation = LocalInstallation(object_store=ObjectStore(scene.folder))

    return Failure(run, mend)


# Billing and approvals


def usage_open(scene: Scene) -> Failure:
    """A day of the month is not closed."""
    billing_rows.customer(scene.host, "A", months=())
    billing_rows.close_month(scene.host, "A", without=[9])

    def mend() -> None:
        billing_rows.run_usage(scene.database, date(2026, 10, 9))

    return Failure(_run(scene, TENANT_BILLING, MONTH), mend)


def held(scene: Scene) -> Failure:
    """The invoice differs much from that of the month before."""
    billing_rows.jump(scene.database, scene.host)

    def mend() -> None:
        operated = billing_rows.operate(scene.database, "approve", "HD001", "B")
        assert operated.status == "completed"

    return Failure(_run(scene, TENANT_BILLING, MONTH), mend)


def refused(scene: Scene) -> Failure:
    """A payment with a day before the invoice's."""
    billing_rows.customer(scene.host, "A")
    billing_rows.run_billing(scene.database)
    form = {
        "operation": "record_payment",
        "tenants": ["A"],
        "paid_on": "2026-10-01",
        "paid_amount": "11000",
        "paid_method": "銀行振込",
        "paid_reference": "1",
    }
    run = FlowRun(scene.database, OPERATE_INVOICES, MONTH, parameters=form)
    return Failure(run, lambda: run.again(paid_on="2026-11-01"))


def request_outdated(scene: Scene) -> Failure:
    """The held invoice is calculated again before the answer."""
    billing_rows.jump(scene.database, scene.host)
    request = _asked(scene, billing_rows.run_billing(scene.database))
    scene.host.execute("UPDATE batch.usage_day SET active_users = 32 WHERE usage_date >= '2026-10-01'")
    billing_rows.run_billing(scene.database)
    run = _answered(scene, request, APPROVE_INVOICES, MONTH, NOW)

    def mend() -> FlowRun:
        newer = _asked(scene, billing_rows.run_billing(scene.database))
        return _answered(scene, newer, APPROVE_INVOICES, MONTH, NOW)

    return Failure(run, mend)


def own_entry(scene: Scene) -> Failure:
    """The accountant approves a line above the limit that they have entered themselves."""
    billing_rows.customer(scene.host, "A")
    line = {"line_date": "2026-10-15", "line_text": "初期設定の作業費", "line_price": "60000"}
    billing_rows.operate(scene.database, "extra_line", values=line, triggered_by=ACCOUNTANT)
    request = _asked(scene, billing_rows.run_billing(scene.database))
    run = _answered(scene, request, APPROVE_INVOICES, MONTH, NOW)
    form = {"operation": "approve", "tenants": ["A"]}
    return Failure(run, lambda: FlowRun(scene.database, OPERATE_INVOICES, MONTH, parameters=form))


def not_confirmed(scene: Scene) -> Failure:
    """The only accountant approves an own line without typing its amount."""
    change_billing(scene.environment, scene.folder, second_person="none")
    form = {"operation": "approve", "tenants": ["A"], "confirmed": "60000"}
    return replace(
        own_entry(scene),
        mend=lambda: FlowRun(scene.database, OPERATE_INVOICES, MONTH, parameters=form, person=ACCOUNTANT),
    )


def contract_change_refused(scene: Scene) -> Failure:
    """The accountant approves the recipient that they have entered themselves."""
    billing_rows.customer(scene.host, "A")
    result = contract_entries.set_profile(scene.database, person=ACCOUNTANT, email="new@customer.example")
    day = contract_entries.TODAY

    def answered(person: str) -> FlowRun:
        request = _asked(scene, result)
        return _answered(scene, request, APPROVE_CONTRACTS, day, contract_entries.AT, person)

    return Failure(answered(ACCOUNTANT), lambda: answered(contract_entries.SECOND))


def answered_too_early(scene: Scene) -> Failure:
    """Accounts are approved on the day on which they have vanished."""
    host_rows.tenant(scene.host, "A", tenant_code="HD001")
    directory_rows.employees(scene.host, range(1, 6))
    directory = directory_rows.slack(scene.host, scene.services)
    directory.fill([directory_rows.member(number) for number in range(1, 6)], 200)
    directory_rows.run_sync(scene.database, scene.services)
    directory.fill([directory_rows.member(9)], 200)
    next_day = directory_rows.DAY + timedelta(days=1)
    request = _asked(scene, directory_rows.run_sync(scene.database, scene.services, next_day))

    def batch() -> DirectoryApproval:
        return DirectoryApproval(
            ExternalSyncSettings.load(), NotificationSettings.load(), directory_rows.HASTY
        )

    at = datetime.combine(next_day + timedelta(days=1), time(9), JAPAN)
    network = LocalInstallation(services=Network(allowed_hosts=scene.services.allowed_hosts))
    options: dict[str, Any] = {"installation": network, "create_batch": batch}
    run = _answered(scene, request, APPROVE_DIRECTORY_CHANGES, request.business_date, at, **options)

    def mend() -> None:
        run.later = timedelta(days=1)

    return Failure(run, mend)


def _asked(scene: Scene, result: run_log.RunResult) -> ApprovalRequest:
    about = asked_about(scene.database, result)
    assert about is not None
    return about.request


def _answered(
    scene: Scene,
    request: ApprovalRequest,
    spec: Any,
    day: date,
    at: datetime,
    person: str = ACCOUNTANT,
    **options: Any,
) -> FlowRun:
    """The run that applies the person's answer "approve"."""
    form = record(scene.database, request, person=person, at=at)
    return FlowRun(scene.database, spec, day, parameters=form, run_at=at, **options)


def bank_file(scene: Scene) -> Failure:
    """The bank's file is about an account that is not in the settings."""
    change_billing(scene.environment, scene.folder, payment_source="operations", own_accounts=[OWN_ACCOUNT])
    billing_rows.customer(scene.host, "A")
    billing_rows.run_billing(scene.database)
    store = ObjectStore(scene.folder / "store")
    bank_files.put(store, bank_files.transfer(11_000, account="0009-001-1-7654321"))
    run = FlowRun(
        scene.database,
        IMPORT_PAYMENTS,
        bank_files.TODAY,
        installation=LocalInstallation(object_store=store),
    )

    def mend() -> FlowRun:
        bank_files.put(store, bank_files.transfer(11_000))
        return run.again()

    return Failure(run, mend)


# Messages


def _retrying(scene: Scene, network: Network | None = None, day: date = TODAY) -> FlowRun:
    services = network or outbox_rows.network(scene.services)
    return _run(scene, NOTIFICATION_RETRY, day, installation=LocalInstallation(services=services))


def undelivered(scene: Scene) -> Failure:
    """The recipient does not exist."""
    host_rows.tenant(scene.host, "A")
    outbox_rows.waiting(scene.host, "A")
    scene.services.refuse_recipient("member@example.jp", "5.1.1")
    outbox_rows.run_notifications(scene.database, scene.services)

    def mend() -> FlowRun:
        messages = scene.host.execute("SELECT message_id FROM batch.outbox").fetchone()
        assert messages is not None
        outbox_rows.operate(scene.database, scene.services, "discard", *messages, codes=["A"])
        return _retrying(scene)

    return Failure(_retrying(scene), mend)


def letters_waiting(scene: Scene) -> Failure:
    """A letter of the contract waits for 80 hours."""
    host_rows.tenant(scene.host, "A")
    queue(scene.database, draft(USAGE_WARNING, datetime.now(UTC) - TOO_OLD, "contract"))
    greylisted = "450 4.7.1 Greylisted"
    for _ in range(2):  # the run, and its clear
        scene.services.fail_next("email", greylisted, command="RCPT")
    run = _retrying(scene, day=datetime.now(JAPAN).date())

    def mend() -> FlowRun:
        outbox_rows.make_due(scene.host)
        return run.again()

    return Failure(run, mend)


def channel_closed(scene: Scene) -> Failure:
    """Slack refuses the token."""
    host_rows.tenant(scene.host, "A")
    outbox_rows.slack(scene.host, "A", scene.services)
    outbox_rows.waiting(scene.host, "A", "SLACK", recipient_address="C1")
    scene.services.fail_next("slack", "invalid_auth")
    outbox_rows.run_notifications(scene.database, scene.services)

    def mend() -> FlowRun:
        outbox_rows.operate(scene.database, scene.services, "reopen", codes=["A"])
        return _retrying(scene)

    return Failure(_retrying(scene), mend)


def credentials(scene: Scene) -> Failure:
    """Slack refuses the token with which the directory is read."""
    host_rows.tenant(scene.host, "A")
    directory_rows.slack(scene.host, scene.services).fill([directory_rows.member(1)], 200)
    scene.services.fail_next("slack", "token_expired")
    network = LocalInstallation(services=Network(allowed_hosts=scene.services.allowed_hosts))
    run = FlowRun(scene.database, EXTERNAL_SYNC, directory_rows.DAY, installation=network)
    return Failure(run, lambda: None)


def mailbox(scene: Scene) -> Failure:
    """The mailbox refuses the password."""
    host_rows.tenant(scene.host, "A")
    scene.services.fail_next("mailbox", "refused", command="LOGIN")
    run = _retrying(scene, with_mailbox(scene.services))
    return Failure(run, run.again)


def mail_server_closed(scene: Scene) -> Failure:
    """The mail server does not relay for the installation, as two tenants see."""
    for tenant_id in "AB":
        host_rows.tenant(scene.host, tenant_id)
        outbox_rows.waiting(scene.host, tenant_id)
    reply = "554 5.7.1 <member@example.jp>: Relay access denied"
    scene.services.fail_next("email", reply, command="RCPT", times=2)
    services = LocalInstallation(services=outbox_rows.network(scene.services))
    run = _run(scene, SCHEDULED_NOTIFICATIONS, TODAY, installation=services)

    def mend() -> FlowRun:
        # A quarter of an hour has passed.
        scene.host.execute(
            "UPDATE batch.service_limit SET blocked_until = now(), closed_at = now() - interval '1 hour'"
        )
        outbox_rows.make_due(scene.host)
        return run.again()

    return Failure(run, mend)


def service_closed(scene: Scene) -> Failure:
    """Slack gives three messages an answer that nobody knows."""
    host_rows.tenant(scene.host, "A")
    outbox_rows.slack(scene.host, "A", scene.services)
    for number in range(3):
        outbox_rows.waiting(scene.host, "A", "SLACK", recipient_address=f"C{number}")
    scene.services.fail_next("slack", "brand_new_error", times=3)
    services = LocalInstallation(services=outbox_rows.network(scene.services))
    run = _run(scene, SCHEDULED_NOTIFICATIONS, TODAY, installation=services)

    def mend() -> FlowRun:
        # A quarter of an hour has passed.
        scene.host.execute(
            "UPDATE batch.service_limit SET blocked_until = now(), closed_at = now() - interval '1 hour'"
        )
        outbox_rows.make_due(scene.host)
        return run.again()

    return Failure(run, mend)


def service_unanswered(scene: Scene) -> Failure:
    """Nobody listens on the port of the mail server, and the letter waits for hours."""
    host_rows.tenant(scene.host, "A")
    outbox_rows.waiting(scene.host, "A")
    usual = outbox_rows.network(scene.services)
    assert usual.email is not None
    down = replace(usual, email=replace(usual.email, port=1))
    run = _run(scene, SCHEDULED_NOTIFICATIONS, TODAY, installation=LocalInstallation(services=down))

    def mend() -> FlowRun:
        outbox_rows.make_due(scene.host)
        return _run(scene, SCHEDULED_NOTIFICATIONS, TODAY, installation=LocalInstallation(services=usual))

    return Failure(run, mend)


# Backups


def _backups(scene: Scene, **options: Any) -> tuple[Backups, FlowRun]:
    host_rows.tenant(scene.host, "A")
    backups = Backups(scene.database, scene.folder)
    return backups, FlowRun(
        *(scene.database, DATA_BACKUP, TODAY, backups.installation), create_batch=backups.batch, **options
    )


def dump_smaller(scene: Scene) -> Failure:
    """The dump has less than half of the bytes of the last one."""
    _, first = _backups(scene)
    assert not first.has_failed
    scene.host.execute("UPDATE batch.backup SET dump_bytes = 10 * dump_bytes")
    run = first.again()
    return Failure(run, lambda: run.again(accept_smaller=True))


def no_backup(scene: Scene) -> Failure:
    """Somebody restores before BATCH-001 has finished a backup."""
    backups, first = _backups(scene, before={"check": kill})
    access = BackupAccess(backups.settings, backups.installation)
    form = {"operation": "compare", "tenants": ["A"]}
    run = FlowRun(
        *(scene.database, RESTORE_BACKUP, TODAY, backups.installation),
        parameters=form,
        create_batch=lambda: BackupRestore(access),
    )

    def finish_and_run() -> FlowRun:
        first.clear()
        assert not first.has_failed
        return run.again()

    return Failure(run, finish_and_run)


def backup_closed(scene: Scene) -> Failure:
    """The dump of a finished backup is cleared."""
    _, run = _backups(scene)
    run.clear("dump")
    return Failure(run, run.again)


def dump_damaged(scene: Scene) -> Failure:
    """A stored file changes between the dump and its check."""
    _, run = _backups(scene, before={"check": lambda: _damage(scene.folder)})
    return Failure(run, lambda: None)


def entry_unproved(scene: Scene) -> Failure:
    """Somebody writes an entry of a deleted tenant into the store."""
    entry = RegisterEntry("A", "x", datetime(2026, 10, 1, tzinfo=UTC))
    write_entry(ObjectStore(scene.folder), MacKeys(), entry)
    _, run = _backups(scene)

    def delete_and_run() -> FlowRun:
        delete_entry(ObjectStore(scene.folder), MacKeys(), entry.tenant_id, entry.offboarding_id)
        return run.again()

    return Failure(run, delete_and_run)


def tables_unverified(scene: Scene) -> Failure:
    """A migration waits for the dump for longer than the batch lets it."""
    backups = Backups(scene.database, scene.folder)
    host_rows.tenant(scene.host, "A")
    migration = migration_after_pg_dump(scene.database, scene.environment)

    def batch() -> DataBackupBatch:
        access = BackupAccess(backups.settings, backups.installation)
        return DataBackupBatch(access, patience=timedelta(0))

    run = FlowRun(
        scene.database,
        DATA_BACKUP,
        TODAY,
        backups.installation,
        create_batch=batch,
        before={"check": migration.join},
    )
    scene.environment.undo()
    return Failure(run, run.again)


def _damage(folder: Path) -> None:
    newest = max(
        (file for file in folder.rglob("dump/*") if file.is_file()), key=lambda file: file.stat().st_mtime
    )
    newest.write_bytes(b"damaged")


CASES: dict[str, Callable[[Scene], Failure]] = {
    case.__name__: case
    for case in (
        undelivered,
        letters_waiting,
        channel_closed,
        credentials,
        mailbox,
        mail_server_closed,
        service_closed,
        service_unanswered,
        usage_open,
        held,
        request_outdated,
        own_entry,
        not_confirmed,
        contract_change_refused,
        answered_too_early,
        dump_smaller,
        tables_unverified,
        entry_unproved,
        no_backup,
        backup_closed,
        dump_damaged,
        bank_file,
        parameters,
        rows_gone,
        lost,
        operation_cleared,
        operation_gone,
        unclosed,
        unplaced,
        installation,
        disk_full,
        unreachable,
        storage,
        no_space,
        killed,
        refused,
        cause,
    )
}

# tests/dags/test_advice.py has the cases that only a whole Airflow can show.
IN_AIRFLOW = ("answer",)
