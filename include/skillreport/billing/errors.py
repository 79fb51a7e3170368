"""The error that prevents an invoice. It concerns one tenant; the others are billed."""

from __future__ import annotations

from include.skillreport.core.errors import BatchError


class BillingError(BatchError):
    """An invoice cannot be created or changed. The message contains the reason and the action. Summaries group by ``code``."""

    def __init__(self, code: str, message: str, *, recoverable: bool = False) -> None:
        super().__init__(f"{message}。")
        self.code = code
        self.recoverable = recoverable
