"""Every row of the table of error codes: the service returns the code, and the client understands it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import pytest

from include.skillreport.core.network import EmailConfig
from include.skillreport.messaging.channels.channel import Channel, ChannelConfig
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.channels.exchange import LONGEST_WAIT, retry_after, unanswered
from include.skillreport.messaging.channels.line_works import LINE_WORKS
from include.skillreport.messaging.channels.slack import SLACK, SlackConfig
from include.skillreport.messaging.channels.teams import TEAMS, TeamsConfig
from include.skillreport.messaging.outcome import ErrorClass, Outcome, SendResult
from local_stack.stand_ins import StandIns
from local_stack.stand_ins.facts import DocumentedAnswer, documented_answers
from tests.messaging.raw_server import answering, http
from tests.messaging.sending import DESTINATIONS, SHORT, Tenant, code_of, message
from tests.worlds.encrypted_servers import encrypted, make_certificate

TRANSIENT, PERMANENT, AMBIGUOUS = Outcome.TRANSIENT, Outcome.PERMANENT, Outcome.AMBIGUOUS

Provocation = Callable[[Tenant, Channel, str], SendResult]


# After these the client tries once more: with a new token, with another way to log in.
ASKED_AGAIN = {"http_401", "535"}


def _send(tenant: Tenant, channel: Channel, config: ChannelConfig | None = None) -> SendResult:
    return tenant.send(config or tenant.config(channel), message(channel))


def answered(tenant: Tenant, channel: Channel, code: str) -> SendResult:
    """The service answers with the code; ``http_503`` is the bare status."""
    status = code.removeprefix("http_")
    tenant.services.fail_next(
        channel,
        int(status) if code.startswith("http_") else code,
        times=2 if code in ASKED_AGAIN else 1,
        retry_after=7,
    )
    return _send(tenant, channel)


def answered_by_webhook(tenant: Tenant, channel: Channel, code: str) -> SendResult:
    """Slack's incoming webhook answers with the code as text."""
    tenant.services.fail_next(channel, code, retry_after=7)
    return _send(tenant, channel, tenant.slack_webhook)


def refused_bot(tenant: Tenant, channel: Channel, _code: str) -> SendResult:
    """The daily check may not read the bot."""
    tenant.services.fail_next(channel, "FORBIDDEN")
    (found,) = tenant.validate(tenant.config(channel))
    return SendResult(found.error.outcome, found.error, found.detail)


def refused_sender(tenant: Tenant, channel: Channel, code: str) -> SendResult:
    tenant.services.fail_next(channel, code, command="MAIL")
    return _send(tenant, channel)


def refused_after_text(tenant: Tenant, channel: Channel, code: str) -> SendResult:
    tenant.services.fail_next(channel, code, command="DATA")
    return _send(tenant, channel)


def refused_login(tenant: Tenant, channel: Channel, code: str) -> SendResult:
    tenant.services.fail_next(channel, code, command="AUTH")
    return _send(tenant, channel)


def with_wrong_certificate(_tenant: Tenant, channel: Channel, _code: str) -> SendResult:
    with TemporaryDirectory() as folder, encrypted(make_certificate(Path(folder)), "tls") as services:
        tenant = Tenant(services)
        return _send(tenant, channel, replace(tenant.email, security="tls"))


def refused_by_policy(tenant: Tenant, channel: Channel, _code: str) -> SendResult:
    tenant.services.fail_next(channel, "5.7", command="RCPT")
    return _send(tenant, channel)


def refused_for_rate(tenant: Tenant, channel: Channel, code: str) -> SendResult:
    """The mail server refuses the letter as often as it is offered."""
    tenant.services.fail_next(channel, code, times=9)
    return _send(tenant, channel)


def mail_token_refused(tenant: Tenant, channel: Channel, _code: str) -> SendResult:
    tenant.services.fail_next("mail_auth", "invalid_client")
    return _send(tenant, channel, tenant.email_by_token)


def nobody_listens(tenant: Tenant, channel: Channel, _code: str) -> SendResult:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tenant.services.http_port = tenant.services.smtp_port = port
    return _send(tenant, channel)


def too_slow(tenant: Tenant, channel: Channel, _code: str) -> SendResult:
    # The answers before the delayed one arrive in time, even on a busy machine.
    impatient = tenant.impatient if channel in (SLACK, TEAMS) else replace(tenant, patience=5 * SHORT)
    with tenant.services.held(channel):
        return _send(impatient, channel)


