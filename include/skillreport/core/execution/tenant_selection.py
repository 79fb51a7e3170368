"""Select the tenants of a run. All statements run as ``batch_platform``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from include.skillreport.core.database import Statements, is_tenant_id
from include.skillreport.core.entered import plain
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.sharding import Tenant, Unit

_SQL = Statements(Path(__file__).parent)

# TRIAL tenants use the product too; billing decides what they pay.
ACTIVE_STATUSES = ("ACTIVE", "TRIAL")

# Errors in the host's data: an unknown status, or an id that the transaction context cannot hold.
_UNUSABLE_ID = "UNUSABLE ID"
_NEEDS_ATTENTION = ("UNKNOWN", _UNUSABLE_ID)


@dataclass(frozen=True)
class TenantSelection:
    """A run's tenants, ordered by id, and the omitted tenants that an operator should check, with their status.

    ``differing`` are tenants with their status and a contradicting ``tenant_status``. The batches use the status.
    """

    tenants: list[Unit]
    left_out: list[tuple[Unit, str]]
    differing: list[tuple[Unit, str, str]] = field(default_factory=list)


def select_tenants(
    platform: psycopg.Connection,
    codes: Sequence[str],
    further: Collection[str] = (),
    vanished: Sequence[Tenant] = (),
) -> TenantSelection:
    """The active tenants, or only those with these codes. An unknown code may be a tenant id or in full-width letters.

    ``further`` are ids of tenants that count as active. ``vanished`` tenants (deleted in the application) count as active too.
    :raises ParameterError: names the unknown codes, or the inactive tenants with their status.
    """
    by_code: dict[str, list[tuple[Tenant, str]]] = {}
    by_id: dict[str, list[tuple[Tenant, str]]] = {}
    differing: list[tuple[Unit, str, str]] = []
    for tenant_id, code, name, status, tenant_status in _tenants(platform, vanished):
        tenant = Tenant(tenant_id, code, name)
        if tenant_status:
            differing.append((tenant, status, tenant_status))
        if tenant_id in further:
            status = "ACTIVE"
        entry = (tenant, status if is_tenant_id(tenant_id) else _UNUSABLE_ID)
        by_id[tenant_id] = [entry]
        by_code.setdefault(code, []).append(entry)
    all_entries = [entry for entries in by_id.values() for entry in entries]
    if not codes:
        return TenantSelection(
            tenants=[tenant for tenant, status in all_entries if status in ACTIVE_STATUSES],
            left_out=[entry for entry in all_entries if entry[1] in _NEEDS_ATTENTION],
            differing=differing,
        )

    # The exact spelling takes precedence: another tenant may have the same code in full-width letters.
    named = {**by_id, **by_code}
    found = {code: named.get(code) or named.get(plain(code), []) for code in codes}
    missing = [code for code, entries in found.items() if not entries]
    if missing:
        raise ParameterError(
            f"テナントコード {_quoted(missing)} は存在しません。パラメータ tenants を直してください。"
        )
    chosen = [entry for entries in found.values() for entry in entries]
    inactive = [f"{tenant.code}（{status}）" for tenant, status in chosen if status not in ACTIVE_STATUSES]
    if inactive:
        raise ParameterError(
            f"稼働中でないテナントは処理できません: {'、'.join(inactive)}。パラメータ tenants を直してください。"
        )
    tenants: list[Unit] = sorted({tenant for tenant, _ in chosen}, key=lambda tenant: tenant.id)
    return TenantSelection(tenants, [], [each for each in differing if each[0] in tenants])


def _tenants(
    platform: psycopg.Connection, vanished: Sequence[Tenant]
) -> list[tuple[str, str, str, str, str | None]]:
    rows = _SQL.execute(platform, "list_tenants").fetchall()
    known = {tenant_id for tenant_id, *_ in rows}
    return rows + [
        (each.id, each.code, each.name, "ACTIVE", None) for each in vanished if each.id not in known
    ]


def select_found_tenants(
    platform: psycopg.Connection, tenant_ids: Collection[str], vanished: Sequence[Tenant] = ()
) -> TenantSelection:
    """The tenants with these ids, regardless of their status.

    :raises ParameterError: neither the application's table nor ``vanished`` has such a tenant.
    """
    tenants: list[Unit] = [
        Tenant(tenant_id, code, name)
        for tenant_id, code, name, *_ in _tenants(platform, vanished)
        if tenant_id in tenant_ids
    ]
    missing = sorted(set(tenant_ids).difference(tenant.id for tenant in tenants))
    if missing:
        raise ParameterError(
            f"テナントID {_quoted(missing)} は MST_Tenant にありません。"
            "アプリのテナントを元に戻すか、そのテナントの行を除いてください。"
        )
    return TenantSelection(tenants, [])


def _quoted(codes: Sequence[str]) -> str:
    return "、".join(f"'{code}'" for code in codes)
