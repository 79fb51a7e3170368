"""A case of the contract: a batch, or an operation of a form, with a small world in which it has something to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from include.skillreport.core.execution.batch import Batch
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.form import OperationForm
from include.skillreport.core.run_spec import RunSpec
from local_stack.batch_runs import LocalInstallation
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.worlds import outbox_rows

# The tenants of a world: the run works on the first two, or on A alone; nobody names the third one.
A, B, UNTOUCHED = "A", "B", "C"

PERSON = "suzuki"


@dataclass
class World:
    """What a case begins with. ``folder`` has all files; those of the store lie in ``store``."""

    database: Database
    host: psycopg.Connection
    folder: Path
    services: StandIns

    @property
    def store(self) -> ObjectStore:
        """The store of the installation."""
        return ObjectStore(self.folder / "store")

    def installation(self) -> LocalInstallation:
        """An installation with this database, this store, and the stand-ins of all services."""
        return LocalInstallation(object_store=self.store, services=outbox_rows.network(self.services))


# The values of the run's form.
Form = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """One case.

    ``name``: the operation that the form names; empty for a batch. ``at`` is the time of the run. ``plant`` plants its rows and files, and
    returns the values of the form. ``changes`` are all tables that the run changes, besides those of runs (``state.OF_RUNS``), "files" and
    "messages". ``set_up`` changes environment variables and settings, and ``prepare`` the stand-ins; both run before each planting.
    ``person`` triggers the run; empty: nobody does. ``break_tenant`` makes the work on tenant B fail, and returns what repairs it.
    ``is_long``: it dumps, restores or deletes, which takes long and has a database of its own.
    """

    spec: RunSpec
    name: str
    day: date
    plant: Callable[[World], Form]
    changes: frozenset[str]
    at: datetime | None = None
    person: str = ""
    installation: Callable[[World], LocalInstallation] = World.installation
    create_batch: Callable[[World], Callable[[], Batch]] | None = None
    break_tenant: Callable[[World], Callable[[], object]] | None = None
    prepare: Callable[[World], None] = lambda world: None  # noqa: ARG005
    is_long: bool = False
    set_up: Callable[[pytest.MonkeyPatch, Path], None] = lambda environment, folder: None  # noqa: ARG005

    def __str__(self) -> str:
        return f"{self.spec.slug}-{self.name}" if self.name else self.spec.slug


def entered(form: OperationForm, name: str, values: Form) -> Form:
    """The values that the operation has fields for, with its name."""
    values = {"operation": name, **values}
    fields = {"operation", *form.chosen(values).fields()}
    return {field: value for field, value in values.items() if field in fields}


def refusing(table: str) -> Callable[[World], Callable[[], object]]:
    """The database refuses all writes of tenant B in this table, as ``schema.name``."""

    def break_tenant(world: World) -> Callable[[], object]:
        world.host.execute(
            sql.SQL(
                """
                CREATE FUNCTION batch.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
                DECLARE written record := CASE WHEN tg_op = 'DELETE' THEN old ELSE new END;
                BEGIN
                    IF written.tenant_id = {} THEN RAISE check_violation; END IF;
                    RETURN written;
                END $$;
                CREATE TRIGGER refuse BEFORE INSERT OR UPDATE OR DELETE ON {} FOR EACH ROW EXECUTE FUNCTION batch.refuse()
                """
            ).format(B, sql.Identifier(*table.split(".")))
        )
        return lambda: world.host.execute("DROP FUNCTION batch.refuse CASCADE")

    return break_tenant