def hung_up(tenant: Tenant, channel: Channel, _code: str) -> SendResult:
    tenant.services.drop_connection(channel)
    return _send(tenant, channel)


def with_settings(change: Callable[[ChannelConfig], ChannelConfig]) -> Provocation:
    return lambda tenant, channel, _code: _send(tenant, channel, change(tenant.config(channel)))


def of_message(**changes: object) -> Provocation:
    def provoke(tenant: Tenant, channel: Channel, _code: str) -> SendResult:
        return tenant.send(tenant.config(channel), message(channel, **changes))

    return provoke


def _inside(config: ChannelConfig) -> ChannelConfig:
    """Settings that lead into the internal network."""
    match config:
        case SlackConfig():
            return replace(config, base_url="https://10.0.0.1/api/")
        case TeamsConfig():
            return TeamsConfig("https://169.254.169.254/latest/meta-data?sig=x")
        case EmailConfig():
            return replace(config, host="10.0.0.1", security="starttls", is_tenants=True)
        case _:
            return replace(config, base_url="https://[::1]/v1.0/")


def _empty(config: ChannelConfig) -> ChannelConfig:
    match config:
        case SlackConfig():
            return SlackConfig()
        case TeamsConfig():
            return TeamsConfig("")
        case EmailConfig():
            return replace(config, host="")
        case _:
            return replace(config, private_key="")


@dataclass(frozen=True)
class Row:
    """The expected meaning of a row, apart from the table itself, and the way to produce the code."""

    outcome: Outcome
    error_class: ErrorClass
    provoke: Provocation = answered
    # The connection, the login or the sender fails.
    is_before_message: bool = False


def expect(result: SendResult, row: Row, channel: Channel) -> None:
    """Check the result against its row."""
    assert result.error is not None
    assert (result.outcome, result.error.error_class) == (row.outcome, row.error_class)
    asks_for_less = row.error_class in (ErrorClass.RATE_LIMIT, ErrorClass.RECIPIENT_LIMIT)
    says_when = asks_for_less and channel is not EMAIL
    assert not says_when or result.retry_after == timedelta(seconds=7)
    is_attempt = not (asks_for_less or row.error_class is ErrorClass.ACCESS or row.is_before_message)
    assert result.counts_as_attempt is is_attempt
    assert result.provider_message_id is None


_OVERLOADED = Row(TRANSIENT, ErrorClass.RATE_LIMIT)
_DOWN = Row(TRANSIENT, ErrorClass.SERVICE)
_UNCLEAR = Row(AMBIGUOUS, ErrorClass.SERVICE)
_REVOKED = Row(PERMANENT, ErrorClass.CREDENTIAL)
_RETIRED = Row(PERMANENT, ErrorClass.CONFIGURATION)
_NOBODY = Row(PERMANENT, ErrorClass.DESTINATION)
_BUSY = Row(TRANSIENT, ErrorClass.DESTINATION)
_MALFORMED = Row(PERMANENT, ErrorClass.PAYLOAD)
_NO_ADDRESS = Row(PERMANENT, ErrorClass.ADDRESS)
_UNKNOWN = Row(TRANSIENT, ErrorClass.SERVICE)

# What the product does about the kinds of documented answers.
KINDS = {
    "rate": _OVERLOADED,
    "outage": _DOWN,
    "doubt": _UNCLEAR,
    "credential": _REVOKED,
    "settings": _RETIRED,
    "conflict": _BUSY,
    "destination": _NOBODY,
    "message": _MALFORMED,
}

_UNREACHABLE = Row(TRANSIENT, ErrorClass.NETWORK, nobody_listens, is_before_message=True)
_SLOW = Row(AMBIGUOUS, ErrorClass.NETWORK, too_slow)
_LOST = Row(AMBIGUOUS, ErrorClass.NETWORK, hung_up)
_REFUSED_URL = Row(PERMANENT, ErrorClass.CONFIGURATION, with_settings(_inside))
_NO_SETTINGS = Row(PERMANENT, ErrorClass.CONFIGURATION, with_settings(_empty))

_NETWORK = {"connection_refused": _UNREACHABLE, "timeout": _SLOW, "connection_lost": _LOST}
_SETTINGS = {"refused_address": _REFUSED_URL, "not_configured": _NO_SETTINGS}

