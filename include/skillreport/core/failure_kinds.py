"""The kinds of failure: their meaning and the operator's action. The texts are in ``failure_kinds.toml``.

Alerts, the board, the DAGs' documentation and the pages use them. Tenants' outcomes, errors of steps and problems of an entire run have
codes. The code and the run's registry entry select the kind.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Literal

from include.skillreport.core.operation_catalog import APPROVALS, APPROVE_OFFBOARDING, RESTORE_BACKUP
from include.skillreport.core.run_spec import MANUAL_RUN, OperationSpec, RunSpec

# The code of a tenant or step whose task was killed.
NO_RESULT = "NO_RESULT"

# What ends a task without a result.
LOSSES = "強制終了、メモリ不足、Airflow の API サーバーの停止など"

# The codes of a tenant whose task was interrupted before its result. AirflowTaskTimeout: the task's time limit.
INTERRUPTED = (NO_RESULT, "AirflowTaskTimeout")

# The codes of a run that ended without closing its row, and of a cleared run that was not closed again.
RUN_LOST, RUN_UNCLOSED = "RUN_LOST", "RUN_UNCLOSED"

# Last sentences of a remedy.
CLEAR_FAILED = "{failed}を下流ごと消去（Clear）してください。二重に処理されません。"
CLEAR_TASK = "この実行の {task} を下流ごと消去（Clear）してください。"

# Last sentences of a remedy in a DAG that is never cleared: an operation, an approval, a deletion's approval (which continues an earlier
# stage), a scheduled operation.
OPERATE_AGAIN = (
    "済んだ分がないかをボードで確かめてから、同じ操作を新しく実行（Trigger）してください。"
    "消去（Clear）しても、操作はやり直せません。"
)
ASK_AGAIN = (
    "DAG を新しく実行（Trigger）し（業務日の欄があれば、同じ業務日）、出た承認依頼にもう一度答えてください。"
    "消去（Clear）は不要です。"
)
DELETE_ON = (
    "退会を始めた人が、DAG offboard_tenant の「削除の承認の依頼」を新しく実行し、もう一度承認を受けてください。"
    "続きから削除します。消去（Clear）は不要です。"
)
NEXT_RUN = "次の予定の実行が続きをします。急ぐときは、経理が新しく実行（Trigger）してください。消去（Clear）は不要です。"

# The value of ``clear`` for "clear what has failed". Other values name a task.
FAILED = "failed"


def _in_japanese(text: str, **values: str) -> str:
    return text.format(**values) if values else text


@dataclass(frozen=True)
class FailureKind:
    """A kind of failure. The texts are Japanese, for operators; ``failure_kinds.toml`` describes the fields.

    ``again`` ends an operation's remedy instead of a clear. ``at_once``: a clear may help before anything is changed.
    """

    name: str
    meaning: str
    action: str
    codes: Sequence[str]
    of: Sequence[str] = ()
    change: str = ""
    clear: str = ""
    at_once: bool = False
    again: str = ""
    waits: str = ""
    page: str = ""
    told: str = "運用担当"

    @property
    def urgency(self) -> Literal["now", "depends", "morning"]:
        """The operator's urgency at night, from the first words of ``waits``."""
        if self.waits.startswith("待てません"):
            return "now"
        return "morning" if self.waits.startswith("待てます") else "depends"

    def remedy(self, failed: str = "失敗したインスタンス", words: Callable[..., str] = _in_japanese) -> str:
        """The operator's action. ``failed`` names what to clear, if a clear helps. ``words`` translates a text."""
        action = "".join(words(text) for text in (self.change, self.action) if text)
        if self.again:
            return action + words(self.again)
        if self.clear == FAILED:
            return action + words(CLEAR_FAILED, failed=failed)
        return action + words(CLEAR_TASK, task=self.clear) if self.clear else action


@cache
def failure_kinds() -> tuple[FailureKind, ...]:
    """All kinds, in the order of the lookup. The last one matches every code."""
    rows = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    return tuple(FailureKind(name, **row) for name, row in rows.items())


def own_kinds(spec: RunSpec) -> list[FailureKind]:
    """The kinds that are limited to some batches or operations, including this one."""
    return [_of(kind, spec) for kind in failure_kinds() if spec.id in kind.of]


def kind_of(spec: RunSpec, failure: BaseException | str | None) -> FailureKind:
    """The kind of a failure in a run of ``spec``, by error, code or kind name. None: the task was killed."""
    # A local import, because it loads the database driver, and Airflow imports this module when it parses a DAG.
    from include.skillreport.core.errors import code_of

    code = code_of(failure) if isinstance(failure, BaseException) else failure or NO_RESULT
    return next(
        _of(kind, spec, code)
        for kind in failure_kinds()
        if (not kind.of or spec.id in kind.of)
        and (code == kind.name or any(fnmatchcase(code, pattern) for pattern in kind.codes))
    )


def runbook_of(*specs: RunSpec) -> str:
    """The items of each DAG's section 障害対応, in Markdown. A family's DAG has several batches."""
    spec, *others = specs
    failed = "赤いグループの中の赤いタスク" if others else f"赤い `{spec.mapped_task}` のインスタンス"
    kinds = [*(kind for each in specs for kind in own_kinds(each)), _of(failure_kinds()[-1], spec)]
    cases = "".join(f"    * *{kind.meaning}* — {kind.remedy()}\n" for kind in kinds)
    return (
        f"* **朝まで待てるか**: {MANUAL_RUN if others else spec.can_wait}\n"
        f"* **どこを見るか**: {failed}。インスタンス名は対象（テナントコードなど）です。"
        "理由はログの最後の 1 行と `batch.tenant_outcome` にあります。\n"
        f"* **対処**: アラートとボードの「対処」のとおりにします。全部の種類は、ボードの「ヘルプ」の「失敗の種類」にあります。\n{cases}"
    )


def _of(kind: FailureKind, spec: RunSpec, code: str = "") -> FailureKind:
    """Operations are not cleared: their users lack the role, and Airflow does not say who cleared."""
    kind = replace(kind, waits=kind.waits or spec.can_wait)
    if not (kind.clear and isinstance(spec, OperationSpec)) or list(kind.of) == [spec.id]:
        return kind
    if spec is RESTORE_BACKUP and code in INTERRUPTED:
        return kind  # an interrupted restore is cleaned up by its own run, which its users may clear
    if spec is APPROVE_OFFBOARDING:
        return replace(kind, clear="", again=DELETE_ON)
    again = NEXT_RUN if spec.cron else ASK_AGAIN if spec in APPROVALS.values() else OPERATE_AGAIN
    return replace(kind, clear="", again=again, page=kind.page or "trigger")
