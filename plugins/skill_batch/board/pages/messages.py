"""通知: queues, throttled and closed channels, undelivered messages, and suppressed addresses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import psycopg
from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response, status

from skill_batch.airflow_private.api_server import record_in_audit_log
from skill_batch.board.access import Rights, RightsDep, http_error
from skill_batch.board.actions import Action, find_action
from skill_batch.board.airflow_api import AirflowApi
from skill_batch.board.bodies import FormDep
from skill_batch.board.choosing import ChosenTenant, choices, tenant_ids_of
from skill_batch.board.contents import (
    MessageContent,
    find_messages_to,
    load_content,
    load_subjects,
    load_suppressed_address,
)
from skill_batch.board.database import BoardDatabase, BoardUnavailableError
from skill_batch.board.message_words import ALL_STATES, FILTERS, KINDS, SENT, WAITING, channel_labels
from skill_batch.board.pages.operations import follow_run
from skill_batch.board.rendering import render
from skill_batch.board.statements import SQL as _SQL
from skill_batch.board.targets import describe_targets, with_shown
from include.skillreport.core.catalog import NOTIFICATION_RETRY
from include.skillreport.core.database import has_control_characters
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.operation_catalog import (
    APPROVE_RESUMPTION,
    OPERATE_NOTIFICATIONS,
)
from include.skillreport.messaging.channels import CHANNELS
from include.skillreport.messaging.contract_letters import CONTRACT_LETTERS
from include.skillreport.operations.operate_notifications.form import Lift

router = APIRouter()

# The number of rows on a page of the list, and the maximum that a search by address finds.
_PAGE = 20
_MOST_FOUND = 50
_MOST_LISTED = 200
_MOST_COUNTED = 10_000
_LONGEST_ADDRESS = 254

_NEED_A_PERSON = ("ambiguous", "dead", "expired")
_WAIT = ("pending", "retry")


State = Literal["", "ambiguous", "dead", "expired", "retry", "pending", "sending", "waiting", "sent"]


@dataclass(frozen=True)
class MessageFilters:
    """The filters of the list. Empty values do not filter; an empty ``state`` selects the messages that need an operator.

    ``tenant`` is a code, or an id if no tenant has this code. ``tenant_id`` selects exactly one tenant, for links from other pages.
    ``after_at`` and ``after_id`` are the key of the previous page's last message.
    """

    tenant: str = ""
    channel: str = ""
    state: State = ""
    error: str = ""
    after_at: datetime | None = None
    after_id: str = ""
    tenant_id: str = ""

    @property
    def statuses(self) -> list[str]:
        """The states to read."""
        if self.state == WAITING:
            return list(_WAIT)
        return [self.state] if self.state else list(_NEED_A_PERSON)

    def query(self) -> dict[str, Any]:
        """The filters as query parameters of the page."""
        values = {
            "tenant": self.tenant,
            "tenant_id": self.tenant_id,
            "channel": self.channel,
            "state": self.state,
            "error": self.error,
        }
        after = self.after_at.isoformat() if self.after_at else None
        return {**values, "after_at": after, "after_id": self.after_id or None}


@dataclass(frozen=True)
class Messages:
    """The content of the page. ``total`` stops at 10,000. ``choices`` has every tenant of the lists, by id."""

    filters: MessageFilters
    queues: Sequence[Mapping[str, Any]]
    closed: Sequence[Mapping[str, Any]]
    stops: Sequence[Mapping[str, Any]]
    resumptions: Sequence[Mapping[str, Any]]
    throttled: Sequence[Mapping[str, Any]]
    suppressed: Sequence[Mapping[str, Any]]
    listed: Sequence[Mapping[str, Any]]
    total: int
    next_page: MessageFilters | None
    choices: Mapping[str, ChosenTenant]

    @property
    def queued(self) -> Mapping[str, int]:
        """The number of queued messages, by state."""
        counts = Counter[str]()
        for queue in self.queues:
            counts[queue["status"]] += queue["messages"]
        return counts


def load_messages(connection: psycopg.Connection[Any], filters: MessageFilters, now: datetime) -> Messages:
    """The page at ``now`` (aware)."""
    tenant_ids = [filters.tenant_id] if filters.tenant_id else None
    if filters.tenant:
        tenant_ids = tenant_ids_of(connection, [filters.tenant]) or [filters.tenant]
    criteria = {
        "statuses": filters.statuses,
        "channel": filters.channel or None,
        "tenant_ids": tenant_ids,
        "error_code": filters.error or None,
        "needs_decision": not filters.state,
        "contract_letters": list(CONTRACT_LETTERS),
    }
    listed, total, next_page = _listed(connection, filters, criteria)
    closed = _SQL.rows(connection, "closed_channels", most=_MOST_LISTED)
    stops = _SQL.rows(connection, "message_stops", tenant_ids=tenant_ids, most=_MOST_LISTED)
    suppressed = _SQL.rows(
        connection, "suppressed_addresses", now=now, tenant_ids=tenant_ids, most=_MOST_LISTED
    )
    return Messages(
        filters,
        _SQL.rows(connection, "open_queues"),
        closed,
        stops,
        _SQL.rows(connection, "open_resumptions"),
        _SQL.rows(connection, "throttled_services", now=now, most=_MOST_LISTED),
        suppressed,
        listed,
        total,
        next_page,
        choices(connection, [row["tenant_id"] for row in (*listed, *closed, *stops, *suppressed)]),
    )


def _listed(
    connection: psycopg.Connection[Any], filters: MessageFilters, criteria: Mapping[str, Any]
) -> tuple[Sequence[Mapping[str, Any]], int, MessageFilters | None]:
    """One page of messages, the number of all (up to 10,000), and the next page. Sent messages are listed for one tenant only."""
    if filters.state != SENT:
        rows = _SQL.rows(
            connection,
            "open_messages",
            **criteria,
            after_at=filters.after_at or datetime.min.replace(tzinfo=UTC),
            after_id=filters.after_id,
            most=_PAGE + 1,
        )
        key = "next_attempt_at"
    else:
        criteria = {**criteria, "tenant_ids": criteria["tenant_ids"] or []}
        before = {
            "before_at": filters.after_at or datetime.max.replace(tzinfo=UTC),
            "before_id": filters.after_id,
        }
        rows = _SQL.rows(connection, "sent_messages", **criteria, **before, most=_PAGE + 1)
        key = "created_at"
    counted = "count_sent_messages" if filters.state == SENT else "count_open_messages"
    (total,) = _SQL.column(connection, counted, **criteria, most=_MOST_COUNTED)
    listed = rows[:_PAGE]
    next_page = (
        replace(filters, after_at=listed[-1][key], after_id=listed[-1]["message_id"])
        if len(rows) > _PAGE
        else None
    )
    return listed, total, next_page


def _subjects(rights: Rights, listed: Sequence[Mapping[str, Any]]) -> Mapping[str, str] | None:
    if not _may_operate(rights):
        return None
    try:
        return load_subjects([row["message_id"] for row in listed])
    except BoardUnavailableError:
        return None


def _filters(
    tenant: Annotated[str, Query(max_length=100)] = "",
    channel: str = "",
    state: State = "",
    error: Annotated[str, Query(max_length=100)] = "",
    after_at: datetime | None = None,
    after_id: Annotated[str, Query(max_length=100)] = "",
    tenant_id: Annotated[str, Query(max_length=100)] = "",
) -> MessageFilters:
    if channel and channel not in CHANNELS:
        raise HTTPException(status.HTTP_400_BAD_REQUEST)
    tenant = tenant.strip()
    if after_at is not None and after_at.tzinfo is None:
        after_at = after_at.replace(tzinfo=UTC)
    # A tenant that the reader enters replaces the link's tenant.
    return MessageFilters(
        tenant, channel, state, error.strip(), after_at, after_id, "" if tenant else tenant_id.strip()
    )


def _required(rights: RightsDep) -> Rights:
    rights.require_start(OPERATE_NOTIFICATIONS.dag_id)
    return rights


_MayOperate = Annotated[Rights, Depends(_required)]


@router.get("/messages")
def messages_page(
    request: Request, rights: RightsDep, filters: Annotated[MessageFilters, Depends(_filters)]
) -> Response:
    """The page of the queues, and one page of messages."""
    rights.require_read(NOTIFICATION_RETRY.dag_id)
    database: BoardDatabase = request.app.state.database
    with database.read() as connection:
        page = load_messages(connection, filters, datetime.now(UTC))
    return render(
        request,
        rights,
        "messages.html",
        page=page,
        states=ALL_STATES,
        filters=FILTERS,
        kinds=KINDS,
        subjects=_subjects(rights, page.listed),
        channels=channel_labels(),
        retry=NOTIFICATION_RETRY.dag_id,
        is_paused=AirflowApi(request).is_paused(NOTIFICATION_RETRY.dag_id),
        may_operate=_may_operate(rights),
        sees_resumptions=rights.may_read(APPROVE_RESUMPTION.dag_id),
    )


@router.post("/messages/to")
def search_by_address(request: Request, rights: _MayOperate, form: FormDep) -> Response:
    """The messages to an exact e-mail address. The request's body has it, so no log does. The audit log has who searched."""
    address = str(form.get("address", "")).strip()[:_LONGEST_ADDRESS]
    if has_control_characters(address):
        raise http_error(status.HTTP_400_BAD_REQUEST, "入力に使えない文字があります")
    rows: Sequence[Mapping[str, Any]] = ()
    if address:
        record_in_audit_log("skill_batch_message_search", rights.user, "{}")
        rows = find_messages_to(address, _MOST_FOUND)
    database: BoardDatabase = request.app.state.database
    with database.read() as connection:
        tenant_ids = sorted({row["tenant_id"] for row in rows})
        codes = {
            row["tenant_id"]: row["tenant_code"]
            for row in _SQL.rows(connection, "described_tenants", tenant_ids=tenant_ids)
        }
    return render(
        request,
        rights,
        "messages_found.html",
        rows=rows,
        codes=codes,
        states=ALL_STATES,
        kinds=KINDS,
        is_whole="@" in address and "*" not in address,
    )


