"""The settings of BATCH-004."""

from __future__ import annotations

from typing import Annotated, Literal

from include.skillreport.core.setting_types import Colour, EmailAddress, Listed, Range
from include.skillreport.core.settings import TenantSection


class MonthlyReportSettings(TenantSection):
    """The look of BATCH-004's reports, and who is notified. A tenant may override each setting.

    ``recipients`` are e-mail addresses (joined by commas in a tenant's own value). If there are none, the administrator is notified.
    """

    key = "monthly_report"

    colour: Colour
    recipients: Annotated[tuple[EmailAddress, ...], Listed]
    language: Literal["ja", "en"]
    fiscal_start_month: Annotated[int, Range(1, 12)]
