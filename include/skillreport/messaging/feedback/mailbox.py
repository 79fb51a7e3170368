"""Reads the unread mails of a mailbox over IMAP (RFC 3501)."""

from __future__ import annotations

import asyncio
import imaplib
import re
import socket
import ssl
import threading
from binascii import b2a_base64
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from include.skillreport.core.errors import BatchError
from include.skillreport.core.network import MailboxConfig
from include.skillreport.messaging.channels.access_token import TokenFailedError
from include.skillreport.messaging.channels.email.login import TokenSource

# How many bytes of a mail are read. A report is at its beginning; the returned e-mail, which may be long, comes last.
LONGEST_MAIL = 256 * 1024

# Seconds for each answer of the server, and for all answers together.
TIMEOUT = 30
LONGEST_VISIT = 360

# Mails of one search. The client cannot read an answer about all mails of a flooded mailbox.
_SEARCHED = 20_000

_FAILURES = (imaplib.IMAP4.error, OSError, ValueError)

# Characters of a folder's name that modified UTF-7 encodes.
_UNENCODED = re.compile(r"[^\x20-\x7e]+")

_UIDS = re.compile(rb"[0-9 ]*")


class MailboxError(BatchError):
    """The mailbox cannot be read. ``recoverable``: the server does not answer; otherwise the settings or the login are wrong."""

    def __init__(self, reason: str, *, recoverable: bool) -> None:
        super().__init__(f"不達メールの受信箱（Airflow の接続 'skill_batch_mailbox'）を読めません: {reason}")
        self.recoverable = recoverable


class _LimitedConnection(imaplib.IMAP4):
    """A connection that is cut off after ``seconds``, also while it is being opened."""

    def __init__(self, *arguments: Any, seconds: float, **options: Any) -> None:
        self._cut_off = threading.Timer(seconds, self._close_socket)
        self._cut_off.daemon = True
        try:
            super().__init__(*arguments, **options)
        except BaseException:
            self._cut_off.cancel()
            raise

    def open(self, *arguments: Any, **options: Any) -> None:
        super().open(*arguments, **options)
        self._cut_off.start()

    def shutdown(self) -> None:
        self._cut_off.cancel()
        super().shutdown()

    def _close_socket(self) -> None:
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)


class _TlsConnection(_LimitedConnection, imaplib.IMAP4_SSL):
    """With TLS from the first byte."""


class Mailbox:
    """The selected folder of an open mailbox. Its methods raise ``MailboxError``."""

    def __init__(
        self,
        connection: imaplib.IMAP4,
        mails: int,
        move_to: str = "",
        extensions: Collection[str] = (),
    ) -> None:
        self._connection = connection
        self._mails = mails
        self._move_to = move_to
        self._extensions = extensions

    def unread(self, most: int) -> list[str]:
        """The UIDs of the oldest unread mails, up to this number."""
        found: list[str] = []
        for first in range(1, self._mails + 1, _SEARCHED):
            [uids, *_] = self._ask("SEARCH", f"{first}:{first + _SEARCHED - 1}", "UNSEEN")
            if isinstance(uids, bytes) and _UIDS.fullmatch(uids):
                found += sorted(uids.decode().split(), key=int)
            if len(found) >= most:
                break
        return found[:most]

    def read(self, uid: str) -> bytes | None:
        """The beginning of a mail, up to ``LONGEST_MAIL`` bytes; None if the mail is gone. It stays unread."""
        for part in self._ask("FETCH", uid, f"(BODY.PEEK[]<0.{LONGEST_MAIL}>)"):
            if isinstance(part, tuple) and isinstance(part[1], bytes):
                return part[1][:LONGEST_MAIL]
        return None

    def done(self, uid: str, *, is_flagged: bool = False) -> None:
        """Mark a mail as read, or move it if the settings name a folder; ``is_flagged`` also marks it for users."""
        self._ask("STORE", uid, "+FLAGS.SILENT", r"(\Seen \Flagged)" if is_flagged else r"(\Seen)")
        if not self._move_to:
            return
        folder = _folder(self._move_to)
        if "MOVE" in self._extensions:
            self._ask("MOVE", uid, folder)
            return
        self._ask("COPY", uid, folder)
        self._ask("STORE", uid, "+FLAGS.SILENT", r"(\Deleted)")
        # Without UIDPLUS only an expunge of the entire folder removes the mail, and might remove other mails.
        if "UIDPLUS" in self._extensions:
            self._ask("EXPUNGE", uid)

    def _ask(self, command: str, *arguments: str) -> list[bytes | tuple[bytes, bytes] | None]:
        with _as_mailbox_error():
            status, data = self._connection.uid(command, *arguments)
        if status != "OK":
            raise MailboxError(f"{command} が拒否されました", recoverable=False)
        return data


