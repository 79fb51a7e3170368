"""The dialogs of the buttons: ask for the values, show the effect, start the run as the user, and follow it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response, status
from starlette.datastructures import FormData

from skill_batch.board.access import MayClear, MayNote, MayStart, Rights, RightsDep
from skill_batch.board.actions import (
    CONFIRMED,
    Action,
    entered,
    find_action,
    known_tenants,
    texts_of,
    unknown_messages,
)
from skill_batch.board.airflow_api import MOST_INSTANCES, AirflowApi, note_of
from skill_batch.board.bodies import FormDep
from skill_batch.board.closing_month import foresee_closing
from skill_batch.board.database import BoardDatabase
from skill_batch.board.entries import keep_entered, present_values, valid_today
from skill_batch.board.foreseen import compared, foresee, foresees
from skill_batch.board.offered_invoices import offered_invoices
from skill_batch.board.pages.run import load_executions, load_run
from skill_batch.board.rendering import HEADERS, render
from skill_batch.board.statements import SQL as _SQL
from skill_batch.board.targets import (
    Targets,
    describe_targets,
    require_confirmed,
    tenants_of_messages,
    with_shown,
)
from skill_batch.board.waiting_files import waiting_files
from include.skillreport.core.catalog import BATCHES
from include.skillreport.core.entered import SHOWN
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.failure_kinds import FAILED, failure_kinds
from include.skillreport.core.form_fields import Field
from include.skillreport.core.operation_catalog import SCHEDULED
from include.skillreport.operations.forms import FORMS

router = APIRouter()

# Airflow's notes have at most 1,000 characters, including the user's name.
_MOST_OF_NOTE = 500

# A failed task's alert is stored shortly after the run has ended.
_TOLD_WITHIN = timedelta(seconds=30)

# The targets that a user cannot change after a rejected run. The other targets may have caused the rejection.
_OF_BUTTONS = ("tenants", "business_date")

ENDED = frozenset({"success", "failed"})

# A clear restarts instances in these states. Their downstream instances are cleared with them.
_FAILED = ("failed",)


@router.get("/operations/{dag_id}/{name}")
def ask(request: Request, rights: RightsDep, dag_id: str, name: str) -> Response:
    """The dialog of an action. The query has the values that the page provides."""
    action = _action(dag_id, name)
    rights.require_start(dag_id)
    values = {each: request.query_params.getlist(each) for each in action.fields}
    fixed = [each for each, texts in values.items() if action.fields[each].is_target and _is_complete(texts)]
    database: BoardDatabase = request.app.state.database
    with database.read() as connection:
        # Browsers and logs keep addresses, so an address has no personal values.
        present = present_values(connection, action, values) if action.is_personal else values
        if "backup" in values and not any(values["backup"]):
            # The run must not restore a newer backup than the dialog shows.
            present = {**present, "backup": _SQL.column(connection, "newest_backup")}
    return _dialog(request, rights, action, present, fixed=fixed)


@router.get("/runs/{dag_id}/{run_id}/again")
def ask_again(request: Request, rights: RightsDep, dag_id: str, run_id: str) -> Response:
    """The dialog with the values of an earlier run, to start another one. Personal values are not stored, so they are entered again."""
    rights.require_start(dag_id)
    run = AirflowApi(request).run(dag_id, run_id)
    if run is None or dag_id not in FORMS:
        raise HTTPException(status.HTTP_404_NOT_FOUND)
    action = _action(dag_id, str(run["conf"].get("operation") or FORMS[dag_id].operations[0].name))
    values = {name: texts_of(run["conf"].get(name)) for name in action.fields}
    database: BoardDatabase = request.app.state.database
    with database.read() as connection:
        present = present_values(connection, action, values) if action.is_personal else values
    fixed = [name for name in _OF_BUTTONS if any(values.get(name, ()))]
    return _dialog(request, rights, action, present, fixed=fixed)


@router.post("/operations/{dag_id}/{name}")
def start(request: Request, rights: MayStart, form: FormDep, dag_id: str, name: str) -> Response:
    """Start the action's run as the user, and show its progress."""
    action = _action(dag_id, name)
    values = {each: _texts(form, each) for each in action.fields}
    now, targets = datetime.now(UTC), None
    try:
        conf = action.conf(values, now)
        _complete(request.app.state.database, action, conf)
        with request.app.state.database.read() as connection:
            targets = describe_targets(connection, action, conf, now.astimezone(JAPAN).date())
        require_confirmed(action, [str(each) for each in form.getlist(SHOWN)], targets)
    except ParameterError as error:
        fixed = [str(each) for each in form.getlist("fixed") if each in action.fields]
        resumes = form.get("resume") == "on"
        return _dialog(
            request, rights, action, values, str(error), fixed=fixed, targets=targets, resumes=resumes
        )
    conf = with_shown(action, conf, targets)
    if action.is_personal:
        conf = keep_entered(request.app.state.database, action, conf, rights.name)
    api = AirflowApi(request)
    if form.get("resume") == "on" and rights.may_resume(action.spec):
        api.resume(dag_id)
    run = api.start(dag_id, conf)
    return follow_run(request, rights, dag_id, run["dag_run_id"])


