"""BATCH-019-05: do the tenants' notification settings work? Asked every day, without sending anything to anybody's channel."""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from include.database import read_sql, tenant_transaction
from include.errors import code_of, is_about_data, reason_of
from include.execution.tenant_work import Run, TenantBatch, TenantFailure, TenantResult
from include.messaging import outbox
from include.messaging.address_guard import guarded_session
from include.messaging.channels import Finding, NotConfigured, connect
from include.messaging.delivery import mask_secrets
from include.messaging.destinations import destinations_of
from include.messaging.integrations import channel_of, config_of, load_integrations
from include.messaging.message import ChannelConfig, Network, SlackConfig, TeamsConfig
from include.messaging.notices import SETTINGS_BROKEN, load_administrators, notice, sending_time
from include.messaging.outbox import Lane
from include.messaging.outcome import Channel, ErrorClass, Outcome, failed
from include.messaging.preferences import Preferences, load_preferences
from include.messaging.retry import CLOSES_CHANNEL
from include.messaging.template_store import load_templates
from include.notification.notification_settings_check.rules import (
    SettingFinding,
    TenantSettings,
    findings_in,
)
from include.settings import NotificationSettings

_HERE = Path(__file__).parent

# Channels that are asked at once, and the seconds that one may take over it.
_SIDE_BY_SIDE = 50
_TIME_TO_ANSWER = 60

# How findings of a service are named: apart from those of the rows, which are found without asking.
_SERVICE_PREFIX = "接続先 "


@dataclass(frozen=True)
class _Channel:
    """One row of SYS_IntegrationConfig that is in use; without a configuration something is missing in it."""

    integration_id: str
    lane: Lane
    config: ChannelConfig | None
    destinations: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True)
class _Answer:
    """What a channel's service said: what is broken, and why it could not be asked."""

    channel: _Channel
    broken: tuple[Finding, ...] = ()
    unasked: tuple[Finding, ...] = ()

    @property
    def health(self) -> str:
        """For the application's page of integrations."""
        if self.broken or self.channel.config is None:
            return "UNHEALTHY"
        return "UNKNOWN" if self.unasked else "HEALTHY"


