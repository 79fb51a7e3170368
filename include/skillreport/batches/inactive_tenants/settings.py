"""The settings of BATCH-018-04."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from include.skillreport.core.setting_types import Days, Flag
from include.skillreport.core.settings import TenantSection


class InactivitySettings(TenantSection):
    """Days without activity after which BATCH-018-04 raises a tenant's stage. A tenant may override each setting."""

    key = "inactivity"

    attention_days: Days
    warning_days: Days
    critical_days: Days
    include_trial: Flag

    @model_validator(mode="after")
    def _days_rise(self) -> Self:
        if not self.attention_days < self.warning_days < self.critical_days:
            raise ValueError("attention_days、warning_days、critical_days は、この順に大きくしてください")
        return self
