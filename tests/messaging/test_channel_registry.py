"""What every channel must have, whoever adds it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from include.skillreport.messaging.channels import CHANNELS
from include.skillreport.messaging.channels.channel import Channel
from tests.airflow_installation import PROJECT

EVERY = pytest.mark.parametrize("channel", CHANNELS.values())


@EVERY
def test_a_channel_has_a_row_for_each_failure_of_any_service(channel: Channel) -> None:
    needed = {"connection_refused", "timeout", "connection_lost", "refused_address", "not_configured"}
    assert channel.errors.keys() > needed | {"unknown"}


def test_no_two_channels_share_a_spelling() -> None:
    for spellings in (
        [spelling for channel in CHANNELS.values() for spelling in channel.spellings],
        [key for channel in CHANNELS.values() for key in channel.integrations],
    ):
        assert len(spellings) == len(set(spellings))


def test_the_registry_loads_no_network_library() -> None:
    code = "import sys, include.skillreport.messaging.channels; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"aiohttp", "aiosmtplib", "jwt", "jinja2"} & set(loaded)