ROWS: dict[Channel, dict[str, Row]] = {
    SLACK: {
        "http_429": _OVERLOADED,
        "http_503": _DOWN,
        **dict.fromkeys(("http_500", "http_502", "http_504"), _UNCLEAR),
        "unknown": _UNKNOWN,
        **_NETWORK,
        **_SETTINGS,
    },
    TEAMS: {
        "http_429": _OVERLOADED,
        "http_503": _DOWN,
        **dict.fromkeys(("http_500", "http_502", "http_504"), _UNCLEAR),
        **dict.fromkeys(("http_401", "http_403", "http_404", "http_410"), _REVOKED),
        "retired_connector": Row(
            PERMANENT,
            ErrorClass.CONFIGURATION,
            with_settings(lambda _: TeamsConfig("https://example.webhook.office.com/webhookb2/x")),
        ),
        **dict.fromkeys(("http_400", "http_413"), _MALFORMED),
        "too_large": Row(PERMANENT, ErrorClass.PAYLOAD, of_message(text="長" * 10_000)),
        "unknown": replace(
            _UNKNOWN, provoke=lambda tenant, channel, _: answered(tenant, channel, "http_418")
        ),
        **_NETWORK,
        **_SETTINGS,
    },
    LINE_WORKS: {
        "http_429": _OVERLOADED,
        "http_503": _DOWN,
        **dict.fromkeys(("http_500", "http_502", "http_504"), _UNCLEAR),
        "http_401": _REVOKED,
        "no_bot_permission": replace(_REVOKED, provoke=refused_bot),
        **dict.fromkeys(("http_403", "http_404", "http_410"), _NOBODY),
        "http_409": _BUSY,
        "http_400": _MALFORMED,
        "too_long": Row(PERMANENT, ErrorClass.PAYLOAD, of_message(text="長" * 2_001)),
        "unknown": replace(
            _UNKNOWN, provoke=lambda tenant, channel, _: answered(tenant, channel, "http_418")
        ),
        **_NETWORK,
        **_SETTINGS,
    },
    EMAIL: {
        **dict.fromkeys(
            (
                "throttled",
                "daily_limit",
                "421",
                "4.3.2",
                "4.5.3",
                "5.4.5",
                "5.7.233",
                "550 5.2.251",
                "550 5.2.252",
                "550 5.2.253",
                "550 5.2.254",
                "550 5.2.255",
            ),
            replace(_OVERLOADED, provoke=refused_for_rate),
        ),
        **dict.fromkeys(
            ("relay_denied", "sender_rejected", "login_required", "client_rejected"),
            Row(TRANSIENT, ErrorClass.ACCESS, refused_sender),
        ),
        "sender_unverified": Row(TRANSIENT, ErrorClass.ACCESS, refused_after_text),
        "certificate_refused": Row(TRANSIENT, ErrorClass.ACCESS, with_wrong_certificate),
        "auth_limit": replace(_OVERLOADED, provoke=refused_login),
        "auth_unavailable": replace(_DOWN, provoke=refused_login, is_before_message=True),
        "4.2.1": Row(TRANSIENT, ErrorClass.RECIPIENT_LIMIT),
        "4.7": Row(TRANSIENT, ErrorClass.RECIPIENT_LIMIT),
        "5.2.2": Row(TRANSIENT, ErrorClass.DESTINATION),
        "5.3.1": _DOWN,
        "smtp_4": _DOWN,
        "4.3": replace(_DOWN, is_before_message=True),
        **dict.fromkeys(
            ("5.1.0", "5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1", "5.4.1", "5.4.4"), _NO_ADDRESS
        ),
        **dict.fromkeys(("5.3.4", "5.2.3", "552"), _MALFORMED),
        **dict.fromkeys(
            ("5.1.7", "5.1.8", "5.7"),
            Row(PERMANENT, ErrorClass.CONFIGURATION, refused_sender, is_before_message=True),
        ),
        "smtputf8_missing": Row(
            PERMANENT, ErrorClass.DESTINATION, of_message(destination="太郎@example.co.jp")
        ),
        "policy": Row(PERMANENT, ErrorClass.DESTINATION, refused_by_policy),
        "535": replace(_REVOKED, is_before_message=True),
        "basic_auth_off": replace(_REVOKED, provoke=refused_login, is_before_message=True),
        "token_refused": replace(_REVOKED, provoke=mail_token_refused, is_before_message=True),
        "smtp_5": _MALFORMED,
        "invalid_address": Row(PERMANENT, ErrorClass.ADDRESS, of_message(destination="taro@")),
        "unknown": replace(
            Row(PERMANENT, ErrorClass.SERVICE),
            provoke=lambda tenant, channel, _: answered(tenant, channel, "252 Cannot tell"),
        ),
        **_NETWORK,
        "not_configured": _NO_SETTINGS,
        "refused_address": replace(_REFUSED_URL, is_before_message=True),
    },
}

