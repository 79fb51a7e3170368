"""Create the roles of the local stack, or of the tests, on an external server.

Roles belong to a whole server, and production may log in with an existing role. This module therefore never changes the password or
the attributes of a role that it has not created. A comment on the role names its creator.
"""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
from psycopg import sql

from include.skillreport.core.errors import BatchError
from include.skillreport.schema.deploy import CLEANUP, ROLES

BATCH_ROLES = (*ROLES, CLEANUP)

# An arbitrary number. Concurrent claims run one after the other.
_CLAIM_LOCK = 7_018_020


class ForeignRolesError(BatchError):
    """The server has roles with the batch roles' names that the local stack has not created."""


def claim_roles(admin: psycopg.Connection, names: Sequence[str], maker: str) -> None:
    """Create the missing roles without a login, and mark them as created by ``maker``.

    :raises ForeignRolesError: names the roles that ``maker`` has not created; nothing has changed.
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
