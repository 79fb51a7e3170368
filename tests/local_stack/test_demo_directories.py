"""The demo's directories: links by number and by address, an ambiguous match, an archived channel, and one tenant's revoked token."""

from __future__ import annotations

from datetime import date

from local_stack.directories import put_directories
from local_stack.generator import DataShape, load_demo_data
from local_stack.notifications import plant_notifications
from local_stack.stand_ins import StandIns
from local_stack.tenants import DEMO_TENANTS
from tests.conftest import Database
from tests.worlds.directory_rows import run_sync

SHAPE = DataShape(
    tenants=len(DEMO_TENANTS),
    users_per_tenant=20,
    first_day=date(2026, 10, 31),
    days=1,
    requests_per_day=0,
)


def test_the_demo_shows_links_an_ambiguous_match_and_an_archived_channel(database: Database) -> None:
    with StandIns() as services, database.connect() as connection:
        load_demo_data(connection, SHAPE)
        plant_notifications(connection, services.http_port)
        put_directories(services, connection)

        result = run_sync(database, services, date(2026, 11, 1))

        assert [tenant.code for tenant in result.failed_tenants] == ["TKH-DSN"]
        made = connection.execute(
            "SELECT tenant_id, provider, matched_by FROM batch.account_link GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        ).fetchall()
        assert made == [
            ("TENANT002", "line_works", "employee_code"),
            ("default-tenant", "line_works", "employee_code"),
            ("default-tenant", "slack", "email"),
            ("default-tenant", "teams", "employee_code"),
            ("tenant_1735689600000", "slack", "email"),
        ]
        problems = connection.execute(
            "SELECT problems FROM batch.sync_plan WHERE jsonb_array_length(problems) > 0"
        ).fetchall()
        assert len(problems) == 1
        assert "メールアドレスが同じ社員かアカウントが複数あります" in problems[0][0][0]
        assert connection.execute(
            "SELECT kind, subject_id FROM batch.directory_change WHERE kind NOT IN ('link', 'update') ORDER BY kind"
        ).fetchall() == [("channel_archived", "C0ARCHIVED"), ("disable_setting", "set_2")]
        assert connection.execute(
            "SELECT count(*) FROM batch.outbox WHERE dedupe_key LIKE 'notification_channels_gone:%'"
        ).fetchone() == (1,)

        # The next night finds nothing to do.
        before = connection.execute("SELECT count(*) FROM batch.directory_change").fetchone()
        run_sync(database, services, date(2026, 11, 2))
        assert connection.execute("SELECT count(*) FROM batch.directory_change").fetchone() == before
