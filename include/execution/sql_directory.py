"""Where this package's SQL files are."""

from pathlib import Path

SQL = Path(__file__).parent
