"""Builds the DAGs. This module has the settings that all DAGs share; the registry has the values of each batch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pendulum
from airflow.sdk import DAG, CronTriggerTimetable, Param, conf

from skill_batch.batch_flow import BATCHES_PARAMETER, failure_alert
from skill_batch.batch_graph import add_group, add_tasks
from skill_batch.deadlines import deadlines_of, late_deadline
from skill_batch.forms import field_param, request_param, tenants_param
from skill_batch.notifiers.run_links import NIGHT, SITE_VARIABLE, help_url, own_site
from skill_batch.notifiers.unreported_run import UnreportedRunAlert
from skill_batch.retry_policy import OUTAGE_DELAY, RecoverableErrorsOnly
from skill_batch.wheel import refuse_mixed_versions, refuse_other_dag_file
from include.skillreport.core.catalog import FAMILY_BATCHES
from include.skillreport.core.docstrings import docstring_of
from include.skillreport.core.failure_kinds import runbook_of
from include.skillreport.core.form_fields import Day, Flag
from include.skillreport.core.run_plan import CLOSE_RUN
from include.skillreport.core.run_spec import (
    BatchFamily,
    BatchSpec,
    OperationSpec,
    RunSpec,
    Severity,
    WorksOn,
)

if TYPE_CHECKING:
    from include.skillreport.core.form import OperationForm

# An error here becomes an import error of every DAG, which operators see in the UI.
refuse_mixed_versions(Path(conf.get("core", "plugins_folder")))

TIME_ZONE = "Asia/Tokyo"
# Fixed, because a changing start date creates a DAG version at each parse.
START_DATE = pendulum.datetime(2026, 4, 1, tz=TIME_ZONE)

OWNER = "skill-report-batches"

# The maximum number of waiting runs of an approval (Airflow's default max_active_runs_per_dag). They use no worker.
OPEN_APPROVALS = 16

# All run types except backfill (names of the REST API). Airflow's commands, API and UI then refuse a backfill of the DAG.
_NO_BACKFILL = ("scheduled", "manual", "operator_triggered", "asset_triggered", "asset_materialization")


class BatchDag(DAG):
    """A DAG without deadlines and failure callback in ``airflow dags test``.

    With deadlines, Airflow 3.3 fails after the last task of the test and exits with code 1. Its failure callback gets a DAG that
    cannot render the notifier's templates.
    """

    def test(self, *args: Any, **kwargs: Any) -> Any:
        """Run ``DAG.test`` without deadlines and failure callback."""
        self.deadline = []
        self.on_failure_callback = None
        self.has_on_failure_callback = False  # Airflow reads it before it calls the callback.
        return super().test(*args, **kwargs)


def batch_dag(spec: BatchSpec, *, file: str, params: Mapping[str, Param] | None = None) -> DAG:
    """The DAG of one batch, with its schedule.

    :param file: the DAG file. The UI shows its docstring.
    :param params: the parameters of this batch. They follow the common ones.
    """
    refuse_other_dag_file(Path(file))
    with BatchDag(
        dag_id=spec.dag_id,
        dag_display_name=f"{spec.id} {spec.name}",
        description=spec.name,
        schedule=_timetable(spec),
        tags={spec.family.slug, spec.id, "scheduled"},
        params={**_parameters(_warning_of_pause(spec), takes_tenants=spec.takes_tenants), **(params or {})},
        default_args=_default_args(spec),
        on_failure_callback=UnreportedRunAlert({"": failure_alert(spec)}),
        deadline=deadlines_of(spec.id, spec.name, spec.run_severity.name, spec.time_limit),
        **_dag_arguments(
            docstring_of(file), f"batches/{spec.id.lower()}", runbook_of(spec), backfills=spec.backfills
        ),
    ) as dag:
        add_tasks(spec)
    return dag


def family_dag(family: BatchFamily, *, file: str, params: Mapping[str, Param] | None = None) -> DAG:
    """The DAG of a family, without a schedule. The form selects the batches.

    :param file: the DAG file. The UI shows its docstring.
    :param params: the parameters of the family's batches.
    """
    refuse_other_dag_file(Path(file))
    specs = FAMILY_BATCHES[family]
    with BatchDag(
        dag_id=family.dag_id,
        dag_display_name=f"{family.name}（手動・まとめて実行）",
        description=f"{family.name}をまとめて手動実行する",
        schedule=None,
        tags={family.slug, "by-hand"},
        params={**_parameters(), BATCHES_PARAMETER: _batches(specs), **(params or {})},
        on_failure_callback=UnreportedRunAlert({spec.slug: failure_alert(spec) for spec in specs}),
        # An upper bound, because some batches run in parallel.
        deadline=late_deadline(
            family.dag_id,
            family.name,
            max((spec.run_severity for spec in specs), default=Severity.HIGH).name,
            sum((spec.time_limit for spec in specs), timedelta()),
        ),
        **_dag_arguments(docstring_of(file), NIGHT, runbook_of(*specs)),
    ) as dag:
        groups = {spec: add_group(spec, _default_args(spec)) for spec in specs}
        for spec, group in groups.items():
            if spec.after is not None:
                # The next batch needs only the results of this one, so it does not wait for `announce`.
                groups[spec.after].get_child_by_label(CLOSE_RUN.id) >> group
    return dag


def operation_dag(form: OperationForm, *, file: str) -> DAG:
    """The DAG of a form. In its file's docstring, a table of the operations replaces ``{operations}``."""
    params = {
        name: field_param(each, form.section(name), form.description(name))
        for name, each in form.shown_fields.items()
    }
    return _operation_dag(form.spec, file, _choice(form) | _month(form.spec) | params, form.table())


