"""BATCH-019-03: whose account is whose, and which channels are still there, kept in step with Slack, Teams and LINE WORKS."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
from psycopg.rows import dict_row

from include.database import read_sql, tenant_transaction
from include.errors import ParameterError, is_about_data
from include.execution.digest import Digest, listed, one_line
from include.execution.sharding import Tenant
from include.execution.tenant_work import Run, TenantBatch, TenantFailure, TenantResult
from include.messaging.address_guard import guarded_session
from include.messaging.delivery import mask_secrets
from include.messaging.destinations import destinations_of
from include.messaging.integrations import channel_of, load_integrations
from include.messaging.message import LineWorksConfig, Network
from include.messaging.outcome import Channel
from include.notification.external_sync.credentials import (
    PROVIDERS,
    DirectoryConfig,
    GraphConfig,
    directory_config_of,
)
from include.notification.external_sync.directories import Patience, open_directory
from include.notification.external_sync.directories.base import ListingError, is_identity
from include.notification.external_sync.listing import Unit, read_listing
from include.notification.external_sync.sync import (
    APPLIED,
    HELD,
    PROVIDER_NAMES,
    SKIPPED,
    KeptPlan,
    apply_plan,
    load_plan,
    plan_directory,
    skip_directory,
)
from include.settings import ExternalSyncSettings, NotificationSettings

_HERE = Path(__file__).parent

# Directories that are read at once: each waits for its own service most of the time.
_SIDE_BY_SIDE = 10

# Of a plan, in the task's log; all of it is in batch.sync_plan.
_SHOWN_ENTRIES = 1_000
# Of what people have to settle, in the outcome.
_SHOWN_PROBLEMS = 30

_ROOM_PREFIX = "channels/"


class ExternalSyncBatch(TenantBatch):
    """The steps of BATCH-019-03; see ``TenantBatch`` for what each must hold to. A run's part is the provider."""

    asks_services = True

    def __init__(
        self,
        settings: ExternalSyncSettings,
        notifications: NotificationSettings,
        patience: Patience | None = None,
    ) -> None:
        self._settings = settings
        self._notifications = notifications
        self._patience = patience or Patience()

    def options(
        self,
        parameters: Mapping[str, Any],
        tenants: Sequence[Tenant],  # noqa: ARG002
        *,
        all_tenants: bool,
    ) -> dict[str, Any]:
        """``allow_many``: any number of links may end in this run, of tenants that are named."""
        allow_many = parameters.get("allow_many") or False
        if not isinstance(allow_many, bool):
            raise ParameterError(
                f"「大量の解除を許可」（allow_many）{allow_many!r} は真偽値ではありません。true か false を指定してください。"
            )
        if allow_many and all_tenants:
            raise ParameterError(
                "「大量の解除を許可」（allow_many）は、名簿を確認したテナントを tenants に指定して実行してください。"
            )
        return {"allow_many": allow_many}

    def parts(self, platform: psycopg.Connection, tenants: Sequence[Tenant]) -> Mapping[str, Sequence[str]]:
        """The providers that each tenant uses."""
        rows = platform.execute(
            read_sql(_HERE, "list_integrations"), {"tenant_ids": [tenant.id for tenant in tenants]}
        )
        used: dict[str, set[Channel]] = {}
        for tenant_id, *names in rows:
            provider = channel_of(*names)
            if provider in PROVIDERS:
                used.setdefault(tenant_id, set()).add(provider)
        return {tenant_id: sorted(providers) for tenant_id, providers in used.items()}

    def fetch(
        self, connection: psycopg.Connection, run: Run, tenant_ids: Sequence[str], network: Network
    ) -> Mapping[str, Exception]:
        """Read each tenant's directory to its end, and plan; whoever's listing is not complete has failed, and changes nothing."""
        if not run.part:
            return {}
        configs = self._load_configs(connection, run, tenant_ids)
        mask_secrets(list(configs.values()), network)
        return asyncio.run(self._read_all(connection, run, configs, network))

    def process(
        self, connection: psycopg.Connection, run: Run, tenant_ids: Sequence[str]
    ) -> list[TenantResult | TenantFailure]:
        """Apply each tenant's plan, if the world is still the one that it was made from."""
        return [self._apply(connection, run, tenant_id) for tenant_id in tenant_ids]

    def digest(self, platform: psycopg.Connection, run: Run) -> Digest:
        """The directories that nothing was applied of, and what to do about each."""
        rows = platform.execute(read_sql(_HERE, "held_plans"), {"execution_id": run.execution_id}).fetchall()
        if not rows:
            return Digest()
        title = f"外部システム連携（{run.business_date:%Y-%m-%d}）: 適用を保留した名簿 {len(rows)} 件"
        rest = "ほか {} 件（batch.sync_plan の status が held の行）"
        return Digest([title, *listed(rows, _held, rest)])

    def discard(self, platform: psycopg.Connection, run: Run) -> None:
        """Delete listings that came to nothing: a dry run's, and incomplete ones."""
        platform.execute(read_sql(_HERE, "discard_listings"), {"execution_id": run.execution_id})

    def _load_configs(
        self, connection: psycopg.Connection, run: Run, tenant_ids: Sequence[str]
    ) -> dict[str, DirectoryConfig]:
        """The tenants' credentials for the run's provider; whoever has none is left out, with the reason kept as its plan."""
        with tenant_transaction(connection, tenant_ids):
            rows = load_integrations(connection)
        found: dict[str, DirectoryConfig | str] = {}
        for row in rows:
            provider = channel_of(row["integration_key"], row["integration_type"])
            if provider == run.part:
                # Of two rows for one provider the one changed last comes last.
                found[row["tenant_id"]] = directory_config_of(provider, row)
        configs: dict[str, DirectoryConfig] = {}
        for tenant_id in tenant_ids:
            config = found.get(tenant_id, "外部連携が無効になったため対象外です")
            if isinstance(config, str):
                skip_directory(connection, _unit(run, tenant_id), config)
            else:
                configs[tenant_id] = config
        return configs

    async def _read_all(
        self,
        connection: psycopg.Connection,
        run: Run,
        configs: Mapping[str, DirectoryConfig],
        network: Network,
    ) -> dict[str, Exception]:
        errors: dict[str, Exception] = {}
        at_once = asyncio.Semaphore(_SIDE_BY_SIDE)
        stop_at = asyncio.get_running_loop().time() + run.send_seconds
        async with guarded_session(network.allowed_hosts) as session:

            async def read(tenant_id: str, config: DirectoryConfig) -> None:
                async with at_once:
                    try:
                        async with asyncio.timeout_at(stop_at):
                            await self._read(connection, run, tenant_id, config, session, network)
                    except TimeoutError:
                        errors[tenant_id] = ListingError(
                            f"名簿を {run.send_seconds} 秒以内に読み終わりませんでした", recoverable=True
                        )
                    except ListingError as error:
                        errors[tenant_id] = error
                    except Exception as error:
                        if not is_about_data(error):
                            raise
                        errors[tenant_id] = error

            await asyncio.gather(*(read(tenant_id, config) for tenant_id, config in configs.items()))
        return errors

    async def _read(
        self,
        connection: psycopg.Connection,
        run: Run,
        tenant_id: str,
        config: DirectoryConfig,
        session: aiohttp.ClientSession,
        network: Network,
    ) -> None:
        unit = _unit(run, tenant_id)
        with tenant_transaction(connection, [tenant_id]):
            plan = load_plan(connection, unit)
            delta_link = _load_delta_link(connection, unit) if isinstance(config, GraphConfig) else ""
            rooms = _load_rooms(connection, unit) if isinstance(config, LineWorksConfig) else ()
        if plan and plan.status == APPLIED:
            return
        directory = open_directory(
            config, session, network.allowed_hosts, self._patience, delta_link=delta_link, rooms=rooms
        )
        await read_listing(connection, unit, directory)
        plan_directory(connection, unit, self._settings, allow_many=bool(run.options.get("allow_many")))

    def _apply(
        self, connection: psycopg.Connection, run: Run, tenant_id: str
    ) -> TenantResult | TenantFailure:
        if not run.part:
            return TenantResult(tenant_id, {"directories": 0}, records=0)
        unit = _unit(run, tenant_id)
        plan = load_plan(connection, unit)
        if plan is None:
            return TenantFailure(tenant_id, "NO_PLAN", "名簿を読む段階が実行されていません", recoverable=True)
        if not apply_plan(connection, unit, plan, self._notifications):
            return TenantFailure(
                tenant_id,
                "WORLD_CHANGED",
                "計画を立てた後に社員・連携・通知設定のどれかが変わったため、適用しませんでした。やり直してください",
                recoverable=True,
            )
        return _result(run, tenant_id, plan)


