"""The registry of the 14 batches: ids, names, schedules, limits and severities. ``operation_catalog`` has the operations.

DAGs, alerts, documentation and tests read these values. Source: the customer's batch list, sections 3 (ids, names, schedules), 4 (limits)
and 6.2 (severities). Comments name the chosen day where the list has none (monthly, weekly). Crons are in Asia/Tokyo.
"""

from __future__ import annotations

from datetime import timedelta

from include.skillreport.core import assets
from include.skillreport.core.run_spec import (
    BatchFamily,
    BatchSpec,
    Severity,
    WorksOn,
)

DATA_MANAGEMENT = BatchFamily(
    slug="data_management", name="データ管理バッチ", dag_id="batch_0xx_data_management"
)
TENANT_MANAGEMENT = BatchFamily(
    slug="tenant_management", name="テナント管理バッチ", dag_id="batch_018_tenant_management"
)
NOTIFICATION = BatchFamily(slug="notification", name="通知・連携バッチ", dag_id="batch_019_notification")

FAMILIES: tuple[BatchFamily, ...] = (DATA_MANAGEMENT, TENANT_MANAGEMENT, NOTIFICATION)


DATA_BACKUP = BatchSpec(
    id="BATCH-001",
    slug="data_backup",
    name="データバックアップバッチ",
    family=DATA_MANAGEMENT,
    steps=("dump", "check"),
    mapped_task="export_tenant",
    mapped_task_name="テナント別の書き出し",
    takes_tenants=False,
    cron="0 2 * * *",
    time_limit=timedelta(hours=2),
    works_on=WorksOn.RUN_DATE,
    can_wait="1 回は待てます。前日のバックアップがあります。2 日続けて失敗したら、すぐに直します。",
    makes=(assets.BACKUP,),
    missed_runs="最新の 1 回だけ。過去の状態は取れません。",
    sent_late="何も送りません。",
)
LOG_CLEANUP = BatchSpec(
    id="BATCH-002",
    slug="log_cleanup",
    name="ログクリーンアップバッチ",
    family=DATA_MANAGEMENT,
    after=DATA_BACKUP,
    mapped_task="clean_up_logs",
    mapped_task_name="ログの整理",
    cron="0 3 * * 0",  # the list says weekly; Sunday, as BATCH-019-04
    time_limit=timedelta(hours=2),
    works_on=WorksOn.RUN_DATE,
    per_tenant=False,
    takes_tenants=False,
    can_wait="待てます。次の実行が続きをします。",
    missed_runs="不要です。次の予定が続きをします。",
    sent_late="何も送りません。",
)
STATISTICS = BatchSpec(
    id="BATCH-003",
    slug="statistics",
    name="統計データ更新バッチ",
    family=DATA_MANAGEMENT,
    steps=("read_logs",),
    read_name="アプリの表の読込",
    mapped_task="update_statistics",
    mapped_task_name="統計の更新",
    cron="0 1 * * *",
    time_limit=timedelta(hours=1),
    works_on=WorksOn.YESTERDAY,
    can_wait="ふだんは待てます。毎月 1 日は 5:00 までに直します。間に合わないと、月次レポートにその日のデータがありません。",
    makes=(assets.STATISTICS_DAY,),
    reads=(
        *assets.tables("MST_UserAuth", "MST_Employee", "MST_Department", "MST_EmployeeJobType"),
        *assets.tables("MST_JobTypeSkill", "MST_Skill", "MST_SkillItem", "MST_SkillCategory"),
        *assets.tables("SYS_SystemLog", "HIS_ReportGeneration"),
        *assets.ACTIVITY_TABLES,
    ),
    backfills=True,
    missed_runs="**必要です。** 止まった日を 1 日ずつ。月次レポートが使います。",
    sent_late="何も送りません。",
)
MONTHLY_REPORT = BatchSpec(
    id="BATCH-004",
    slug="monthly_report",
    name="レポート生成バッチ",
    family=DATA_MANAGEMENT,
    after=STATISTICS,
    steps=("read_logs",),
    read_name="社員と設定の読込",
    mapped_task="create_report",
    mapped_task_name="レポートの作成",
    cron="0 5 1 * *",  # the list says monthly; the 1st
    time_limit=timedelta(hours=2),
    works_on=WorksOn.PREVIOUS_MONTH,
    can_wait="待てます。朝に再実行します。メールは 9 時の定期通知で出ます。",
    makes=(assets.MONTHLY_REPORTS,),
    reads=(
        assets.STATISTICS_DAY,
        *assets.tables("MST_Tenant", "MST_Employee", "MST_UserAuth", "MST_TenantSettings"),
    ),
    missed_runs="止まった月初があれば、月に 1 回。統計の後に、業務日を指定して手動実行します。",
    sent_late="レポートの案内（テナントの管理者へ、月に 1 通）。",
)
TENANT_USAGE = BatchSpec(
    id="BATCH-018-01",
    slug="tenant_usage",
    name="テナント使用量集計バッチ",
    family=TENANT_MANAGEMENT,
    steps=("read_logs",),
    mapped_task="aggregate_usage",
    mapped_task_name="使用量の集計",
    cron="30 1 * * *",  # the list's cron says 01:00, its text and its timetable 01:30
    time_limit=timedelta(seconds=3600),
    works_on=WorksOn.YESTERDAY,
    can_wait="ふだんは待てます。毎月 1 日はすぐに直します。2:00 の BATCH-018-02 が、最大 2 時間待ちます。",
    makes=(assets.USAGE_DAY,),
    reads=(
        *assets.tables("MST_Tenant", "MST_UserAuth", "MST_TenantSettings", "SYS_SystemLog"),
        *assets.tables("HIS_ReportGeneration", "HIS_NotificationLog"),
        *assets.ACTIVITY_TABLES,
    ),
    backfills=True,
    missed_runs="**必要です。** 止まった日を 1 日ずつ。請求が使います。",
    sent_late="まだ知らせていない容量と API の警告（テナントの管理者へ、しきい値ごとに月 1 通）。",
)
TENANT_BILLING = BatchSpec(
    id="BATCH-018-02",
    slug="tenant_billing",
    name="テナント課金計算バッチ",
    family=TENANT_MANAGEMENT,
    after=TENANT_USAGE,
    steps=("wait_for_usage",),
    mapped_task="bill_tenant",
    mapped_task_name="請求の計算と確定",
    cron="0 2 1 * *",  # the list says monthly; the 1st
    confirms_resumption=True,
    time_limit=timedelta(hours=3),
    works_on=WorksOn.PREVIOUS_MONTH,
    severity=Severity.CRITICAL,
    can_wait="経理の始業まで待てます。請求書が出ていないテナントがあるだけで、確定したものは変わりません。",
    makes=(assets.INVOICES, assets.ACCOUNTING_FILES),
    reads=(assets.USAGE_DAY, *assets.tables("MST_Tenant")),
    missed_runs="止まった月初があれば、月に 1 回。使用量の後に、業務日を指定して手動実行します。",
    sent_late="請求書（請求先へ）。",
)
TENANT_MONITORING = BatchSpec(
    id="BATCH-018-03",
    slug="tenant_monitoring",
    name="テナント状態監視バッチ",
    family=TENANT_MANAGEMENT,
    steps=("watch_runs", "read_logs"),
    mapped_task="check_tenant",
    mapped_task_name="状態の判定",
    cron="0 * * * *",
    time_limit=timedelta(minutes=15),
    works_on=WorksOn.RUN_DATE,
    can_wait="1 回は待てます。2 回続けて失敗したら、その間は異常に気付けないため、夜のうちに直します。",
    missed_runs="不要です。次の回が測り直します。",
    sent_late="何も送りません。過ぎた時間は通知しません。",
)
INACTIVE_TENANTS = BatchSpec(
    id="BATCH-018-04",
    slug="inactive_tenants",
    name="非アクティブテナント検知バッチ",
    family=TENANT_MANAGEMENT,
    after=TENANT_USAGE,
    steps=("read_logs",),
    mapped_task="detect_inactivity",
    mapped_task_name="非アクティブの判定",
    cron="0 4 * * *",
    confirms_resumption=True,
    time_limit=timedelta(minutes=30),
    works_on=WorksOn.RUN_DATE,
    makes=(assets.TENANT_INACTIVITY,),
    reads=(
        *assets.tables("MST_Tenant", "MST_UserAuth", "MST_TenantSettings"),
        *assets.ACTIVITY_TABLES,
    ),
    backfills=True,
    missed_runs="ふだんは不要です。最新の 1 回が、止まった間も数えます。それが失敗したときは、過去分を再実行できます。",
    sent_late="過去分再実行は、警告を止めて「再開の承認」を出します。手動実行は送ります。",
    can_wait="待てます。次の実行が続きをします。",
)
SETTINGS_SYNC = BatchSpec(
    id="BATCH-018-05",
    slug="settings_sync",
    name="テナント設定同期バッチ",
    family=TENANT_MANAGEMENT,
    mapped_task="sync_settings",
    mapped_task_name="設定の同期",
    cron="30 3 * * *",
    time_limit=timedelta(minutes=45),
    works_on=WorksOn.RUN_DATE,
    sent_late="見つけた設定の問題（今の値）。",
    can_wait="待てます。次の実行が続きをします。",
    missed_runs="不要です。次の予定が続きをします。",
)
SCHEDULED_NOTIFICATIONS = BatchSpec(
    id="BATCH-019-01",
    slug="scheduled_notifications",
    name="定期通知送信バッチ",
    family=NOTIFICATION,
    steps=("read_logs",),
    read_name="予約・資格・目標の読込",
    mapped_task="send_notifications",
    mapped_task_name="通知の送信",
    cron="0 9 * * *",
    confirms_resumption=True,
    time_limit=timedelta(hours=1),
    works_on=WorksOn.RUN_DATE,
    severity=Severity.HIGH,
    can_wait="待てません。予定から 24 時間を過ぎた通知は期限切れになります（契約の通知を除く）。",
    missed_runs="最新の 1 回だけ。24 時間を過ぎた通知は期限切れになります（契約の通知を除く）。",
    sent_late="過ぎた日の通知は送りません。待っている通知を送ります。",
)
NOTIFICATION_RETRY = BatchSpec(
    id="BATCH-019-02",
    slug="notification_retry",
    name="通知失敗リトライバッチ",
    family=NOTIFICATION,
    after=SCHEDULED_NOTIFICATIONS,
    steps=("read_mailbox",),
    mapped_task="retry_notifications",
    mapped_task_name="通知の再送",
    cron="30 * * * *",
    confirms_resumption=True,
    time_limit=timedelta(minutes=30),
    works_on=WorksOn.RUN_DATE,
    severity=Severity.HIGH,
    sent_late="待っている通知を、今送ります。",
    can_wait="待てます。次の実行が続きをします。",
    missed_runs="不要です。次の予定が続きをします。",
)
EXTERNAL_SYNC = BatchSpec(
    id="BATCH-019-03",
    slug="external_sync",
    name="外部システム連携バッチ",
    family=NOTIFICATION,
    mapped_task="sync_directory",
    mapped_task_name="名簿の連携",
    cron="0 6 * * *",
    time_limit=timedelta(hours=2),
    works_on=WorksOn.RUN_DATE,
    severity=Severity.HIGH,
    sent_late="保留した名簿の知らせ（今の名簿）。",
    can_wait="待てます。次の実行が続きをします。",
    missed_runs="不要です。次の予定が続きをします。",
)
NOTIFICATION_LOG_CLEANUP = BatchSpec(
    id="BATCH-019-04",
    slug="notification_log_cleanup",
    name="通知ログクリーンアップバッチ",
    family=NOTIFICATION,
    steps=("read_logs",),
    read_name="通知履歴の読込",
    mapped_task="archive_notifications",
    mapped_task_name="通知ログの整理",
    cron="0 3 * * 0",
    time_limit=timedelta(hours=2),
    works_on=WorksOn.RUN_DATE,
    severity=Severity.HIGH,
    can_wait="待てます。次の実行が続きをします。",
    missed_runs="不要です。次の予定が続きをします。",
    sent_late="何も送りません。",
)
NOTIFICATION_SETTINGS_CHECK = BatchSpec(
    id="BATCH-019-05",
    slug="notification_settings_check",
    name="通知設定検証バッチ",
    family=NOTIFICATION,
    steps=("read_logs",),
    read_name="社員の読込",
    mapped_task="check_settings",
    mapped_task_name="通知設定の検証",
    cron="30 5 * * *",
    time_limit=timedelta(minutes=30),
    works_on=WorksOn.RUN_DATE,
    severity=Severity.HIGH,
    can_wait="待てます。ただしメールサーバーの失敗は、9 時までに直します。",
    sent_late="見つけた設定の問題（テナントの管理者へ、今の値）。",
    missed_runs="不要です。次の予定が続きをします。",
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

# The batches of each family's DAG, in form order.
FAMILY_BATCHES: dict[BatchFamily, tuple[BatchSpec, ...]] = {
    DATA_MANAGEMENT: (DATA_BACKUP, LOG_CLEANUP, STATISTICS, MONTHLY_REPORT),
    TENANT_MANAGEMENT: (TENANT_USAGE, INACTIVE_TENANTS, SETTINGS_SYNC, TENANT_MONITORING, TENANT_BILLING),
    NOTIFICATION: (
        NOTIFICATION_SETTINGS_CHECK,
        SCHEDULED_NOTIFICATIONS,
        NOTIFICATION_RETRY,
        EXTERNAL_SYNC,
        NOTIFICATION_LOG_CLEANUP,
    ),
}
