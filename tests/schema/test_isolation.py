"""One tenant's work reaches no other tenant's rows, in every table and view that the catalogue holds, known here or not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import LiteralString

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import errors, sql

from include.skillreport.core.database import tenant_transaction
from tests.conftest import Database
from tests.schema.catalogue import relations
from tests.worlds.planted_rows import foreign_keys, insert, plant, plant_parents, row_of

A, B = "tenant-a", "tenant-b"

# Alembic's own table: a revision number, which only its owner may read.
NOT_OURS = "alembic_version"

# The errors of row-level security, of a view's check option, and of an upsert on a row outside the view.
REFUSED = (
    errors.InsufficientPrivilege,
    errors.WithCheckOptionViolation,
    errors.ObjectNotInPrerequisiteState,
)


@pytest.fixture
def admin(shared_database: Database) -> Iterator[psycopg.Connection]:
    """A superuser, whom row-level security does not bind."""
    with shared_database.connect() as connection:
        yield connection


@pytest.fixture
def tenant(shared_database: Database) -> Iterator[psycopg.Connection]:
    """A connection of the per-tenant steps."""
    with shared_database.connect("batch_tenant") as connection:
        yield connection


@pytest.fixture
def planted(admin: psycopg.Connection) -> list[str]:
    """The relations that batch_tenant may read, each with one row of A and one of B."""
    names = _permitted(admin, "SELECT")
    assert len(names) >= 2
    # A view that reads with the rights of the reader shows the rows of its table.
    query = "SELECT relname FROM pg_class WHERE relkind = 'v' AND 'security_invoker=true' = ANY (reloptions)"
    shown = {name for (name,) in admin.execute(query)}
    for name in names:
        if name not in shown:
            plant(admin, name, A)
            plant(admin, name, B)
    return names


# Seeing ----------------------------------------------------------------------------------------------------------------


def test_row_level_security_is_enabled_and_forced_on_every_table(deployed: psycopg.Connection) -> None:
    open_tables = deployed.execute(
        """
        SELECT relname FROM pg_class
        WHERE
            relnamespace = 'batch'::regnamespace AND relkind IN ('r', 'p', 'f', 'm') AND relname <> %s
            AND NOT (relrowsecurity AND relforcerowsecurity)
        """,
        [NOT_OURS],
    ).fetchall()
    assert open_tables == []


def test_a_statement_without_a_tenant_predicate_sees_the_contexts_tenant_only(
    planted: list[str], tenant: psycopg.Connection
) -> None:
    for name in planted:
        with tenant_transaction(tenant, [A]):
            assert _tenants_of(tenant, name) == [A], name
        with tenant_transaction(tenant, [B]):
            assert _tenants_of(tenant, name) == [B], name


def test_a_predicate_that_asks_for_another_tenant_finds_nothing(
    planted: list[str], tenant: psycopg.Connection
) -> None:
    for name in planted:
        with tenant_transaction(tenant, [A]):
            found = tenant.execute(_about("SELECT FROM {} WHERE tenant_id = %s", name), [B])
            assert found.rowcount == 0, name


def test_without_a_context_nothing_is_seen_not_even_after_one_has_ended(
    planted: list[str], tenant: psycopg.Connection
) -> None:
    for name in planted:
        assert _tenants_of(tenant, name) == [], name
    with tenant_transaction(tenant, [A, B]):
        pass
    for name in planted:
        assert _tenants_of(tenant, name) == [], name
    with tenant_transaction(tenant, []):
        for name in planted:
            assert _tenants_of(tenant, name) == [], name


@pytest.mark.parametrize("is_pipelined", [False, True])
@pytest.mark.parametrize("role", ["batch_platform", "batch_owner", None])
def test_a_session_that_acts_as_another_role_works_for_no_tenant(
    shared_database: Database, role: str | None, *, is_pipelined: bool
) -> None:
    with shared_database.connect(role) as connection:
        with (
            pytest.raises(errors.InsufficientPrivilege, match=role or connection.info.user),
            connection.pipeline() if is_pipelined else nullcontext(),
            tenant_transaction(connection, [A]),
        ):
            connection.execute(
                "INSERT INTO batch.login_day (tenant_id, login_date, user_ids) VALUES ('A', '2026-10-31', '{}')"
            )
        assert connection.execute("SELECT current_setting('batch.tenant_id', true)").fetchone() in (
            (None,),
            ("",),
        )
    with shared_database.connect() as admin:
        assert admin.execute("SELECT FROM batch.login_day WHERE tenant_id = 'A'").rowcount == 0


def test_a_context_that_ended_in_an_error_is_gone_as_well(
    planted: list[str], tenant: psycopg.Connection
) -> None:
    with pytest.raises(errors.DivisionByZero), tenant_transaction(tenant, [A]):
        tenant.execute("SELECT 1 / 0")
    for name in planted:
        assert _tenants_of(tenant, name) == [], name


def test_a_shards_context_sees_its_tenants_together(planted: list[str], tenant: psycopg.Connection) -> None:
    for name in planted:
        with tenant_transaction(tenant, [A, B]):
            assert _tenants_of(tenant, name) == [A, B], name
        with tenant_transaction(tenant, [B, "tenant-c"]):
            assert _tenants_of(tenant, name) == [B], name


def test_a_leaky_function_in_a_predicate_is_never_shown_another_tenants_row(
    planted: list[str], tenant: psycopg.Connection
) -> None:
    # So cheap that the planner would call it before the tenant's own predicate, if it were free to.
    tenant.execute(
        """
        CREATE FUNCTION pg_temp.leak(value text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS
        $$ BEGIN RAISE NOTICE '%', value; RETURN true; END $$
        """
    )
    leaked: list[str | None] = []
    tenant.add_notice_handler(lambda notice: leaked.append(notice.message_primary))
    for name in planted:
        leaked.clear()
        with tenant_transaction(tenant, [A]):
            tenant.execute(_about("SELECT FROM {} WHERE pg_temp.leak(tenant_id)", name))
        assert leaked == [A], name


# Writing ---------------------------------------------------------------------------------------------------------------


def test_inserting_another_tenants_row_is_refused(
    admin: psycopg.Connection, tenant: psycopg.Connection
) -> None:
    names = _permitted(admin, "INSERT")
    assert len(names) >= 2
    # Parents first: planting the parents of a table would insert the row that is tried here.
    for name in sorted(names, key=lambda name: _depth(admin, name)):
        plant_parents(admin, name, B)
        row = row_of(admin, name, B)
        for context in ([A], []):
            with pytest.raises(REFUSED), tenant_transaction(tenant, context):
                insert(tenant, name, row)
        # It was the tenant, and nothing else, that was wrong with the row.
        with tenant_transaction(tenant, [B]):
            insert(tenant, name, row)
            assert _tenants_of(tenant, name) == [B], name


def test_handing_a_row_over_to_another_tenant_is_refused(
    planted: list[str], admin: psycopg.Connection, tenant: psycopg.Connection
) -> None:
    names = _permitted(admin, "UPDATE")
    assert len(names) >= 2
    assert set(names) <= set(planted)
    for name in names:
        with pytest.raises(REFUSED), tenant_transaction(tenant, [A]):
            tenant.execute(_about("UPDATE {} SET tenant_id = 'tenant-c'", name))


def test_an_update_changes_no_other_tenants_row(
    planted: list[str], admin: psycopg.Connection, tenant: psycopg.Connection
) -> None:
    names = _permitted(admin, "UPDATE")
    assert len(names) >= 2
    assert set(names) <= set(planted)
    for name in names:
        update = sql.SQL("UPDATE {table} SET {column} = {column}").format(
            table=sql.Identifier("batch", name), column=sql.Identifier(_updatable_column(admin, name))
        )
        assert tenant.execute(update).rowcount == 0, name
        with tenant_transaction(tenant, [A]):
            assert tenant.execute(update + sql.SQL(" WHERE tenant_id = 'tenant-b'")).rowcount == 0, name
            assert tenant.execute(update).rowcount == 1, name


def test_a_delete_removes_no_other_tenants_row(
    planted: list[str], admin: psycopg.Connection, tenant: psycopg.Connection
) -> None:
    names = _permitted(admin, "DELETE")
    assert names
    assert set(names) <= set(planted)
    for name in names:
        assert tenant.execute(_about("DELETE FROM {}", name)).rowcount == 0, name
        with tenant_transaction(tenant, [A]):
            others = tenant.execute(_about("DELETE FROM {} WHERE tenant_id = 'tenant-b'", name))
            assert others.rowcount == 0, name
            assert tenant.execute(_about("DELETE FROM {}", name)).rowcount == 1, name
        with tenant_transaction(tenant, [B]):
            assert _tenants_of(tenant, name) == [B], name


def test_an_upsert_without_the_tenant_key_cannot_take_another_tenants_row(
    admin: psycopg.Connection, tenant: psycopg.Connection
) -> None:
    tried = 0
    for name in sorted(set(_permitted(admin, "INSERT")) & set(_permitted(admin, "UPDATE"))):
        plant(admin, name, B)
        theirs, mine = row_of(admin, name, B), row_of(admin, name, A)
        for key in _keys_without_tenant(admin, name):
            row = mine | {column: theirs[column] for column in key if column in theirs}
            for column in ("tenant_id", _updatable_column(admin, name)):
                upsert = f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {column} = excluded.{column}"
                with pytest.raises(REFUSED), tenant_transaction(tenant, [A]):
                    insert(tenant, name, row, upsert)
                tried += 1
        with tenant_transaction(tenant, [B]):
            assert _tenants_of(tenant, name) == [B], name
    assert tried


# Privileges ------------------------------------------------------------------------------------------------------------


def test_batch_tenant_has_no_privilege_on_anything_but_what_filters_by_tenant(
    deployed: psycopg.Connection,
) -> None:
    filtered = {
        name
        for (name,) in deployed.execute(
            """
            SELECT tablename FROM pg_policies WHERE schemaname = 'batch' AND roles = '{batch_tenant}'
            UNION ALL
            SELECT relname FROM pg_class
            WHERE
                relnamespace = 'batch'::regnamespace
                AND (
                    'security_barrier=true' = ANY (reloptions)
                    -- It reads with the rights of the reader.
                    OR 'security_invoker=true' = ANY (reloptions) AND has_table_privilege('batch_tenant', oid, 'SELECT')
                )
            """
        )
    }
    assert _accessible(deployed, "batch_tenant") == {("batch", name) for name in filtered}
    assert filtered < set(relations(deployed, "rv"))


def test_batch_tenant_can_only_read_what_belongs_to_no_tenant(deployed: psycopg.Connection) -> None:
    privileges = deployed.execute(
        """
        SELECT relname, privilege
        FROM pg_class AS relation
        CROSS JOIN unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) AS privilege
        WHERE
            relnamespace = 'batch'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
            AND NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = relation.oid AND attname = 'tenant_id')
            AND CASE
                WHEN privilege = 'DELETE' THEN has_table_privilege('batch_tenant', relation.oid, privilege)
                ELSE has_any_column_privilege('batch_tenant', relation.oid, privilege)
            END
        """
    ).fetchall()
    # The limits of services concern all tenants that share a service, and contain nothing of a tenant.
    shared = {("service_limit", name) for name in ("SELECT", "INSERT", "UPDATE")}
    shared |= {("limit_sender", name) for name in ("SELECT", "INSERT", "UPDATE", "DELETE")}
    # Rates and closed months are the same for all tenants.
    shared |= {("exchange_rate", "SELECT"), ("accounting_month", "SELECT")}
    # When a run was opened, but not what it found.
    shared |= {("execution_log", "SELECT")}
    assert set(privileges) == shared


def test_batch_tenant_has_no_privilege_that_row_level_security_does_not_bind(
    deployed: psycopg.Connection,
) -> None:
    unbound = deployed.execute(
        """
        SELECT relname, privilege
        FROM pg_class AS relation
        CROSS JOIN unnest('{TRUNCATE,REFERENCES,TRIGGER}'::text[]) AS privilege
        WHERE
            relnamespace = 'batch'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
            AND has_table_privilege('batch_tenant', relation.oid, privilege)
        """
    ).fetchall()
    assert unbound == []


def test_batch_platform_has_no_privilege_on_the_hosts_own_tables(deployed: psycopg.Connection) -> None:
    assert {schema for schema, _ in _accessible(deployed, "batch_platform")} == {"batch"}


def test_every_view_for_batch_tenant_is_a_barrier_with_check_option(
    deployed: psycopg.Connection,
) -> None:
    views = deployed.execute(
        """
        SELECT relname, reloptions FROM pg_class
        WHERE relnamespace = 'batch'::regnamespace AND relkind = 'v' AND has_table_privilege('batch_tenant', oid, 'SELECT')
        """
    ).fetchall()
    assert views
    for name, options in views:
        # Or it reads with the reader's own rights.
        is_barrier = {"security_barrier=true", "check_option=cascaded"} <= set(options or ())
        assert is_barrier or options == ["security_invoker=true"], name


def test_the_roles_have_no_power_beyond_their_grants(deployed: psycopg.Connection) -> None:
    powers = deployed.execute(
        """
        SELECT rolname, rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication FROM pg_roles
        WHERE rolname IN ('batch_owner', 'batch_tenant', 'batch_platform')
        """
    ).fetchall()
    assert sorted(powers) == [("batch_owner", False), ("batch_platform", False), ("batch_tenant", False)]
    assert (
        deployed.execute(
            """
            SELECT FROM pg_auth_members
            WHERE member IN ('batch_owner'::regrole, 'batch_tenant'::regrole, 'batch_platform'::regrole)
            """
        ).rowcount
        == 0
    )


@pytest.mark.parametrize("role", ["batch_tenant", "batch_platform"])
def test_a_working_role_creates_nothing_and_takes_entries_as_owner(
    deployed: psycopg.Connection, role: str
) -> None:
    creatable = deployed.execute(
        "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND has_schema_privilege(%s, oid, 'CREATE')",
        [role],
    ).fetchall()
    with_owners_rights = deployed.execute(
        """
        SELECT proname FROM pg_proc
        WHERE
            pronamespace = 'batch'::regnamespace AND has_function_privilege(%s, oid, 'EXECUTE')
            AND (prosecdef OR prokind = 'p')
        ORDER BY proname
        """,
        [role],
    ).fetchall()
    # Who has the token of an entry gets its values once. Of a rate that waits everybody may know the day.
    assert (creatable, with_owners_rights) == ([], [("take_entered_values",), ("waiting_rate_on",)])


def test_the_owner_cannot_log_in(shared_database: Database, admin: psycopg.Connection) -> None:
    assert admin.execute("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'batch_owner'").fetchone() == (
        False,
    )
    with pytest.raises(psycopg.OperationalError, match="batch_owner"):
        psycopg.connect(
            psycopg.conninfo.make_conninfo(shared_database.dsn, user="batch_owner", password="guess")
        )


# Tenant ids ------------------------------------------------------------------------------------------------------------


def test_tenant_ids_may_hold_whatever_sql_arrays_and_paths_are_made_of(
    admin: psycopg.Connection, tenant: psycopg.Connection
) -> None:
    ids = [
        "it's",
        '"quoted"',
        "a,b",
        "a",
        "b",
        "{a}",
        "{a,b}",
        "../../etc",
        "back\\slash",
        "%s",
        "*",
        " ",
        "NULL",
        "株式会社テナント",
        "line\nbreak",
        "';--",
    ]
    for tenant_id in ids:
        plant(admin, "login_day", tenant_id)
    for tenant_id in ids:
        with tenant_transaction(tenant, [tenant_id]):
            assert _tenants_of(tenant, "login_day") == [tenant_id]
    with tenant_transaction(tenant, ids):
        assert _tenants_of(tenant, "login_day") == sorted(ids)


@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # the connection keeps no state between examples
@given(
    ids=st.lists(
        st.text(st.characters(exclude_characters="\0\x1f", exclude_categories=["Cs"]), min_size=1), max_size=5
    )
)
def test_the_database_understands_the_context_as_exactly_the_ids_given(
    tenant: psycopg.Connection, ids: list[str]
) -> None:
    with tenant_transaction(tenant, ids):
        assert tenant.execute("SELECT batch.current_tenants()").fetchone() == (ids or None,)
    assert tenant.execute("SELECT batch.current_tenants()").fetchone() == (None,)


@pytest.mark.parametrize("tenant_id", ["", "\x1f", f"{A}\x1f{B}", "\0", "a\0"])
def test_an_id_that_would_widen_or_empty_the_context_is_refused(
    tenant: psycopg.Connection, tenant_id: str
) -> None:
    with pytest.raises(ValueError, match="cannot be a tenant id"), tenant_transaction(tenant, [A, tenant_id]):
        pytest.fail("the transaction was entered")
    assert tenant.info.transaction_status is psycopg.pq.TransactionStatus.IDLE


# -----------------------------------------------------------------------------------------------------------------------


def _about(statement: LiteralString, relation: str) -> sql.Composed:
    return sql.SQL(statement).format(sql.Identifier("batch", relation))


def _tenants_of(connection: psycopg.Connection, relation: str) -> list[str]:
    """The tenants of the visible rows, in Python's order."""
    return sorted(
        tenant_id for (tenant_id,) in connection.execute(_about("SELECT tenant_id FROM {}", relation))
    )


