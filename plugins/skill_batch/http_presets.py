"""The receivers of messages over HTTP, for the channel and for the form of its connection."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Preset(StrEnum):
    """A receiver: one that verifies the signature, PagerDuty's Events API v2, or a Teams workflow.

    ``password`` is the Japanese name of the connection's password. ``takes_results``: it may get the results of runs.
    """

    password: str
    takes_results: bool

    def __new__(cls, name: str, password: str, takes_results: bool = True) -> Self:
        preset = str.__new__(cls, name)
        preset._value_ = name
        preset.password = password
        preset.takes_results = takes_results
        return preset

    JSON = "json", "署名の鍵（whsec_…）"
    # Each of its events is an incident.
    PAGERDUTY = "pagerduty", "Integration Key（routing key）", False
    TEAMS_WORKFLOW = "teams_workflow", "ワークフローの URL"


PRESETS = {str(preset): preset for preset in Preset}