class NotificationSettingsCheckBatch(TenantBatch):
    """The steps of BATCH-019-05; see ``TenantBatch`` for what each must hold to."""

    sends_messages = True
    staging_table = "former_mailbox"

    def __init__(self, settings: NotificationSettings) -> None:
        self._settings = settings

    def prepare(self, platform: psycopg.Connection, run: Run, tenant_ids: Sequence[str]) -> None:
        """Read the employees once, and leave the mailboxes of those who have left for each tenant."""
        platform.execute(
            read_sql(_HERE, "collect_mailboxes"),
            {"execution_id": run.execution_id, "tenant_ids": list(tenant_ids)},
        )

    def process(
        self, connection: psycopg.Connection, run: Run, tenant_ids: Sequence[str]
    ) -> list[TenantResult]:
        """Look through the tenants' rows, and keep what is wrong with them."""
        found = self._found_in_rows(connection, run)
        for tenant_id in tenant_ids:
            _keep(connection, run, tenant_id, found[tenant_id], of_services=False)
        return [_result(tenant_id, found[tenant_id]) for tenant_id in tenant_ids]

    def send(
        self,
        connection: psycopg.Connection,
        run: Run,
        results: Sequence[TenantResult],
        network: Network,
    ) -> Sequence[TenantResult | TenantFailure]:
        """Ask the services, sending nothing; keep what they say, and queue a letter about what is newly wrong.

        A mail server that does not take the installation's own mail is the operators' matter: every tenant of the run fails.
        """
        tenant_ids = [result.tenant_id for result in results]
        with tenant_transaction(connection, tenant_ids):
            channels = _load_channels(connection)
            preferences = load_preferences(connection, self._settings, sending_time(run.business_date))
        mask_secrets([channel.config for channel in channels if channel.config], network)
        answers, mail = asyncio.run(_ask(channels, network))
        of_tenant: defaultdict[str, list[_Answer]] = defaultdict(list)
        for answer in answers:
            of_tenant[answer.channel.lane.tenant_id].append(answer)
        checked = [
            self._conclude_alone(
                connection,
                run,
                result,
                of_tenant[result.tenant_id],
                preferences[result.tenant_id],
            )
            for result in results
        ]
        if mail:
            return [_mail_failure(tenant_id, mail[0]) for tenant_id in tenant_ids]
        with tenant_transaction(connection, tenant_ids):
            connection.execute(read_sql(_HERE, "reopen_mail"))
        return checked

    def _found_in_rows(self, connection: psycopg.Connection, run: Run) -> dict[str, list[SettingFinding]]:
        preferences = load_preferences(connection, self._settings, sending_time(run.business_date))
        integrations = _by_tenant(load_integrations(connection))
        with connection.cursor(row_factory=dict_row) as cursor:
            templates = _by_tenant(cursor.execute(read_sql(_HERE, "load_templates")))
            settings = _by_tenant(cursor.execute(read_sql(_HERE, "load_settings")))
            mailboxes = cursor.execute(
                read_sql(_HERE, "use_up_mailboxes"), {"execution_id": run.execution_id}
            ).fetchall()
        former = {row["tenant_id"]: frozenset(row["addresses"]) for row in mailboxes}
        return {
            tenant_id: findings_in(
                TenantSettings(
                    integrations=integrations[tenant_id],
                    templates=templates[tenant_id],
                    settings=settings[tenant_id],
                    former_mailboxes=former.get(tenant_id, frozenset()),
                    preferences_problem=own.problem,
                )
            )
            for tenant_id, own in preferences.items()
        }

    def _conclude_alone(
        self,
        connection: psycopg.Connection,
        run: Run,
        result: TenantResult,
        answers: Sequence[_Answer],
        preferences: Preferences,
    ) -> TenantResult | TenantFailure:
        """What one tenant's rows break is that tenant's failure."""
        try:
            return self._conclude(connection, run, result, answers, preferences)
        except Exception as error:
            if not is_about_data(error):
                raise
            return TenantFailure(result.tenant_id, code_of(error), reason_of(error), recoverable=False)

    def _conclude(
        self,
        connection: psycopg.Connection,
        run: Run,
        result: TenantResult,
        answers: Sequence[_Answer],
        preferences: Preferences,
    ) -> TenantResult:
        """Write down what the services said about one tenant's channels."""
        tenant_id = result.tenant_id
        found = sorted(
            {_setting_finding(answer.channel, each) for answer in answers for each in answer.broken}
        )
        notes = [
            f"{_subject(answer.channel)}: 確認できませんでした（{each.error.meaning}）"
            for answer in answers
            for each in answer.unasked
        ]
        with tenant_transaction(connection, [tenant_id]):
            unanswered = [_subject(answer.channel) for answer in answers if answer.unasked]
            _keep(connection, run, tenant_id, found, of_services=True, unanswered=unanswered)
            for answer in answers:
                notes += self._record_health(connection, answer, preferences)
            newly = self._tell(connection, run, tenant_id, preferences)
        return replace(
            result,
            details=result.details
            | {
                "checkedChannels": len(answers),
                "brokenSettings": int(result.details["brokenSettings"]) + len(found),
                "newlyBroken": newly,
            },
            notes=(*result.notes, *notes, *(each.sentence() for each in found)),
        )

    def _record_health(
        self, connection: psycopg.Connection, answer: _Answer, preferences: Preferences
    ) -> list[str]:
        """Show the channel's health to the application; open it again, or switch it off. Returns remarks."""
        lane = answer.channel.lane
        switch_off = preferences.settings.auto_disable and any(
            each.error.error_class in CLOSES_CHANNEL for each in answer.broken
        )
        connection.execute(
            read_sql(_HERE, "record_health"),
            {
                "integration_id": answer.channel.integration_id,
                "health": answer.health,
                "now": datetime.now(UTC).replace(tzinfo=None),
                "switch_off": switch_off,
            },
        )
        if answer.health == "HEALTHY" and not _is_webhook(answer.channel.config):
            # The service has answered to these credentials; of a webhook only the form is known.
            connection.execute(
                read_sql(_HERE, "reopen_channel"), {"tenant_id": lane.tenant_id, "channel": lane.channel}
            )
        return [f"{_subject(answer.channel)}: 外部連携を無効にしました（auto_disable）"] if switch_off else []

    def _tell(
        self, connection: psycopg.Connection, run: Run, tenant_id: str, preferences: Preferences
    ) -> int:
        """Queue one letter about all that the administrator has not been told yet; returns how much that is."""
        address = load_administrators(connection).get(tenant_id)
        if address is None:
            return 0
        rows = connection.execute(
            read_sql(_HERE, "take_untold"), {"tenant_id": tenant_id, "execution_id": run.execution_id}
        ).fetchall()
        if rows:
            rows.sort()
            digest = hashlib.sha256(repr(rows).encode()).hexdigest()[:12]
            language = preferences.settings.language
            template = load_templates(connection, [SETTINGS_BROKEN], {tenant_id: language})[tenant_id]
            letter = notice(
                tenant_id,
                template[SETTINGS_BROKEN],
                address,
                {
                    "count": len(rows),
                    "findings": "\n".join(f"・{subject}: {detail}" for subject, detail in rows),
                },
                dedupe_key=f"{SETTINGS_BROKEN}:{run.execution_id}:{digest}",
                due_at=sending_time(run.run_date),
            )
            outbox.enqueue(connection, [letter], created_by=run.execution_id)
        return len(rows)


