"""Requests and answers in the database. ``platform`` acts as ``batch_platform``, ``connection`` as ``batch_tenant``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from include.skillreport.core.catalog import (
    EXTERNAL_SYNC,
    TENANT_BILLING,
)
from include.skillreport.core.database import Statements
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.operation_catalog import (
    APPROVE_CONTRACTS,
    APPROVE_DIRECTORY_CHANGES,
    APPROVE_INVOICES,
    APPROVE_OFFBOARDING,
    APPROVE_RESUMPTION,
    OFFBOARD_TENANT,
    OPERATE_CONTRACTS,
    RUN_SPECS,
)
from include.skillreport.core.run_spec import RunSpec

_SQL = Statements(Path(__file__).parent)

# An arbitrary number: one transaction at a time records a request.
_REQUEST_LOCK = 7_018_021

OUT_OF_DATE = "REQUEST_OUT_OF_DATE"

# A request shows at most this many items.
LISTED = 200

# The outcomes of a tenant whose draft waits for an approval.
HOLDS = ["APPROVAL_NEEDED", OUT_OF_DATE]


class RequestKind(StrEnum):
    """The subject of a request."""

    INVOICES = "invoices"
    DIRECTORY_CHANGES = "directory_changes"
    CONTRACTS = "contracts"
    RESUMPTION = "resumption"
    OFFBOARDING = "offboarding"


_KINDS = {
    TENANT_BILLING.id: RequestKind.INVOICES,
    APPROVE_INVOICES.id: RequestKind.INVOICES,
    EXTERNAL_SYNC.id: RequestKind.DIRECTORY_CHANGES,
    APPROVE_DIRECTORY_CHANGES.id: RequestKind.DIRECTORY_CHANGES,
    OPERATE_CONTRACTS.id: RequestKind.CONTRACTS,
    APPROVE_CONTRACTS.id: RequestKind.CONTRACTS,
    APPROVE_RESUMPTION.id: RequestKind.RESUMPTION,
    OFFBOARD_TENANT.id: RequestKind.OFFBOARDING,
    APPROVE_OFFBOARDING.id: RequestKind.OFFBOARDING,
}


class Result(StrEnum):
    """The result of an answer."""

    APPROVED = "approved"
    HELD = "held"
    OUT_OF_DATE = "out_of_date"
    FAILED = "failed"


@dataclass(frozen=True)
class HeldItem:
    """A held invoice or directory plan, a waiting contract change, the messages of a batch that was paused, a tenant whose deletion waits,
    or a disputed entry in the register of deleted tenants.

    ``item_id`` is the id of the invoice, the change or the offboarding, the provider, or the batch. A batch or a file import has no tenant:
    its ``tenant_id`` is its ``item_id``.

    ``held_by`` is the execution that wrote it. ``fingerprint`` differs after any change, except for messages: later messages get the same
    answer. ``figures`` (JSON values) are shown to users.
    """

    tenant_id: str
    item_id: str
    tenant_code: str
    tenant_name: str
    held_by: str
    fingerprint: str
    figures: Mapping[str, Any]
    reason: str

    @property
    def key(self) -> tuple[str, str, str]:
        """Equal for the same item in the same state."""
        return self.tenant_id, self.item_id, self.fingerprint


@dataclass(frozen=True)
class ApprovalRequest:
    """A request. ``dag_id`` and ``run_id`` name the run that shows it. ``business_date`` (Asia/Tokyo) is that of the held items.

    ``close_reason`` is None while it waits for an answer.
    """

    request_id: str
    kind: RequestKind
    business_date: date
    asked_by: str
    dag_id: str
    run_id: str
    asked_at: datetime | None = None
    close_reason: str | None = None


@dataclass(frozen=True)
class Unconfirmed:
    """An open request of the first run after a pause, and the number of messages or drafts that wait now."""

    request_id: str
    kind: str
    batch_ids: Sequence[str]
    dag_id: str
    run_id: str
    asked_at: datetime
    reason: str
    waiting: int


@dataclass(frozen=True)
class LockedItem:
    """An item in the transaction that applies its answer."""

    item_id: str
    fingerprint: str
    figures: Mapping[str, Any]
    reason: str
    superseded_by: str | None
    answer: str | None
    answered_by: str | None
    result: str | None


@dataclass(frozen=True)
class ApprovalAnswer:
    """The answer of a user. ``approved`` are the ids of the approved tenants. ``answered_at`` is aware."""

    answered_by: str
    answered_at: datetime
    approved: Collection[str]
    note: str = ""


def kind_of(spec: RunSpec) -> RequestKind:
    """The kind of items that a batch holds or an operation approves. :raises LookupError: there is none."""
    return _KINDS[spec.id]


def find_held(
    platform: psycopg.Connection,
    kind: RequestKind,
    business_date: date,
    *,
    execution_id: str | None = None,
    codes: Sequence[str] = (),
) -> list[HeldItem]:
    """The items that this execution (None: any) holds now. ``codes``: tenant codes; empty: all.

    Invoices: only of the month of ``business_date``.
    """
    if kind is RequestKind.INVOICES:
        rows = _SQL.rows(
            platform,
            "held_invoices",
            month=business_date.replace(day=1),
            execution_id=execution_id,
            codes=list(codes),
            codes_of_holds=HOLDS,
        )
        return [HeldItem(**row) for row in rows]
    if kind in (RequestKind.CONTRACTS, RequestKind.OFFBOARDING):
        query = "waiting_changes" if kind is RequestKind.CONTRACTS else "leaving_tenants"
        rows = _SQL.rows(platform, query, execution_id=execution_id, codes=list(codes))
        return [HeldItem(**row) for row in rows]
    if kind is RequestKind.RESUMPTION:
        rows = _SQL.rows(platform, "held_messages", execution_id=execution_id)
        return [HeldItem(tenant_name=RUN_SPECS[row["item_id"]].name, **row) for row in rows]
    rows = _SQL.rows(platform, "held_plans", execution_id=execution_id, codes=list(codes))
    return [HeldItem(fingerprint=plan_fingerprint(row["reason"], row.pop("absent")), **row) for row in rows]


def plan_fingerprint(reason: str, absent: Iterable[str]) -> str:
    """Identifies the state of a held plan: why it is held, and which accounts are absent."""
    content = "\n".join((reason, *sorted(absent)))
    return hashlib.sha256(content.encode()).hexdigest()


def absent_links(connection: psycopg.Connection, tenant_id: str, provider: str) -> set[str]:
    """The accounts with active links that the last listing did not contain."""
    return set(_SQL.column(connection, "absent_links", tenant_id=tenant_id, provider=provider))


def ask(
    platform: psycopg.Connection,
    spec: RunSpec,
    business_date: date,
    execution_id: str,
    items: Sequence[HeldItem],
    is_alive: Callable[[str, str], bool],
) -> ApprovalRequest:
    """The request for the held items of an execution: the open request with all these items in this state, otherwise a new one.

    ``spec`` is the operation that shows it. ``is_alive`` says whether a run (DAG id, run id) exists and has not ended. A request cannot be
    answered if a user has deleted its run or marked it as failed.
    """
    kind = kind_of(spec)
    with platform.transaction():
        _SQL.execute(platform, "lock_requests", lock=_REQUEST_LOCK)
        held = {item.key for item in items}
        waiting: dict[tuple[str, str], set[tuple[str, str, str]]] = {}
        for row in _SQL.rows(platform, "open_items", kind=kind):
            key = (row["tenant_id"], row["item_id"], row["fingerprint"])
            waiting.setdefault((row["request_id"], row["asked_by"]), set()).add(key)
        for (request_id, asked_by), keys in waiting.items():
            # A cleared run that holds fewer items than before creates a new request, which replaces the older list.
            if keys == held or (keys > held and asked_by != execution_id):
                open_request = find_request(platform, request_id)
                if is_alive(open_request.dag_id, open_request.run_id):
                    return open_request
        count = _SQL.row(platform, "count_requests", asked_by=execution_id)[0]
        request_id = f"{execution_id}_{count + 1}"
        request = ApprovalRequest(request_id, kind, business_date, execution_id, spec.dag_id, request_id)
        _record(platform, request, items)
    return request


def ask_by_hand(
    platform: psycopg.Connection,
    spec: RunSpec,
    business_date: date,
    items: Sequence[HeldItem],
    *,
    run_id: str,
    person: str,
) -> ApprovalRequest:
    """Record a request for a run that a user triggered without one. It supersedes older requests about the same items."""
    request = ApprovalRequest(
        f"{spec.id} {run_id}", kind_of(spec), business_date, person, spec.dag_id, run_id
    )
    with platform.transaction():
        _SQL.execute(platform, "lock_requests", lock=_REQUEST_LOCK)
        _record(platform, request, items)
        supersede_older(platform, request)
    return request


def supersede_older(platform: psycopg.Connection, request: ApprovalRequest) -> None:
    """Mark the unanswered items of older requests that this request contains again."""
    _SQL.execute(platform, "supersede", request_id=request.request_id)


def withdraw(platform: psycopg.Connection, request: ApprovalRequest, reason: str = "not_started") -> None:
    """Close a request that nobody can answer: Airflow does not show it, or (``outdated``) none of its items is held."""
    _SQL.execute(platform, "close_request", request_id=request.request_id, close_reason=reason)


def is_outdated(platform: psycopg.Connection, request: ApprovalRequest) -> bool:
    """True if none of an open request's items is held any more: they were decided elsewhere, and no newer request will supersede it."""
    held = {
        (item.tenant_id, item.item_id) for item in find_held(platform, request.kind, request.business_date)
    }
    return not any(
        (row["tenant_id"], row["item_id"]) in held
        for row in _SQL.rows(platform, "open_items", kind=request.kind)
        if row["request_id"] == request.request_id
    )