# No answers to a message: the sender checks the suppressed addresses, reads the files of letters, and compares refusals; a report comes
# later. No header begins another one, unless its encoder has a bug (test_letter). The warnings are findings of the daily check.
NOT_A_CLIENTS = {
    (EMAIL, code)
    for code in (
        "suppressed",
        "file_missing",
        "file_altered",
        "store_unreadable",
        "sender_refused",
        "passed_on",
        "unsafe_header",
    )
} | {
    (channel, row.code)
    for channel in DESTINATIONS
    for row in channel.errors.values()
    if row.outcome is Outcome.SENT
}

# The services that answer, and the channels of the product.
DOCUMENTED = {
    answer: channel
    for service, channel in {
        "slack": SLACK,
        "slack_webhook": SLACK,
        "teams": TEAMS,
        "line_works": LINE_WORKS,
        "line_works_auth": LINE_WORKS,
    }.items()
    for answer in documented_answers(service)
}


@pytest.mark.parametrize("answer", [each for each in DOCUMENTED if each.kind in KINDS], ids=str)
def test_a_documented_answer_is_understood(tenant: Tenant, answer: DocumentedAnswer) -> None:
    channel = DOCUMENTED[answer]
    service = answer.service.removesuffix("_webhook")
    tenant.services.fail_next(
        service,
        f"{answer.status} {answer.code}" if answer.code else answer.status,
        times=2 if answer.code == "UNAUTHORIZED" or answer.status == 401 else 1,
        retry_after=7,
    )

    result = _send(tenant, channel, tenant.slack_webhook if service != answer.service else None)

    if answer.service == "line_works_auth" and answer.kind == "credential":
        assert code_of(result) == "token_refused"
    else:
        assert code_of(result) in (answer.code, f"http_{answer.status}")
    expect(result, KINDS[answer.kind], channel)


def test_the_answers_that_are_never_given_have_no_row() -> None:
    """The client takes such an answer as ``unknown``, with the code in the log."""
    never = {answer: channel for answer, channel in DOCUMENTED.items() if answer.kind not in KINDS}

    assert {answer.kind for answer in never} == {"never", "listing"}
    assert [answer for answer, channel in never.items() if answer.code in channel.errors] == []


@pytest.mark.parametrize(
    ("channel", "code"), [(channel, code) for channel, rows in ROWS.items() for code in rows]
)
def test_a_row_means_what_it_says_when_the_service_says_it(
    tenant: Tenant, channel: Channel, code: str
) -> None:
    row = ROWS[channel][code]

    result = row.provoke(tenant, channel, code)

    assert result.error is channel.errors[code]
    expect(result, row, channel)


def test_each_row_of_the_tables_is_either_documented_or_expected() -> None:
    expected = {(channel, code) for channel, rows in ROWS.items() for code in rows}
    documented = {(channel, answer.code) for answer, channel in DOCUMENTED.items()}
    table = {(channel, code) for channel in DESTINATIONS for code in channel.errors}

    assert table - documented - NOT_A_CLIENTS - {(LINE_WORKS, "token_refused")} == expected


@pytest.mark.parametrize("channel", [SLACK, TEAMS, LINE_WORKS])
def test_an_unlisted_server_error_leaves_the_delivery_uncertain(tenant: Tenant, channel: Channel) -> None:
    result = answered(tenant, channel, "http_520")

    assert (result.outcome, result.error and result.error.code) == (AMBIGUOUS, "http_500")
    assert "520" in result.detail


def test_an_unknown_code_is_shown_and_an_echoed_message_not(tenant: Tenant) -> None:
    new = answered(tenant, SLACK, "brand_new_error")
    echo = answered_by_webhook(tenant, SLACK, "cannot post 極秘の本文")

    assert (new.error, new.detail) == (SLACK.errors["unknown"], "brand_new_error: HTTP 200")
    assert echo.error is SLACK.errors["unknown"]
    assert "極秘" not in echo.detail


