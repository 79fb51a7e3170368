"""The failed tenants of a run, grouped by reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from skill_batch.board.statements import SQL as _SQL
from include.skillreport.core.failure_kinds import LOSSES, NO_RESULT, FailureKind, kind_of
from include.skillreport.core.run_spec import RunSpec

# A group names this many tenants.
LISTED = 20

_NO_RESULT = f"結果を残さずに止まりました（{LOSSES}）。タスクのログを確認してください"


@dataclass(frozen=True)
class FailedUnit:
    """A failed tenant, or another unit of a run. ``part`` is the part of its work, usually empty."""

    tenant_id: str
    code: str
    name: str
    part: str
    error_code: str
    reason: str
    attempts: int
    is_tenant: bool


@dataclass(frozen=True)
class FailureGroup:
    """Failed tenants of a run with the same reason: the first ``tenants``, and the number of all (``count``).

    ``reason`` is the first tenant's. A page shows each tenant's own, if they differ.
    """

    error_code: str
    reason: str
    tenants: Sequence[FailedUnit]
    count: int

    @property
    def further(self) -> int:
        """The number of tenants that a page does not name."""
        return self.count - len(self.tenants)

    @property
    def is_one_reason(self) -> bool:
        """True if all tenants have the same sentence."""
        return all(tenant.reason == self.reason for tenant in self.tenants)


def load_failures(
    connection: psycopg.Connection[Any], execution_ids: Sequence[str], *, only_open: bool = False
) -> dict[str, list[FailureGroup]]:
    """The groups of each run, largest first: one per error code. Tenants without a code are grouped by their sentence.

    ``only_open``: without tenants for which a later run for the day succeeded.
    """
    rows = _SQL.rows(
        connection,
        "failed_tenants",
        execution_ids=list(execution_ids),
        listed=LISTED,
        only_open=only_open,
    )
    members: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        key = (row["execution_id"], row["error_code"] or row["error_message"] or "")
        members.setdefault(key, []).append(row)
    by_run: dict[str, list[FailureGroup]] = {execution_id: [] for execution_id in execution_ids}
    for (execution_id, _), group in members.items():
        tenants = [_tenant(row) for row in group]
        by_run[execution_id].append(
            FailureGroup(tenants[0].error_code, tenants[0].reason, tenants, group[0]["tenants"])
        )
    return by_run


def kinds_of_run(
    spec: RunSpec, codes: Sequence[str] | None, groups: Sequence[FailureGroup]
) -> list[FailureKind]:
    """The kinds of a run's failures. ``codes`` are those of the entire run: of problems, and of a step, whose tenants have no code."""
    of_tenants = [group.error_code or NO_RESULT for group in groups if group.error_code or not codes]
    kinds = [kind_of(spec, code) for code in (*of_tenants, *(codes or ()))]
    return list({kind.name: kind for kind in kinds}.values())


def _tenant(row: Mapping[str, Any]) -> FailedUnit:
    return FailedUnit(
        tenant_id=row["tenant_id"],
        code=row["tenant_code"],
        name=row["tenant_name"],
        part=row["part"],
        error_code=row["error_code"] or "",
        reason=row["error_message"] or _NO_RESULT,
        attempts=row["attempts"],
        is_tenant=row["is_tenant"],
    )
