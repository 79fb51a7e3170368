"""No letter looks like spam to SpamAssassin (Debian's package ``spamassassin``), by the rules that need no network."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from include.skillreport.core.network import EmailConfig
from include.skillreport.messaging.channels.email.client import Client
from include.skillreport.messaging.message import Message
from include.skillreport.messaging.outcome import Outcome, SendResult
from tests.messaging.every_letter import every_letter

pytestmark = pytest.mark.long

MOST = 1.0

_SCORE = re.compile(r"^X-Spam-Status: \w+, score=(-?[0-9.]+)", re.MULTILINE)


class _Inbox:
    """The letters as they arrived."""

    def __init__(self) -> None:
        self.letters: list[bytes] = []

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.letters.append(envelope.original_content or b"")
        return "250 2.0.0 OK"


async def _sent(config: EmailConfig, message: Message) -> SendResult:
    async with aclosing(Client(config)) as client:
        return await client.send(message)


@pytest.fixture
def inbox(unused_port: int) -> Iterator[tuple[_Inbox, EmailConfig]]:
    """A mail server, and the installation that sends through it."""
    inbox = _Inbox()
    controller = Controller(inbox, hostname="127.0.0.1", port=unused_port)
    controller.start()
    config = EmailConfig(
        "127.0.0.1",
        controller.port,
        "スキル報告サービス <no-reply@cloud-service.example>",
        security="none",
        reply_to="support@cloud-service.example",
        unsubscribe_address="unsubscribe+{token}@cloud-service.example",
    )
    yield inbox, config
    controller.stop()


def test_no_letter_looks_like_spam(inbox: tuple[_Inbox, EmailConfig], tmp_path: Path) -> None:
    received, config = inbox
    samples = {
        f"{language} {each.name}": each for language in ("ja", "en") for each in every_letter(language)
    }
    for sample in samples.values():
        assert asyncio.run(_sent(config, sample.message)).outcome is Outcome.SENT
    files = [tmp_path / f"{number:03}.eml" for number in range(len(samples))]
    for file, content in zip(files, received.letters, strict=True):
        file.write_bytes(content)

    judged = subprocess.run(
        ["spamassassin", "-L", "-t", *map(str, files)],
        capture_output=True,
        check=True,
        timeout=280,
    ).stdout.decode("utf-8", "replace")

    scores = [float(score) for score in _SCORE.findall(re.sub(r"\n[ \t]+", " ", judged))]
    too_high = {name: score for name, score in zip(samples, scores, strict=True) if score > MOST}
    assert too_high == {}, judged