@router.post("/operations/{dag_id}/{name}/changes")
def show_changes(request: Request, rights: MayStart, form: FormDep, dag_id: str, name: str) -> Response:
    """The fragment with the changes that the dialog's values would make. Starts nothing. A body, unlike an address, is not logged."""
    action = _action(dag_id, name)
    values = {each: _texts(form, each) for each in action.fields}
    database: BoardDatabase = request.app.state.database
    today = datetime.now(JAPAN).date()
    with database.read() as connection:
        targets = describe_targets(connection, action, _selected(action, values), today)
        changes = foresee(connection, rights, action, values, targets, today)
    changes += foresee_closing(database, rights, action, values, today)
    fixed = [str(each) for each in form.getlist("fixed")]
    return render(
        request,
        rights,
        "changes.html",
        action=action,
        foresees=foresees(action),
        changes=changes,
        targets=targets,
        problems=action.problems(values),
        sent_alone=[name for name in _shown_fields(action, fixed) if name not in fixed],
    )


@router.get("/runs/{dag_id}/{run_id}/clear")
def ask_clear(request: Request, rights: RightsDep, dag_id: str, run_id: str, task: str = "") -> Response:
    """The dialog that lists a run's failed task instances, or the instance of ``task`` in any state."""
    rights.require_clear(dag_id)
    api = AirflowApi(request)
    found = _clearable(api, dag_id, run_id, task)
    return _clear_dialog(request, rights, api, dag_id, run_id, found, task=task)


@router.post("/runs/{dag_id}/{run_id}/clear")
def clear(request: Request, rights: MayClear, form: FormDep, dag_id: str, run_id: str) -> Response:
    """Clear the chosen instances that the dialog would still list, with their downstream instances."""
    api = AirflowApi(request)
    chosen = {str(value) for value in form.getlist("instance")}
    task = str(form.get("task", ""))
    clearable = {_key(each): each for each in _clearable(api, dag_id, run_id, task)}
    found = [clearable[key] for key in sorted(chosen & clearable.keys())]
    if not found:
        listed = list(clearable.values())
        return _clear_dialog(
            request, rights, api, dag_id, run_id, listed, status.HTTP_409_CONFLICT, task=task
        )
    api.clear(dag_id, run_id, found)
    return follow_run(request, rights, dag_id, run_id)


@router.get("/runs/{dag_id}/{run_id}/note")
def ask_note(request: Request, rights: RightsDep, dag_id: str, run_id: str) -> Response:
    """The dialog in which a user takes over a failed run."""
    rights.require_note(dag_id)
    run = AirflowApi(request).run(dag_id, run_id)
    if run is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND)
    note = note_of(run)
    return render(
        request,
        rights,
        "note_dialog.html",
        dag_id=dag_id,
        run_id=run_id,
        text=note.text if note else "",
        problem="",
    )


@router.post("/runs/{dag_id}/{run_id}/note")
def write_note(request: Request, rights: MayNote, form: FormDep, dag_id: str, run_id: str) -> Response:
    """Write the user's note on the run, or delete it (an empty text), and reload the page."""
    text = str(form.get("text", ""))
    try:
        text = entered(Field("対応の内容"), [text], most=_MOST_OF_NOTE)
    except ParameterError as error:
        context = {"dag_id": dag_id, "run_id": run_id, "text": text, "problem": str(error)}
        return render(request, rights, "note_dialog.html", status.HTTP_422_UNPROCESSABLE_CONTENT, **context)
    AirflowApi(request).handle(dag_id, run_id, rights.name, text)
    return Response(status_code=status.HTTP_204_NO_CONTENT, headers={**HEADERS, "HX-Refresh": "true"})


