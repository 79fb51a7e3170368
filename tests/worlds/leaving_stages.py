"""The stages of a tenant that leaves, each reached once in a session. A test that changes one gets a copy.

A folder's ``conftest.py`` imports the fixtures of the session, a module of tests the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from include.skillreport.core.execution.object_store import tenant_folder
from include.skillreport.operations.approve_offboarding import batch as answering
from include.skillreport.operations.offboard_tenant import batch as asking
from include.skillreport.schema.host_contract import HostVariant
from local_stack.local_run import KilledError
from tests.conftest import Database, Server, copied_database
from tests.worlds import host_rows
from tests.worlds.leaving_tenants import AT, Leaving, plant_own, plant_tenant


def killed(*_: Any) -> None:
    raise KilledError


@contextmanager
def unproved() -> Iterator[None]:
    """Without the proofs of exports, which take half of the time of an offboarding. The tests of its whole course make them."""
    with pytest.MonkeyPatch.context() as patched:
        for module in (asking, answering):
            patched.setattr(module, "prove", lambda *_: None)
        yield


@pytest.fixture(name="unproved")
def unproved_exports() -> Iterator[None]:
    with unproved():
        yield


@pytest.fixture(scope="session")
def planted_stage(
    server: Server, deletable_templates: dict[HostVariant, Database], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Leaving]:
    """T has left, U stays. Their people stand in each other's rows."""
    template = deletable_templates[HostVariant.MULTI_TENANT]
    with copied_database(server, template.name, "planted stage") as database:
        with database.connect() as connection:
            plant_tenant(connection, "T")
            plant_tenant(connection, "U", other="T")
            plant_own(connection, "T")
            connection.execute(
                "UPDATE \"MST_Tenant\" SET status = 'ACTIVE', contract_end_date = null WHERE tenant_id = 'U'"
            )
            host_rows.skill(connection, "wrong stamp", "code-T", "tenant_001", AT)
            host_rows.skill(connection, "placeholder", "emp_001", "T", AT)
            host_rows.skill(connection, "stamped T", "code-U", "T", AT)
            host_rows.skill(connection, "nobody's", "somebody", "default", AT)
        leaving = Leaving(database, tmp_path_factory.mktemp("planted") / "store")
        for folder in ("reports", "notification_log", "deleted_rows", "invoices"):
            for tenant_id in ("T", "U"):
                leaving.store.write(f"{folder}/{tenant_folder(tenant_id)}/2026-10/file", b"content")
        yield leaving


@pytest.fixture(scope="session")
def exported_stage(planted_stage: Leaving, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Leaving]:
    """T's offboarding has begun, and its rows are exported."""
    with planted_stage.copied(tmp_path_factory.mktemp("exported") / "store", "exported stage") as leaving:
        for result in (leaving.begun(), leaving.exported()):
            assert result.status == "completed", leaving.problems(result)
        yield leaving


@pytest.fixture(scope="session")
def asked_stage(exported_stage: Leaving, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Leaving]:
    """Nobody has answered the question yet."""
    with exported_stage.copied(tmp_path_factory.mktemp("asked") / "store", "asked stage") as leaving:
        leaving.question = leaving.asked()
        yield leaving


@pytest.fixture(scope="session")
def frozen_stage(asked_stage: Leaving, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Leaving]:
    """The run was killed between the approval and the deletion."""
    with asked_stage.copied(tmp_path_factory.mktemp("frozen") / "store", "frozen stage") as leaving:
        freeze(leaving)
        yield leaving


def freeze(leaving: Leaving) -> None:
    """Answer the question in a run that is killed before the deletion."""
    with pytest.MonkeyPatch.context() as killing:
        killing.setattr(answering.OffboardingApproval, "_delete", killed)
        with pytest.raises(KilledError):
            leaving.answer(leaving.request)
    assert leaving.offboarding("stage") == "frozen"


@pytest.fixture
def leaving(planted_stage: Leaving, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Leaving]:
    with planted_stage.copied(tmp_path / "planted", request.node.name) as copy:
        yield copy


@pytest.fixture
def exported(exported_stage: Leaving, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Leaving]:
    with exported_stage.copied(tmp_path / "exported", request.node.name) as copy:
        yield copy


@pytest.fixture
def asked(asked_stage: Leaving, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Leaving]:
    with asked_stage.copied(tmp_path / "asked", request.node.name) as copy:
        yield copy


@pytest.fixture
def frozen(frozen_stage: Leaving, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Leaving]:
    with frozen_stage.copied(tmp_path / "frozen", request.node.name) as copy:
        yield copy
