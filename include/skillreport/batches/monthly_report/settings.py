"""The settings of BATCH-004."""

from __future__ import annotations

from typing import Annotated, Literal

from include.skillreport.core.setting_types import Colour, EmailAddress, Listed, Range
from include.skillreport.core.settings import TenantSection


class MonthlyReportSettings(TenantSection):
    """How BATCH-004's reports look and who is notified. A tenant may override each setting.

    ``recipients`` are email addresses (joined by commas in a tenant's own value). Without any, the administrator is notified.
    """

    key = "monthly_report"

    colour: Colour
    recipients: Annotated[tuple[EmailAddress, ...], Listed]
    language: Literal["ja", "en"]
    fiscal_start_month: Annotated[int, Range(1, 12)]