def _unit(run: Run, tenant_id: str) -> Unit:
    return Unit(tenant_id, Channel(run.part), run.execution_id, run.run_date)


def _load_delta_link(connection: psycopg.Connection, unit: Unit) -> str:
    row = connection.execute(read_sql(_HERE, "load_delta_link"), unit.key).fetchone()
    return str(row[0]) if row else ""


def _load_rooms(connection: psycopg.Connection, unit: Unit) -> Collection[str]:
    """The talk rooms that are known: those that notification settings name, and those that were there before."""
    with connection.cursor(row_factory=dict_row) as cursor:
        settings = cursor.execute(read_sql(_HERE, "load_settings"), unit.key).fetchall()
        known = cursor.execute(read_sql(_HERE, "load_known_channels"), unit.key).fetchall()
    named = {
        destination.removeprefix(_ROOM_PREFIX)
        for setting in settings
        if channel_of(setting["notification_type"]) is unit.provider
        for destination in destinations_of(setting)
        if destination.startswith(_ROOM_PREFIX)
    }
    return {room for room in named if is_identity(room)} | {
        row["external_id"] for row in known if row["kind"] == "room"
    }


def _held(row: tuple[Any, ...]) -> str:
    code, name, provider, reason = row
    return f"・{one_line(f'{code} {name}')}（{PROVIDER_NAMES[Channel(provider)]}）: {reason}"


