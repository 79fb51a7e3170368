"""The plan of the demo: the runs, what each of them needs, and how it must end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from include.skillreport.core.catalog import (
    BATCHES,
    DATA_BACKUP,
    EXTERNAL_SYNC,
    INACTIVE_TENANTS,
    LOG_CLEANUP,
    MONTHLY_REPORT,
    NOTIFICATION_LOG_CLEANUP,
    NOTIFICATION_RETRY,
    NOTIFICATION_SETTINGS_CHECK,
    SCHEDULED_NOTIFICATIONS,
    SETTINGS_SYNC,
    STATISTICS,
    TENANT_BILLING,
    TENANT_MONITORING,
    TENANT_USAGE,
)
from include.skillreport.core.operation_catalog import RESTORE_BACKUP
from include.skillreport.core.run_spec import RunSpec
from local_stack.monitoring import MONITORING_RUNS

# The date of the runs. The business date is the day before, the last day of the demo data; the billing month is October.
DEMO_DATE = "2026-11-01"


@dataclass(frozen=True)
class DemoRun:
    """A batch or an operation of the demo.

    ``made`` says what it has made, with the numbers that the run records. ``needs``: the runs whose results it works on. ``date`` is the
    date of the run, and ``form`` has the values of the trigger form. ``by_command``: the run starts as ``airflow dags test``. ``sends``: it
    sends the messages that are due.

    ``must_fail``: the run reports problems of the demo data by failing. ``fails_once``: a second demo on the same data succeeds, because
    the problems are reported once.
    """

    spec: RunSpec
    made: str = "{records:,} 行"
    needs: Sequence[RunSpec] = ()
    date: str = DEMO_DATE
    form: Mapping[str, object] = field(default_factory=dict, hash=False)
    by_command: bool = False
    sends: bool = False
    must_fail: bool = False
    fails_once: bool = False

    @property
    def name(self) -> str:
        """The id of the batch, with the time of day if the batch runs several times. Files of the run have this name."""
        _, _, time = self.date.partition("T")
        return f"{self.spec.id}_{time[:2]}" if time else self.spec.id

    @property
    def title(self) -> str:
        """The id and the name of the batch, with the time of day if the batch runs several times."""
        return f"{self.spec.id} {self.spec.name} {self.date[11:16]}".rstrip()

    def ended_well(self, exit_code: int) -> bool:
        """Whether the run ended as expected."""
        return bool(exit_code) == self.must_fail or (self.fails_once and exit_code == 0)


# The first ones start first: the backup takes longest, and the longest chain of needs begins with the usage.
_PLANNED = (
    DemoRun(DATA_BACKUP, "{rows:,} 行を復元して照合、未照合 {unverified}"),
    DemoRun(TENANT_USAGE, "利用者 {active_users:,} 人、API {api_calls:,} 回"),
    DemoRun(STATISTICS, "利用者 {users_active:,} 人、スキル {skill_records:,} 件"),
    DemoRun(NOTIFICATION_SETTINGS_CHECK, "問題のある設定 {brokenSettings} 件"),
    DemoRun(
        EXTERNAL_SYNC,
        "アカウント {accounts} 件、新しい連携 {linked} 人",
        # It changes settings that the check looks at.
        needs=(NOTIFICATION_SETTINGS_CHECK,),
        must_fail=True,
    ),
    DemoRun(
        TENANT_BILLING,
        "新しい請求書 {generatedInvoices} 通、計 {totalAmountJPY:,.0f} 円",
        needs=(TENANT_USAGE, STATISTICS),
    ),
    DemoRun(
        MONTHLY_REPORT,
        "月次レポート {reports} 社、欠けた日 {missingDays}",
        needs=(TENANT_USAGE, STATISTICS),
    ),
    DemoRun(
        INACTIVE_TENANTS,
        "重大 {critical}、警告 {warning}、注意 {attention} テナント",
        needs=(TENANT_USAGE, STATISTICS),
    ),
    DemoRun(
        SCHEDULED_NOTIFICATIONS,
        "送信 {sentCount} 通、再送待ち {retryCount}、失敗 {failedCount}",
        # These write the messages, and the last one the channels.
        needs=(TENANT_BILLING, MONTHLY_REPORT, INACTIVE_TENANTS, EXTERNAL_SYNC),
        sends=True,
    ),
    # It looks at failed batches and unsent messages, so the synchronisation has failed and the messages are sent.
    *(
        DemoRun(
            TENANT_MONITORING,
            "エラー {errors}、新しい異常 {openedIncidents}、継続 {openIncidents}",
            needs=(EXTERNAL_SYNC, SCHEDULED_NOTIFICATIONS),
            date=moment,
        )
        for moment in MONITORING_RUNS
    ),
    DemoRun(
        NOTIFICATION_RETRY,
        "再送 {sentCount} 通、届いた不達通知 {bounced} 通",
        # Its failure would be an incident too.
        needs=(SCHEDULED_NOTIFICATIONS, TENANT_MONITORING),
        sends=True,
        must_fail=True,
        fails_once=True,
    ),
    # The list of plans is a sample, so the batch only plans.
    DemoRun(SETTINGS_SYNC, "変更の予定 {planned} 件、重大な問題 {critical} 件", by_command=True),
    DemoRun(
        NOTIFICATION_LOG_CLEANUP,
        "保管して削除した通知ログ {archivedNotifications:,} 行",
        needs=(NOTIFICATION_RETRY,),
    ),
    # The backup has the rows that these delete and change.
    DemoRun(
        LOG_CLEANUP,
        "削除 {filesDeleted}、圧縮 {filesCompressed}、保管 {filesArchived}、古い行 {rowsDeleted:,}",
        needs=(DATA_BACKUP,),
    ),
    DemoRun(
        RESTORE_BACKUP,
        "{restored:,} 行を復元、違い {changed}、増加 {new}",
        needs=(DATA_BACKUP, TENANT_BILLING, SCHEDULED_NOTIFICATIONS),
        form={"operation": "compare", "tenants": ["TKH-HD"]},
    ),
)

# A batch that needs nothing special is in the demo because it is in the registry.
DEMO_RUNS = (
    *_PLANNED,
    *(DemoRun(spec) for spec in BATCHES if spec not in {run.spec for run in _PLANNED}),
)


def ready_runs(waiting: Sequence[DemoRun], ended: AbstractSet[DemoRun]) -> list[DemoRun]:
    """Those of the waiting runs that can start. The runs of one batch start one after the other."""
    done = {spec for spec in {run.spec for run in ended} if all(run in ended for run in runs_of(spec))}
    return [
        run
        for run in waiting
        if done.issuperset(run.needs)
        and all(earlier in ended for earlier in runs_of(run.spec)[: runs_of(run.spec).index(run)])
    ]


def runs_of(spec: RunSpec) -> list[DemoRun]:
    """The runs of a batch, in their order."""
    return [run for run in DEMO_RUNS if run.spec == spec]
