"""Plans a sync from a complete listing, and applies the plan once, in one transaction, if its input data has not changed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from include.skillreport.batches.external_sync.letter import gone_letter
from include.skillreport.batches.external_sync.listing import ListedDirectory, load_progress
from include.skillreport.batches.external_sync.plan import (
    MARKS,
    AccountLink,
    Employee,
    EntryKind,
    KnownChannel,
    MappedSetting,
    PlanEntry,
    PlanInputs,
    SyncPlan,
)
from include.skillreport.batches.external_sync.rules import plan_sync
from include.skillreport.batches.external_sync.safety_limits import EndingLimit
from include.skillreport.batches.external_sync.settings import ExternalSyncSettings
from include.skillreport.core.database import Statements, tenant_transaction
from include.skillreport.messaging import outbox
from include.skillreport.messaging.channels import channel_of
from include.skillreport.messaging.channels.directory import (
    Account,
    AccountKind,
    AccountState,
    ListedChannel,
    one_line,
)
from include.skillreport.messaging.contract_letters import CHANNELS_GONE
from include.skillreport.messaging.destinations import destinations_of
from include.skillreport.messaging.notices import load_administrators, sending_time
from include.skillreport.messaging.preferences import load_preferences
from include.skillreport.messaging.settings import NotificationSettings
from include.skillreport.messaging.template_store import load_templates

_SQL = Statements(Path(__file__).parent)

PLANNED, APPLIED, HELD, SKIPPED = "planned", "applied", "held", "skipped"


@dataclass(frozen=True)
class SavedPlan:
    """A plan as saved in ``batch.sync_plan``, with its status; ``reason``: why it is held or skipped."""

    status: str
    plan_hash: str
    world_hash: str
    entries: Sequence[PlanEntry]
    problems: Sequence[str]
    counts: Mapping[str, int]
    reason: str = ""


def plan_directory(
    connection: psycopg.Connection,
    unit: ListedDirectory,
    settings: ExternalSyncSettings,
    *,
    lifted: Collection[EndingLimit] = frozenset(),
) -> SavedPlan:
    """Make and save the plan for the unit's complete listing, in its own transaction. ``lifted``: see ``plan_sync``."""
    progress = load_progress(connection, unit)
    assert progress is not None, "only a listing that was begun is planned"
    assert progress.due is None, "only a complete listing is planned"
    with tenant_transaction(connection, [unit.tenant_id]):
        _expect_many_rows(connection)
        # The hash comes before the rows, so a change in between prevents applying the plan.
        world_hash = _world_hash(connection, unit)
        world = _load_world(connection, unit, progress.started_over)
        plan = plan_sync(world, settings, lifted=lifted)
        return _save(connection, unit, plan, world_hash)


def skip_directory(connection: psycopg.Connection, unit: ListedDirectory, reason: str) -> None:
    """Save the reason why the unit has nothing to do, in its own transaction."""
    with tenant_transaction(connection, [unit.tenant_id]):
        _write_plan(connection, unit, SavedPlan(SKIPPED, "", "", (), (), {}, reason))


def load_plan(connection: psycopg.Connection, unit: ListedDirectory) -> SavedPlan | None:
    """The unit's plan, locked in the caller's transaction; None if there is no plan."""
    row = _SQL.execute(connection.cursor(row_factory=dict_row), "load_plan", **unit.key).fetchone()
    if row is None:
        return None
    entries = [PlanEntry(**{**entry, "kind": EntryKind(entry["kind"])}) for entry in row.pop("entries")]
    return SavedPlan(entries=entries, **row)


def apply_plan(
    connection: psycopg.Connection,
    unit: ListedDirectory,
    plan: SavedPlan,
    notifications: NotificationSettings,
) -> bool:
    """Apply a plan in the caller's transaction. A plan that is already applied changes nothing.

    Returns False, and changes nothing, if the plan's input data has changed.
    """
    if plan.status not in (PLANNED, HELD):
        return True
    _expect_many_rows(connection)
    _SQL.execute(connection, "begin_sync", **unit.key)
    _SQL.execute(connection, "lock_sync", **unit.key)
    settings = [entry.subject_id for entry in plan.entries if entry.kind is EntryKind.DISABLE_SETTING]
    _SQL.execute(connection, "lock_settings", **unit.key, setting_ids=settings)
    if _world_hash(connection, unit) != plan.world_hash:
        return False
    about = {
        **unit.key,
        "entries": Jsonb([asdict(entry) for entry in plan.entries]),
        "plan_hash": plan.plan_hash,
        "marks": sorted(MARKS),
    }
    for statement in ("save_absences", "save_absent_channels"):
        _SQL.execute(connection, statement, **about)
    if plan.status == PLANNED:
        # Links end first, so that their employees can get new links.
        for statement in (
            "end_links",
            "make_links",
            "revive_links",
            "mirror_accounts",
            "delete_channels",
            "mirror_channels",
            "disable_settings",
            "record_changes",
        ):
            _SQL.execute(connection, statement, **about)
        _notify_administrator(connection, unit, plan, notifications)
        _SQL.execute(connection, "end_sync", **about, delta_link=_delta_link(connection, unit))
        _SQL.execute(connection, "end_plan", **unit.key)
    _SQL.execute(connection, "delete_listing", **unit.key)
    return True


