"""Local servers instead of Slack, Teams, LINE WORKS and a mail server, for tests and for the demo.

They implement the services' protocols and checks over real sockets on 127.0.0.1, record the received messages, and fail on request.
``GET /`` shows the messages as a page, ``GET /messages`` as JSON.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

from local_stack.stand_ins.directories import MISSING, StandInDirectory
from local_stack.stand_ins.faults import HANG_UP, Fault, Faults, PausingLimit, RateLimit
from local_stack.stand_ins.http_services import WORKFLOW_ID, WORKFLOW_SIGNATURE, HttpServices
from local_stack.stand_ins.imap import ImapService
from local_stack.stand_ins.recorder import Arrived, MessageLog
from local_stack.stand_ins.smtp import SmtpService

__all__ = ["MISSING", "Arrived", "StandInDirectory", "StandIns", "teams_webhook_url"]

T = TypeVar("T")

_START_SECONDS = 60


def teams_webhook_url(base_url: str) -> str:
    """The URL of a workflow's trigger at stand-ins with this address, with signature."""
    return (
        f"{base_url}powerautomate/automations/direct/workflows/{WORKFLOW_ID}/triggers/manual/paths/invoke"
        f"?api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig={WORKFLOW_SIGNATURE}"
    )


class StandIns:
    """All stand-ins, in a separate thread, during the ``with`` block.

    Port 0 selects a free port. Each message is appended to the file ``record`` as a line of JSON. With ``rate_limits`` the stand-ins
    enforce the services' published limits. With a ``line_works_public_key`` (PEM), the signatures of LINE WORKS'
    token requests are checked. With ``smtp_tls`` the mail server offers STARTTLS, or speaks TLS from the first byte. With ``imap_tls``
    the mailbox speaks TLS.

    Services are named ``slack``, ``teams``, ``line_works``, ``line_works_auth`` (its token requests), ``graph``, ``graph_auth``,
    ``alerts``, ``email``, ``mail_auth`` (the tokens for e-mail) and ``mailbox``.
    """

    def __init__(
        self,
        http_port: int = 0,
        smtp_port: int = 0,
        *,
        record: Path | None = None,
        rate_limits: bool = False,
        line_works_public_key: str = "",
        smtp_tls: ssl.SSLContext | None = None,
        smtp_implicit_tls: bool = False,
        imap_port: int = 0,
        imap_tls: ssl.SSLContext | None = None,
    ) -> None:
        self.http_port = http_port
        self.smtp_port = smtp_port
        self._recorder = MessageLog(record)
        self._faults = Faults()
        self._http = HttpServices(
            self._recorder,
            self._faults,
            rate_limits=rate_limits,
            line_works_public_key=line_works_public_key,
        )
        self.imap_port = imap_port
        self._imap = ImapService(self._faults, self._http.mail_tokens, tls=imap_tls)
        self._smtp = SmtpService(
            self._recorder,
            self._faults,
            self._http.mail_tokens,
            self._imap,
            tls=smtp_tls,
            implicit_tls=smtp_implicit_tls,
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stand-ins", daemon=True)

    def __enter__(self) -> Self:
        """:raises OSError: a port is in use."""
        self._thread.start()
        try:
            self.http_port = self._run(self._http.start(self.http_port))
            self.smtp_port = self._run(self._smtp.start(self.smtp_port))
            self.imap_port = self._run(self._imap.start(self.imap_port))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # The addresses.

    @property
    def page_url(self) -> str:
        """The URL of the page."""
        return f"http://127.0.0.1:{self.http_port}/"

    @property
    def allowed_hosts(self) -> frozenset[str]:
        """The hosts for the address guard."""
        return frozenset({f"127.0.0.1:{self.http_port}"})

    @property
    def slack_base_url(self) -> str:
        """The URL of the Web API."""
        return f"{self.page_url}api/"

    @property
    def slack_webhook_url(self) -> str:
        """The URL of an incoming webhook."""
        return f"{self.page_url}services/T0/B0/stand-in"

    @property
    def teams_webhook_url(self) -> str:
        """The URL of a workflow's trigger, with signature."""
        return teams_webhook_url(self.page_url)

    @property
    def line_works_auth_url(self) -> str:
        """The URL for LINE WORKS tokens."""
        return f"{self.page_url}oauth2/v2.0/token"

    @property
    def line_works_base_url(self) -> str:
        """The URL of the LINE WORKS API."""
        return f"{self.page_url}v1.0/"

    @property
    def graph_auth_url(self) -> str:
        """The URL for Microsoft tokens."""
        return self.page_url

    @property
    def graph_base_url(self) -> str:
        """The URL of Microsoft Graph."""
        return f"{self.page_url}graph/v1.0/"

    @property
    def mail_token_url(self) -> str:
        """The URL for tokens of the mail server and the mailbox."""
        return f"{self.page_url}mail/token"

    # The directories.

    def show_directory(self, service: str, account: str, directory: StandInDirectory) -> None:
        """Set the users and channels of a tenant at a service.

        ``account`` is a bot token of ``slack``, a directory's id of ``teams``, a client id of ``line_works``.
        """
        self._http.directories.put(service, account, directory)

    # The mailbox.

    @property
    def mailbox(self) -> ImapService:
        """The mailbox: its mails, and ``deliver`` for new ones. Commands fail with ``fail_next("mailbox", …, command="FETCH")``."""
        return self._imap

    # The recorded messages and counts.

    @property
    def refused_for_rate(self) -> int:
        """The number of directory requests that exceeded a rate limit."""
        return self._http.directories.limits.refused

    @property
    def messages_refused_for_rate(self) -> int:
        """The number of messages that exceeded a limit of their service."""
        return self._http.limits.refused + self._smtp.refused_for_rate

    @property
    def failed_flow_runs(self) -> int:
        """The number of messages that a workflow of Teams accepted and then did not post."""
        return self._http.flows.failed

    @property
    def messages(self) -> list[Arrived]:
        """The received messages, oldest first."""
        return self._recorder.messages

    @property
    def tokens_issued(self) -> int:
        """The number of access tokens that LINE WORKS has issued."""
        return self._http.tokens_issued

    @property
    def mail_tokens_issued(self) -> int:
        """The number of access tokens for e-mail that were issued."""
        return self._http.mail_tokens.issued

    @property
    def open_smtp_connections(self) -> int:
        """The number of connections to the mail server that are open."""
        return len(self._smtp.open_connections)

    @property
    def smtp_connections(self) -> int:
        """The number of connections to the mail server."""
        return self._smtp.connections

    @property
    def smtp_logins(self) -> int:
        """The number of attempts to log in to the mail server."""
        return self._smtp.logins

    # The errors.

    def fail_next(
        self,
        service: str,
        code_or_status: str | int,
        times: int = 1,
        *,
        retry_after: str | int | None = None,
        command: str = "",
    ) -> None:
        """Refuse the next requests to a service.

        ``code_or_status`` is an error code of the service, an HTTP status, or both (``410 DELETED``). For the mail server it is a code of
        the error table or a reply ("554 5.7.1 No") to ``command`` (AUTH, MAIL, RCPT or DATA; by default RCPT, and AUTH for 535).
        ``retry_after`` is the value of the Retry-After header.
        """
        if service == "email" and not command:
            command = "AUTH" if str(code_or_status).startswith("535") else "RCPT"
        self._faults.add(service, Fault(code_or_status, retry_after, command), times)

    def drop_connection(self, service: str, command: str = HANG_UP, times: int = 1) -> None:
        """Receive the next message and close the connection without an answer; with ``command="MAIL"``, close it before the letter."""
        self._faults.add(service, Fault(command=command), times)

    def latency(self, service: str, seconds: float) -> None:
        """Set the time from a message to its answer."""
        self._faults.set_latency(service, seconds)

    @contextmanager
    def held(self, service: str) -> Iterator[Callable[[], None]]:
        """Receive messages without answering, until the block ends or its function is called."""
        gate = self._faults.hold(service)

        def release() -> None:
            self._loop.call_soon_threadsafe(gate.set)

        try:
            yield release
        finally:
            release()

    def refuse_recipient(self, recipient: str, code: str) -> None:
        """Refuse messages to an email address, a Slack channel, or a LINE WORKS user, talk room or bot with this code."""
        self._faults.refuse_recipient(recipient, code)

    def bounce_later(self, recipient: str, status: str) -> None:
        """Accept letters to an email address, and deliver a bounce with this status code (``5.1.1``) to the mailbox."""
        self._smtp.bouncing[recipient] = status

    def limit_smtp_connections(self, most: int, *, refuses_connections: bool = False) -> None:
        """Let the mail server refuse letters while more connections than this are open, or refuse the connections above it."""
        self._smtp.connection_limit = most
        self._smtp.refuses_connections = refuses_connections

    def offer_smtputf8(self) -> None:
        """Let the mail server accept internationalised addresses."""
        self._smtp.offers_smtputf8 = True

    def limit_letter_size(self, most: int) -> None:
        """Let the mail server state a limit in bytes, on new connections."""
        self._smtp.largest_letter = most

    def limit_rates(self, enforced: bool) -> None:
        """Enforce the services' published limits, or none."""
        self._http.limit_rates(enforced)

    def set_limit(self, name: str, requests: int, seconds: float) -> None:
        """Enforce a limit per sliding window of this many seconds.

        ``slack_channel``, ``slack_workspace``, ``slack_webhook``, ``slack_lookup``, ``teams``, ``line_works``, ``pagerduty``, or ``email``
        (letters above it are refused).
        """
        if name == "email":
            self._smtp.rate_limit = RateLimit(requests, seconds)
        else:
            self._http.limits.set(name, RateLimit(requests, seconds))

    def pause_after(self, name: str, requests: int, seconds: float) -> None:
        """After this many requests, refuse for this many seconds. ``name`` is one of ``set_limit``, except ``email``."""
        self._http.limits.set(name, PausingLimit(requests, seconds))

    def delay_letters(self, seconds: float) -> None:
        """Let the mail server accept one letter in this many seconds, and delay the answers to letters that come sooner."""
        self._smtp.delay_seconds = seconds

    def shorten_tokens(self, seconds: int) -> None:
        """Set the lifetime of LINE WORKS access tokens."""
        self._http.token_lifetime = seconds

    def shorten_mail_tokens(self, seconds: int) -> None:
        """Set the lifetime of the access tokens for e-mail."""
        self._http.mail_tokens.lifetime = seconds

    def revoke_mail_tokens(self) -> None:
        """Revoke all access tokens for e-mail."""
        self._http.mail_tokens.valid.clear()

    def grant_slack_scopes(self, scopes: str) -> None:
        """Set the scopes of the Slack bot, separated by commas."""
        self._http.slack.scopes = scopes

    def revoke_tokens(self) -> None:
        """Revoke all access tokens of LINE WORKS."""
        self._http.valid_tokens.clear()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_START_SECONDS)

    async def _stop(self) -> None:
        await self._http.stop()
        await self._smtp.stop()
        await self._imap.stop()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        # Lets the tasks end and the sockets close.
        await asyncio.sleep(0)