async def _ask(channels: Sequence[_Channel], network: Network) -> tuple[list[_Answer], list[Finding]]:
    """What each channel's service says, and what the mail server says."""
    at_once = asyncio.Semaphore(_SIDE_BY_SIDE)
    async with guarded_session(network.allowed_hosts) as session:

        async def ask(
            config: ChannelConfig | None, channel: Channel, named: Collection[str]
        ) -> list[Finding]:
            if config is None:
                return await NotConfigured(channel).validate() if channel is Channel.EMAIL else []
            async with at_once:
                return await _validate(config, channel, named, session, network)

        mail, *told = await asyncio.gather(
            ask(network.email, Channel.EMAIL, ()),
            *(ask(channel.config, channel.lane.channel, channel.destinations) for channel in channels),
        )
    answers = [
        _Answer(
            channel,
            tuple(each for each in findings if _is_broken(each)),
            tuple(each for each in findings if not _is_broken(each)),
        )
        for channel, findings in zip(channels, told, strict=True)
    ]
    return answers, mail


async def _validate(
    config: ChannelConfig,
    channel: Channel,
    destinations: Collection[str],
    session: aiohttp.ClientSession,
    network: Network,
) -> list[Finding]:
    try:
        async with (
            asyncio.timeout(_TIME_TO_ANSWER),
            aclosing(connect(config, session, allowed_hosts=network.allowed_hosts)) as client,
        ):
            return await client.validate(destinations)
    except Exception as problem:
        # A client never raises; should one do so, nobody else's check ends with it.
        code = "timeout" if isinstance(problem, TimeoutError) else "connection_lost"
        error = failed(channel, code).error
        assert error is not None
        return [Finding(error, type(problem).__name__)]


def _load_channels(connection: psycopg.Connection) -> list[_Channel]:
    """The channels in use of the transaction's tenants: of two for one channel, the one changed last."""
    with connection.cursor(row_factory=dict_row) as cursor:
        settings = _by_tenant(cursor.execute(read_sql(_HERE, "load_settings")))
    channels: dict[Lane, _Channel] = {}
    for row in load_integrations(connection):
        channel = channel_of(row["integration_key"], row["integration_type"])
        if channel and channel is not Channel.EMAIL:
            named = [
                destination
                for setting in settings[row["tenant_id"]]
                if channel_of(setting["notification_type"]) is channel
                for destination in destinations_of(setting)
            ]
            lane = Lane(row["tenant_id"], channel)
            channels[lane] = _Channel(row["id"], lane, config_of(channel, row), tuple(dict.fromkeys(named)))
    return list(channels.values())


def _keep(
    connection: psycopg.Connection,
    run: Run,
    tenant_id: str,
    found: Sequence[SettingFinding],
    *,
    of_services: bool,
    unanswered: Sequence[str] = (),
) -> None:
    """Replace what was found earlier, in the rows or by the services; what a service said that does not answer now stays."""
    connection.execute(
        read_sql(_HERE, "keep_findings"),
        {
            "tenant_id": tenant_id,
            "found_on": run.run_date,
            "of_services": of_services,
            "service_prefix": _SERVICE_PREFIX,
            "unanswered": list(unanswered),
            "findings": Jsonb(
                [{"subject": each.subject, "code": each.code, "detail": each.detail} for each in found]
            ),
        },
    )


def _subject(channel: _Channel) -> str:
    return f"{_SERVICE_PREFIX}{channel.lane.channel}"


def _setting_finding(channel: _Channel, finding: Finding) -> SettingFinding:
    about = "（通知設定の宛先の 1 つ）" if finding.destination else ""
    return SettingFinding(_subject(channel), finding.error.code, f"{finding.error.meaning}{about}")


def _is_webhook(config: ChannelConfig | None) -> bool:
    return isinstance(config, TeamsConfig) or (isinstance(config, SlackConfig) and not config.token)


def _is_broken(finding: Finding) -> bool:
    """Whether nothing arrives until somebody mends it; otherwise the service could not be asked."""
    return finding.error.outcome is Outcome.PERMANENT and finding.error.error_class is not ErrorClass.SERVICE


def _mail_failure(tenant_id: str, finding: Finding) -> TenantFailure:
    return TenantFailure(
        tenant_id,
        "MAIL_SERVER",
        f"メールサーバーを使えません: {finding.error.meaning}。Airflow の接続 'batch_smtp' を直してください。"
        "それまでメールは送信待ちになります。",
        recoverable=not _is_broken(finding),
    )


def _result(tenant_id: str, found: Sequence[SettingFinding]) -> TenantResult:
    return TenantResult(
        tenant_id,
        {"brokenSettings": len(found)},
        records=0,
        notes=tuple(each.sentence() for each in found),
    )


def _by_tenant(rows: Iterable[dict[str, Any]]) -> defaultdict[str, list[dict[str, Any]]]:
    grouped: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        grouped[row["tenant_id"]].append(row)
    return grouped
