"""Who the stand-ins say is there: small directories of the demo's tenants, made from their employees, with something for each rule."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from include.database import read_sql
from local_stack.stand_ins import StandInDirectory, StandIns

# The accounts of sql/notification_facts.sql.
HOLDING, MANUFACTURER, LOGISTICS = "default-tenant", "tenant_1735689600000", "TENANT002"
HOLDING_SLACK, MANUFACTURER_SLACK = "xoxb-demo", "xoxb-demo-mfg"
HOLDING_ENTRA = "demo-entra"
HOLDING_LINE_WORKS, LOGISTICS_LINE_WORKS = "demo-client", "demo-client-ymz"


def show_directories(stand_ins: StandIns, connection: psycopg.Connection) -> None:
    """Give each tenant that uses a service its people there."""
    with connection.cursor(row_factory=dict_row) as cursor:
        people: dict[str, list[dict[str, Any]]] = {
            tenant_id: cursor.execute(
                read_sql(Path(__file__).parent, "directory_people"), {"tenant_id": tenant_id}
            ).fetchall()
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
    """Everybody; one of them a second time as a guest, somebody who is invited, two bots; an empty page in between."""
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
    """A department's people, and a channel that was archived although notifications go there."""
    return StandInDirectory(
        pages=[[_member(number, person) for number, person in enumerate(people[:120])]],
        channels=[
            {"id": "C0FACTORY", "name": "factory"},
            {"id": "C0ARCHIVED", "name": "monthly-report", "is_archived": True},
        ],
    )


def _holding_teams(people: list[dict[str, Any]]) -> StandInDirectory:
    """By employee number, some without an address of their own; one account is locked."""
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
    """By external key; the last one is on leave."""
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