def approval_dag(spec: OperationSpec, *, file: str, params: Mapping[str, Param] | None = None) -> DAG:
    """The DAG of an approval. It has no deadline: a run may last for days, and several runs may wait at the same time.

    :param params: the form's fields besides the field of the request.
    """
    fields = {**_month(spec), **(params or {}), "request": request_param()}
    return _operation_dag(spec, file, fields, waits_for_people=True)


def _operation_dag(
    spec: OperationSpec,
    file: str,
    params: Mapping[str, Param],
    table: str = "",
    *,
    waits_for_people: bool = False,
) -> DAG:
    refuse_other_dag_file(Path(file))
    page = docstring_of(file).replace("{operations}", table)
    about = (spec.id if spec.cron else spec.dag_id, spec.name, spec.run_severity.name, spec.time_limit)
    deadlines = (
        deadlines_of(*about, is_operation=True) if spec.cron else late_deadline(*about, is_operation=True)
    )
    settings = _dag_arguments(page, f"batches/{spec.batch.id.lower()}", runbook_of(spec))
    if not spec.cron:
        # Only users and requests start it. A run of a paused DAG would wait unseen.
        settings["is_paused_upon_creation"] = False
    if waits_for_people:
        settings["max_active_runs"] = OPEN_APPROVALS
    with BatchDag(
        dag_id=spec.dag_id,
        dag_display_name=f"{spec.name}（{spec.batch.id}）",
        description=f"{spec.name}を{'毎日と' if spec.cron else ''}手動で行う。"
        f"関連するバッチは {spec.batch.id} {spec.batch.name}（DAG {spec.batch.dag_id}）",
        schedule=_timetable(spec),
        tags={"operation", spec.batch.family.slug, spec.batch.id},
        params={**params, "dry_run": _dry_run()},
        default_args=_default_args(spec),
        on_failure_callback=UnreportedRunAlert({"": failure_alert(spec)}),
        deadline=None if waits_for_people else deadlines,
        **settings,
    ) as dag:
        add_tasks(spec)
    return dag


