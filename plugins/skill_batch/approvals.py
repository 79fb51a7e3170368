"""Approvals in Airflow: the task that requests one, and the DAG that shows the request and applies the answer."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Param, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException
from typing_extensions import override

from skill_batch.airflow_private.tasks import can_ask_api_server, reason_of, trigger_run
from skill_batch.batch_flow import BatchFlow, failure_alert, run_of, task_arguments, task_key
from skill_batch.forms import field_param, tenants_param
from skill_batch.notifiers.approval_links import is_dag_paused, name_of
from skill_batch.notifiers.failure_alert import attempt_of
from skill_batch.notifiers.run_links import board_address
from include.skillreport.approvals import APPROVE, DISCARD_ALL, HOLD, NEW_HOURS, SEND_ALL, SEND_NEW
from include.skillreport.billing.second_person import CONFIRMATION
from include.skillreport.core.form_fields import Field, Lines
from include.skillreport.core.operation_catalog import APPROVE_CONTRACTS, APPROVE_INVOICES
from include.skillreport.core.run_plan import ASK, LIST_HELD, RECORD_ANSWER

if TYPE_CHECKING:
    import psycopg
    from airflow.sdk import Context

    from include.skillreport.approvals.requests import ApprovalRequest, HeldItem
    from include.skillreport.core.execution.batch import Run
    from include.skillreport.core.execution.flow import RunRequest
    from include.skillreport.core.run_spec import RunSpec

log = logging.getLogger(__name__)

_LONGEST_REASON = 300

_CONFIRMED_NAME = "confirmed"
_CONFIRMED = Lines(
    CONFIRMATION,
    "設定 billing.second_person が none のときだけ。自分が登録したものを 1 人で承認するために、1 行に 1 件入力します。"
    "個別明細は「テナントコード=金額の合計」（符号なし。自分の明細が待つテナントが 1 件なら、金額だけでも可）、割引は値、"
    "為替レートはレート、ファイルは件数、ほかはテナントコードです。",
)


class Question(HITLOperator):
    """A request in Airflow's Required Actions, without confirmation fields that the settings make useless."""

    @property
    @override
    def serialized_params(self) -> dict[str, dict[str, Any]]:
        """The fields of the form. Airflow needs each field in the answer, so a useless field is a constant, which the form hides."""
        from include.skillreport.billing.settings import nobody_else_looks

        fields: dict[str, dict[str, Any]] = super().serialized_params
        if _CONFIRMED_NAME in fields and not nobody_else_looks():
            field = fields[_CONFIRMED_NAME]
            fields[_CONFIRMED_NAME] = {**field, "schema": {**field["schema"], "const": []}}
        return fields