@router.get("/follow/{dag_id}/{run_id}")
def follow(request: Request, rights: RightsDep, dag_id: str, run_id: str) -> Response:
    """The progress of a run. The fragment requests itself again until the run has ended."""
    rights.require_read(dag_id)
    return follow_run(request, rights, dag_id, run_id)


def follow_run(request: Request, rights: Rights, dag_id: str, run_id: str) -> Response:
    """The fragment about a run's progress. :raises HTTPException: 404, Airflow has no such run."""
    database: BoardDatabase = request.app.state.database
    api = AirflowApi(request)
    run = api.run(dag_id, run_id)
    if run is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND)
    has_ended, now = run["state"] in ENDED, datetime.now(UTC)
    recorded = progress = None
    with database.read() as connection:
        if has_ended:
            recorded = load_run(connection, dag_id, run_id, run, now)
        else:
            rows = _SQL.rows(connection, "run_of", dag_id=dag_id, run_id=run_id)[:1]
            ids = [row["execution_id"] for row in rows]
            progress = next(iter(_SQL.rows(connection, "progress", execution_ids=ids)), None)
    is_failed = run["state"] == "failed"
    if is_failed and recorded and not recorded.is_told:
        has_ended = now - datetime.fromisoformat(run["end_date"] or run["run_after"]) > _TOLD_WITHIN
    return render(
        request,
        rights,
        "follow.html",
        dag_id=dag_id,
        run_id=run_id,
        state=run["state"],
        has_ended=has_ended,
        is_paused=run["state"] == "queued" and api.is_paused(dag_id),
        batch=next((spec for spec in BATCHES if spec.dag_id == dag_id), None),
        recorded=recorded if is_failed else None,
        may_enter_again=is_failed and dag_id in FORMS and rights.may_start(dag_id),
        worked_on=recorded.executions if recorded else (),
        progress=progress,
    )


def _clearable(api: AirflowApi, dag_id: str, run_id: str, task: str) -> list[dict[str, Any]]:
    """The failed instances of a run, or the instance of ``task``. :raises HTTPException: 404, no kind of failure clears this task."""
    if task and task.rpartition(".")[2] not in {kind.clear for kind in failure_kinds()} - {FAILED}:
        raise HTTPException(status.HTTP_404_NOT_FOUND)
    found = api.task_instances(dag_id, run_id, () if task else _FAILED)
    return [each for each in found if not task or each["task_id"] == task]


def _texts(form: FormData, name: str) -> list[str]:
    """The values of a field. The input ``name=2`` is about line 2 of an invoice: its value becomes ``2=value``. Several inputs of this
    name become ``2=value,value``, and complete the value ``2=``.
    """
    parts: dict[str, list[str]] = {}
    for key, value in form.multi_items():
        if key.startswith(f"{name}=") and str(value).strip():
            parts.setdefault(key.removeprefix(f"{name}="), []).append(str(value))
    given = [str(value) for value in form.getlist(name)]
    return [each for each in given if each.removesuffix("=") not in parts] + [
        f"{thing}={','.join(values)}" for thing, values in parts.items()
    ]


def _action(dag_id: str, name: str) -> Action:
    action = find_action(dag_id, name)
    if action is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND)
    return action


def _clear_dialog(
    request: Request,
    rights: Rights,
    api: AirflowApi,
    dag_id: str,
    run_id: str,
    instances: Sequence[Mapping[str, Any]],
    code: int = status.HTTP_200_OK,
    *,
    task: str,
) -> Response:
    """The failed instances to select from, the tasks that Airflow clears with them, and the subject of the run."""
    chosen = {_key(each) for each in instances}
    cleared = api.clear(dag_id, run_id, instances, is_only_asked=True) if instances else []
    database: BoardDatabase = request.app.state.database
    with database.read() as connection:
        executions = load_executions(connection, dag_id, run_id, datetime.now(UTC))
    return render(
        request,
        rights,
        "clear_dialog.html",
        code,
        dag_id=dag_id,
        run_id=run_id,
        task=task,
        instances=instances,
        is_cut=len(instances) >= MOST_INSTANCES,
        confirms_resumption=any(spec.confirms_resumption for spec in SCHEDULED if spec.dag_id == dag_id),
        following=Counter(
            (each["task_display_name"], each["task_id"]) for each in cleared if _key(each) not in chosen
        ),
        executions=[each for each in executions if each.spec],
        is_paused=api.is_paused(dag_id),
        batch=next((spec for spec in BATCHES if spec.dag_id == dag_id), None),
    )