def _permitted(admin: psycopg.Connection, privilege: str) -> list[str]:
    """The relations with tenants' rows on which batch_tenant has the privilege, at least for one column."""
    whole = "has_table_privilege('batch_tenant', oid, %(privilege)s)"
    some_column = "has_any_column_privilege('batch_tenant', oid, %(privilege)s)"
    rows = admin.execute(
        f"""
        SELECT relname FROM pg_class
        WHERE
            relnamespace = 'batch'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
            AND {whole if privilege == "DELETE" else some_column}
            AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = pg_class.oid AND attname = 'tenant_id')
        ORDER BY relname
        """,
        {"privilege": privilege},
    )
    return [name for (name,) in rows]


def _updatable_column(admin: psycopg.Connection, relation: str) -> str:
    """A column other than the tenant's that batch_tenant may update."""
    row = admin.execute(
        """
        SELECT min(attname::text) FROM pg_attribute
        WHERE
            attrelid = to_regclass('batch.' || %s) AND attnum > 0 AND attname <> 'tenant_id' AND NOT attisdropped
            AND has_column_privilege('batch_tenant', attrelid, attnum, 'UPDATE')
        """,
        [relation],
    ).fetchone()
    assert row is not None
    assert isinstance(row[0], str), relation
    return row[0]