@router.get("/messages/{message_id}")
def message_page(request: Request, rights: RightsDep, message_id: str) -> Response:
    """One message. Its text and address are shown only to users who may operate on messages."""
    rights.require_read(NOTIFICATION_RETRY.dag_id)
    database: BoardDatabase = request.app.state.database
    with database.read() as connection:
        rows = _SQL.rows(connection, "message", message_id=message_id)
        if not rows:
            raise HTTPException(status.HTTP_404_NOT_FOUND)
        tenant_id = rows[0]["tenant_id"]
        choice = choices(connection, [tenant_id])[tenant_id]
    content: MessageContent | None = None
    problem = ""
    if _may_operate(rights):
        try:
            content = load_content(message_id)
        except BoardUnavailableError as error:
            problem = str(error)
    return render(
        request,
        rights,
        "message.html",
        message=rows[0],
        content=content,
        kinds=KINDS,
        problem=problem,
        choice=choice,
        states=ALL_STATES,
        channels=channel_labels(),
        may_operate=_may_operate(rights),
    )


@router.get("/suppressions/{suppression_id}")
def ask_lift(request: Request, rights: RightsDep, suppression_id: str) -> Response:
    """The dialog that asks whether to lift the suppression."""
    rights.require_start(OPERATE_NOTIFICATIONS.dag_id)
    choice, address = _suppressed(request, suppression_id)
    return _lift_dialog(request, rights, suppression_id, choice, address)


