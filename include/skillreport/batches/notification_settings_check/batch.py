"""BATCH-019-05: checks daily whether the tenants' notification settings work, without sending messages."""

from __future__ import annotations

import asyncio
import calendar
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
from psycopg.types.json import Jsonb

from include.skillreport.batches.notification_settings_check.letter import settings_letter
from include.skillreport.batches.notification_settings_check.mail_server import (
    is_broken,
    mail_failure,
    with_mail_warnings,
)
from include.skillreport.batches.notification_settings_check.rules import (
    SettingFinding,
    TenantSettings,
    findings_in,
    service_finding,
)
from include.skillreport.core.database import Statements, tenant_transaction
from include.skillreport.core.errors import code_of, is_about_data, reason_of
from include.skillreport.core.execution.batch import (
    Run,
    StagingBatch,
    UnitFailure,
    UnitResult,
    Work,
    count_effects,
)
from include.skillreport.core.execution.digest import Digest
from include.skillreport.core.network import Network
from include.skillreport.messaging import outbox
from include.skillreport.messaging.address_guard import guarded_session
from include.skillreport.messaging.channels import EMAIL, channel_of
from include.skillreport.messaging.channels.channel import (
    Channel,
    ChannelConfig,
    ChannelFinding,
    NotConfigured,
)
from include.skillreport.messaging.contract_letters import SETTINGS_BROKEN
from include.skillreport.messaging.destinations import destinations_of
from include.skillreport.messaging.integrations import config_of, load_channel_rows, used_rows
from include.skillreport.messaging.message import mask_secrets
from include.skillreport.messaging.notices import NOBODY_TO_TELL, load_administrators, sending_time
from include.skillreport.messaging.outbox import Lane
from include.skillreport.messaging.outcome import ErrorClass, failed
from include.skillreport.messaging.pacing import limit_of
from include.skillreport.messaging.preferences import Preferences, load_preferences, with_own_mail_server
from include.skillreport.messaging.retry import CLOSES_CHANNEL
from include.skillreport.messaging.settings import NotificationSettings
from include.skillreport.messaging.template_store import load_templates

_SQL = Statements(Path(__file__).parent)

# The number of concurrently checked channels, and their time limits in seconds: for the login, and for each destination.
_CONCURRENT_CHECKS = 50
_TIME_TO_ANSWER = 60
_TIME_FOR_DESTINATION = 2

# The prefix of services' findings. Findings in rows lack it.
_SERVICE_PREFIX = "接続先 "

# The errors with which a mail server rejects the installation.
_ACCESS_CODES = [code for code, row in EMAIL.errors.items() if row.error_class is ErrorClass.ACCESS]


@dataclass(frozen=True)
class _Channel:
    """An enabled row of SYS_IntegrationConfig. ``config`` is None if a field of the row is missing.

    The webhook of a setting has no ``integration_id``.
    """

    integration_id: str | None
    lane: Lane
    config: ChannelConfig | None
    destinations: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True)
class _Answer:
    """The answer of a channel's service: the problems and warnings, or why the service did not answer."""

    channel: _Channel
    broken: tuple[ChannelFinding, ...] = ()
    warnings: tuple[ChannelFinding, ...] = ()
    unasked: tuple[ChannelFinding, ...] = ()

    @property
    def health(self) -> str:
        """The health on the application's page of integrations."""
        if self.broken or self.channel.config is None:
            return "UNHEALTHY"
        return "UNKNOWN" if self.unasked else "HEALTHY"

    @property
    def accepts_login(self) -> bool:
        """True if the service accepted the credentials. A destination may still have a problem."""
        problems = (*self.broken, *self.unasked)
        return self.channel.config is not None and all(each.destination for each in problems)