def _expect_many_rows(connection: psycopg.Connection) -> None:
    """Disable nested loops in this transaction, because the tables may have grown by an entire directory since the last ANALYZE.

    The planner would treat them as empty. Nested loops take seconds for 10,000 accounts, and minutes for 100,000.
    """
    connection.execute("SET LOCAL enable_nestloop = off")


def _world_hash(connection: psycopg.Connection, unit: ListedDirectory) -> str:
    return str(_SQL.row(connection, "world_hash", **unit.key)[0])


def _load_world(connection: psycopg.Connection, unit: ListedDirectory, started_over: str) -> PlanInputs:
    def rows(statement: str) -> list[dict[str, Any]]:
        return _SQL.rows(connection, statement, **unit.key)

    listed = rows("load_accounts")
    return PlanInputs(
        unit.provider,
        unit.run_date,
        accounts=[_account(row) for row in listed],
        employees=[Employee(**row) for row in rows("load_employees")],
        links=[
            AccountLink(
                row["external_id"],
                row["employee_id"],
                row["is_active"],
                row["absent_on"],
                row["is_absence_doubtful"],
                _account(row) if row["kind"] else None,
            )
            for row in rows("load_links")
        ],
        channels=[ListedChannel(**row) for row in rows("load_channels")],
        known_channels=[
            KnownChannel(
                absent_on=row.pop("absent_on"),
                is_absence_doubtful=row.pop("is_absence_doubtful"),
                channel=ListedChannel(**row),
            )
            for row in rows("load_known_channels")
        ],
        settings=[
            MappedSetting(
                row["id"],
                # The tenant writes this text. Its line breaks must not start a new line of the report.
                one_line(row["setting_key"]) or row["id"],
                tuple(dict.fromkeys(destinations_of(row))),
            )
            for row in rows("load_settings")
            if channel_of(row["notification_type"]) is unit.provider
        ],
        contradictory=frozenset(row["external_id"] for row in listed if row["is_contradictory"]),
        started_over=started_over,
    )


def _account(row: Mapping[str, Any]) -> Account:
    return Account(
        row["external_id"],
        row["email"],
        row["is_email_verified"],
        row["employee_code"],
        row["display_name"],
        AccountKind(row["kind"]),
        AccountState(row["state"]),
    )


def _save(
    connection: psycopg.Connection, unit: ListedDirectory, plan: SyncPlan, world_hash: str
) -> SavedPlan:
    saved = SavedPlan(
        HELD if plan.held else PLANNED,
        plan.digest(world_hash),
        world_hash,
        plan.entries,
        plan.problems,
        plan.counts,
        plan.held,
    )
    _write_plan(connection, unit, saved)
    return saved


def _write_plan(connection: psycopg.Connection, unit: ListedDirectory, plan: SavedPlan) -> None:
    _SQL.execute(
        connection,
        "save_plan",
        **unit.key,
        status=plan.status,
        plan_hash=plan.plan_hash,
        world_hash=plan.world_hash,
        entries=Jsonb([asdict(entry) for entry in plan.entries]),
        problems=Jsonb(list(plan.problems)),
        counts=Jsonb(dict(plan.counts)),
        reason=plan.reason,
    )


def _delta_link(connection: psycopg.Connection, unit: ListedDirectory) -> str:
    """The delta link at which the unit's listing ended."""
    return str(_SQL.row(connection, "load_progress", **unit.key)[3])


def _notify_administrator(
    connection: psycopg.Connection,
    unit: ListedDirectory,
    plan: SavedPlan,
    notifications: NotificationSettings,
) -> None:
    """Queue one e-mail about the notification settings whose channels are gone."""
    disabled = [entry for entry in plan.entries if entry.kind is EntryKind.DISABLE_SETTING]
    affected = [entry for entry in plan.entries if entry.kind is EntryKind.SETTING_AFFECTED]
    address = load_administrators(connection).get(unit.tenant_id)
    if not (disabled or affected) or address is None:
        return
    due_at = sending_time(unit.run_date)
    language = load_preferences(connection, notifications, due_at)[unit.tenant_id].settings.language
    template = load_templates(connection, [CHANNELS_GONE], {unit.tenant_id: language})[unit.tenant_id]
    letter = gone_letter(unit, [*disabled, *affected], template[CHANNELS_GONE], address)
    outbox.enqueue(connection, [letter], created_by=unit.execution_id)