@router.post("/suppressions/{suppression_id}")
def lift(request: Request, rights: _MayOperate, form: FormDep, suppression_id: str) -> Response:
    """Start the operation that lifts an address's suppression, as the user."""
    choice, address = _suppressed(request, suppression_id)
    reason = [str(value) for value in form.getlist("reason")]
    values = {"tenants": [str(choice.chosen_as)], "addresses": [address], "reason": reason}
    try:
        now = datetime.now(UTC)
        conf = _lifting().conf(values, now)
        database: BoardDatabase = request.app.state.database
        with database.read() as connection:
            targets = describe_targets(connection, _lifting(), conf, now.astimezone(JAPAN).date())
    except ParameterError as error:
        return _lift_dialog(request, rights, suppression_id, choice, address, reason, str(error))
    dag_id = OPERATE_NOTIFICATIONS.dag_id
    run = AirflowApi(request).start(dag_id, with_shown(_lifting(), conf, targets))
    return follow_run(request, rights, dag_id, run["dag_run_id"])


def _lift_dialog(
    request: Request,
    rights: Rights,
    suppression_id: str,
    choice: ChosenTenant,
    address: str,
    given: Sequence[str] = (),
    problem: str = "",
) -> Response:
    return render(
        request,
        rights,
        "lift_dialog.html",
        status.HTTP_422_UNPROCESSABLE_CONTENT if problem else status.HTTP_200_OK,
        suppression_id=suppression_id,
        tenant_code=choice.chosen_as,
        address=address,
        reason=_lifting().fields["reason"],
        given=given,
        problem=problem,
    )


def _lifting() -> Action:
    """The operation. It has its own dialog, because an e-mail address must not be in a URL."""
    action = find_action(OPERATE_NOTIFICATIONS.dag_id, Lift.name)
    assert action is not None
    return action


def _suppressed(request: Request, suppression_id: str) -> tuple[ChosenTenant, str]:
    """The tenant and the address.

    :raises HTTPException: 404, no suppression has this id; 409, the operation cannot work on the tenant.
    """
    found = load_suppressed_address(suppression_id)
    if found is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND)
    database: BoardDatabase = request.app.state.database
    with database.read() as connection:
        choice = choices(connection, [found[0]])[found[0]]
    if choice.refusal:
        raise http_error(status.HTTP_409_CONFLICT, choice.refusal)
    return choice, found[1]


def _may_operate(rights: Rights) -> bool:
    return rights.may_start(OPERATE_NOTIFICATIONS.dag_id)
