"""The settings of BATCH-019-03."""

from __future__ import annotations

from include.skillreport.core.setting_types import Count, PositiveInt, Share
from include.skillreport.core.settings import Section


class ExternalSyncSettings(Section):
    """The number of links that BATCH-019-03 may end in one run without an operator's approval; the same for all tenants.

    The limit is a percentage, or ``most_ending_links`` for a directory with fewer than ``small_directory_links`` links. It also applies to
    vanishing channels of notification settings.
    """

    key = "external_sync"

    most_ending_percent: Share
    small_directory_links: PositiveInt
    most_ending_links: Count
