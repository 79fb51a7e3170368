"""Builds the DAGs: what all batches have in common is said here, what a batch has of its own in the registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import pendulum
from airflow.sdk import DAG, Param, TaskGroup

from include.catalog import BatchFamily, BatchSpec, Severity
from skill_batch.deadlines import deadlines_of, late_deadline
from skill_batch.retry_policy import BASE_DELAY, RecoverableErrorsOnly
from skill_batch.tenant_flow import BATCHES_PARAMETER

# Fixed: a start date that moves makes a new DAG version at every parse. Its zone is the crons' zone.
START_DATE = pendulum.datetime(2026, 4, 1, tz="Asia/Tokyo")

OWNER = "skill-report-batches"


class BatchDag(DAG):
    """A DAG whose deadlines stay out of ``airflow dags test``, where nothing watches them.

    Airflow 3.3 ends the test of a DAG with deadlines in an error after the last task, and with exit code 1.
    """

    def test(self, *args: Any, **kwargs: Any) -> Any:
        """As ``DAG.test``."""
        self.deadline = []
        return super().test(*args, **kwargs)


def batch_dag(
    spec: BatchSpec, doc_md: str | None, params: Mapping[str, Param] | None = None
) -> Callable[[Callable[[], None]], DAG]:
    """Decorate a wiring function: the batch's own DAG, on its schedule.

    ``doc_md`` is the DAG file's docstring; the UI shows it to the operators. ``params`` are the batch's own, after the common ones.
    """

    def build(wiring: Callable[[], None]) -> DAG:
        with BatchDag(
            dag_id=spec.dag_id,
            dag_display_name=f"{spec.id} {spec.name}",
            description=spec.name,
            schedule=spec.cron,
            tags={spec.family.slug, spec.id, "scheduled"},
            params={**_parameters(), **(params or {})},
            default_args=_default_args(spec),
            deadline=deadlines_of(spec.id, spec.name, spec.run_severity.name, spec.time_limit),
            **_common(doc_md),
        ) as dag:
            wiring()
        return dag

    return build


def family_dag(
    family: BatchFamily,
    specs: Sequence[BatchSpec],
    doc_md: str | None,
    params: Mapping[str, Param] | None = None,
) -> Callable[[Callable[[], None]], DAG]:
    """Decorate a wiring function: the family's DAG, without a schedule, started by hand for the batches that the form chooses.

    Each batch of ``specs`` is one ``batch_group``; the wiring puts them in order. ``params`` are the batches' own.
    """

    def build(wiring: Callable[[], None]) -> DAG:
        with BatchDag(
            dag_id=family.dag_id,
            dag_display_name=f"{family.name}（手動・まとめて実行）",
            description=f"{family.name}をまとめて手動実行する",
            schedule=None,
            tags={family.slug, "by-hand"},
            params={**_parameters(), BATCHES_PARAMETER: _batches(specs), **(params or {})},
            # The batches run one after another at most; what it usually takes depends on which ones are chosen.
            deadline=late_deadline(
                family.dag_id,
                family.name,
                max((spec.run_severity for spec in specs), default=Severity.HIGH).name,
                sum((spec.time_limit for spec in specs), timedelta()),
            ),
            **_common(doc_md),
        ) as dag:
            wiring()
        return dag

    return build


def batch_group(spec: BatchSpec) -> TaskGroup:
    """The task group that holds a batch's flow inside its family's DAG."""
    return TaskGroup(
        group_id=spec.slug,
        group_display_name=f"{spec.id} {spec.name}",
        default_args=_default_args(spec),  # type: ignore[arg-type]  # typed as a type variable
    )


def _common(doc_md: str | None) -> dict[str, Any]:
    return {
        "start_date": START_DATE,
        # After downtime the next tick runs and the missed ones do not: catch up with the family's DAG, date by date.
        "catchup": False,
        "max_active_runs": 1,
        "doc_md": doc_md,
    }


def _default_args(spec: BatchSpec) -> dict[str, Any]:
    return {
        "owner": OWNER,
        "retries": spec.retries,
        "retry_delay": BASE_DELAY,
        "retry_policy": RecoverableErrorsOnly(spec.retries),
        "execution_timeout": spec.time_limit,
        "priority_weight": spec.priority_weight,
        "weight_rule": "absolute",
    }


def _parameters() -> dict[str, Param]:
    return {
        "business_date": Param(
            None,
            type=["null", "string"],
            format="date",
            title="業務日",
            description="処理対象の日付（日本時間、YYYY-MM-DD）。空欄なら実行日時から決まります。",
        ),
        "tenants": Param(
            [],
            type=["null", "array"],  # the form sends null for an emptied field
            items={"type": "string"},
            title="テナントコード",
            description="処理するテナントのコード（1行に1件）。空欄なら稼働中の全テナント。",
        ),
        "dry_run": Param(
            False,
            type="boolean",
            title="ドライラン",
            description="計算だけ行い、実行ログ以外には何も書き込まず、何も送信しません。",
        ),
    }


def _batches(specs: Sequence[BatchSpec]) -> Param:
    ids = [spec.id for spec in specs]
    return Param(
        ids,
        type="array",
        items={"type": "string", "enum": ids},
        examples=ids,
        values_display={spec.id: f"{spec.id} {spec.name}" for spec in specs},
        title="バッチ",
        description="実行するバッチ。既定はすべて。",
    )
