"""Generate host data of any size. The same shape gives the same rows, byte for byte, including ids and timestamps.

Each table has a function that yields its rows one by one, so that memory does not grow with the rows; COPY loads them into
the database. Each function uses its own random streams, named after the table and the tenant. A new function therefore
does not change the rows of other tables.

Days are Japanese calendar days (Asia/Tokyo); timestamps are naive UTC in milliseconds, as the host writes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import accumulate
from random import Random
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo

import psycopg
from faker import Faker
from psycopg import sql

from local_stack.host_fixture import HostVariant
from local_stack.tenants import DEFAULT_TENANT_ID, DEMO_TENANTS, DemoTenant, ordinary_tenant

Row: TypeAlias = tuple[object, ...]

TOKYO: Final = ZoneInfo("Asia/Tokyo")
MILLISECOND: Final = timedelta(milliseconds=1)
KB_PER_GB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class DataShape:
    """The size of the data. Raises ValueError for an impossible shape."""

    tenants: int
    users_per_tenant: int
    """People with an account; a twentieth more are employees without one."""
    first_day: date
    """In Asia/Tokyo, as all days."""
    days: int
    requests_per_day: int
    """Request log rows of an ordinary working day, over all tenants."""
    seed: int = 20260401
    odd_tenants: bool = True
    """True: the first tenants are DEMO_TENANTS, with their own sizes. False: all tenants are ordinary and equal."""
    weekly_rhythm: bool = True
    """True: weekends are quiet and all days differ. False: each day has the same number of requests."""

    def __post_init__(self) -> None:
        for name, least in {"tenants": 1, "users_per_tenant": 0, "days": 1, "requests_per_day": 0}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}.")


DEMO_SHAPE: Final = DataShape(
    tenants=len(DEMO_TENANTS),
    users_per_tenant=40,
    first_day=date(2026, 10, 1),
    days=31,
    requests_per_day=3_000,
)


def benchmark_shape(tenants: int) -> DataShape:
    """One day, 2026-10-31, of any number of equal tenants with 20 users and 100 requests each."""
    return DataShape(
        tenants=tenants,
        users_per_tenant=20,
        first_day=date(2026, 10, 31),
        days=1,
        requests_per_day=100 * tenants,
        odd_tenants=False,
        weekly_rhythm=False,
    )


class LoadedCounts(dict[str, int]):
    """Rows loaded per table."""

    @property
    def total(self) -> int:
        return sum(self.values())


def load_demo_data(
    conn: psycopg.Connection[Any], shape: DataShape, variant: HostVariant = HostVariant.MULTI_TENANT
) -> LoadedCounts:
    """Fill the host's empty tables in one transaction and collect the planner's statistics.

    Raises ValueError for a database that has tenants, and for several tenants in the base variant, which cannot
    distinguish the people of several tenants.
    """
    if variant is HostVariant.BASE and shape.tenants > 1:
        raise ValueError(
            f"The host's base schema has no tenant_id on MST_Employee and can hold one tenant's people only: "
            f"{shape.tenants} tenants need the multi-tenant variant."
        )
    world = World(shape)
    counts = LoadedCounts()
    with conn.transaction(), conn.cursor() as cursor:
        if cursor.execute('SELECT FROM public."MST_Tenant" LIMIT 1').fetchone() is not None:
            raise ValueError("The database holds tenants already; demo data go into empty tables.")
        for table in TABLES:
            columns = table.columns_in(variant)
            target = sql.Identifier("public", table.name)
            names = sql.SQL(", ").join(map(sql.Identifier, columns))
            with cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(target, names)) as copy:
                for row in table.rows(world):
                    copy.write_row(row[: len(columns)])
            counts[table.name] = cursor.rowcount
            cursor.execute(sql.SQL("ANALYZE {}").format(target))
    return counts


# The values from which the rows are drawn


@dataclass(frozen=True, slots=True)
class Company:
    """A tenant and its index, with the ids of its people. They are numbered from 0, and the first ones have accounts."""

    index: int
    tenant: DemoTenant
    users: int
    requests: float
    """Request log rows of an ordinary working day."""
    code_turns: int
    """The number of tenants that share an unprefixed employee code, of which one uses it as a key."""

    @property
    def id(self) -> str:
        return self.tenant.tenant_id

    @property
    def employees(self) -> int:
        return self.users + self.users // 20

    @property
    def departments(self) -> int:
        return min(12, 2 + self.employees // 20) if self.employees else 0

    def department_code(self, number: int) -> str:
        return f"D{self.index:05d}-{number:02d}"

    def job_type(self, number: int) -> str:
        return f"JOB{self.index:05d}-{number % SKILLS_PER_TENANT:02d}"

    def skill_code(self, number: int) -> str:
        """Skills are numbered per tenant, because employee codes repeat, but pairs of code and skill must be unique."""
        return f"SKL{self.index:05d}-{number % SKILLS_PER_TENANT:02d}"

    def user_id(self, person: int) -> str:
        return f"usr_{self.index:05d}_{person:05d}"

    def editor_id(self, person: int) -> str:
        """Who created or changed a row about this person."""
        return self.user_id(person) if person < self.users and person % 10 != 9 else "system"

    def employee_id(self, person: int) -> str:
        return f"emp_{self.index:05d}_{person:05d}"

    def employee_code(self, person: int) -> str:
        return f"{self.tenant.code_prefix}{person + 1:06d}"

    def employee_key(self, person: int, row: int) -> str:
        """The employee_id of the row-th row about this person: mostly the id, sometimes the code."""
        return self.employee_code(person) if (person + row) % 4 == 1 else self.employee_id(person)

    def is_misplaced(self, person: int) -> bool:
        """Whether the account has the migration's default tenant, although its employee belongs to this tenant."""
        return person % 50 == 7 and self.id != DEFAULT_TENANT_ID

    def account_employee_key(self, person: int) -> str:
        """The employee_id of the account. It is unique over all tenants, but codes repeat."""
        turn = self.tenant.code_prefix or (person // 3) % self.code_turns == self.index
        by_code = person % 3 == 2 and turn and not self.is_misplaced(person)
        return self.employee_code(person) if by_code else self.employee_id(person)


@dataclass(frozen=True, slots=True)
class Name:
    kanji: str
    kana: str


# Characters outside JIS X 0208, and one outside the Basic Multilingual Plane.
RARE_SURNAMES: Final = (
    Name("髙橋", "タカハシ"),
    Name("山﨑", "ヤマザキ"),
    Name("𠮷田", "ヨシダ"),
    Name("濵﨑", "ハマサキ"),
)

# The percentage of requests in each hour of a Japanese day.
REQUESTS_BY_HOUR: Final = (1, 0, 0, 0, 0, 1, 1, 3, 7, 12, 11, 9, 5, 10, 10, 9, 8, 6, 3, 1, 1, 1, 1, 0)
HOUR_OF: Final = tuple(hour for hour, share in enumerate(REQUESTS_BY_HOUR) for _ in range(share))
LOAD_BY_WEEKDAY: Final = (1.0, 1.0, 1.0, 1.0, 1.0, 0.2, 0.1)


class World:
    """The tenants, names and days of a shape, and the random streams for the rows."""

    def __init__(self, shape: DataShape) -> None:
        self.shape: Final = shape
        self.days: Final = [shape.first_day + timedelta(days=number) for number in range(shape.days)]
        self.begin: Final = start_of_day(self.days[0])
        self.end: Final = start_of_day(self.days[-1] + timedelta(days=1))
        """The first moment after the last day, UTC."""
        self._starts: Final = [start_of_day(day) for day in self.days]
        self._cumulated_load: Final = list(accumulate(self._load(day) for day in self.days))
        self.companies: Final = self._make_companies()
        self.surnames, self.given_names = self._make_names()

    def _make_companies(self) -> list[Company]:
        odd = DEMO_TENANTS if self.shape.odd_tenants else ()
        tenants = [odd[i] if i < len(odd) else ordinary_tenant(i) for i in range(self.shape.tenants)]
        sizes = [self.shape.users_per_tenant if tenant.users is None else tenant.users for tenant in tenants]
        traffic = [tenant.traffic if users else 0.0 for tenant, users in zip(tenants, sizes, strict=True)]
        requests_per_traffic = self.shape.requests_per_day / (sum(traffic) or 1.0)
        return [
            Company(index, tenant, users, requests_per_traffic * share, code_turns=len(tenants))
            for index, (tenant, users, share) in enumerate(zip(tenants, sizes, traffic, strict=True))
        ]

    def _make_names(self) -> tuple[list[Name], list[Name]]:
        faker = Faker("ja_JP")
        faker.seed_instance(self.shape.seed)
        # Faker is slow, so it fills a pool once, and all names are combinations from this pool.
        surnames = [Name(*faker.last_name_pair()[:2]) for _ in range(300)]
        given_names = [Name(*faker.first_name_pair()[:2]) for _ in range(300)]
        return [*surnames, *RARE_SURNAMES * 3], given_names

    def random(self, *stream: object) -> Random:
        """The random stream with this name. It is the same in each process on each machine."""
        return Random("/".join(map(str, (self.shape.seed, *stream))))

    def _load(self, day: date) -> float:
        """The activity of the day, relative to an ordinary working day."""
        return LOAD_BY_WEEKDAY[day.weekday()] if self.shape.weekly_rhythm else 1.0

    def requests(self, company: Company, day: date) -> int:
        """The company's number of requests on this day."""
        expected = company.requests * self._load(day)
        if day == self.days[-1]:
            expected *= company.tenant.last_day_traffic
        if self.shape.weekly_rhythm:
            expected *= self.random("requests", company.index, day).uniform(0.85, 1.15)
        return round(expected)

    def moments(self, company: Company, day: date, count: int, random: Random) -> Iterator[datetime]:
        """`count` times of the day, UTC. Those of the first company include the first and last millisecond of the day."""
        start = start_of_day(day)
        edges = (start, start_of_day(day + timedelta(days=1)) - MILLISECOND) if company.index == 0 else ()
        yield from edges[:count]
        for _ in range(count - len(edges)):
            yield start + time_of_day(random)

    def moment(self, random: Random) -> datetime:
        """A time in the period, UTC, more likely on a busy day."""
        return random.choices(self._starts, cum_weights=self._cumulated_load)[0] + time_of_day(random)

    def earlier(self, random: Random, most_days: int) -> datetime:
        """A time up to this many days before the period, UTC."""
        return self.begin - timedelta(milliseconds=1 + int(random.random() * most_days * 86_400_000))

    def last_change(self, company: Company, random: Random) -> datetime:
        """The time of a row's last change, UTC: in the period or in the half-year before it."""
        if company.requests and random.random() < 0.4:
            return self.moment(random)
        return self.earlier(random, 180)

    def last_logins(self, company: Company) -> Iterator[datetime | None]:
        """The last login of each user of the company, in order, UTC; None without a login."""
        random = self.random("last_logins", company.index)
        latest = start_of_day(self.days[-1]), self.end - MILLISECOND
        for person in range(company.users):
            if company.index == 0 and person < len(latest):
                yield latest[person]
            elif person % 23 == 11:
                yield None
            elif person % 7 == 3 or not company.requests:
                yield self.earlier(random, 120)
            else:
                yield max(self.moment(random), self.moment(random))


def start_of_day(day: date) -> datetime:
    """The start of the Japanese day, as naive UTC."""
    return datetime.combine(day, time(), TOKYO).astimezone(UTC).replace(tzinfo=None)


def time_of_day(random: Random) -> timedelta:
    """The time of an action since the start of a Japanese day, mostly in office hours."""
    hour = HOUR_OF[int(random.random() * len(HOUR_OF))]
    return timedelta(hours=hour, milliseconds=int(random.random() * 3_600_000))


def whole(expected: float, random: Random) -> int:
    """A random integer with the expected value as its mean."""
    return int(expected + random.random())


# The tables and their rows

RowMaker: TypeAlias = Callable[[World], Iterator[Row]]


@dataclass(frozen=True, slots=True)
class Table:
    """A host table and the function that generates its rows."""

    name: str
    columns: tuple[str, ...]
    """In the order of the rows' values."""
    rows: RowMaker
    gained_tenant_id: bool
    """Whether tenant_id, the last value of a row, exists only in the multi-tenant variant."""

    def columns_in(self, variant: HostVariant) -> tuple[str, ...]:
        gained = self.gained_tenant_id and variant is HostVariant.MULTI_TENANT
        return (*self.columns, "tenant_id") if gained else self.columns


TABLES: Final[list[Table]] = []
"""In the order of loading, as the functions below."""


def host_table(name: str, columns: str, *, gained_tenant_id: bool = False) -> Callable[[RowMaker], RowMaker]:
    """Declare the table and the columns for which the decorated function generates rows."""

    def declare(rows: RowMaker) -> RowMaker:
        TABLES.append(Table(name, tuple(columns.split()), rows, gained_tenant_id))
        return rows

    return declare


# Master data. Here and below, each line of values corresponds to a line of columns.


@host_table(
    "MST_Tenant",
    """
    tenant_id tenant_code tenant_name tenant_name_en
    domain_name subdomain admin_email contact_email
    tenant_type parent_tenant_id tenant_level
    timezone locale currency_code country_code
    subscription_plan max_users max_storage_gb contract_start_date
    status is_deleted created_at updated_at
    """,
)
def tenant_rows(world: World) -> Iterator[Row]:
    for company in world.companies:
        tenant, domain = company.tenant, company.tenant.domain
        contract_start = world.begin - timedelta(days=400 + company.index % 300)
        parent = None if company.index == 0 else world.companies[0].id
        yield (
            *(tenant.tenant_id, tenant.code, tenant.name, tenant.name_en),
            *(domain, domain.split(".")[0], f"admin@{domain}", f"contact@{domain}"),
            *("HEADQUARTERS" if parent is None else "SUBSIDIARY", parent, 1 if parent is None else 2),
            *(tenant.timezone, "ja-JP", tenant.currency, "JP"),
            *(tenant.plan, tenant.max_users, tenant.max_storage_gb, contract_start),
            *(tenant.status, tenant.is_deleted, contract_start, contract_start),
        )


TENANT_SETTINGS: Final = (
    ("NOTIFICATION", "notification.email.enabled", "BOOLEAN", "true"),
    ("NOTIFICATION", "notification.language", "STRING", "ja"),
    ("REPORT", "report.fiscal_year_start_month", "INTEGER", "4"),
)


@host_table(
    "MST_TenantSettings",
    """
    id tenant_id setting_category setting_key data_type
    setting_value default_value display_order last_modified_by created_at updated_at
    """,
)
def tenant_setting_rows(world: World) -> Iterator[Row]:
    for company in world.companies:
        changed = world.begin - timedelta(days=30)
        for order, (category, key, data_type, value) in enumerate(TENANT_SETTINGS):
            setting_id = f"set_{company.index:05d}_{order:02d}"
            yield (
                *(setting_id, company.id, category, key, data_type),
                *(value, value, order, "system", changed, changed),
            )


DEPARTMENT_NAMES: Final = (
    "営業部",
    "開発部",
    "製造部",
    "品質保証部",
    "人事部",
    "経理部",
    "総務部",
    "情報システム部",
    "物流部",
    "企画部",
)


@host_table(
    "MST_Department",
    """
    department_code department_name department_level manager_id
    department_status sort_order created_at updated_at
    """,
    gained_tenant_id=True,
)
def department_rows(world: World) -> Iterator[Row]:
    for company in world.companies:
        founded = world.begin - timedelta(days=400)
        for number in range(company.departments):
            name = DEPARTMENT_NAMES[number % len(DEPARTMENT_NAMES)]
            if number >= len(DEPARTMENT_NAMES):
                name = f"第二{name}"
            manager = company.employee_key(number % company.employees, number)
            yield (
                *(company.department_code(number), name, 1, manager),
                *("ACTIVE", number, founded, founded, company.id),
            )


SKILL_CATEGORIES: Final = (
    "プログラミング言語",
    "データベース",
    "クラウド",
    "プロジェクト管理",
    "語学",
)


@host_table(
    "MST_SkillCategory",
    """
    category_code category_name category_level display_order
    category_status created_at updated_at
    """,
)
def skill_category_rows(world: World) -> Iterator[Row]:
    """The same for all tenants, as the host has them."""
    founded = world.begin - timedelta(days=400)
    for number, name in enumerate(SKILL_CATEGORIES):
        yield (f"CAT{number:02d}", name, 1, number, "ACTIVE", founded, founded)


SKILLS_PER_TENANT: Final = 20


@host_table(
    "MST_SkillItem",
    "skill_code skill_name skill_category_id created_at updated_at",
)
def skill_item_rows(world: World) -> Iterator[Row]:
    founded = world.begin - timedelta(days=400)
    for company in world.companies:
        for number in range(SKILLS_PER_TENANT):
            category = number % len(SKILL_CATEGORIES)
            name = f"{SKILL_CATEGORIES[category]} {number // len(SKILL_CATEGORIES) + 1}"
            yield (company.skill_code(number), name, f"CAT{category:02d}", founded, founded)


@host_table(
    "MST_JobTypeSkill",
    """
    id job_type_id skill_item_id required_level
    skill_status created_at updated_at
    """,
)
def job_type_skill_rows(world: World) -> Iterator[Row]:
    """The required skills of each job type of a company: the two skills of the people with this job."""
    founded = world.begin - timedelta(days=400)
    for company in world.companies:
        for job in range(SKILLS_PER_TENANT):
            for row in range(2):
                requirement = f"jts_{company.index:05d}_{job:02d}_{row}"
                yield (
                    *(requirement, company.job_type(job), company.skill_code(job + 7 * row), 2 + row),
                    *("ACTIVE", founded, founded),
                )


@host_table(
    "MST_Employee",
    """
    id employee_code
    full_name full_name_kana
    email hire_date
    department_id job_type_id employment_status employee_status
    is_deleted created_at updated_at
    """,
    gained_tenant_id=True,
)
def employee_rows(world: World) -> Iterator[Row]:
    for company in world.companies:
        random = world.random("MST_Employee", company.index)
        for person in range(company.employees):
            surname, given = random.choice(world.surnames), random.choice(world.given_names)
            code = company.employee_code(person)
            hired = datetime(1990 + int(random.random() * 36), 4, 1) - timedelta(hours=9)
            created = world.earlier(random, 365)
            status = "RETIRED" if person % 37 == 36 else "ACTIVE"
            yield (
                *(company.employee_id(person), code),
                *(f"{surname.kanji} {given.kanji}", f"{surname.kana} {given.kana}"),
                *(None if person % 41 == 40 else f"{code.lower()}@{company.tenant.domain}", hired),
                *(company.department_code(person % company.departments), company.job_type(person)),
                *("FULL_TIME", status),
                *(person % 53 == 52, created, created, company.id),
            )


@host_table(
    "MST_UserAuth",
    """
    user_id login_id employee_id
    account_status last_login_at failed_login_count
    is_deleted created_at updated_at
    """,
    gained_tenant_id=True,
)
def user_rows(world: World) -> Iterator[Row]:
    for company in world.companies:
        random = world.random("MST_UserAuth", company.index)
        for person, last_login in enumerate(world.last_logins(company)):
            created = world.earlier(random, 365)
            login = f"{company.employee_code(person).lower()}@{company.tenant.domain}"
            tenant_id = DEFAULT_TENANT_ID if company.is_misplaced(person) else company.id
            yield (
                *(company.user_id(person), login, company.account_employee_key(person)),
                *("LOCKED" if person % 31 == 30 else "ACTIVE", last_login, 0),
                *(person % 43 == 42, created, max(created, last_login or created), tenant_id),
            )


# What people do

REQUESTS: Final = (
    *(("GET", "/api/skills", 200),) * 6,
    *(("GET", "/api/dashboard", 200),) * 5,
    *(("GET", "/api/employees?page=1&limit=20", 200),) * 3,
    *(("PUT", "/api/skills/records", 200),) * 2,
    ("POST", "/api/skills/records", 201),
    ("GET", "/api/notifications", 200),
    ("GET", "/api/goals", 304),
    ("POST", "/api/reports/generate", 202),
)
ERRORS: Final = (
    (404, "NOT_FOUND"),
    (403, "FORBIDDEN"),
    (500, "INTERNAL_ERROR"),
    (500, "INTERNAL_ERROR"),
    (503, "BUSY"),
)
SYSTEM_LINES: Final = (
    *(("INFO", "SYSTEM", "キャッシュを更新しました"),) * 4,
    *(("DEBUG", "SYSTEM", "接続プールの状態: 正常"),) * 2,
    ("WARN", "PERFORMANCE", "クエリの実行に時間がかかりました"),
    ("ERROR", "BATCH", "外部サービスに接続できません"),
)
ERROR_SHARE: Final = 0.015
SYSTEM_LINES_PER_REQUEST: Final = 0.05


@host_table(
    "SYS_SystemLog",
    """
    id log_level log_category message user_id
    request_url request_method response_status response_time error_code
    is_deleted created_at updated_at
    """,
)
def system_log_rows(world: World) -> Iterator[Row]:
    for number, line in enumerate(system_log_lines(world)):
        yield f"log_{number:010d}", *line


def system_log_lines(world: World) -> Iterator[Row]:
    """The request log and the application's other lines, without their ids."""
    if world.shape.odd_tenants:
        # Just outside the period: the last millisecond of the day before it, the first of the day after it.
        for moment in (world.begin - MILLISECOND, world.end):
            yield request_line(world.companies[0], moment, world.random("SYS_SystemLog/outside", moment))
    for day in world.days:
        for company in world.companies:
            if count := world.requests(company, day):
                random = world.random("SYS_SystemLog", company.index, day)
                for moment in world.moments(company, day, count, random):
                    yield request_line(company, moment, random)
                other_lines = whole(count * SYSTEM_LINES_PER_REQUEST, random)
                for moment in world.moments(company, day, other_lines, random):
                    yield other_line(company, moment, random)


def request_line(company: Company, moment: datetime, random: Random) -> Row:
    draw = random.random()
    user: str | None
    if draw < 0.012:
        user = None  # before the login
    elif draw < 0.016:
        user = f"usr_gone_{int(draw * 1_000_000)}"  # an account that no longer exists
    else:
        # The square makes some people much more active than others.
        user = company.user_id(int(random.random() ** 2 * company.users))
    method, url, status = REQUESTS[int(random.random() * len(REQUESTS))]
    milliseconds = int(random.lognormvariate(4.4, 0.6))
    level, error_code = "INFO", None
    if random.random() < ERROR_SHARE:
        status, error_code = ERRORS[int(random.random() * len(ERRORS))]
        level = "ERROR" if status >= 500 else "WARN"
        milliseconds *= 3
    is_deleted = random.random() < 0.002
    message = f"{method} {url} {status}"
    return (
        *(level, "API", message, user),
        *(url, method, status, milliseconds, error_code),
        *(is_deleted, moment, moment),
    )


def other_line(company: Company, moment: datetime, random: Random) -> Row:
    level, category, message = SYSTEM_LINES[int(random.random() * len(SYSTEM_LINES))]
    user = company.user_id(int(random.random() * company.users)) if random.random() < 0.3 else None
    return (
        *(level, category, message, user),
        *(None, None, None, None, None),
        *(False, moment, moment),
    )


@dataclass(frozen=True, slots=True)
class AuditEvent:
    tenant_id: str
    user_id: str
    action: str
    target_table: str
    target_id: str
    result: str
    moment: datetime


EDITS: Final = (
    ("UPDATE", "TRN_SkillRecord"),
    ("CREATE", "TRN_SkillEvidence"),
    ("UPDATE", "MST_Employee"),
    ("DELETE", "TRN_PDU"),
)
EDITS_PER_REQUEST: Final = 0.05
DAILY_LOGIN_SHARE: Final = 0.12


@host_table(
    "HIS_AuditLog",
    """
    id tenant_id user_id action_type
    target_table target_id result_status execution_time_ms
    is_deleted
    created_at
    updated_at created_by
    """,
)
def audit_rows(world: World) -> Iterator[Row]:
    """The audit log with its gaps: in some rows user_id, is_deleted or a timestamp is NULL."""
    for number, event in enumerate(audit_events(world)):
        user = None if number % 211 == 210 else event.user_id
        yield (
            *(f"aud_{number:09d}", event.tenant_id, user, event.action),
            *(event.target_table, event.target_id, event.result, 5 + number % 90),
            None if number % 89 == 88 else number % 503 == 502,
            None if number % 397 == 396 else event.moment,
            *(None if number % 97 == 96 else event.moment, event.user_id),
        )


def audit_events(world: World) -> Iterator[AuditEvent]:
    for company in world.companies:
        yield from login_events(world, company)
        random = world.random("HIS_AuditLog/edits", company.index)
        for day in world.days:
            count = whole(world.requests(company, day) * EDITS_PER_REQUEST, random)
            for moment in world.moments(company, day, count, random):
                action, table = random.choice(EDITS)
                user = company.user_id(int(random.random() * company.users))
                target = company.employee_id(int(random.random() * company.employees))
                yield AuditEvent(company.id, user, action, table, target, "SUCCESS", moment)


def login_events(world: World, company: Company) -> Iterator[AuditEvent]:
    """Each user's last login of the period, and earlier logins on some days, of which some failed."""
    random = world.random("HIS_AuditLog/logins", company.index)
    for person, last_login in enumerate(world.last_logins(company)):
        user = company.user_id(person)
        if last_login is None or last_login < world.begin:
            continue
        for day in world.days:
            if random.random() < DAILY_LOGIN_SHARE * LOAD_BY_WEEKDAY[day.weekday()]:
                moment = start_of_day(day) + time_of_day(random)
                if moment < last_login:
                    result = "FAILURE" if random.random() < 0.03 else "SUCCESS"
                    yield AuditEvent(company.id, user, "LOGIN", "MST_UserAuth", user, result, moment)
        yield AuditEvent(company.id, user, "LOGIN", "MST_UserAuth", user, "SUCCESS", last_login)


@host_table(
    "TRN_SkillRecord",
    """
    id employee_id skill_item_id skill_level
    skill_status tenant_id is_deleted created_at updated_at
    created_by updated_by
    """,
)
def skill_record_rows(world: World) -> Iterator[Row]:
    for company in world.companies:
        random = world.random("TRN_SkillRecord", company.index)
        for person in range(company.employees):
            for row in range(1 + person % 2):
                changed = world.last_change(company, random)
                created = min(changed, world.earlier(random, 365))
                record = f"skr_{company.index:05d}_{person:05d}_{row}"
                skill = company.skill_code(person + 7 * row)
                level = 1 + int(random.random() * 4)
                yield (
                    *(record, company.employee_key(person, row), skill, level),
                    *("ACTIVE", company.id, person % 61 == 60, created, changed),
                    *(company.editor_id(person), company.editor_id(person)),
                )


FILLING_FILES: Final = 24


@host_table(
    "TRN_SkillEvidence",
    """
    id evidence_id employee_id evidence_type
    file_path file_type file_size_kb tenant_id is_deleted created_at updated_at
    created_by updated_by
    """,
)
def skill_evidence_rows(world: World) -> Iterator[Row]:
    """Uploaded certificates, some of unknown size, and videos that fill a tenant's quota, if it has a fill level."""
    for company in world.companies:
        random = world.random("TRN_SkillEvidence", company.index)
        stored_kb = 0
        for person in range(0, company.employees, 4):
            for row in range(1 + person % 3):
                changed = world.last_change(company, random)
                created = min(changed, world.earlier(random, 365))
                size_kb = None if random.random() < 0.08 else int(random.lognormvariate(6.2, 0.8))
                stored_kb += size_kb or 0
                file = f"evd_{company.index:05d}_{person:05d}_{row}"
                yield evidence_row(company, person, row, file, "pdf", size_kb, created, changed)
        if company.tenant.storage_filled and company.tenant.max_storage_gb:
            stored_kb += sum(report.file_size or 0 for report in reports(world, company)) // 1024
            wanted_kb = company.tenant.storage_filled * company.tenant.max_storage_gb * KB_PER_GB - stored_kb
            for row in range(FILLING_FILES):
                uploaded = world.earlier(random, 90)
                size_kb = int(wanted_kb / FILLING_FILES)
                file = f"evd_{company.index:05d}_film_{row}"
                yield evidence_row(company, 0, row, file, "mp4", size_kb, uploaded, uploaded)


def evidence_row(
    company: Company,
    person: int,
    row: int,
    file: str,
    kind: str,
    size_kb: int | None,
    created: datetime,
    changed: datetime,
) -> Row:
    return (
        *(file, file, company.employee_key(person, row), "CERTIFICATE" if kind == "pdf" else "VIDEO"),
        *(f"/evidence/{file}.{kind}", kind, size_kb, company.id, False, created, changed),
        *(company.editor_id(person), company.editor_id(person)),
    )


@host_table(
    "TRN_GoalProgress",
    """
    id goal_id employee_id goal_title
    progress_rate achievement_status last_updated_at tenant_id
    is_deleted created_at updated_at created_by updated_by
    """,
)
def goal_progress_rows(world: World) -> Iterator[Row]:
    for company in world.companies:
        random = world.random("TRN_GoalProgress", company.index)
        for person in range(0, company.employees, 5):
            changed = world.last_change(company, random)
            created = min(changed, world.earlier(random, 180))
            rate = random.choice((0, 20, 40, 60, 80, 100))
            status = "COMPLETED" if rate == 100 else "IN_PROGRESS" if rate else "NOT_STARTED"
            goal = f"goal_{company.index:05d}_{person:05d}"
            yield (
                *(goal, goal, company.employee_key(person, 0), "資格を取得する"),
                *(rate, status, changed, company.id),
                *(False, created, changed, company.editor_id(person), company.editor_id(person)),
            )


@dataclass(frozen=True, slots=True)
class Report:
    requested_by: str
    output_format: str
    status: str
    file_size: int | None
    """The size in bytes; None if the report failed."""
    requested_at: datetime
    """UTC, as completed_at."""
    completed_at: datetime | None
    is_deleted: bool


REPORTS_PER_REQUEST: Final = 0.01


def reports(world: World, company: Company) -> Iterator[Report]:
    random = world.random("HIS_ReportGeneration", company.index)
    for day in world.days:
        count = whole(world.requests(company, day) * REPORTS_PER_REQUEST, random)
        for moment in world.moments(company, day, count, random):
            user = (
                "system" if random.random() < 0.1 else company.user_id(int(random.random() * company.users))
            )
            output_format = random.choice(("excel", "pdf"))
            is_deleted = random.random() < 0.02
            size = int(random.lognormvariate(12.2, 0.7))
            if random.random() < 0.06:
                yield Report(user, output_format, "FAILED", None, moment, None, is_deleted)
            else:
                # Requested and completed in the same second, so that a report on the edge of a day stays on it.
                yield Report(user, output_format, "COMPLETED", size, moment, moment, is_deleted)


@host_table(
    "HIS_ReportGeneration",
    """
    id tenant_id requested_by report_title report_category
    output_format generation_status
    file_path file_size requested_at completed_at error_message
    is_deleted created_at updated_at
    """,
)
def report_rows(world: World) -> Iterator[Row]:
    for company in world.companies:
        for number, report in enumerate(reports(world, company)):
            file = f"rep_{company.index:05d}_{number:06d}"
            extension = "xlsx" if report.output_format == "excel" else "pdf"
            path = f"/reports/{file}.{extension}" if report.status == "COMPLETED" else None
            error = None if report.completed_at else "出力に失敗しました"
            yield (
                *(file, company.id, report.requested_by, "スキル一覧", "SKILL"),
                *(report.output_format, report.status),
                *(path, report.file_size, report.requested_at, report.completed_at, error),
                *(report.is_deleted, report.requested_at, report.completed_at or report.requested_at),
            )


NOTIFICATIONS_PER_REQUEST: Final = 0.04
CHANNELS: Final = (*("EMAIL",) * 3, "SLACK", "TEAMS", "LINE_WORKS", "line-works", "lineWorks", "LINE")
SEND_STATUSES: Final = (*("SUCCESS",) * 4, "SENT", "SENT", "sent", "success", "FAILED", "PENDING")
SENT_STATUSES: Final = frozenset({"SUCCESS", "SENT"})


@host_table(
    "HIS_NotificationLog",
    """
    id tenant_id notification_type recipient_type recipient_address
    subject message_body
    send_status send_attempts max_retry_count scheduled_at sent_at
    is_deleted created_at updated_at
    """,
)
def notification_log_rows(world: World) -> Iterator[Row]:
    for company in world.companies:
        random = world.random("HIS_NotificationLog", company.index)
        number = 0
        for day in world.days:
            count = whole(world.requests(company, day) * NOTIFICATIONS_PER_REQUEST, random)
            for moment in world.moments(company, day, count, random):
                channel, status = random.choice(CHANNELS), random.choice(SEND_STATUSES)
                address = f"member{number % 50}@{company.tenant.domain}"
                sent_at = moment if status.upper() in SENT_STATUSES else None
                attempts = 0 if status == "PENDING" else 3 if status == "FAILED" else 1
                yield (
                    *(f"ntf_{company.index:05d}_{number:06d}", company.id, channel, "USER", address),
                    *("スキル更新のお知らせ", "スキル情報をご確認ください。"),
                    *(status, attempts, 3, moment, sent_at),
                    *(random.random() < 0.01, moment, moment),
                )
                number += 1
