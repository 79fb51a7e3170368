"""BATCH-019-03: links accounts of Slack, Teams and LINE WORKS to employees, and tracks which channels still exist."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import psycopg

from include.skillreport.batches.external_sync.listing import ListedDirectory, read_listing
from include.skillreport.batches.external_sync.rules import PLAN_EFFECTS, PLAN_STATES
from include.skillreport.batches.external_sync.safety_limits import EndingLimit
from include.skillreport.batches.external_sync.settings import ExternalSyncSettings
from include.skillreport.batches.external_sync.sync import (
    APPLIED,
    HELD,
    SKIPPED,
    SavedPlan,
    apply_plan,
    load_plan,
    plan_directory,
    skip_directory,
)
from include.skillreport.core.database import Statements, tenant_transaction
from include.skillreport.core.errors import ParameterError, is_about_data
from include.skillreport.core.execution.batch import Request, Run, TenantBatch, UnitFailure, UnitResult, Work
from include.skillreport.core.execution.digest import Digest, listed, one_line
from include.skillreport.core.network import Network
from include.skillreport.messaging.address_guard import guarded_session
from include.skillreport.messaging.channels import CHANNELS, channel_of
from include.skillreport.messaging.channels.channel import Channel, ChannelConfig, Integration
from include.skillreport.messaging.channels.directory import Access, ListingError, Patience, is_identity
from include.skillreport.messaging.destinations import destinations_of
from include.skillreport.messaging.integrations import load_integrations
from include.skillreport.messaging.message import mask_secrets
from include.skillreport.messaging.settings import NotificationSettings

_SQL = Statements(Path(__file__).parent)

# The number of concurrently read directories. Reading is mostly waiting for the services.
_CONCURRENT_DIRECTORIES = 10

# The maximum number of a plan's entries in the task's log; batch.sync_plan contains all.
_SHOWN_ENTRIES = 1_000
# The maximum number of problems in the outcome.
_SHOWN_PROBLEMS = 30


class ExternalSyncBatch(TenantBatch):
    """The steps of BATCH-019-03; see ``include.skillreport.core.execution.batch``. A part of the run is one provider."""

    effects = PLAN_EFFECTS
    states = PLAN_STATES

    def __init__(
        self,
        settings: ExternalSyncSettings,
        notifications: NotificationSettings,
        patience: Patience | None = None,
    ) -> None:
        self._settings = settings
        self._notifications = notifications
        self._patience = patience or Patience()

    def options(self, request: Request) -> dict[str, Any]:
        """``allow_many``: any number of links and channels of the named tenants may end in this run."""
        allow_many = request.values.get("allow_many") or False
        if not isinstance(allow_many, bool):
            raise ParameterError(
                f"「大量の解除を許可」（allow_many）{allow_many!r} は真偽値ではありません。true か false を指定してください。"
            )
        if allow_many and not request.codes:
            raise ParameterError(
                "「大量の解除を許可」（allow_many）は、名簿を確認したテナントを tenants に指定して実行してください。"
            )
        return {"allow_many": allow_many}

    def parts(self, request: Request) -> Mapping[str, Sequence[str]]:
        """The providers that each tenant uses."""
        rows = _SQL.execute(request.platform, "list_integrations", tenant_ids=request.tenant_ids)
        used: dict[str, set[Channel]] = {}
        for tenant_id, *names in rows:
            provider = channel_of(*names)
            if provider is not None and provider.has_directory:
                used.setdefault(tenant_id, set()).add(provider)
        return {tenant_id: sorted(providers) for tenant_id, providers in used.items()}

    def fetch(self, work: Work) -> Mapping[str, Exception]:
        """Read each tenant's entire directory and save its plan. A tenant with an incomplete listing fails, and nothing changes."""
        if not work.run.part:
            return {}
        configs = self._load_configs(work.connection, work.run, work.tenant_ids)
        mask_secrets(list(configs.values()), work.services)
        return asyncio.run(self._read_all(work.connection, work.run, configs, work.services))

    def process(self, work: Work) -> list[UnitResult | UnitFailure]:
        """Apply each tenant's plan if its input data has not changed."""
        return [self._apply(work.connection, work.run, tenant_id) for tenant_id in work.tenant_ids]

    def digest(self, work: Work) -> Digest:
        """The directories whose plan is held, with the reason and the action."""
        rows = _SQL.execute(work.connection, "held_plans", execution_id=work.run.execution_id).fetchall()
        if not rows:
            return Digest()
        title = f"外部システム連携（{work.run.business_date:%Y-%m-%d}）: 適用を保留した名簿 {len(rows)} 件"
        rest = "ほか {} 件（batch.sync_plan の status が held の行）"
        return Digest([title, *listed(rows, _held_line, rest)])

    def discard(self, work: Work) -> None:
        """Delete unapplied listings: of a dry run, and incomplete ones."""
        _SQL.execute(work.connection, "discard_listings", execution_id=work.run.execution_id)

    def _load_configs(
        self, connection: psycopg.Connection, run: Run, tenant_ids: Sequence[str]
    ) -> dict[str, ChannelConfig]:
        """The tenants' credentials for the run's provider. For a tenant without credentials, saves the reason as its plan."""
        with tenant_transaction(connection, tenant_ids):
            rows = load_integrations(connection)
        found: dict[str, ChannelConfig | str] = {}
        for row in rows:
            provider = channel_of(row["integration_key"], row["integration_type"])
            if provider is not None and provider == run.part:
                # If a provider has two rows, the newest comes last and counts.
                found[row["tenant_id"]] = directory_config_of(provider, row)
        configs: dict[str, ChannelConfig] = {}
        for tenant_id in tenant_ids:
            config = found.get(tenant_id, "外部連携が無効になったため対象外です")
            if isinstance(config, str):
                skip_directory(connection, unit_of(run, tenant_id), config)
            else:
                configs[tenant_id] = config
        return configs

    async def _read_all(
        self,
        connection: psycopg.Connection,
        run: Run,
        configs: Mapping[str, ChannelConfig],
        network: Network,
    ) -> dict[str, Exception]:
        errors: dict[str, Exception] = {}
        at_once = asyncio.Semaphore(_CONCURRENT_DIRECTORIES)
        stop_at = asyncio.get_running_loop().time() + run.send_seconds
        async with guarded_session(network.allowed_hosts) as session:

            async def read(tenant_id: str, config: ChannelConfig) -> None:
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
        config: ChannelConfig,
        session: aiohttp.ClientSession,
        network: Network,
    ) -> None:
        unit = unit_of(run, tenant_id)
        service = unit.provider.directory
        with tenant_transaction(connection, [tenant_id]):
            plan = load_plan(connection, unit)
            delta_link = _load_delta_link(connection, unit) if service.reads_changes else ""
            rooms = _load_rooms(connection, unit, service.room_prefix) if service.room_prefix else ()
        if plan and plan.status == APPLIED:
            return
        access = Access(session, network.allowed_hosts, self._patience, delta_link, rooms)
        await read_listing(connection, unit, service(config, access))
        self.plan_unit(connection, unit, run)

    def plan_unit(self, connection: psycopg.Connection, unit: ListedDirectory, run: Run) -> None:
        """Save the plan for the unit's complete listing, in its own transaction."""
        lifted = frozenset(EndingLimit) if run.options["allow_many"] else frozenset()
        plan_directory(connection, unit, self._settings, lifted=lifted)

    def _apply(self, connection: psycopg.Connection, run: Run, tenant_id: str) -> UnitResult | UnitFailure:
        if not run.part:
            return UnitResult(tenant_id, {"directories": 0}, records=0)
        unit = unit_of(run, tenant_id)
        plan = load_plan(connection, unit)
        if plan is None:
            return UnitFailure(tenant_id, "NO_PLAN", "名簿を読む段階が実行されていません", recoverable=True)
        if not apply_plan(connection, unit, plan, self._notifications):
            return UnitFailure(
                tenant_id,
                "WORLD_CHANGED",
                "計画を立てた後に社員・連携・通知設定のどれかが変わったため、適用しませんでした。やり直してください",
                recoverable=True,
            )
        outcome = _result(run, tenant_id, plan)
        if plan.status != APPLIED:
            return outcome
        # An earlier attempt has applied the plan and counted its effects.
        return replace(
            outcome,
            details={name: value for name, value in outcome.details.items() if name not in PLAN_EFFECTS},
        )


