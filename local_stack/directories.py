"""Small directories for the stand-ins, generated from the employees of the demo's tenants, with an example for each rule."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg

from include.skillreport.core.database import Statements
from local_stack.stand_ins import StandInDirectory, StandIns

_SQL = Statements(Path(__file__).parent)

# The accounts of sql/notification_facts.sql.
HOLDING, MANUFACTURER, LOGISTICS = "default-tenant", "tenant_1735689600000", "TENANT002"
HOLDING_SLACK, MANUFACTURER_SLACK = "xoxb-demo", "xoxb-demo-mfg"
HOLDING_ENTRA = "demo-entra"
HOLDING_LINE_WORKS, LOGISTICS_LINE_WORKS = "demo-client", "demo-client-ymz"


def put_directories(stand_ins: StandIns, connection: psycopg.Connection) -> None:
    """Put a directory into each service that a tenant uses."""
    people: dict[str, list[dict[str, Any]]] = {
        tenant_id: _SQL.rows(connection, "directory_people", tenant_id=tenant_id)
        for tenant_id in (HOLDING, MANUFACTURER, LOGISTICS)
    }
    for service, account, directory in (
        ("slack", HOLDING_SLACK, _holding_slack(people[HOLDING])),
        ("slack", MANUFACTURER_SLACK, _manufacturer_slack(people[MANUFACTURER])),
        ("teams", HOLDING_ENTRA, _holding_teams(people[HOLDING])),
        ("line_works", HOLDING_LINE_WORKS, _line_works(people[HOLDING][:12])),
        ("line_works", LOGISTICS_LINE_WORKS, _line_works(people[LOGISTICS][:8])),
    ):
        stand_ins.show_directory(service, account, directory)


def _holding_slack(people: list[dict[str, Any]]) -> StandInDirectory:
    """All employees, one of them also as a guest, one who is only invited, two bots, and an empty page."""
    members = [_member(number, person) for number, person in enumerate(people)]
    members[5] |= {"is_invited_user": True}
    guest = _member(9_000, people[3]) | {"is_restricted": True}
    bots = [
        {"id": "USLACKBOT", "is_bot": False, "profile": {"real_name": "Slackbot"}},
        {"id": "UDEMOBOT", "is_bot": True, "profile": {"real_name": "勤怠ボット"}},
    ]
    return StandInDirectory(
        pages=[members[:25], [], [*members[25:], guest, *bots]],
        channels=[{"id": "C0GENERAL", "name": "general"}, {"id": "C0UNSURE", "name": "random"}],
    )


def _manufacturer_slack(people: list[dict[str, Any]]) -> StandInDirectory:
    """The employees of a department, and an archived channel that notifications use."""
    return StandInDirectory(
        pages=[[_member(number, person) for number, person in enumerate(people[:120])]],
        channels=[
            {"id": "C0FACTORY", "name": "factory"},
            {"id": "C0ARCHIVED", "name": "monthly-report", "is_archived": True},
        ],
    )


def _holding_teams(people: list[dict[str, Any]]) -> StandInDirectory:
    """Accounts with employee numbers, some without an email address, one of them disabled."""
    users = [
        {
            "id": f"00000000-0000-4000-8000-{number:012}",
            "displayName": person["full_name"],
            "mail": None if number % 3 else person["email"],
            "userPrincipalName": f"user{number}@demo.onmicrosoft.example",
            "accountEnabled": number != 7,
            "userType": "Member",
            "employeeId": person["employee_code"],
        }
        for number, person in enumerate(people[:30])
    ]
    channels = [{"id": "19:general@thread.tacv2", "displayName": "一般", "membershipType": "standard"}]
    return StandInDirectory(
        pages=[users[:20], users[20:]],
        channels=[{"id": "team-demo", "displayName": "人事部", "channels": channels}],
    )


def _line_works(people: list[dict[str, Any]]) -> StandInDirectory:
    """Accounts with external keys; the last employee is on leave."""
    users = [
        {
            "userId": f"line-{number:04}",
            "userExternalKey": person["employee_code"],
            "email": person["email"],
            "userName": {"lastName": person["full_name"], "firstName": ""},
            "leaveOfAbsence": {"isLeaveOfAbsence": number == len(people) - 1},
        }
        for number, person in enumerate(people)
    ]
    return StandInDirectory(pages=[users], channels=[{"groupId": "group-1", "groupName": "全社員"}])


def _member(number: int, person: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": f"U0DEMO{number:04}",
        "deleted": False,
        "is_bot": False,
        "is_email_confirmed": True,
        "profile": {"real_name": person["full_name"], "email": person["email"]},
    }