def _result(run: Run, tenant_id: str, plan: KeptPlan) -> TenantResult:
    prefix = f"{tenant_id} {run.part}: {'予定: ' if run.dry_run else ''}"
    if plan.status == SKIPPED:
        report = (f"{prefix}{plan.reason}",)
        return TenantResult(tenant_id, {"provider": run.part, "skipped": 1}, records=0, report=report)
    lines = [f"{prefix}{entry.sentence()}" for entry in plan.entries[:_SHOWN_ENTRIES]]
    if len(plan.entries) > _SHOWN_ENTRIES:
        lines.append(f"{prefix}ほか {len(plan.entries) - _SHOWN_ENTRIES:,} 件（batch.sync_plan）")
    lines.append(f"{prefix}計画 {plan.plan_hash[:12]}、変更 {len(plan.entries):,} 件")
    notes = list(listed(plan.problems, str, "ほか {:,} 件（batch.sync_plan の problems）", _SHOWN_PROBLEMS))
    if plan.status == HELD:
        notes.insert(0, f"適用を保留しました: {plan.reason}")
    details = {
        "provider": run.part,
        "directories": 1,
        "planHash": plan.plan_hash,
        "held": int(plan.status == HELD),
        "unsettled": len(plan.problems),
        **plan.counts,
    }
    return TenantResult(
        tenant_id,
        details,
        records=plan.counts["accounts"] + len(plan.entries),
        notes=tuple(notes),
        report=tuple(lines),
    )