def find_request(
    platform: psycopg.Connection, request_id: str | None, *, dag_id: str = "", run_id: str = ""
) -> ApprovalRequest:
    """The request with this id, or of this run. :raises ParameterError: there is none."""
    found = _SQL.rows(platform, "find_request", request_id=request_id, dag_id=dag_id, run_id=run_id)
    if not found:
        raise ParameterError(
            f"承認依頼 '{request_id}' はありません。「承認依頼のID」（request）を空欄にして実行すると、今保留中のものを確認できます。"
        )
    return ApprovalRequest(**{**found[0], "kind": RequestKind(found[0]["kind"])})


def request_of_run(platform: psycopg.Connection, dag_id: str, run_id: str) -> ApprovalRequest | None:
    """The request that this run shows, or None if it has none yet."""
    found = _SQL.rows(platform, "find_request", request_id=None, dag_id=dag_id, run_id=run_id)
    return ApprovalRequest(**{**found[0], "kind": RequestKind(found[0]["kind"])}) if found else None


def open_requests(platform: psycopg.Connection, asked_before: datetime) -> list[ApprovalRequest]:
    """The requests without an answer that were made before ``asked_before`` (aware), the oldest first."""
    found = _SQL.rows(platform, "open_requests", asked_before=asked_before)
    return [ApprovalRequest(**{**row, "kind": RequestKind(row["kind"])}) for row in found]


