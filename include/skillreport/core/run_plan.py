"""The plan of a run: its steps in order, for Airflow's DAGs and the local stack's runs.

::

    (list_held ──► ask ──► record_answer ──►) open_run ──► (own steps) ──► one mapped step ──► (request_approval) ──► close_run
                                                                                                                        │
                                                                                                            (announce) ◄┘

The registry has the ids of the own steps and of the mapped step. Steps that wait (for users, usage or an answer) are ordinary steps.
Airflow creates the tasks in this order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Flag, auto

from include.skillreport.core.operation_catalog import APPROVALS
from include.skillreport.core.run_spec import BatchSpec, RunSpec


class Needs(Flag):
    """What a step needs: the run that ``open_run`` returns, one of its shards, or Airflow (its runs, form or waiting).

    A local run has no Airflow. It fakes or omits such a step.
    """

    NOTHING = 0
    RUN = auto()
    SHARD = auto()
    AIRFLOW = auto()


@dataclass(frozen=True)
class Step:
    """A step: its task id, its name in the UI, and its needs.

    A step that needs only the run is a method of the batch (``Batch.own_step``).
    """

    id: str
    title: str
    needs: Needs = Needs.NOTHING

    @property
    def is_mapped(self) -> bool:
        """True if each shard has an instance of the step. Other steps run once."""
        return Needs.SHARD in self.needs

    @property
    def is_own(self) -> bool:
        """True if the step is a method of the batch that runs once per run."""
        return self.needs == Needs.RUN


LIST_HELD = Step("list_held", "保留中の一覧", Needs.AIRFLOW)
ASK = Step("ask", "承認の確認", Needs.AIRFLOW)
RECORD_ANSWER = Step("record_answer", "答えの記録", Needs.AIRFLOW)
OPEN_RUN = Step("open_run", "開始")
READ_LOGS = Step("read_logs", "ログ読込", Needs.RUN)
WATCH_RUNS = Step("watch_runs", "実行の見回り", Needs.RUN | Needs.AIRFLOW)
WAIT_FOR_USAGE = Step("wait_for_usage", "使用量の締め待ち", Needs.RUN | Needs.AIRFLOW)
REQUEST_APPROVAL = Step("request_approval", "承認の依頼", Needs.AIRFLOW)
CLOSE_RUN = Step("close_run", "終了・結果")
ANNOUNCE = Step("announce", "完了の告知", Needs.AIRFLOW)

_OWN: Mapping[str, Step] = {
    step.id: step
    for step in (
        READ_LOGS,
        WATCH_RUNS,
        WAIT_FOR_USAGE,
        Step("read_mailbox", "不達メールの確認", Needs.RUN),
        Step("dump", "ダンプ", Needs.RUN),
        Step("check", "復元検証", Needs.RUN),
        Step("read_files", "ファイルの取込みと照合", Needs.RUN),
        Step("change_contracts", "契約の変更", Needs.RUN),
        Step("apply_changes", "変更の適用", Needs.RUN),
    )
}


def plan_of(spec: RunSpec) -> tuple[Step, ...]:
    """The steps of a batch or an operation, in order."""
    makes = isinstance(spec, BatchSpec) and spec.makes
    return (
        *((LIST_HELD, ASK, RECORD_ANSWER) if spec in APPROVALS.values() else ()),
        OPEN_RUN,
        *(_own_step(spec, task_id) for task_id in spec.steps),
        Step(spec.mapped_task, spec.mapped_task_name, Needs.RUN | Needs.SHARD),
        *((REQUEST_APPROVAL,) if spec.id in APPROVALS else ()),
        CLOSE_RUN,
        *((ANNOUNCE,) if makes else ()),
    )


def _own_step(spec: RunSpec, task_id: str) -> Step:
    step = _OWN[task_id]
    return replace(step, title=spec.read_name) if step == READ_LOGS else step