class ApprovalFlow(BatchFlow):
    """The tasks of a DAG that requests an approval of held items and applies the answer. ``spec`` is its operation."""

    options: ClassVar[list[str]] = [APPROVE, HOLD]

    def list_held(self) -> Any:
        """Find the held items and write the text of the request. Skipped in a dry run or if nothing is held."""

        @task(
            **task_arguments(self.spec, LIST_HELD),
            on_failure_callback=failure_alert(self.spec),
        )
        def list_held() -> dict[str, str]:
            return self._list_held(get_current_context())

        return list_held()

    def ask(self) -> Any:
        """Show the request and wait for the answer, without a time limit or a default answer.

        The waiting task uses no worker.
        """
        return Question(
            **task_arguments(self.spec, ASK),
            subject="{{ ti.xcom_pull(task_ids='list_held')['subject'] }}",
            body="{{ ti.xcom_pull(task_ids='list_held')['body'] }}",
            options=self.options,
            params={
                **self.answer_fields(),
                "note": field_param(Field("理由・メモ", "答えと一緒に記録に残ります。")),
            },
            # Airflow would apply a time limit to the wait.
            execution_timeout=None,
            on_failure_callback=failure_alert(self.spec),
        )

    def answer_fields(self) -> dict[str, Param]:
        """The fields of the answer, except the note."""
        fields = {"tenants": tenants_param("承認するテナントのコード（1行に1件）。空欄なら一覧のすべて。")}
        if self.spec in (APPROVE_CONTRACTS, APPROVE_INVOICES):
            fields[_CONFIRMED_NAME] = field_param(_CONFIRMED)
        return fields

    def read_answer(
        self, items: list[HeldItem], option: str, entered: dict[str, Any]
    ) -> tuple[set[str], dict[str, Any]]:
        """The ids of the approved tenants, and the values of ``answer_fields``. :raises AnswerError: the answer is invalid."""
        from include.skillreport.core.errors import AnswerError
        from include.skillreport.core.execution.parameters import parse_parameters
        from include.skillreport.operations.answers import approved_tenants

        codes = parse_parameters({"tenants": entered.get("tenants")}).tenants
        try:
            confirmed = list(_CONFIRMED.read(entered.get(_CONFIRMED_NAME) or ()))
        except ValueError as problem:
            raise AnswerError(f"「{CONFIRMATION}」（{_CONFIRMED_NAME}）{problem}") from None
        return approved_tenants(items, option, codes), {"tenants": list(codes), _CONFIRMED_NAME: confirmed}

    def record_answer(self) -> Any:
        """Save the answer, the user and the time."""

        @task(
            **task_arguments(self.spec, RECORD_ANSWER),
            on_failure_callback=failure_alert(self.spec),
        )
        def record_answer() -> dict[str, Any]:
            return self._record_answer(get_current_context())

        return record_answer()

    @override
    def run_request(self, context: Context) -> RunRequest:
        """The answer as the parameters of the run. The run began when the user answered.

        :raises AirflowSkipException: there was no request. :raises RecordsDeletedError: Airflow no longer has the answer.
        """
        from include.skillreport.core.execution.flow import RunRequest
        from include.skillreport.core.execution.run_log import RecordsDeletedError

        ti = context["ti"]
        answer = ti.xcom_pull(task_ids=RECORD_ANSWER.id)
        if answer is None:
            states = ti.get_task_states(dag_id=ti.dag_id, task_ids=[RECORD_ANSWER.id], run_ids=[ti.run_id])
            if states.get(ti.run_id, {}).get(RECORD_ANSWER.id) == "success":
                raise RecordsDeletedError
            raise AirflowSkipException("確認するものはありません。理由は list_held のログにあります")
        dag_run = context["dag_run"]
        return RunRequest(
            dag_id=dag_run.dag_id,
            run_id=dag_run.run_id,
            run_at=datetime.fromisoformat(answer["answered_at"]),
            parameters={
                name: value for name, value in answer.items() if name not in ("answered_by", "answered_at")
            },
            attempt=attempt_of(context),
            triggered_by=answer["answered_by"],
            task=task_key(context),
        )

    def _list_held(self, context: Context) -> dict[str, str]:
        from include.skillreport.approvals.wording import body_of, subject_of
        from include.skillreport.core.execution.parameters import require_known

        require_known(context["dag_run"].conf or {}, context["dag"].params)
        _, installation = self._batch()
        with installation.platform(self.spec.time_limit) as platform:
            request, items = self._request_of(platform, context)
        subject, body = subject_of(request, items), body_of(request, items, board_address())
        log.info("%s\n%s", subject, body)
        return {"request": request.request_id, "subject": subject, "body": body}

    def _request_of(
        self, platform: psycopg.Connection, context: Context
    ) -> tuple[ApprovalRequest, list[HeldItem]]:
        """The request in the conf, or this run's recorded request, or a new one about all held items."""
        from include.skillreport.approvals.requests import (
            ask_by_hand,
            find_held,
            find_request,
            items_of,
            kind_of,
            request_of_run,
        )
        from include.skillreport.core.execution.business_date import business_date_of
        from include.skillreport.core.execution.parameters import parse_parameters
        from include.skillreport.operations.answers import require_kind

        dag_run, kind = context["dag_run"], kind_of(self.spec)
        key = {"dag_id": dag_run.dag_id, "run_id": dag_run.run_id}
        if request_id := context["params"].get("request"):
            request = find_request(platform, str(request_id))
            require_kind(request, kind, **key)
            return request, items_of(platform, request.request_id)
        if request_or_none := request_of_run(platform, **key):
            return request_or_none, items_of(platform, request_or_none.request_id)
        parameters = parse_parameters(context["params"])
        run_at = dag_run.logical_date or dag_run.run_after
        business_date = parameters.business_date or business_date_of(run_at, self.spec.works_on)
        items = find_held(platform, kind, business_date, codes=parameters.tenants)
        if not items:
            raise AirflowSkipException("保留中のものはありません。確認は出しません")
        if parameters.dry_run:
            for item in items:
                log.info("%s %s %s: %s", item.tenant_code, item.tenant_name, item.item_id, item.reason)
            raise AirflowSkipException("ドライランのため、確認は出しません")
        person = dag_run.triggering_user_name or dag_run.run_id
        return ask_by_hand(
            platform, self.spec, business_date, items, run_id=dag_run.run_id, person=person
        ), items

    def _record_answer(self, context: Context) -> dict[str, Any]:
        """Record the answer from Airflow's response, with the user who responded.

        :raises AnswerError: the answer names a tenant outside the request, or Airflow does not name the user.
        :raises RecordsDeletedError: Airflow no longer has the response.
        """
        from include.skillreport.approvals.requests import (
            ApprovalAnswer,
            find_request,
            items_of,
            record_answer,
        )
        from include.skillreport.core.errors import AnswerError
        from include.skillreport.core.execution.run_log import RecordsDeletedError

        ti = context["ti"]
        response, listed = ti.xcom_pull(task_ids=ASK.id), ti.xcom_pull(task_ids=LIST_HELD.id)
        if not response or not listed:
            raise RecordsDeletedError
        user = response["responded_by_user"]
        if not user:
            raise AnswerError("誰が答えたかを Airflow が記録していません。")
        person = name_of(user)
        entered = response["params_input"] or {}
        note = str(entered.get("note") or "").strip()
        answered_at = _moment(response["responded_at"])
        _, installation = self._batch()
        with installation.platform(self.spec.time_limit) as platform:
            request = find_request(platform, listed["request"])
            answer = response["chosen_options"][0]
            approved, values = self.read_answer(items_of(platform, request.request_id), answer, entered)
            record_answer(platform, request.request_id, ApprovalAnswer(person, answered_at, approved, note))
        log.info("%s: %s (%d items)", person, answer, len(approved))
        return {
            "request": request.request_id,
            "answer": answer,
            **values,
            "note": note,
            "business_date": request.business_date.isoformat(),
            "answered_by": person,
            "answered_at": answered_at.isoformat(),
        }


