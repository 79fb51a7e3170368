"""The code of a later version, for tests of upgrades: a revision with a table and a column, a view with one more column, and an index."""

from __future__ import annotations

from pathlib import Path

from include.skillreport.schema.revisions import head_revision

VERSION, INDEX = "1.0.1", "backup_note"
# Of this code, which the next version upgrades.
HEAD = head_revision()
REVISION = f"{int(HEAD[:4]) + 1:04}_notes"

_TABLES = """\
ALTER TABLE batch.backup ADD COLUMN note text NOT NULL DEFAULT 'none';
CREATE TABLE batch.noted_backup (backup_id text PRIMARY KEY);
CALL batch.make_platform_table('batch.noted_backup');
"""
_MODULE = f'''"""Notes about backups."""

from include.skillreport.schema.deploy import run_sql_file

revision = "{REVISION}"
down_revision = "{HEAD}"


def upgrade() -> None:
    run_sql_file("sql/{REVISION}.sql")
'''
_VIEW = "SELECT revision, oldest_code, with_deletion\n"
MORE_COLUMNS = "SELECT revision, oldest_code, with_deletion, deployed_at\n"
OTHER_COLUMNS = "SELECT with_deletion, oldest_code, revision\n"


def add_revision(schema: Path, *, view: str = MORE_COLUMNS) -> None:
    """Add the revision to a copy of ``include/skillreport/schema``. ``view`` is the new beginning of ``batch.board_deployment``."""
    (schema / "sql" / f"{REVISION}.sql").write_text(_TABLES, encoding="utf-8")
    (schema / "versions" / f"{REVISION}.py").write_text(_MODULE, encoding="utf-8")
    board = schema / "host_views" / "board.sql"
    views = board.read_text(encoding="utf-8")
    assert views.count(_VIEW) == 1
    board.write_text(views.replace(_VIEW, view), encoding="utf-8")
    with (schema / "later_indexes.sql").open("a", encoding="utf-8") as indexes:
        indexes.write(f"CREATE INDEX CONCURRENTLY {INDEX} ON batch.backup (note);\n")
