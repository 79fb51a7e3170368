"""The registry of the manual operations, and lookups over batches and operations."""

from __future__ import annotations

from datetime import timedelta

from include.skillreport.core.catalog import (
    BATCHES,
    DATA_BACKUP,
    EXTERNAL_SYNC,
    FAMILY_BATCHES,
    INACTIVE_TENANTS,
    NOTIFICATION_RETRY,
    SCHEDULED_NOTIFICATIONS,
    SETTINGS_SYNC,
    TENANT_BILLING,
)
from include.skillreport.core.run_spec import MANUAL_RUN, OperationSpec, RunSpec, Severity, WorksOn

OPERATE_INVOICES = OperationSpec(
    id="OPERATE-INVOICES",
    slug="operate_invoices",
    name="請求書の操作",
    batch=TENANT_BILLING,
    mapped_task="operate_invoice",
    mapped_task_name="請求書の操作",
    time_limit=timedelta(hours=1),
    works_on=WorksOn.PREVIOUS_MONTH,
    severity=Severity.CRITICAL,
    can_wait=MANUAL_RUN,
)
OPERATE_NOTIFICATIONS = OperationSpec(
    id="OPERATE-NOTIFICATIONS",
    slug="operate_notifications",
    name="通知の操作",
    batch=NOTIFICATION_RETRY,
    mapped_task="operate_messages",
    mapped_task_name="通知の操作",
    time_limit=timedelta(minutes=30),
    works_on=WorksOn.RUN_DATE,
    severity=Severity.HIGH,
    can_wait=MANUAL_RUN,
)
RESTORE_BACKUP = OperationSpec(
    id="RESTORE-BACKUP",
    slug="restore_backup",
    name="バックアップからの復元",
    batch=DATA_BACKUP,
    mapped_task="restore",
    mapped_task_name="復元",
    time_limit=timedelta(hours=6),
    works_on=WorksOn.RUN_DATE,
    severity=Severity.HIGH,
    can_wait=MANUAL_RUN,
)
UNDO_SETTINGS_SYNC = OperationSpec(
    id="UNDO-SETTINGS-SYNC",
    slug="undo_settings_sync",
    name="設定同期の取り消し",
    batch=SETTINGS_SYNC,
    mapped_task="undo_changes",
    mapped_task_name="設定の取り消し",
    time_limit=timedelta(minutes=45),
    works_on=WorksOn.RUN_DATE,
    severity=Severity.HIGH,
    can_wait=MANUAL_RUN,
)
APPROVE_INVOICES = OperationSpec(
    id="APPROVE-INVOICES",
    slug="approve_invoices",
    name="保留中の請求の承認",
    batch=TENANT_BILLING,
    mapped_task="approve_invoice",
    mapped_task_name="請求書の確定",
    time_limit=timedelta(hours=1),
    works_on=WorksOn.PREVIOUS_MONTH,
    severity=Severity.CRITICAL,
    can_wait="待てます。請求書が出ていないテナントがあるだけです。",
)
APPROVE_DIRECTORY_CHANGES = OperationSpec(
    id="APPROVE-DIRECTORY-CHANGES",
    slug="approve_directory_changes",
    name="保留中の名簿の変更の承認",
    batch=EXTERNAL_SYNC,
    mapped_task="apply_changes",
    mapped_task_name="名簿の変更の適用",
    time_limit=timedelta(hours=2),
    works_on=WorksOn.RUN_DATE,
    severity=Severity.HIGH,
    can_wait="待てます。連携は前回のまま使われます。",
)