class ResumptionFlow(ApprovalFlow):
    """The tasks of the DAG that asks whether to send a paused batch's messages. One answer applies to all of them."""

    options: ClassVar[list[str]] = [SEND_ALL, SEND_NEW, DISCARD_ALL]

    @override
    def answer_fields(self) -> dict[str, Param]:
        description = (
            f"「{SEND_NEW}」だけが使います。予定からの時間がこれより短い通知を送り、ほかを破棄します。"
        )
        return {"hours": Param(NEW_HOURS, type="integer", minimum=1, title="時間", description=description)}

    @override
    def read_answer(
        self, items: list[HeldItem], option: str, entered: dict[str, Any]
    ) -> tuple[set[str], dict[str, Any]]:
        from include.skillreport.operations.answers import require_resumption_answer

        _, hours = require_resumption_answer(option, entered.get("hours"))
        return {item.tenant_id for item in items}, {"hours": hours}


def request_approval(spec: RunSpec, context: Context, run_xcom: dict[str, Any] | None) -> dict[str, Any]:
    """Request the approval of the items that a run of ``spec`` holds. Returns the run that shows the request, or the problem.

    :raises AirflowSkipException: the run was not opened, holds nothing, or is a dry run.
    """
    from skill_batch.installation import AirflowInstallation
    from include.skillreport.approvals.asking import ask_for_approval
    from include.skillreport.core.operation_catalog import APPROVALS

    if run_xcom is None:
        raise AirflowSkipException("実行が始まっていないため、確認するものはありません")
    approval = APPROVALS[spec.id]
    run = run_of(run_xcom)
    asked = ask_for_approval(approval, run, AirflowInstallation(), start_run)
    if asked is None:
        raise AirflowSkipException("保留中のものはないため、確認は出しません")
    is_paused = asked.problem is None and is_dag_paused(context["ti"], approval.dag_id)
    if is_paused:
        log.warning("DAG %s is paused: people see the request when somebody unpauses it", approval.dag_id)
    shown = {
        "dag_id": asked.request.dag_id,
        "run_id": asked.request.run_id,
        "problem": asked.problem,
        "is_paused": is_paused,
    }
    if run.deferral_reason:
        _alert_about_pause(spec, run, context, shown)
    return shown


def _alert_about_pause(spec: RunSpec, run: Run, context: Context, shown: dict[str, Any]) -> None:
    """Send the alert at once that BATCH-018-03 repeats daily, or report that users do not see the request."""
    from skill_batch.hooks.tenant_db import PlatformDbHook
    from skill_batch.notifiers.alert_outbox import send_alert
    from skill_batch.notifiers.channels import load_channels
    from skill_batch.resumption_alerts import refused_alert, resumption_alerts

    with PlatformDbHook(statement_timeout=spec.time_limit).connect() as platform:
        alerts = resumption_alerts(platform, context["ti"], datetime.now(UTC))
    if shown["problem"]:
        alerts.append(
            (f"resumption:{run.execution_id}:refused", refused_alert(spec, run.deferral_reason, shown))
        )
    channels = load_channels()
    for key, alert in alerts:
        send_alert(alert, key, channels)


def start_run(request: ApprovalRequest) -> str | None:
    """Start the run that shows the request. Returns Airflow's reason for rejecting it, or None. A run of a paused DAG waits.

    TriggerDagRunOperator sends the same message only after its task's code, so its errors cannot be handled.
    """
    if not can_ask_api_server():
        return "Airflow のタスクの外では、実行を始められません"
    try:
        trigger_run(request.dag_id, request.run_id, {"request": request.request_id})
    except Exception as error:
        # The batch has completed its work, so an error of Airflow must not fail the task.
        log.warning("The run %s of %s is refused", request.run_id, request.dag_id, exc_info=True)
        reason = reason_of(error) or str(error) or type(error).__name__
        return " ".join(reason.split())[:_LONGEST_REASON]
    return None


def _moment(value: datetime | str) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)
