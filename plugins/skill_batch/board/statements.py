"""The board's statements. They read only the views ``batch.board_*``; one statement stores users' entries."""

from __future__ import annotations

from pathlib import Path

from include.skillreport.core.database import Statements

SQL = Statements(Path(__file__).parent)