@pytest.mark.parametrize("channel", list(DESTINATIONS))
def test_a_lost_answer_is_ambiguous_although_the_message_arrived(tenant: Tenant, channel: Channel) -> None:
    tenant.services.drop_connection(channel)

    results = tenant.send_in_turn(tenant.config(channel), message(channel), message(channel))

    assert [result.outcome for result in results] == [AMBIGUOUS, Outcome.SENT]
    assert len(tenant.services.messages) == 2


@pytest.mark.parametrize("channel", list(DESTINATIONS))
def test_messages_at_once_share_what_is_connected(tenant: Tenant, channel: Channel) -> None:
    sent = [message(channel, message_id=f"M{number}", text=f"その{number}") for number in range(2)]

    results = tenant.send_all(tenant.config(channel), *sent)

    assert [result.outcome for result in results] == [Outcome.SENT, Outcome.SENT]
    assert sorted(arrived.text[-3:] for arrived in tenant.services.messages) == ["その0", "その1"]


@pytest.mark.parametrize("channel", [SLACK, TEAMS])
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        http("application/json", b"not gzip", "Content-Encoding: gzip\r\n"),
    ],
)
def test_a_broken_answer_leaves_the_delivery_uncertain(tenant: Tenant, channel: Channel, raw: bytes) -> None:
    with answering(raw) as tenant.services.http_port:
        assert code_of(_send(tenant, channel)) == "connection_lost"


@pytest.mark.parametrize(
    "raw",
    [
        http("text/html", b"<html>Please log in</html>"),
        http("text/plain", b"ok"),
        http("application/json", b"{"),
        http("application/json", b"[1]"),
        http("application/json", b'"ok"'),
        http("application/json", b"\xff"),
        http("application/json", b"[" * 100_000),
    ],
)
def test_an_answer_that_is_not_slacks_is_not_taken_for_a_success(tenant: Tenant, raw: bytes) -> None:
    with answering(raw) as tenant.services.http_port:
        assert code_of(_send(tenant, SLACK)) == "unknown"


def test_an_answer_is_not_read_beyond_what_an_answer_can_be(tenant: Tenant) -> None:
    with answering(b"HTTP/1.1 202 Accepted\r\n\r\n", and_then=b"x" * 65_536) as tenant.services.http_port:
        assert _send(tenant, TEAMS).outcome is Outcome.SENT


def test_the_text_of_a_failure_is_hidden_because_of_the_url() -> None:
    late = aiohttp.ConnectionTimeoutError("Connection timeout to host https://hook.example.com/?sig=secret")

    assert unanswered(TEAMS, late).detail == "ConnectionTimeoutError"


class TestTheTimeToComeBack:
    @pytest.mark.parametrize(
        ("header", "seconds"),
        [
            ("0", 0),
            ("30", 30),
            (" 30 ", 30),
            ("2.128", 2.128),
            ("30,120", 120),
            ("120, 30", 120),
            ("3600", 3_600),
            ("86400", 3_600),
            ("9" * 30, 3_600),
            ("9" * 5_000, 3_600),
        ],
    )
    def test_in_seconds_is_an_hour_at_most(self, header: str, seconds: float) -> None:
        assert retry_after({"Retry-After": header}) == timedelta(seconds=seconds)

    def test_may_be_a_date(self) -> None:
        soon = datetime.now(UTC) + timedelta(minutes=10)

        wait = retry_after({"Retry-After": format_datetime(soon, usegmt=True)})

        assert wait is not None
        assert timedelta(minutes=9) < wait <= timedelta(minutes=10)

    @pytest.mark.parametrize(
        ("header", "expected"),
        [
            ("Wed, 21 Oct 2015 07:28:00 GMT", timedelta()),
            ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_WAIT),
        ],
    )
    def test_past_dates_mean_now_and_far_dates_an_hour(self, header: str, expected: timedelta) -> None:
        assert retry_after({"Retry-After": header}) == expected

    @pytest.mark.parametrize(
        "header", ["", "soon", "-5", ".5", "30,", "5 minutes", "NaN", "１２", "Wed, 99 Oct", "\u0000"]
    )
    def test_is_not_guessed_from_garbage(self, header: str) -> None:
        assert retry_after({"Retry-After": header}) is None

    def test_reaches_the_result_of_a_real_answer(self, tenant: Tenant, services: StandIns) -> None:
        later = format_datetime(datetime.now(UTC) + timedelta(hours=5), usegmt=True)
        services.fail_next("teams", 429, retry_after=later)

        assert tenant.send(tenant.teams, message(TEAMS)).retry_after == LONGEST_WAIT