class NotificationSettingsCheckBatch(StagingBatch):
    """The steps of BATCH-019-05; see ``include.skillreport.core.execution.batch``."""

    counted = frozenset({"newlyBroken"})
    states = frozenset({"checkedChannels", "brokenSettings"})

    staging_table = "former_mailbox"

    def __init__(self, settings: NotificationSettings) -> None:
        self._settings = settings

    def prepare(self, work: Work) -> None:
        """Read the employees once, and stage each tenant's mailboxes of former employees."""
        _SQL.execute(
            work.connection,
            "collect_mailboxes",
            execution_id=work.run.execution_id,
            tenant_ids=list(work.tenant_ids),
        )

    def process(self, work: Work) -> list[UnitResult]:
        """Check the tenants' rows, and save the findings."""
        found = self._found_in_rows(work.connection, work.run)
        for tenant_id in work.tenant_ids:
            _save(work.connection, work.run, tenant_id, found[tenant_id], of_services=False)
        return [_result(tenant_id, found[tenant_id]) for tenant_id in work.tenant_ids]

    def send(self, work: Work, results: Sequence[UnitResult]) -> Sequence[UnitResult | UnitFailure]:
        """Check the settings with the services without sending a message. Save the findings, and queue an e-mail about new ones.

        If the mail server rejects the installation's own login, every tenant fails, except tenants with their own mail server, because the
        operators must solve this.
        """
        tenant_ids = [result.unit_id for result in results]
        with tenant_transaction(work.connection, tenant_ids):
            preferences = load_preferences(
                work.connection, self._settings, sending_time(work.run.business_date)
            )
            channels = _load_channels(work.connection, with_own_mail_server(preferences))
        mask_secrets([channel.config for channel in channels if channel.config], work.services)
        answers, mail = asyncio.run(_ask(channels, work.services))
        of_tenant: defaultdict[str, list[_Answer]] = defaultdict(list)
        for answer in answers:
            of_tenant[answer.channel.lane.tenant_id].append(answer)
        checked = [
            self._save_answers_isolated(
                work.connection, work.run, result, of_tenant[result.unit_id], preferences[result.unit_id]
            )
            for result in results
        ]
        own_servers = {
            channel.lane.tenant_id for channel in channels if channel.config and channel.lane.channel == EMAIL
        }
        checked = [with_mail_warnings(outcome, mail) for outcome in checked]
        if refusal := next((each for each in mail if not each.is_warning), None):
            return [
                outcome if outcome.unit_id in own_servers else mail_failure(outcome.unit_id, refusal)
                for outcome in checked
            ]
        with tenant_transaction(work.connection, [each for each in tenant_ids if each not in own_servers]):
            _SQL.execute(work.connection, "reopen_mail")
            _SQL.execute(work.connection, "probe_mail_server", limit_key=limit_of(work.services.email).key)
            _SQL.execute(work.connection, "probe_with_refused_letters", codes=_ACCESS_CODES)
        return checked

    def digest(self, work: Work) -> Digest:
        """The warnings about the installation's mail server, on their first day and then in each Monday's run."""
        codes = _SQL.column(
            work.connection,
            "unreported_mail_warnings",
            execution_id=work.run.execution_id,
            is_monday=work.run.business_date.weekday() == calendar.MONDAY,
        )
        if not codes:
            return Digest()
        warnings = [f"接続 'skill_batch_smtp': {EMAIL.errors[code].meaning}" for code in codes]
        return Digest(["メールサーバーの設定は、まもなく使えなくなります", *warnings])

    def _found_in_rows(self, connection: psycopg.Connection, run: Run) -> dict[str, list[SettingFinding]]:
        preferences = load_preferences(connection, self._settings, sending_time(run.business_date))
        integrations = _by_tenant(load_channel_rows(connection, with_own_mail_server(preferences)))
        templates = _by_tenant(_SQL.rows(connection, "load_templates"))
        settings = _by_tenant(_SQL.rows(connection, "load_settings"))
        mailboxes = _SQL.rows(connection, "delete_mailboxes", execution_id=run.execution_id)
        former = {row["tenant_id"]: frozenset(row["addresses"]) for row in mailboxes}
        return {
            tenant_id: findings_in(
                TenantSettings(
                    integrations=integrations[tenant_id],
                    templates=templates[tenant_id],
                    settings=settings[tenant_id],
                    former_mailboxes=former.get(tenant_id, frozenset()),
                    refused_preferences=each.refused,
                )
            )
            for tenant_id, each in preferences.items()
        }

    def _save_answers_isolated(
        self,
        connection: psycopg.Connection,
        run: Run,
        result: UnitResult,
        answers: Sequence[_Answer],
        preferences: Preferences,
    ) -> UnitResult | UnitFailure:
        """Save one tenant's answers. If its rows cause an error, only this tenant fails."""
        try:
            return self._save_answers(connection, run, result, answers, preferences)
        except Exception as error:
            if not is_about_data(error):
                raise
            return UnitFailure(result.unit_id, code_of(error), reason_of(error), recoverable=False)

    def _save_answers(
        self,
        connection: psycopg.Connection,
        run: Run,
        result: UnitResult,
        answers: Sequence[_Answer],
        preferences: Preferences,
    ) -> UnitResult:
        tenant_id = result.unit_id
        found = sorted(
            {
                service_finding(_subject(answer.channel), answer.channel.lane.channel, each)
                for answer in answers
                for each in (*answer.broken, *answer.warnings)
            }
        )
        notes = [
            f"{_subject(answer.channel)}: 確認できませんでした（{each.error.meaning}）"
            for answer in answers
            for each in answer.unasked
        ]
        with tenant_transaction(connection, [tenant_id]):
            unanswered = [_subject(answer.channel) for answer in answers if answer.unasked]
            _save(connection, run, tenant_id, found, of_services=True, unanswered=unanswered)
            for answer in answers:
                notes += self._record_health(connection, answer, preferences)
            address = load_administrators(connection).get(tenant_id)
            newly = self._notify(connection, run, tenant_id, preferences, address) if address else 0
            count_effects(connection, run, tenant_id, newlyBroken=newly)
            if not address and (found or result.details["brokenSettings"]):
                notes.append(NOBODY_TO_TELL)
        return replace(
            result,
            details=result.details
            | {
                "checkedChannels": len({answer.channel.lane for answer in answers}),
                "brokenSettings": int(result.details["brokenSettings"]) + len(found),
                "newlyBroken": newly,
            },
            notes=(*result.notes, *notes, *(each.sentence() for each in found)),
        )

    def _record_health(
        self, connection: psycopg.Connection, answer: _Answer, preferences: Preferences
    ) -> list[str]:
        """Save the channel's health for the application, and reopen or disable the channel. Returns notes."""
        lane = answer.channel.lane
        switch_off = (
            preferences.settings.auto_disable
            and answer.channel.integration_id is not None
            and any(each.error.error_class in CLOSES_CHANNEL for each in answer.broken)
        )
        _SQL.execute(
            connection,
            "record_health",
            integration_id=answer.channel.integration_id,
            health=answer.health,
            now=datetime.now(UTC).replace(tzinfo=None),
            switch_off=switch_off,
        )
        if answer.accepts_login and lane.channel.proves_login(answer.channel.config):
            # The service has accepted these credentials.
            ended = [error.code for error in lane.channel.errors.values() if error.ends_by_check]
            about = {"tenant_id": lane.tenant_id, "channel": lane.channel}
            _SQL.execute(connection, "reopen_channel", **about, error_codes=ended)
        return [f"{_subject(answer.channel)}: 外部連携を無効にしました（auto_disable）"] if switch_off else []

    def _notify(
        self,
        connection: psycopg.Connection,
        run: Run,
        tenant_id: str,
        preferences: Preferences,
        address: str,
    ) -> int:
        """Queue one e-mail about the administrator's unreported findings. Returns their number."""
        rows = _SQL.execute(
            connection, "take_unreported_findings", tenant_id=tenant_id, execution_id=run.execution_id
        ).fetchall()
        if rows:
            language = preferences.settings.language
            template = load_templates(connection, [SETTINGS_BROKEN], {tenant_id: language})[tenant_id]
            letter = settings_letter(
                tenant_id,
                rows,
                template[SETTINGS_BROKEN],
                address,
                execution_id=run.execution_id,
                run_date=run.run_date,
            )
            outbox.enqueue(connection, [letter], created_by=run.execution_id)
        return len(rows)


