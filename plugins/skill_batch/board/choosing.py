"""The text that selects a tenant in a form: its code, or its id if the code is not unique."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import psycopg

from skill_batch.board.statements import SQL as _SQL


@dataclass(frozen=True)
class ChosenTenant:
    """A tenant as an operation selects it. ``chosen_as`` is the text for the field "tenants" that selects only this tenant.

    ``refusal`` says why operations cannot work on the tenant; empty: they can, even if it is no longer active.
    """

    chosen_as: str | None
    refusal: str

    @property
    def usable_as(self) -> str | None:
        """``chosen_as``, if operations can work on the tenant."""
        return None if self.refusal else self.chosen_as


_SAME_CODE = "同じコードのテナントがあるため、ここからは操作できません"
_VANISHED = "アプリにないテナントのため、操作できません"
REFUSALS = (_SAME_CODE, _VANISHED)


def choices(connection: psycopg.Connection[Any], tenant_ids: Sequence[str]) -> Mapping[str, ChosenTenant]:
    """The choice of each of these tenants, by id."""
    wanted = sorted(set(tenant_ids))
    found = {
        row["tenant_id"]: _choice(row["chosen_as"])
        for row in _SQL.rows(connection, "chosen_tenants", tenant_ids=wanted)
    }
    return {tenant_id: found.get(tenant_id, ChosenTenant(None, _VANISHED)) for tenant_id in wanted}


def customer_choices(
    connection: psycopg.Connection[Any], tenant_ids: Sequence[str]
) -> Mapping[str, ChosenTenant]:
    """The choice of each of these tenants, by id, for operations on invoices, which also work on deleted tenants."""
    wanted = sorted(set(tenant_ids))
    rows = _SQL.rows(connection, "chosen_customers", tenant_ids=wanted) if wanted else ()
    return {row["tenant_id"]: _choice(row["chosen_as"]) for row in rows}


def with_choices(
    connection: psycopg.Connection[Any], rows: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The rows about invoices, with ``chosen_as`` and ``refusal`` of their ``tenant_id`` (see ``customer_choices``)."""
    chosen = customer_choices(connection, [row["tenant_id"] for row in rows])
    return [{**row, **asdict(chosen[row["tenant_id"]])} for row in rows]


def _choice(chosen_as: str | None) -> ChosenTenant:
    return ChosenTenant(chosen_as, "" if chosen_as else _SAME_CODE)


def tenant_ids_of(connection: psycopg.Connection[Any], names: Sequence[str]) -> list[str]:
    """The ids of the tenants with these codes. A code without a tenant may be an id, as in the operations."""
    return _SQL.column(connection, "tenant_ids_of", names=list(names))
