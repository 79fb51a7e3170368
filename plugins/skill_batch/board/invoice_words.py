"""The Japanese words for states of invoices and credit notes."""

from __future__ import annotations

# The states of ``batch.board_invoice``, in the order of the pages: glyph, title, and CSS class.
STATES = {
    "held": ("!", "保留", "warn"),
    "draft": ("✕", "未確定", "bad"),
    "finalized": ("✓", "確定", "good"),
    "zero": ("✓", "請求額 0", "muted"),
    "waiting_credit": ("!", "承認待ちの返還", "warn"),
    "credit_note": ("↩", "返還", "muted"),
    "credited": ("↩", "返還済み", "muted"),
    "void": ("—", "取消済み", "muted"),
}

# Also the other entries that a dialog lists beside invoices.
LISTED = {**STATES, "waiting_write_off": ("!", "承認待ちの貸倒れ", "warn")}
