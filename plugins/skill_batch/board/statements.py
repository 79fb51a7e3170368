"""The board's statements. They read only the views ``batch.board_*``."""

from __future__ import annotations

from pathlib import Path

from include.database import Statements

SQL = Statements(Path(__file__).parent)
