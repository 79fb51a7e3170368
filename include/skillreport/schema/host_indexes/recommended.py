"""The recommended indexes on the application's tables. The application has none of them.

The list contains plain columns only, because a Prisma schema can express neither expressions nor partial indexes, and ``prisma db push``
drops an index that its schema does not contain. A daily batch reads a log only if the hourly batch has not counted it
(``include.skillreport.activity.hours``). Some reads cannot use an index on a plain column and are not listed: the size of all files
(``HIS_ReportGeneration``, ``TRN_SkillEvidence``), and the present data of people (BATCH-003, and the reminders of BATCH-019-01).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from include.skillreport.core.catalog import (
    INACTIVE_TENANTS,
    LOG_CLEANUP,
    NOTIFICATION_LOG_CLEANUP,
    SCHEDULED_NOTIFICATIONS,
    STATISTICS,
    TENANT_MONITORING,
    TENANT_USAGE,
    BatchSpec,
)

# PostgreSQL truncates a name to 63 bytes. Prisma truncates the part before its suffix.
_NAME_BYTES = 63
_SUFFIX = "_idx"

MULTI_OPS = "timestamp_minmax_multi_ops"


class Kind(StrEnum):
    """The recommended kinds of index.

    BRIN means BRIN with ``timestamp_minmax_multi_ops``. The default operator class keeps one interval per block range. After a clean-up new
    rows fill old pages, and that interval then covers the days between as well.
    """

    BTREE = "btree"
    BRIN = "brin"

    @property
    def label(self) -> str:
        """The name for operators."""
        return {"btree": "B-tree", "brin": "minmax_multi の BRIN"}[self.value]


class Rows(StrEnum):
    """The rows that a batch searches by the column."""

    NEWEST = "newest"
    OLDEST = "oldest"
    WAITING = "waiting"


@dataclass(frozen=True)
class Reader:
    """A batch that reads the table by the column. ``days``: how many days of rows a run searches; 0 for waiting rows."""

    batch: BatchSpec
    rows: Rows
    days: Fraction = Fraction(0)

    @property
    def label(self) -> str:
        """The rows that a run searches, for operators."""
        match self.rows:
            case Rows.WAITING:
                return "送信待ちの行"
            case Rows.OLDEST:
                return f"期限を過ぎた {self.days} 日分"
            case Rows.NEWEST:
                return f"{self.days} 日分" if self.days >= 1 else f"{self.days * 24} 時間分"


@dataclass(frozen=True, kw_only=True)
class HostIndex:
    """A recommended index on one column. ``why`` explains its purpose to operators.

    ``btree_only``: why no other kind is possible, or empty.
    """

    table: str
    column: str
    readers: tuple[Reader, ...]
    why: str
    btree_only: str = ""

    @property
    def name(self) -> str:
        """Prisma's default name, so that ``prisma db push`` sees no difference."""
        stem = f"{self.table}_{self.column}".encode()[: _NAME_BYTES - len(_SUFFIX)]
        return stem.decode(errors="ignore") + _SUFFIX

    @property
    def key(self) -> tuple[str, str]:
        """Table and column."""
        return self.table, self.column

    def prisma_line(self, kind: Kind) -> str:
        """The line of the model in the Prisma schema."""
        return prisma_line(self.column, "brin", MULTI_OPS) if kind is Kind.BRIN else prisma_line(self.column)


def prisma_line(column: str, method: str = "btree", operator_class: str = "", name: str = "") -> str:
    """The line of a model in the Prisma schema; ``name`` only if it is not Prisma's default."""
    field = f"{column}(ops: TimestampMinMaxMultiOps)" if operator_class == MULTI_OPS else column
    brin = ", type: Brin" if method == "brin" else ""
    mapped = f', map: "{name}"' if name else ""
    return f"@@index([{field}]{brin}{mapped})"


_A_DAY, _A_WEEK = Fraction(1), Fraction(7)
# The last measured hour is measured again.
_TWO_HOURS = Fraction(1, 12)

_DAILY = (Reader(TENANT_USAGE, Rows.NEWEST, _A_DAY), Reader(STATISTICS, Rows.NEWEST, _A_DAY))
_HOURLY_AND_DAILY = (Reader(TENANT_MONITORING, Rows.NEWEST, _TWO_HOURS), *_DAILY)
# The days that are not judged yet, and the last judged day.
_WITH_JUDGEMENT = (*_HOURLY_AND_DAILY, Reader(INACTIVE_TENANTS, Rows.NEWEST, 2 * _A_DAY))

_EDITED_TABLES = (
    "TRN_EmployeeSkillGrade",
    "TRN_GoalProgress",
    "TRN_PDU",
    "TRN_ProjectRecord",
    "TRN_SkillEvidence",
    "TRN_SkillRecord",
    "TRN_TrainingHistory",
)

RECOMMENDED = (
    HostIndex(
        table="SYS_SystemLog",
        column="created_at",
        readers=(*_HOURLY_AND_DAILY, Reader(LOG_CLEANUP, Rows.OLDEST, _A_WEEK)),
        why="API 呼び出しの集計と、古い行の削除",
    ),
    HostIndex(
        table="HIS_AuditLog",
        column="created_at",
        readers=_WITH_JUDGEMENT,
        why="監査された操作とログインの集計",
    ),
    *(
        HostIndex(table=table, column="updated_at", readers=_WITH_JUDGEMENT, why="利用者が編集した行の集計")
        for table in _EDITED_TABLES
    ),
    HostIndex(
        table="TRN_SkillRecord",
        column="assessment_date",
        readers=_DAILY,
        why="スキル評価の件数の集計",
    ),
    HostIndex(
        table="HIS_NotificationLog",
        column="send_status",
        readers=(Reader(TENANT_MONITORING, Rows.WAITING), Reader(SCHEDULED_NOTIFICATIONS, Rows.WAITING)),
        why="送信待ちの通知の検索",
        btree_only="値を指定して探すため",
    ),
    HostIndex(
        table="HIS_NotificationLog",
        column="sent_at",
        readers=(*_DAILY, Reader(NOTIFICATION_LOG_CLEANUP, Rows.OLDEST, _A_WEEK)),
        why="送信した通知の集計と、終わった通知の整理",
        btree_only="送信していない行（NULL）も探すため",
    ),
    HostIndex(
        table="SYS_TokenStore",
        column="expires_at",
        readers=(Reader(LOG_CLEANUP, Rows.OLDEST, _A_WEEK),),
        why="期限切れのトークンの削除",
        btree_only="最も古い行だけを探すため",
    ),
)
"""Every recommended index, by table in the order of the report."""