def move_to_run(platform: psycopg.Connection, request: ApprovalRequest) -> None:
    """Save ``run_id`` as the run that shows the request."""
    _SQL.execute(platform, "move_request", request_id=request.request_id, run_id=request.run_id)


def unconfirmed(platform: psycopg.Connection) -> list[Unconfirmed]:
    """The open requests of first runs after a pause, the oldest first."""
    return [
        Unconfirmed(**row | {"batch_ids": row["batch_ids"] or [TENANT_BILLING.id]})
        for row in _SQL.rows(platform, "unconfirmed")
    ]


def items_of(platform: psycopg.Connection, request_id: str) -> list[HeldItem]:
    """The items of a request as they were when it was made, by tenant code."""
    return [HeldItem(**row) for row in _SQL.rows(platform, "request_items", request_id=request_id)]


def listed_items(items: Sequence[HeldItem]) -> list[HeldItem]:
    """The items that users see and answer: the first 200 by tenant code. A tenant with an item after these is left out."""
    ordered = sorted(items, key=lambda item: (item.tenant_code, item.tenant_id, item.item_id))
    further = {item.tenant_id for item in ordered[LISTED:]}
    return [item for item in ordered[:LISTED] if item.tenant_id not in further]


def record_answer(platform: psycopg.Connection, request_id: str, answer: ApprovalAnswer) -> None:
    """Save the answer with every item, and close the request. A retry changes nothing."""
    with platform.transaction():
        _SQL.execute(
            platform,
            "record_answer",
            request_id=request_id,
            approved=sorted(answer.approved),
            answered_by=answer.answered_by,
            answered_at=answer.answered_at,
            note=answer.note,
        )
        _SQL.execute(platform, "close_request", request_id=request_id, close_reason="answered")


def lock_item(
    connection: psycopg.Connection, request_id: str, tenant_id: str, item_id: str
) -> LockedItem | None:
    """An item of the request, locked. Runs in the tenant's transaction."""
    rows = _SQL.rows(connection, "lock_item", request_id=request_id, tenant_id=tenant_id, item_id=item_id)
    return LockedItem(**rows[0]) if rows else None


def item_ids(connection: psycopg.Connection, request_id: str, tenant_id: str) -> list[str]:
    """The ids of the tenant's items in the request. Runs in the tenant's transaction."""
    return _SQL.column(connection, "items_of_tenant", request_id=request_id, tenant_id=tenant_id)


def record_result(
    connection: psycopg.Connection,
    request_id: str,
    tenant_id: str,
    item_id: str,
    result: Result,
    text: str | None,
    execution_id: str,
) -> None:
    """Record the result of the answer, in the tenant's transaction. ``text`` says why the item was not approved."""
    _SQL.execute(
        connection,
        "record_result",
        request_id=request_id,
        tenant_id=tenant_id,
        item_id=item_id,
        result=result,
        result_text=text,
        execution_id=execution_id,
    )


def _record(platform: psycopg.Connection, request: ApprovalRequest, items: Sequence[HeldItem]) -> None:
    _SQL.execute(
        platform,
        "record_request",
        request_id=request.request_id,
        kind=request.kind,
        business_date=request.business_date,
        asked_by=request.asked_by,
        dag_id=request.dag_id,
        run_id=request.run_id,
    )
    _SQL.execute(
        platform,
        "record_items",
        request_id=request.request_id,
        items=Jsonb([asdict(item) for item in items]),
    )