def _dialog(
    request: Request,
    rights: Rights,
    action: Action,
    values: Mapping[str, Sequence[str]],
    problem: str = "",
    *,
    fixed: Collection[str],
    targets: Targets | None = None,
    resumes: bool = True,
) -> Response:
    """The dialog. Users cannot change the ``fixed`` fields, which the button has set. ``targets``: None, find them. ``resumes``: resume a
    paused DAG by default.
    """
    database: BoardDatabase = request.app.state.database
    today = datetime.now(JAPAN).date()
    selected = _selected(action, values)
    with database.read() as connection:
        if targets is None:
            targets = describe_targets(connection, action, selected, today)
        invoice = targets.document(connection) if action.lists_lines else None
        offered = offered_invoices(connection, action, values)
        changes = foresee(connection, rights, action, values, targets, today)
        comparisons = compared(connection, action, selected, targets)
    changes += foresee_closing(database, rights, action, values, today)
    # Typing would change the month, and only an author needs a confirmation.
    may_focus = [name for name in action.fields if name not in (*fixed, "business_date", CONFIRMED)]
    empty = [
        name for name in may_focus if action.fields[name].input != "flag" and not any(values.get(name, ()))
    ]
    return render(
        request,
        rights,
        "dialog.html",
        status.HTTP_422_UNPROCESSABLE_CONTENT if problem else status.HTTP_200_OK,
        action=action,
        fields=_shown_fields(action, fixed),
        values=values,
        targets=targets,
        invoice=invoice,
        offered=offered,
        valid_today=valid_today(action, invoice),
        changes=changes,
        sent_alone=(),
        files=waiting_files(action),
        # Nothing is chosen yet in a list that has just been opened.
        problems=action.problems(values) if problem or not (offered and not offered.chosen) else {},
        compared=comparisons,
        foresees=foresees(action),
        resumes=resumes,
        fixed=fixed,
        focused=empty[0] if empty else "",
        problem=problem,
        is_paused=AirflowApi(request).is_paused(action.spec.dag_id),
    )


def _shown_fields(action: Action, fixed: Collection[str]) -> dict[str, Field]:
    """The fields of the dialog. If the button has set one target, wider ones are left out."""
    wider = action.shows.unless if fixed and action.shows.unless not in fixed else ""
    return {name: field for name, field in action.fields.items() if name != wider}


def _selected(action: Action, values: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    selected: dict[str, Any] = {}
    for name, texts in values.items():
        with suppress(ParameterError):
            selected |= action.given({name: texts})
    return selected


def _is_complete(texts: Sequence[str]) -> bool:
    """True if a button has set the field. A text that ends with ``=`` is only the beginning of a line."""
    return any(texts) and not any(text.rstrip().endswith("=") for text in texts)


def _complete(database: BoardDatabase, action: Action, conf: dict[str, Any]) -> None:
    """Check that tenants and messages exist, and add the messages' tenants. Otherwise the run would be for all tenants.

    :raises ParameterError: names tenants or messages that do not exist.
    """
    with database.read() as connection:
        if conf.get("tenants"):
            conf["tenants"] = known_tenants(
                connection,
                conf["tenants"],
                takes_former=bool(action.operation and action.operation.takes_former),
            )
        messages = unknown_messages(connection, conf.get("messages", []))
        if conf.get("messages") and not conf.get("tenants"):
            conf["tenants"] = tenants_of_messages(connection, conf["messages"])
    if messages:
        raise ParameterError(f"メッセージ {'、'.join(messages[:5])} は存在しません。")


def _key(instance: Mapping[str, Any]) -> str:
    return f"{instance['task_id']}[{instance['map_index']}]"