def _timetable(spec: RunSpec) -> CronTriggerTimetable | None:
    """The schedule of the registry, or None.

    With `[scheduler] create_cron_data_intervals`, a plain cron would have data intervals. The business date would then be one period
    too early.
    """
    return CronTriggerTimetable(spec.cron, timezone=TIME_ZONE) if spec.cron else None


def _choice(form: OperationForm) -> dict[str, Param]:
    if not form.has_choice:
        return {}
    batch = form.spec.batch
    operation = Param(
        form.operations[0].name,
        type="string",
        enum=[each.name for each in form.operations],
        values_display={each.name: each.label for each in form.operations},
        title="操作",
        description="下の各欄は、見出しの操作だけが使います。ほかの操作の欄に値があると、何もせずに止まります。"
        f"関連するバッチは {batch.id} です（DAG {batch.dag_id}）。",
    )
    return {"operation": operation}


def _dag_arguments(doc_md: str, page: str, runbook: str, *, backfills: bool = False) -> dict[str, Any]:
    return {
        "start_date": START_DATE,
        # Missed runs are not started after downtime: docs/operate/runs.md.
        "catchup": False,
        "max_active_runs": 1,
        # Otherwise a run keeps its first DAG file, which rejects the next release's wheel: docs/install/upgrade.md.
        "disable_bundle_versioning": True,
        "allowed_run_types": None if backfills else _NO_BACKFILL,
        "doc_md": _with_link(f"{doc_md}\n\n### 障害対応\n{runbook}", page),
    }


def _with_link(doc_md: str, page: str) -> str:
    """The text of a DAG's page. If there is a documentation site, it ends with links to the operators' page and the batch's page."""
    if os.environ.get(SITE_VARIABLE, "").strip() and not own_site():
        raise ValueError(
            f"{SITE_VARIABLE} must be the address of the site, such as https://docs.example.jp/batches, "
            f"not {os.environ[SITE_VARIABLE]!r}"
        )
    titles = {NIGHT: "夜間対応"}
    titles.setdefault(page, "バッチの説明（英語）")
    links = [f"[{title}]({url})" for path, title in titles.items() if (url := help_url(path))]
    return f"{doc_md}\n\n詳しい説明: {'、'.join(links)}\n" if links else doc_md


def _default_args(spec: RunSpec) -> dict[str, Any]:
    return {
        "owner": OWNER,
        "retries": spec.retries,
        "retry_delay": OUTAGE_DELAY,
        "retry_policy": RecoverableErrorsOnly(spec.retries),
        "execution_timeout": spec.time_limit,
        "priority_weight": spec.priority_weight,
        "weight_rule": "absolute",
    }


def _parameters(heading: str = "", *, takes_tenants: bool = True) -> dict[str, Param]:
    day = Day("業務日", "処理対象の日付（日本時間、YYYY-MM-DD）。空欄なら実行日時から決まります。")
    tenants = tenants_param("処理するテナントのコード（1行に1件）。空欄なら対象のすべて。")
    return {
        "business_date": field_param(day),
        **({"tenants": tenants} if takes_tenants else {}),
        "dry_run": _dry_run(heading),
    }


def _warning_of_pause(spec: BatchSpec) -> str:
    """A warning that Airflow's form unpauses a paused DAG by default, so that the last missed run starts. It is a heading, because users
    miss the help of fields.
    """
    return f"ドライラン（一時停止中は、先に予定の 1 回が本番で動きます。DAG {spec.family.dag_id} で {spec.id} を選んでください）"


def _month(spec: OperationSpec) -> dict[str, Param]:
    if spec.works_on is not WorksOn.PREVIOUS_MONTH:
        return {}
    field = Day("業務日（対象月）", "請求の対象月のどれか 1 日（日本時間、YYYY-MM-DD）。空欄なら前月。")
    return {"business_date": field_param(field)}


def _dry_run(heading: str = "") -> Param:
    description = "計算だけ行い、実行ログ以外には何も書き込まず、何も送信しません。"
    return field_param(Flag("ドライラン", description), heading)


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
