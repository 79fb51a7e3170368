"""The registry of the 14 batches: the one place for their ids, names, schedules, limits and severities.

DAGs, alerts, documentation and tests read it; nothing repeats it. Source: the customer's batch list, sections 3 (ids, names,
schedules), 4 (limits) and 6.2 (severities); where the list leaves a day open (monthly, weekly) the comment beside the value
says what was settled. All crons are in Asia/Tokyo.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, IntEnum


class Severity(IntEnum):
    """How urgent a batch's failure is (batch list, section 6.2); ordered, so that ``>= Severity.HIGH`` reads as meant."""

    MEDIUM = 1
    HIGH = 2
    CRITICAL = 3


class WorksOn(Enum):
    """Which date a run works on when the trigger form leaves the business date empty, seen from the run's own date."""

    YESTERDAY = "yesterday"
    PREVIOUS_MONTH = "previous month"
    RUN_DATE = "run date"


@dataclass(frozen=True, kw_only=True)
class BatchFamily:
    """A family of batches: a folder under ``dags/`` and ``include/``, and one DAG to run several of its batches by hand."""

    slug: str
    name: str
    dag_id: str


DATA_MANAGEMENT = BatchFamily(
    slug="data_management", name="データ管理バッチ", dag_id="batch_0xx_data_management"
)
TENANT_MANAGEMENT = BatchFamily(
    slug="tenant_management", name="テナント管理バッチ", dag_id="batch_018_tenant_management"
)
NOTIFICATION = BatchFamily(slug="notification", name="通知・連携バッチ", dag_id="batch_019_notification")

FAMILIES: tuple[BatchFamily, ...] = (DATA_MANAGEMENT, TENANT_MANAGEMENT, NOTIFICATION)


@dataclass(frozen=True, kw_only=True)
class BatchSpec:
    """One batch.

    ``time_limit`` is the limit of a whole run; ``retries`` counts the further tries after the first one (the customer's
    "attempts: 3" is one try and two retries). ``per_tenant`` batches map over the active tenants.
    """

    id: str
    slug: str
    name: str
    family: BatchFamily
    cron: str
    time_limit: timedelta
    works_on: WorksOn
    severity: Severity = Severity.MEDIUM
    per_tenant: bool = True
    retries: int = 2

    @property
    def run_severity(self) -> Severity:
        """How urgent it is that a run failed or is late: every failed batch alerts at once (batch list, section 5.3)."""
        return max(self.severity, Severity.HIGH)

    @property
    def dag_id(self) -> str:
        """``batch_018_01_tenant_usage`` for BATCH-018-01."""
        return f"{self.id.lower().replace('-', '_')}_{self.slug}"

    @property
    def module(self) -> str:
        """Dotted path of the package that holds the batch's rules and SQL."""
        return f"include.{self.family.slug}.{self.slug}"

    @property
    def priority_weight(self) -> int:
        """Airflow's priority weight: billing before notifications before the rest when worker slots are short."""
        return {Severity.MEDIUM: 1, Severity.HIGH: 10, Severity.CRITICAL: 100}[self.severity]


