"""A service's answer is read up to a limit and no further, however little of it travels."""

from __future__ import annotations

import asyncio
import json
from contextlib import AbstractContextManager

import pytest

from include.skillreport.messaging.address_guard import guarded_session
from include.skillreport.messaging.channels.directory import ListingError
from include.skillreport.messaging.channels.slack import SLACK
from include.skillreport.messaging.channels.teams import TEAMS
from include.skillreport.messaging.outcome import Outcome
from tests.messaging.raw_server import ENDLESS, MEBIBYTE, answering, bomb, http, memory_within
from tests.messaging.sending import Tenant, code_of, message
from tests.worlds.directory_rows import HASTY, open_directory

# Small answers that grow when they are decompressed, and answers without end.
OVERSIZED = pytest.mark.parametrize("answer", ["bomb", "endless"])


def oversized(answer: str) -> AbstractContextManager[int]:
    """The port of a server that gives such answers."""
    return answering(bomb()) if answer == "bomb" else answering(ENDLESS, and_then=b"x" * 65_536)


@pytest.mark.parametrize("way", ["slack", "slack_webhook", "teams"])
def test_a_small_answer_that_grows_takes_no_memory(tenant: Tenant, way: str) -> None:
    channel = TEAMS if way == "teams" else SLACK
    with answering(bomb()) as tenant.services.http_port, memory_within(4 * MEBIBYTE):
        result = tenant.send(getattr(tenant, way), message(channel))

    # A webhook's status is sufficient. The Web API reports in the answer whether it accepted the message.
    assert code_of(result) == ("unknown" if way == "slack" else None)


@OVERSIZED
def test_the_daily_check_reads_no_more_than_an_answer_can_be(tenant: Tenant, answer: str) -> None:
    with oversized(answer) as tenant.services.http_port, memory_within(4 * MEBIBYTE):
        [found] = tenant.validate(tenant.slack, "C0123456789")

    assert found.error.code == "unknown"


def test_an_answer_without_end_is_not_waited_for(tenant: Tenant) -> None:
    with oversized("endless") as tenant.services.http_port:
        assert code_of(tenant.send(tenant.slack, message(SLACK))) == "unknown"


@OVERSIZED
def test_a_directory_page_is_read_up_to_its_limit(tenant: Tenant, answer: str) -> None:
    async def read() -> None:
        allowed = tenant.services.allowed_hosts
        async with guarded_session(allowed) as session:
            directory = open_directory(tenant.slack, session, allowed, HASTY)
            await directory.page(directory.start)

    with (
        oversized(answer) as tenant.services.http_port,
        memory_within(40 * MEBIBYTE),
        pytest.raises(ListingError),
    ):
        asyncio.run(read())


def test_an_answer_that_repeats_the_longest_message_is_a_success(tenant: Tenant) -> None:
    text = "😀" * 40_000
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": "&" * 2_800}}] * 4
    told = {"type": "section", "text": {"type": "mrkdwn", "text": "&amp;" * 2_800}, "block_id": "a1b2c"}
    body = {"ok": True, "channel": "C1", "ts": "1.2", "message": {"text": text, "blocks": [told] * 4}}
    with answering(http("application/json", json.dumps(body).encode())) as tenant.services.http_port:
        result = tenant.send(tenant.slack, message(SLACK, text=text, rich=blocks))

    assert (result.outcome, result.provider_message_id) == (Outcome.SENT, "1.2")
