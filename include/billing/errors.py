"""The error that prevents an invoice. It concerns one tenant; the others are billed."""

from __future__ import annotations

from include.errors import BatchError


class BillingError(BatchError):
    """An invoice cannot be made or changed. The message says why and what to do. Summaries group by ``code``."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{message}。")
        self.code = code
