"""What keeps one tenant from being billed: the reason, and what to do. Other tenants' invoices are not touched by it."""

from __future__ import annotations

from include.errors import BatchError


class BillingError(BatchError):
    """One invoice cannot be made or changed. ``code`` is what a summary groups by; nothing is guessed in its place."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{message}。")
        self.code = code