async def _ask(channels: Sequence[_Channel], network: Network) -> tuple[list[_Answer], list[ChannelFinding]]:
    """The answers of the channels' services, and the mail server's findings."""
    at_once = asyncio.Semaphore(_CONCURRENT_CHECKS)
    async with guarded_session(network.allowed_hosts) as session:

        async def ask(
            config: ChannelConfig | None, channel: Channel, named: Collection[str]
        ) -> list[ChannelFinding]:
            if config is None:
                return []
            async with at_once:
                return await _validate(config, channel, named, session, network)

        mail, *replies = await asyncio.gather(
            ask(network.email, EMAIL, ()) if network.email else NotConfigured(EMAIL).validate(),
            *(ask(channel.config, channel.lane.channel, channel.destinations) for channel in channels),
        )
    answers = [
        _Answer(
            channel,
            tuple(each for each in findings if is_broken(each)),
            tuple(each for each in findings if each.is_warning),
            tuple(each for each in findings if not (is_broken(each) or each.is_warning)),
        )
        for channel, findings in zip(channels, replies, strict=True)
    ]
    return answers, mail


async def _validate(
    config: ChannelConfig,
    channel: Channel,
    destinations: Collection[str],
    session: aiohttp.ClientSession,
    network: Network,
) -> list[ChannelFinding]:
    try:
        async with (
            asyncio.timeout(_TIME_TO_ANSWER + _TIME_FOR_DESTINATION * len(destinations)),
            aclosing(channel.client(config, session, network.allowed_hosts)) as client,
        ):
            return await client.validate(destinations)
    except Exception as problem:
        # A client should never raise, but if it does, the other checks continue.
        code = "timeout" if isinstance(problem, TimeoutError) else "connection_lost"
        error = failed(channel, code).error
        assert error is not None
        return [ChannelFinding(error, type(problem).__name__)]