DATA_BACKUP = BatchSpec(
    id="BATCH-001",
    slug="data_backup",
    name="データバックアップバッチ",
    family=DATA_MANAGEMENT,
    cron="0 2 * * *",
    time_limit=timedelta(hours=2),
    works_on=WorksOn.RUN_DATE,
)
LOG_CLEANUP = BatchSpec(
    id="BATCH-002",
    slug="log_cleanup",
    name="ログクリーンアップバッチ",
    family=DATA_MANAGEMENT,
    cron="0 3 * * 0",  # the list says weekly; Sunday, as BATCH-019-04
    time_limit=timedelta(hours=2),
    works_on=WorksOn.RUN_DATE,
    per_tenant=False,
)
STATISTICS = BatchSpec(
    id="BATCH-003",
    slug="statistics",
    name="統計データ更新バッチ",
    family=DATA_MANAGEMENT,
    cron="0 1 * * *",
    time_limit=timedelta(hours=1),
    works_on=WorksOn.YESTERDAY,
)
MONTHLY_REPORT = BatchSpec(
    id="BATCH-004",
    slug="monthly_report",
    name="レポート生成バッチ",
    family=DATA_MANAGEMENT,
    cron="0 5 1 * *",  # the list says monthly; the 1st
    time_limit=timedelta(hours=2),
    works_on=WorksOn.PREVIOUS_MONTH,
)
TENANT_USAGE = BatchSpec(
    id="BATCH-018-01",
    slug="tenant_usage",
    name="テナント使用量集計バッチ",
    family=TENANT_MANAGEMENT,
    cron="30 1 * * *",  # the list's cron says 01:00, its text and its timetable 01:30
    time_limit=timedelta(seconds=3600),
    works_on=WorksOn.YESTERDAY,
)
TENANT_BILLING = BatchSpec(
    id="BATCH-018-02",
    slug="tenant_billing",
    name="テナント課金計算バッチ",
    family=TENANT_MANAGEMENT,
    cron="0 2 1 * *",  # the list says monthly; the 1st
    time_limit=timedelta(hours=3),
    works_on=WorksOn.PREVIOUS_MONTH,
    severity=Severity.CRITICAL,
)
TENANT_MONITORING = BatchSpec(
    id="BATCH-018-03",
    slug="tenant_monitoring",
    name="テナント状態監視バッチ",
    family=TENANT_MANAGEMENT,
    cron="0 * * * *",
    time_limit=timedelta(minutes=15),
    works_on=WorksOn.RUN_DATE,
)
INACTIVE_TENANTS = BatchSpec(
    id="BATCH-018-04",
    slug="inactive_tenants",
    name="非アクティブテナント検知バッチ",
    family=TENANT_MANAGEMENT,
    cron="0 4 * * *",
    time_limit=timedelta(minutes=30),
    works_on=WorksOn.RUN_DATE,
)
SETTINGS_SYNC = BatchSpec(
    id="BATCH-018-05",
    slug="settings_sync",
    name="テナント設定同期バッチ",
    family=TENANT_MANAGEMENT,
    cron="30 3 * * *",
    time_limit=timedelta(minutes=45),
    works_on=WorksOn.RUN_DATE,
)
SCHEDULED_NOTIFICATIONS = BatchSpec(
    id="BATCH-019-01",
    slug="scheduled_notifications",
    name="定期通知送信バッチ",
    family=NOTIFICATION,
    cron="0 9 * * *",
    time_limit=timedelta(hours=1),
    works_on=WorksOn.RUN_DATE,
    severity=Severity.HIGH,
)
NOTIFICATION_RETRY = BatchSpec(
    id="BATCH-019-02",
    slug="notification_retry",
    name="通知失敗リトライバッチ",
    family=NOTIFICATION,
    cron="30 * * * *",
    time_limit=timedelta(minutes=30),
    works_on=WorksOn.RUN_DATE,
    severity=Severity.HIGH,
)
EXTERNAL_SYNC = BatchSpec(
    id="BATCH-019-03",
    slug="external_sync",
    name="外部システム連携バッチ",
    family=NOTIFICATION,
    cron="0 6 * * *",
    time_limit=timedelta(hours=2),
    works_on=WorksOn.RUN_DATE,
    severity=Severity.HIGH,
)
NOTIFICATION_LOG_CLEANUP = BatchSpec(
    id="BATCH-019-04",
    slug="notification_log_cleanup",
    name="通知ログクリーンアップバッチ",
    family=NOTIFICATION,
    cron="0 3 * * 0",
    time_limit=timedelta(hours=2),
    works_on=WorksOn.RUN_DATE,
    severity=Severity.HIGH,
)
NOTIFICATION_SETTINGS_CHECK = BatchSpec(
    id="BATCH-019-05",
    slug="notification_settings_check",
    name="通知設定検証バッチ",
    family=NOTIFICATION,
    cron="30 5 * * *",
    time_limit=timedelta(minutes=30),
    works_on=WorksOn.RUN_DATE,
    severity=Severity.HIGH,
)

BATCHES: tuple[BatchSpec, ...] = (
    DATA_BACKUP,
    LOG_CLEANUP,
    STATISTICS,
    MONTHLY_REPORT,
    TENANT_USAGE,
    TENANT_BILLING,
    TENANT_MONITORING,
    INACTIVE_TENANTS,
    SETTINGS_SYNC,
    SCHEDULED_NOTIFICATIONS,
    NOTIFICATION_RETRY,
    EXTERNAL_SYNC,
    NOTIFICATION_LOG_CLEANUP,
    NOTIFICATION_SETTINGS_CHECK,
)