@contextmanager
def open_mailbox(
    config: MailboxConfig,
    allowed_hosts: Collection[str] = (),
    *,
    timeout: float = TIMEOUT,
    seconds: float = LONGEST_VISIT,
) -> Iterator[Mailbox]:
    """Log in and select the folder, until the block ends.

    ``timeout``: after this many seconds without an answer, the server counts as unavailable. ``seconds``: after this time the connection is
    closed, so that a server that sends single bytes does not block the run. ``allowed_hosts`` are those of the token server, see
    ``TokenSource``.
    :raises MailboxError: the server does not answer, or refuses.
    """
    with _as_mailbox_error():
        connection = _connected(config, timeout, seconds)
    try:
        _log_in(connection, config, allowed_hosts)
        with _as_mailbox_error():
            status, [mails, *_] = connection.select(_folder(config.folder))
        if status != "OK":
            raise MailboxError(f"フォルダー '{config.folder}' を開けません", recoverable=False)
        if config.move_to:
            # Otherwise the first mail would be marked as read, and stay.
            with _as_mailbox_error():
                status, _ = connection.status(_folder(config.move_to), "(MESSAGES)")
            if status != "OK":
                reason = f"移動先のフォルダー '{config.move_to}' がありません。作るか、extra の move_to を直してください"
                raise MailboxError(reason, recoverable=False)
        with _as_mailbox_error():
            # Many servers name their extensions only after the login.
            _, [names, *_] = connection.capability()
        extensions = names.decode("ascii", "replace").upper().split() if names else ()
        yield Mailbox(connection, int(mails) if mails and mails.isdigit() else 0, config.move_to, extensions)
    finally:
        with suppress(*_FAILURES):
            connection.logout()
        with suppress(*_FAILURES):
            connection.shutdown()


def _connected(config: MailboxConfig, timeout: float, seconds: float) -> imaplib.IMAP4:
    # The default of imaplib does not check certificates.
    context = ssl.create_default_context()
    if config.security == "tls":
        return _TlsConnection(config.host, config.port, ssl_context=context, timeout=timeout, seconds=seconds)
    connection = _LimitedConnection(config.host, config.port, timeout=timeout, seconds=seconds)
    try:
        if config.security == "starttls":
            connection.starttls(context)
    except BaseException:
        connection.shutdown()
        raise
    return connection


def _log_in(connection: imaplib.IMAP4, config: MailboxConfig, allowed_hosts: Collection[str]) -> None:
    try:
        if config.oauth is None:
            connection.login(config.login, config.password)
            return
        token = asyncio.run(TokenSource(config.oauth, allowed_hosts).get())
        # The server explains a refusal with a challenge. The client answers with an empty line.
        answers = iter([f"user={config.login}\x01auth=Bearer {token}\x01\x01".encode()])
        connection.authenticate("XOAUTH2", lambda _: next(answers, b""))
    except TokenFailedError as error:
        raise MailboxError(str(error), recoverable=error.recoverable) from None
    except UnicodeError:
        raise MailboxError("パスワードに ASCII 以外の文字があります", recoverable=False) from None
    except (imaplib.IMAP4.abort, OSError) as error:
        raise _unanswered(error) from None
    except imaplib.IMAP4.error:
        # Without the server's text, which may quote the login.
        raise MailboxError("ログインが拒否されました", recoverable=False) from None


@contextmanager
def _as_mailbox_error() -> Iterator[None]:
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise MailboxError(f"証明書を確認できません（{error.verify_message}）", recoverable=False) from None
    except imaplib.IMAP4.readonly:
        raise MailboxError("フォルダーに書き込めません（既読にできません）", recoverable=False) from None
    except (imaplib.IMAP4.abort, OSError) as error:
        raise _unanswered(error) from None
    except (imaplib.IMAP4.error, ValueError):
        # Without the error's text, which may quote the server's.
        raise MailboxError("サーバーが要求を理解しないか、拒否しました", recoverable=False) from None


def _unanswered(error: Exception) -> MailboxError:
    return MailboxError(f"応答がありません（{type(error).__name__}）", recoverable=True)


def _folder(name: str) -> str:
    """The name of a folder in a command: quoted, in modified UTF-7 (RFC 3501, section 5.1.3)."""
    encoded = _UNENCODED.sub(lambda match: _in_base64(match[0]), name.replace("&", "&-"))
    escaped = encoded.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _in_base64(text: str) -> str:
    encoded = b2a_base64(text.encode("utf-16-be"), newline=False).decode()
    return f"&{encoded.rstrip('=').replace('/', ',')}-"
