"""The roles that the local stack, or the tests, make on a server that is not their own.

Roles belong to a whole server. A role that somebody else has made may be the one that production logs in as: its password and its
attributes are never changed. A comment on the role says who has made it.
"""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
from psycopg import sql

from include.errors import BatchError
from include.migrations.deploy import OWNER, PLATFORM, TENANT

BATCH_ROLES = (OWNER, TENANT, PLATFORM)

# Any number; two claims at once run one after the other.
_CLAIM_LOCK = 7_018_020


class ForeignRolesError(BatchError):
    """The server has roles of our names that somebody else has made."""


def claim_roles(admin: psycopg.Connection, names: Sequence[str], maker: str) -> None:
    """Make the roles that are missing, without a login, and mark them as made by ``maker``.

    :raises ForeignRolesError: names the roles that somebody else has made; nothing was changed.
    """
    mark = f"made by {maker} of skill-report-batches"
    with admin.transaction():
        admin.execute("SELECT pg_advisory_xact_lock(%s)", [_CLAIM_LOCK])
        marks: dict[str, str] = dict(
            admin.execute(
                "SELECT rolname, coalesce(shobj_description(oid, 'pg_authid'), '') FROM pg_roles WHERE rolname = ANY (%s)",
                [list(names)],
            ).fetchall()
        )
        foreign = [name for name, comment in marks.items() if comment != mark]
        if foreign:
            raise ForeignRolesError(
                f"The server {admin.info.host}:{admin.info.port} has the roles {', '.join(sorted(foreign))}, which were not made "
                f"by {maker}: they may be those of a real installation. Use another server, or none "
                "(unset SKILL_BATCH_DATABASE_URL). If they are left over from a demo or from tests, drop them."
            )
        for name in names:
            if name in marks:
                continue
            role = sql.Identifier(name)
            admin.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(role))
            admin.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(role, sql.Literal(mark)))
