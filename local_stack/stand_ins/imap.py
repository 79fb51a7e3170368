"""A mailbox over IMAP, with the commands that Python's ``imaplib`` sends to read, mark and move mails."""

from __future__ import annotations

import asyncio
import re
import shlex
import ssl
import threading
from dataclasses import dataclass, field

from local_stack.stand_ins.faults import Faults
from local_stack.stand_ins.mail_tokens import MailTokens

_PARTIAL = re.compile(r"BODY\.PEEK\[\]<(\d+)\.(\d+)>")


@dataclass
class StoredMail:
    """A mail in a folder. ``flags`` are IMAP's, such as ``\\Seen``."""

    uid: int
    content: bytes = field(repr=False)
    folder: str = "INBOX"
    flags: set[str] = field(default_factory=set)


class ImapService:
    """The server. Use it in one event loop; mails may be added from other threads. Any login is accepted.

    ``offers_move``: whether the server has the extension MOVE. ``folders`` are the folders besides INBOX, as IMAP encodes their names.
    """

    def __init__(self, faults: Faults, tokens: MailTokens, *, tls: ssl.SSLContext | None = None) -> None:
        self.mails: list[StoredMail] = []
        self.logins: list[str] = []
        self.offers_move = True
        self.folders = {"Read mails"}
        self._faults = faults
        self._tokens = tokens
        self._tls = tls
        self._lock = threading.Lock()
        self._server: asyncio.Server | None = None

    async def start(self, port: int) -> int:
        """Listen on 127.0.0.1; 0 selects a free port. Returns the port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, ssl=self._tls)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Accept no more connections."""
        if self._server:
            self._server.close()

    def deliver(self, content: bytes) -> StoredMail:
        """Put a new mail into the inbox."""
        with self._lock:
            mail = StoredMail(len(self.mails) + 1, content)
            self.mails.append(mail)
        return mail

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _Session(self, reader, writer, self._faults, self._tokens).run()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


class _Session:
    """One connection."""

    def __init__(
        self,
        service: ImapService,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        faults: Faults,
        tokens: MailTokens,
    ) -> None:
        self._service = service
        self._reader = reader
        self._writer = writer
        self._faults = faults
        self._tokens = tokens
        self._folder = ""
        self._is_logged_in = False

    async def run(self) -> None:
        """Answer commands until the client logs out or a fault closes the connection."""
        self._send("* OK stand-in ready")
        while line := (await self._reader.readline()).decode():
            tag, _, rest = line.strip().partition(" ")
            command, _, arguments = rest.partition(" ")
            command = command.upper()
            if command == "UID":
                command, _, arguments = arguments.partition(" ")
                command = command.upper()
            await self._faults.answer_is_due("mailbox")
            if (fault := self._faults.take("mailbox", command)) is not None:
                if not fault.code:
                    return
                self._send(f"{tag} NO {fault.code}")
                continue
            self._send(f"{tag} {await self._answer(command, arguments)}")
            await self._writer.drain()
            if command == "LOGOUT":
                return

    async def _answer(self, command: str, arguments: str) -> str:
        """Send the untagged answers; returns the tagged one."""
        match command:
            case "CAPABILITY":
                # Like Dovecot, it names its extensions after the login.
                move = " MOVE" if self._service.offers_move and self._is_logged_in else ""
                self._send(f"* CAPABILITY IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2{move}")
            case "LOGIN":
                self._service.logins.append(shlex.split(arguments)[0])
                self._is_logged_in = True
            case "AUTHENTICATE":
                return await self._authenticate(arguments)
            case "SELECT":
                self._folder = shlex.split(arguments)[0]
                self._send(f"* {len(self._mails())} EXISTS")
                return "OK [READ-WRITE] done"
            case "STATUS":
                folder = shlex.split(arguments)[0]
                if folder not in self._service.folders:
                    return "NO [NONEXISTENT] no such folder"
                self._send(f'* STATUS "{folder}" (MESSAGES 0)')
            case "SEARCH":
                first, last = map(int, arguments.split(" ")[0].split(":"))
                searched = self._mails()[first - 1 : last]
                unread = [str(mail.uid) for mail in searched if "\\Seen" not in mail.flags]
                self._send(" ".join(["* SEARCH", *unread]))
            case "FETCH":
                self._fetch(*arguments.split(" ", 1))
            case "STORE":
                uid, _, flags = arguments.split(" ", 2)
                self._mail(uid).flags.update(flags.strip("()").split())
            case "COPY" | "MOVE":
                uid, folder = shlex.split(arguments)
                if command == "COPY":
                    self._service.deliver(self._mail(uid).content).folder = folder
                else:
                    self._mail(uid).folder = folder
            case "LOGOUT":
                self._send("* BYE")
            case "NOOP":
                pass
            case _:
                return "BAD unknown command"
        return "OK done"

    async def _authenticate(self, mechanism: str) -> str:
        self._send("+ ")
        await self._writer.drain()
        response = (await self._reader.readline()).decode().strip()
        if mechanism.upper() != "XOAUTH2" or not self._tokens.accepts(response):
            self._send("+ eyJzdGF0dXMiOiI0MDEifQ==")
            await self._writer.drain()
            await self._reader.readline()
            return "NO [AUTHENTICATIONFAILED] refused"
        self._service.logins.append("by token")
        self._is_logged_in = True
        return "OK done"

    def _fetch(self, uid: str, items: str) -> None:
        match = _PARTIAL.search(items)
        mails = [mail for mail in self._mails() if str(mail.uid) == uid]
        if match is None or not mails:
            return
        start, size = int(match[1]), int(match[2])
        part = mails[0].content[start : start + size]
        self._writer.write(b"* 1 FETCH (UID %d BODY[]<%d> {%d}\r\n" % (int(uid), start, len(part)))
        self._writer.write(part + b")\r\n")

    def _mails(self) -> list[StoredMail]:
        return [mail for mail in self._service.mails if mail.folder == self._folder]

    def _mail(self, uid: str) -> StoredMail:
        return next(mail for mail in self._service.mails if str(mail.uid) == uid)

    def _send(self, line: str) -> None:
        self._writer.write(line.encode() + b"\r\n")
