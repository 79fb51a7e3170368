"""The settings of offboardings."""

from __future__ import annotations

from include.skillreport.core.setting_types import Days
from include.skillreport.core.settings import Section


class OffboardingSettings(Section):
    """The time that a tenant's rows stay after the export for the customer."""

    key = "offboarding"

    wait_days: Days
