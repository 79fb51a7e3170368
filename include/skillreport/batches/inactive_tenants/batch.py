"""BATCH-018-04: finds tenants without active users, and notifies once per stage. It never disables or deletes anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from include.skillreport.activity.hours import are_read
from include.skillreport.batches.inactive_tenants.digest import (
    STAGE_NAMES,
    InactiveTenant,
    digest_lines,
    last_activity_text,
    leaving_lines,
)
from include.skillreport.batches.inactive_tenants.letters import (
    TEMPLATE_OF,
    Contact,
    Silence,
    inactivity_letter,
)
from include.skillreport.batches.inactive_tenants.rules import (
    Stage,
    StageChange,
    StageReason,
    changes,
    counted_from,
    days_since,
    latest_activity,
    stage_of,
)
from include.skillreport.batches.inactive_tenants.settings import InactivitySettings
from include.skillreport.core.catalog import INACTIVE_TENANTS
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.batch import Run, StagingBatch, UnitResult, Work
from include.skillreport.core.execution.business_date import JAPAN, UtcBounds, naive_utc, utc_bounds
from include.skillreport.core.execution.digest import Digest
from include.skillreport.core.execution.people import keep_people
from include.skillreport.core.execution.reconciliation import begin_tallies
from include.skillreport.core.execution.tenant_selection import ACTIVE_STATUSES
from include.skillreport.messaging import outbox
from include.skillreport.messaging.notices import NOBODY_TO_TELL
from include.skillreport.messaging.preferences import load_preferences
from include.skillreport.messaging.resumption import defer
from include.skillreport.messaging.settings import NotificationSettings
from include.skillreport.messaging.template_store import load_templates

_SQL = Statements(Path(__file__).parent)

# Rows may be written late, so this time before the last known action is reread.
_READ_AGAIN = timedelta(days=1)

# The operators are notified this long before the deletion of a leaving tenant can be approved.
_BEFORE_END = timedelta(days=7)
# Earlier than any row.
_EVER = naive_utc(datetime(1, 1, 2, tzinfo=UTC))


@dataclass(frozen=True)
class _Judgement:
    """One tenant as of the business date. ``is_saved`` is false, and nothing is written, if a later date was already judged."""

    tenant_id: str
    silence: Silence
    changes: tuple[StageChange, ...]
    is_new: bool
    is_saved: bool
    is_excluded: bool
    notes: tuple[str, ...]


class InactiveTenantsBatch(StagingBatch):
    """The steps of BATCH-018-04; see ``include.skillreport.core.execution.batch``."""

    states = frozenset({"newStage", "inactiveDays", "excluded", *Stage})

    staging_table = "inactivity_signal"

    def __init__(self, settings: InactivitySettings, notification: NotificationSettings) -> None:
        self._settings = settings
        self._notification = notification

    def prepare(self, work: Work) -> None:
        """Write one ``batch.inactivity_signal`` row per tenant with its last activity.

        Reads the logs' new rows, or the hourly batch's counts of them. The first run, a run for a past day, and a run that a user triggered
        or cleared read the entire logs.
        """
        connection, run = work.connection, work.run
        keep_people(connection)
        begin_tallies(connection, run.execution_id)
        _SQL.execute(connection, "lock_actions")
        known = _SQL.column(connection, "known_until")
        day, counted_until = utc_bounds(run.business_date), _counted_until(run)
        # Only the latest action of each person is known, so an earlier day cannot be judged from it.
        reads_all = run.is_repeated or not known or known[0] > day.end
        read_from = _EVER if reads_all else min(known[0] - _READ_AGAIN, day.start)
        new = UtcBounds(read_from, min(day.end, counted_until))
        _SQL.execute(
            connection,
            "collect_signals",
            execution_id=run.execution_id,
            business_date=run.business_date,
            read_from=read_from,
            reads_all=reads_all,
            reads_logs=reads_all or not are_read(connection, new, late=timedelta(0), again_after=read_from),
            day_start=day.start,
            day_end=day.end,
            run_day_end=utc_bounds(max(run.run_date, run.business_date)).end,
            tenant_ids=list(work.tenant_ids),
        )
        _SQL.execute(connection, "save_known_until", read_until=counted_until)

    def process(self, work: Work) -> list[UnitResult]:
        """Judge the tenants, save their stages and changes, and queue the notifications about new stages.

        The first run after a pause holds these, although they are contract e-mails.
        """
        day = {"execution_id": work.run.execution_id, "business_date": work.run.business_date}
        _SQL.execute(work.connection, "begin_tenants", **day)
        _SQL.execute(work.connection, "lock_tenants", **day)
        rows = _SQL.rows(work.connection, "load_signals", **day)
        active_later = {row["tenant_id"] for row in rows if row["is_active_later"]}
        judgements = [self._judge(row, work.run) for row in rows]
        _save(work.connection, work.run, [judgement for judgement in judgements if judgement.is_saved])
        # A later run for a missed day must not notify tenants that have become active since.
        to_notify = {
            judgement.tenant_id: judgement.silence
            for judgement in judgements
            if _has_letter(judgement) and judgement.tenant_id not in active_later
        }
        unreachable = self._notify(work.connection, work.run, to_notify) if to_notify else set()
        self.discard(work)
        results = [_result(judgement, judgement.tenant_id in unreachable) for judgement in judgements]
        return defer(work.connection, work.run, INACTIVE_TENANTS, results, kinds=list(TEMPLATE_OF.values()))

    def digest(self, work: Work) -> Digest:
        """Unreported news: stages, ending waits of leaving tenants, and deleted tenants that no backup contains any more.

        They count as reported once this transaction is committed.
        """
        rows = _SQL.rows(work.connection, "take_stages", active_statuses=list(ACTIVE_STATUSES))
        ending = _SQL.execute(
            work.connection, "take_ending_waits", until=work.run.business_date + _BEFORE_END
        ).fetchall()
        lines = leaving_lines(ending, sorted(_SQL.column(work.connection, "take_gone_from_backups")))
        if any(row["is_new"] for row in rows):
            as_of = max(row.pop("judged_on") for row in rows)
            stages = [InactiveTenant(**{**row, "stage": Stage(row["stage"])}) for row in rows]
            lines = [*digest_lines(as_of, stages), *lines]
        return Digest(lines)

    def _judge(self, row: dict[str, Any], run: Run) -> _Judgement:
        # An invalid override is ignored, so that the tenant is still checked.
        settings, notes = self._settings.overridden_if_valid(row["setting_overrides"])
        is_excluded = row["is_trial"] and not settings.include_trial
        known_activity_on, before = row["known_activity_on"], Stage(row["known_stage"])
        last_activity_on = latest_activity(row["last_activity_on"], known_activity_on, run.business_date)
        since = counted_from(last_activity_on, row["created_on"], row["contract_start"], run.business_date)
        days = days_since(since, run.business_date)
        stage = Stage.NONE if is_excluded else stage_of(days, settings)
        is_saved = row["judged_on"] <= run.business_date
        steps: tuple[StageChange, ...] = ()
        if is_saved:
            steps = changes(
                before,
                stage,
                was_active_since=last_activity_on is not None
                and (known_activity_on is None or last_activity_on > known_activity_on),
                is_excluded=is_excluded,
            )
        reached = {step.to_stage for step in steps if step.reason is StageReason.INACTIVITY}
        return _Judgement(
            row["tenant_id"],
            Silence(stage, days, since, last_activity_on, run.business_date),
            steps,
            is_new=stage in reached.union(row["reached"]),
            is_saved=is_saved,
            is_excluded=is_excluded,
            notes=notes,
        )

    def _notify(self, connection: psycopg.Connection, run: Run, to_notify: dict[str, Silence]) -> set[str]:
        """Queue the notifications; returns the tenants without an address."""
        languages = {
            tenant_id: each.settings.language
            for tenant_id, each in load_preferences(
                connection, self._notification, datetime.combine(run.run_date, time(), JAPAN)
            ).items()
        }
        templates = load_templates(connection, list(TEMPLATE_OF.values()), languages)
        contacts = {
            tenant_id: Contact(email, (languages[tenant_id] == "en" and english) or name)
            for tenant_id, email, name, english in _SQL.execute(connection, "load_contacts")
        }
        outbox.enqueue(
            connection,
            [
                inactivity_letter(
                    tenant_id, silence, contacts[tenant_id], templates[tenant_id], run_date=run.run_date
                )
                for tenant_id, silence in to_notify.items()
                if tenant_id in contacts
            ],
            created_by=run.execution_id,
        )
        return to_notify.keys() - contacts.keys()


def _counted_until(run: Run) -> datetime:
    """The end (naive UTC) of the hours that the hourly batch has counted when the run starts.

    The run starts together with an hourly run, so the last hour is missing; the next run reads it. Logins do not come from the logs.
    """
    return naive_utc(run.as_of.replace(minute=0, second=0, microsecond=0)) - timedelta(hours=1)


def _has_letter(judgement: _Judgement) -> bool:
    return judgement.silence.stage in TEMPLATE_OF and any(
        step.reason is StageReason.INACTIVITY for step in judgement.changes
    )


def _save(connection: psycopg.Connection, run: Run, judgements: Sequence[_Judgement]) -> None:
    day = {"execution_id": run.execution_id, "business_date": run.business_date}
    stages = [
        {**_dates(judgement), "stage": judgement.silence.stage, "has_changed": bool(judgement.changes)}
        for judgement in judgements
    ]
    _SQL.execute(connection, "save_stages", **day, judgements=Jsonb(stages))
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
        _SQL.execute(connection, "record_changes", **day, changes=Jsonb(steps))


def _dates(judgement: _Judgement) -> dict[str, Any]:
    silence = judgement.silence
    return {
        "tenant_id": judgement.tenant_id,
        "last_activity_on": silence.last_activity_on and silence.last_activity_on.isoformat(),
        "inactive_since": silence.since.isoformat(),
    }


def _result(judgement: _Judgement, is_unreachable: bool) -> UnitResult:
    silence, notes = judgement.silence, list(judgement.notes)
    sentence = (
        f"{STAGE_NAMES[silence.stage]}（{silence.days} 日、{last_activity_text(silence.last_activity_on)}）"
    )
    if judgement.is_new:
        notes.append(f"非アクティブの段階が{sentence}になりました")
    if is_unreachable:
        notes.append(NOBODY_TO_TELL)
    details: dict[str, Any] = {
        "stage": silence.stage,
        "inactiveDays": silence.days,
        "lastActivityOn": silence.last_activity_on and silence.last_activity_on.isoformat(),
        "newStage": int(judgement.is_new),
        "excluded": int(judgement.is_excluded),
        **{stage: int(stage is silence.stage) for stage in Stage if stage is not Stage.NONE},
    }
    report = () if silence.stage is Stage.NONE else (f"{judgement.tenant_id}: {sentence}",)
    return UnitResult(judgement.tenant_id, details, records=1, notes=tuple(notes), report=report)