def unit_of(run: Run, tenant_id: str) -> ListedDirectory:
    """The tenant's directory in this run's part."""
    return ListedDirectory(tenant_id, CHANNELS[run.part], run.execution_id, run.run_date)


def directory_config_of(provider: Channel, row: Mapping[str, Any]) -> ChannelConfig | str:
    """A row's credentials for the directory, or a sentence why there are none."""
    integration = Integration.of_row(row)
    # The row is also used to send messages.
    if integration.connection.get("directory_sync") is False:
        return "設定（directory_sync）により対象外です"
    missing = f"名簿を読む認証情報（{provider.directory.credentials}）がないため対象外です"
    return provider.directory.config_of(integration) or missing


def _load_delta_link(connection: psycopg.Connection, unit: ListedDirectory) -> str:
    row = _SQL.execute(connection, "load_delta_link", **unit.key).fetchone()
    return str(row[0]) if row else ""


def _load_rooms(connection: psycopg.Connection, unit: ListedDirectory, prefix: str) -> Collection[str]:
    """The known talk rooms: from notification settings, and from the last applied listing."""
    settings = _SQL.rows(connection, "load_settings", **unit.key)
    known = _SQL.rows(connection, "load_known_channels", **unit.key)
    named = {
        destination.removeprefix(prefix)
        for setting in settings
        if channel_of(setting["notification_type"]) == unit.provider
        for destination in destinations_of(setting)
        if destination.startswith(prefix)
    }
    return {room for room in named if is_identity(room)} | {
        row["external_id"] for row in known if row["kind"] == "room"
    }


def _held_line(row: tuple[Any, ...]) -> str:
    code, name, provider, reason = row
    return f"・{one_line(f'{code} {name}')}（{CHANNELS[provider].service}）: {reason}"


def _result(run: Run, tenant_id: str, plan: SavedPlan) -> UnitResult:
    prefix = f"{tenant_id} {run.part}: {'予定: ' if run.dry_run else ''}"
    if plan.status == SKIPPED:
        report = (f"{prefix}{plan.reason}",)
        return UnitResult(tenant_id, {"provider": run.part, "skipped": 1}, records=0, report=report)
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
    return UnitResult(
        tenant_id,
        details,
        records=plan.counts["accounts"] + len(plan.entries),
        notes=tuple(notes),
        report=tuple(lines),
    )