IMPORT_PAYMENTS = OperationSpec(
    id="IMPORT-PAYMENTS",
    slug="import_payments",
    name="銀行の入金の取込みと照合",
    batch=TENANT_BILLING,
    cron="30 8 * * *",  # before the reminders of BATCH-019-01 at 9:00
    steps=("read_files",),
    mapped_task="record_payments",
    mapped_task_name="入金の記録",
    takes_tenants=False,
    time_limit=timedelta(minutes=30),
    works_on=WorksOn.RUN_DATE,
    severity=Severity.HIGH,
    can_wait="待てます。銀行のファイルは残り、次の実行が取り込みます。",
)
OPERATE_CONTRACTS = OperationSpec(
    id="OPERATE-CONTRACTS",
    slug="operate_contracts",
    name="契約の登録と変更",
    batch=TENANT_BILLING,
    steps=("change_contracts",),
    mapped_task="compare_invoices",
    mapped_task_name="請求書との比較",
    time_limit=timedelta(hours=1),
    works_on=WorksOn.RUN_DATE,
    severity=Severity.HIGH,
    can_wait=MANUAL_RUN,
)
APPROVE_CONTRACTS = OperationSpec(
    id="APPROVE-CONTRACTS",
    slug="approve_contracts",
    name="契約の変更の承認",
    batch=TENANT_BILLING,
    steps=("apply_changes",),
    mapped_task="compare_invoices",
    mapped_task_name="請求書との比較",
    time_limit=timedelta(hours=1),
    works_on=WorksOn.RUN_DATE,
    severity=Severity.HIGH,
    can_wait="待てます。契約は前のままです。",
)
APPROVE_RESUMPTION = OperationSpec(
    id="APPROVE-RESUMPTION",
    slug="approve_resumption",
    name="再開の承認",
    batch=SCHEDULED_NOTIFICATIONS,
    mapped_task="apply_answer",
    mapped_task_name="答えの反映",
    time_limit=timedelta(minutes=30),
    works_on=WorksOn.RUN_DATE,
    severity=Severity.HIGH,
    per_tenant=False,
    takes_tenants=False,
    can_wait="待てます。通知は待っているだけで、消えません。",
)
OFFBOARD_TENANT = OperationSpec(
    id="OFFBOARD-TENANT",
    slug="offboard_tenant",
    name="テナントの退会",
    batch=INACTIVE_TENANTS,
    mapped_task="offboard",
    mapped_task_name="退会の手続き",
    time_limit=timedelta(hours=6),
    works_on=WorksOn.RUN_DATE,
    severity=Severity.HIGH,
    can_wait=MANUAL_RUN,
)
APPROVE_OFFBOARDING = OperationSpec(
    id="APPROVE-OFFBOARDING",
    slug="approve_offboarding",
    name="退会したテナントの削除の承認",
    batch=INACTIVE_TENANTS,
    mapped_task="delete_tenant",
    mapped_task_name="テナントの削除",
    time_limit=timedelta(hours=6),
    works_on=WorksOn.RUN_DATE,
    severity=Severity.HIGH,
    can_wait="待てます。削除が途中なら、残りは次の承認まで残ります。",
)

OPERATIONS: tuple[OperationSpec, ...] = (
    APPROVE_CONTRACTS,
    APPROVE_DIRECTORY_CHANGES,
    APPROVE_INVOICES,
    APPROVE_OFFBOARDING,
    APPROVE_RESUMPTION,
    IMPORT_PAYMENTS,
    OFFBOARD_TENANT,
    OPERATE_CONTRACTS,
    OPERATE_INVOICES,
    OPERATE_NOTIFICATIONS,
    RESTORE_BACKUP,
    UNDO_SETTINGS_SYNC,
)

# Batches and operations with a schedule.
SCHEDULED: tuple[RunSpec, ...] = (*BATCHES, *(spec for spec in OPERATIONS if spec.cron))

# The operation that requests approval for held items of a batch or operation (the key). Its DAG waits for the answer.
APPROVALS: dict[str, OperationSpec] = {
    TENANT_BILLING.id: APPROVE_INVOICES,
    EXTERNAL_SYNC.id: APPROVE_DIRECTORY_CHANGES,
    OPERATE_CONTRACTS.id: APPROVE_CONTRACTS,
    OFFBOARD_TENANT.id: APPROVE_OFFBOARDING,
    INACTIVE_TENANTS.id: APPROVE_RESUMPTION,
    SCHEDULED_NOTIFICATIONS.id: APPROVE_RESUMPTION,
    NOTIFICATION_RETRY.id: APPROVE_RESUMPTION,
}

# All batches and operations, by their id in the execution log.
RUN_SPECS: dict[str, RunSpec] = {spec.id: spec for spec in (*BATCHES, *OPERATIONS)}


def specs_by_dag() -> dict[str, tuple[RunSpec, ...]]:
    """The batches and operations of each DAG. A family's DAG has several."""
    own = {spec.dag_id: (spec,) for spec in RUN_SPECS.values()}
    return own | {family.dag_id: specs for family, specs in FAMILY_BATCHES.items()}