def _load_channels(connection: psycopg.Connection, own_mail_server: Collection[str]) -> list[_Channel]:
    """The rows that messages of the transaction's tenants use, and the unusable rows."""
    settings = _by_tenant(_SQL.rows(connection, "load_settings"))
    rows = load_channel_rows(connection, own_mail_server)
    used = [
        _Channel(row["id"], lane, config, _destinations(lane.channel, settings[lane.tenant_id]))
        for lane, (row, config) in used_rows(rows).items()
    ]
    unusable = [
        _Channel(row["id"], Lane(row["tenant_id"], channel), None, ())
        for row in rows
        if (channel := channel_of(row["integration_key"], row["integration_type"]))
        and config_of(channel, row) is None
    ]
    return [*used, *unusable]


def _destinations(channel: Channel, settings: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    named = [
        destination
        for setting in settings
        if channel_of(setting["notification_type"]) == channel
        for destination in destinations_of(setting)
    ]
    return tuple(dict.fromkeys(named))


def _save(
    connection: psycopg.Connection,
    run: Run,
    tenant_id: str,
    found: Sequence[SettingFinding],
    *,
    of_services: bool,
    unanswered: Sequence[str] = (),
) -> None:
    """Replace earlier findings in the rows or of the services. The findings of a service that does not answer stay."""
    _SQL.execute(
        connection,
        "save_findings",
        tenant_id=tenant_id,
        found_on=run.run_date,
        of_services=of_services,
        service_prefix=_SERVICE_PREFIX,
        unanswered=list(unanswered),
        findings=Jsonb([asdict(each) for each in found]),
    )


def _subject(channel: _Channel) -> str:
    return f"{_SERVICE_PREFIX}{channel.lane.channel.label}"


def _result(tenant_id: str, found: Sequence[SettingFinding]) -> UnitResult:
    return UnitResult(
        tenant_id, {"brokenSettings": len(found)}, records=0, notes=tuple(each.sentence() for each in found)
    )


def _by_tenant(rows: Iterable[dict[str, Any]]) -> defaultdict[str, list[dict[str, Any]]]:
    grouped: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        grouped[row["tenant_id"]].append(row)
    return grouped
