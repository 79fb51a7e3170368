"""BATCH-018-04: which tenants nobody uses any more, told once per stage. Nothing is ever switched off or deleted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from include.database import read_sql
from include.execution.business_date import JAPAN, utc_bounds
from include.execution.digest import Digest
from include.execution.run_log import ACTIVE_STATUSES
from include.execution.tenant_work import Run, TenantBatch, TenantResult
from include.messaging import outbox
from include.messaging.preferences import load_preferences
from include.messaging.template_store import load_templates
from include.settings import Settings
from include.tenant_management.inactive_tenants.digest import (
    STAGE_NAMES,
    InactiveTenant,
    digest_lines,
    last_activity_text,
)
from include.tenant_management.inactive_tenants.letters import (
    TEMPLATE_OF,
    Contact,
    Silence,
    inactivity_letter,
)
from include.tenant_management.inactive_tenants.rules import (
    Change,
    Reason,
    Stage,
    changes,
    counted_from,
    days_since,
    latest_activity,
    stage_of,
)

_HERE = Path(__file__).parent

# Sorting a large log on disk costs more than this much of the server's memory, once per run.
_COLLECT_WORK_MEM = "256MB"


@dataclass(frozen=True)
class _Judgement:
    """One tenant as of the business date; without ``is_kept`` a newer date was judged already, and nothing is written."""

    tenant_id: str
    silence: Silence
    changes: tuple[Change, ...]
    is_new: bool
    is_kept: bool
    is_excluded: bool
    notes: tuple[str, ...]


class InactiveTenantsBatch(TenantBatch):
    """The steps of BATCH-018-04; see ``TenantBatch`` for what each must hold to."""

    staging_table = "inactivity_signal"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def prepare(self, platform: psycopg.Connection, run: Run, tenant_ids: Sequence[str]) -> None:
        """Read every host log table once and leave one ``batch.inactivity_signal`` row per tenant."""
        platform.execute("SELECT set_config('work_mem', %s, true)", [_COLLECT_WORK_MEM])
        platform.execute(
            read_sql(_HERE, "collect_signals"),
            {
                "execution_id": run.execution_id,
                "business_date": run.business_date,
                "day_end": utc_bounds(run.business_date).end,
                "run_day_end": utc_bounds(max(run.run_date, run.business_date)).end,
                "tenant_ids": list(tenant_ids),
            },
        )

    def process(
        self,
        connection: psycopg.Connection,
        run: Run,
        tenant_ids: Sequence[str],  # noqa: ARG002 - the transaction's context says it
    ) -> list[TenantResult]:
        """Judge the tenants, keep their stages and how they changed, and queue the letters about stages that are new."""
        day = {"execution_id": run.execution_id, "business_date": run.business_date}
        connection.execute(read_sql(_HERE, "begin_tenants"), day)
        connection.execute(read_sql(_HERE, "lock_tenants"), day)
        with connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(read_sql(_HERE, "load_signals"), day).fetchall()
        active_later = {row["tenant_id"] for row in rows if row["is_active_later"]}
        judgements = [self._judge(row, run) for row in rows]
        _keep(connection, run, [judgement for judgement in judgements if judgement.is_kept])
        # A run that catches up must not ask after people who have come back since.
        told = {
            judgement.tenant_id: judgement.silence
            for judgement in judgements
            if _has_letter(judgement) and judgement.tenant_id not in active_later
        }
        unreachable = self._tell(connection, run, told) if told else set()
        connection.execute(read_sql(_HERE, "use_up_signals"), day)
        return [_result(judgement, judgement.tenant_id in unreachable) for judgement in judgements]

    def digest(
        self,
        platform: psycopg.Connection,
        run: Run,  # noqa: ARG002 - a run that was killed has told nothing, and a second one of the day nothing new
    ) -> Digest:
        """The stages that the operators have not been told of, if any; told once this transaction is committed."""
        with platform.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(
                read_sql(_HERE, "take_stages"), {"active_statuses": list(ACTIVE_STATUSES)}
            ).fetchall()
        if not any(row["is_new"] for row in rows):
            return Digest()
        as_of = max(row.pop("judged_on") for row in rows)
        return Digest(
            digest_lines(as_of, [InactiveTenant(**{**row, "stage": Stage(row["stage"])}) for row in rows])
        )

    def _judge(self, row: dict[str, Any], run: Run) -> _Judgement:
        # An override that does not hold must not hide that nobody is there any more.
        settings, notes = self._settings.inactivity.overridden_if_valid(row["setting_overrides"])
        is_excluded = row["is_trial"] and not settings.include_trial
        known_activity_on, before = row["known_activity_on"], Stage(row["known_stage"])
        last_activity_on = latest_activity(row["last_activity_on"], known_activity_on, run.business_date)
        since = counted_from(last_activity_on, row["created_on"], row["contract_start"], run.business_date)
        days = days_since(since, run.business_date)
        stage = Stage.NONE if is_excluded else stage_of(days, settings)
        is_kept = row["judged_on"] <= run.business_date
        steps: tuple[Change, ...] = ()
        if is_kept:
            steps = changes(
                before,
                stage,
                was_active_since=last_activity_on is not None
                and (known_activity_on is None or last_activity_on > known_activity_on),
                is_excluded=is_excluded,
            )
        reached = {step.to_stage for step in steps if step.reason is Reason.INACTIVITY}
        return _Judgement(
            row["tenant_id"],
            Silence(stage, days, since, last_activity_on, run.business_date),
            steps,
            is_new=stage in reached.union(row["reached"]),
            is_kept=is_kept,
            is_excluded=is_excluded,
            notes=notes,
        )

    def _tell(self, connection: psycopg.Connection, run: Run, told: dict[str, Silence]) -> set[str]:
        """Queue the letters; returns the tenants that have nobody to write to."""
        languages = {
            tenant_id: own.settings.language
            for tenant_id, own in load_preferences(
                connection, self._settings.notification, datetime.combine(run.run_date, time(), JAPAN)
            ).items()
        }
        templates = load_templates(connection, list(TEMPLATE_OF.values()), languages)
        contacts = {
            tenant_id: Contact(email, name)
            for tenant_id, email, name in connection.execute(read_sql(_HERE, "load_contacts"))
        }
        outbox.enqueue(
            connection,
            [
                inactivity_letter(
                    tenant_id, silence, contacts[tenant_id], templates[tenant_id], run_date=run.run_date
                )
                for tenant_id, silence in told.items()
                if tenant_id in contacts
            ],
            created_by=run.execution_id,
        )
        return told.keys() - contacts.keys()


def _has_letter(judgement: _Judgement) -> bool:
    return judgement.silence.stage in TEMPLATE_OF and any(
        step.reason is Reason.INACTIVITY for step in judgement.changes
    )


def _keep(connection: psycopg.Connection, run: Run, judgements: Sequence[_Judgement]) -> None:
    """Write the stages as they are now, and each step by which they became so."""
    day = {"execution_id": run.execution_id, "business_date": run.business_date}
    stages = [
        {**_dates(judgement), "stage": judgement.silence.stage, "has_changed": bool(judgement.changes)}
        for judgement in judgements
    ]
    connection.execute(read_sql(_HERE, "keep_stages"), {**day, "judgements": Jsonb(stages)})
    steps = [
        {
            **_dates(judgement),
            "from_stage": step.from_stage,
            "to_stage": step.to_stage,
            "reason": step.reason,
            "inactive_days": judgement.silence.days,
        }
        for judgement in judgements
        for step in judgement.changes
    ]
    if steps:
        connection.execute(read_sql(_HERE, "record_changes"), {**day, "changes": Jsonb(steps)})


def _dates(judgement: _Judgement) -> dict[str, Any]:
    silence = judgement.silence
    return {
        "tenant_id": judgement.tenant_id,
        "last_activity_on": silence.last_activity_on and silence.last_activity_on.isoformat(),
        "inactive_since": silence.since.isoformat(),
    }


def _result(judgement: _Judgement, is_unreachable: bool) -> TenantResult:
    silence, notes = judgement.silence, list(judgement.notes)
    sentence = (
        f"{STAGE_NAMES[silence.stage]}（{silence.days} 日、{last_activity_text(silence.last_activity_on)}）"
    )
    if judgement.is_new:
        notes.append(f"非アクティブの段階が{sentence}になりました")
    if is_unreachable:
        notes.append("連絡先（contact_email、admin_email）がないため、お知らせを送れません")
    details: dict[str, Any] = {
        "stage": silence.stage,
        "inactiveDays": silence.days,
        "lastActivityOn": silence.last_activity_on and silence.last_activity_on.isoformat(),
        "newStage": int(judgement.is_new),
        "excluded": int(judgement.is_excluded),
        **{stage: int(stage is silence.stage) for stage in Stage if stage is not Stage.NONE},
    }
    report = () if silence.stage is Stage.NONE else (f"{judgement.tenant_id}: {sentence}",)
    return TenantResult(judgement.tenant_id, details, records=1, notes=tuple(notes), report=report)