def _keys_without_tenant(admin: psycopg.Connection, relation: str) -> list[list[str]]:
    """The columns of each unique key that two tenants' rows could share: of the table, or of the table under the view.

    A key that holds a column which batch_tenant may not give is out of its reach.
    """
    rows = admin.execute(
        """
        WITH base AS (
            SELECT to_regclass('batch.' || %(relation)s)::oid AS oid
            UNION
            SELECT refobjid FROM pg_rewrite
            INNER JOIN pg_depend ON classid = 'pg_rewrite'::regclass AND objid = pg_rewrite.oid
            WHERE ev_class = to_regclass('batch.' || %(relation)s) AND refclassid = 'pg_class'::regclass
        )
        SELECT array_agg(attname::text ORDER BY attnum)
        FROM base
        INNER JOIN pg_index ON indrelid = base.oid AND indisunique
        INNER JOIN pg_attribute ON attrelid = base.oid AND attnum = ANY (indkey)
        GROUP BY indexrelid
        HAVING
            NOT bool_or(attname = 'tenant_id')
            AND bool_and(has_column_privilege('batch_tenant', to_regclass('batch.' || %(relation)s), attname, 'INSERT'))
        """,
        {"relation": relation},
    )
    return [columns for (columns,) in rows]


def _accessible(admin: psycopg.Connection, role: str) -> set[tuple[str, str]]:
    """Schema and name of everything outside PostgreSQL's own schemas on which the role has any privilege, be it for a column."""
    return set(
        admin.execute(
            """
            SELECT relnamespace::regnamespace::text, relname FROM pg_class
            WHERE
                relnamespace::regnamespace::text !~ '^(pg_|information_schema)'
                AND CASE
                    WHEN relkind = 'S' THEN has_sequence_privilege(%(role)s, oid, 'USAGE, SELECT, UPDATE')
                    WHEN relkind IN ('r', 'p', 'v', 'm', 'f') THEN
                        has_table_privilege(%(role)s, oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
                        OR has_any_column_privilege(%(role)s, oid, 'SELECT, INSERT, UPDATE, REFERENCES')
                    ELSE false
                END
            """,
            {"role": role},
        )
    )


def _depth(connection: psycopg.Connection, name: str) -> int:
    """The length of the longest chain of tables that foreign keys of the table name."""
    parents = {table for table, _ in foreign_keys(connection, name).values()} - {name}
    return max((1 + _depth(connection, parent) for parent in parents), default=0)
