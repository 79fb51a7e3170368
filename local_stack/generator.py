"""Generate host data of any size. The same shape gives the same rows, byte for byte, including ids and timestamps.

Each table has a function that yields its rows one by one, so memory use does not grow with the number of rows. COPY loads them into the
database. Each function uses its own random streams, named after the table and the tenant. A new function therefore does not change the rows
of other tables.

Days are Japanese calendar days (Asia/Tokyo); timestamps are naive UTC in milliseconds, as the host writes them.

The rows name people and tenants as the application does: in several ways, and often with a wrong or missing tenant. DataShape.spelling
changes only the names. The rows, their times and their values stay the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import accumulate
from random import Random
from typing import Any, Final, Literal, TypeAlias, get_args
from zoneinfo import ZoneInfo

import psycopg
from faker import Faker
from psycopg import sql

from local_stack.host_fixture import HostVariant
from local_stack.tenants import DEFAULT_TENANT_ID, DEMO_TENANTS, DemoTenant, ordinary_tenant

Row: TypeAlias = tuple[object, ...]
PersonKey: TypeAlias = Literal["user_id", "code", "employee_id"]
"""How a row names a person: by the account's user_id, by the employee's code, or by MST_Employee.id."""
Spelling: TypeAlias = Literal["mixed", PersonKey]

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
    spelling: Spelling = "mixed"
    """How TRN_* and HIS_* rows and accounts name people and tenants. In the mixed spelling, they do it as the application does.
    In another spelling, all keys are of this kind and all tenants are right. Rows about people without an account name the code
    in place of the user_id. An account's employee_id is never a user_id."""
    empty_logs: bool = False
    """True: the tables that the application never writes are empty, and the audit log has no logins."""

    def __post_init__(self) -> None:
        for name, least in {"tenants": 1, "users_per_tenant": 0, "days": 1, "requests_per_day": 0}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}.")
        if self.spelling not in get_args(Spelling):
            raise ValueError(f"spelling must be one of {', '.join(get_args(Spelling))}, not {self.spelling}.")


DEMO_SHAPE: Final = DataShape(
    tenants=len(DEMO_TENANTS),
    users_per_tenant=40,
    first_day=date(2026, 10, 1),
    days=31,
    requests_per_day=3_000,
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
                for row in table.rows(world) if table.is_filled(shape) else ():
                    copy.write_row(row[: len(columns)])
            counts[table.name] = cursor.rowcount
            cursor.execute(sql.SQL("ANALYZE {}").format(target))
    return counts


# The values from which the rows are drawn

OWN_TENANT: Final = "the tenant of the person"


@dataclass(frozen=True, slots=True)
class Habits:
    """The keys and tenant stamps that the application's screens and the seeds write into a table, in equal shares.

    The numbers of keys and of stamps have no common divisor, so that each key occurs with each stamp.
    """

    keys: tuple[PersonKey, ...]
    """How employee_id, or user_id, names the person."""
    stamps: tuple[str | None, ...]
    """tenant_id; OWN_TENANT where it is right."""
    editors: tuple[PersonKey, ...] | None = None
    """How created_by and updated_by name the editor; None for the same key as employee_id."""


@dataclass(frozen=True, slots=True)
class Company:
    """A tenant and its index, with the ids of its people. They are numbered from 0, and the first ones have accounts."""

    index: int
    tenant: DemoTenant
    users: int
    requests: float
    """Request log rows of an ordinary working day."""
    codes_before: int
    """The unprefixed employee codes below those of this company."""
    users_before: int
    """The accounts of the companies before this one."""
    spelling: Spelling

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
        return f"SKL{self.index:05d}-{number % SKILLS_PER_TENANT:02d}"

    def user_id(self, person: int) -> str:
        return f"USER{self.users_before + person + 1:06d}"

    def employee_id(self, person: int) -> str:
        return f"emp_{self.index:05d}_{person:05d}"

    def employee_code(self, person: int) -> str:
        """The code, unique over all tenants: a prefix of the tenant's own, or a number that continues over the tenants."""
        number = person + 1 if self.tenant.code_prefix else self.codes_before + person + 1
        return f"{self.tenant.code_prefix}{number:06d}"

    def account_employee_key(self, person: int) -> str:
        """The employee_id of the account: the code, as the application writes it, or the id, as in some seeds."""
        by_id = person % 5 == 2 if self.spelling == "mixed" else self.spelling == "employee_id"
        return self.employee_id(person) if by_id else self.employee_code(person)

    def account_tenant(self, person: int) -> str:
        """The tenant_id of the account. The application does not know the column and leaves the default."""
        return self.id if self.spelling != "mixed" or person % 4 == 1 else DEFAULT_TENANT_ID

    def person_key(self, person: int, row: int, keys: tuple[PersonKey, ...]) -> str:
        """How the row-th row about this person names the person."""
        key = keys[turn(person, row) % len(keys)] if self.spelling == "mixed" else self.spelling
        if key == "employee_id":
            return self.employee_id(person)
        return (
            self.user_id(person) if key == "user_id" and person < self.users else self.employee_code(person)
        )

    def stamp(self, person: int, row: int, stamps: tuple[str | None, ...]) -> str | None:
        """The tenant_id of the row-th row about this person."""
        stamp = stamps[turn(person, row) % len(stamps)] if self.spelling == "mixed" else OWN_TENANT
        return self.id if stamp == OWN_TENANT else stamp

    def person_and_tenant(self, person: int, row: int, habits: Habits) -> Row:
        """employee_id, tenant_id, created_by and updated_by of the row-th row about this person."""
        editor = self.person_key(person, row, habits.editors or habits.keys)
        return (
            self.person_key(person, row, habits.keys),
            self.stamp(person, row, habits.stamps),
            editor if person < self.users else "system",
            editor if person < self.users and person % 10 != 9 else "system",
        )


def turn(person: int, row: int) -> int:
    """A number for choices by remainder. It has all remainders, even if only each third to sixth person has a row."""
    return person + person // 20 + row


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
        # No employee has the code 000001, because screens of the application write it for unknown people.
        companies, codes, accounts = [], 1, 0
        for index, (tenant, users, share) in enumerate(zip(tenants, sizes, traffic, strict=True)):
            requests = requests_per_traffic * share
            company = Company(index, tenant, users, requests, codes, accounts, self.shape.spelling)
            companies.append(company)
            codes += 0 if tenant.code_prefix else company.employees
            accounts += users
        return companies

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
        return LOAD_BY_WEEKDAY[day.weekday()]

    def requests(self, company: Company, day: date) -> int:
        """The company's number of requests on this day."""
        expected = company.requests * self._load(day)
        if day == self.days[-1]:
            expected *= company.tenant.last_day_traffic
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

    def placeholder_moments(self, table: str, rows: int) -> Iterator[datetime]:
        """The times of the rows that name no person. They are a thousandth of the table's rows, at most one per day on average."""
        random = self.random(table, "placeholders")
        for _ in range(min(rows // 1_000, len(self.days))):
            yield self.moment(random)

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


def start_of_form_day(moment: datetime) -> datetime:
    """The moment's day as the application stores a date from a form: 00:00 UTC."""
    return datetime.combine(moment.date(), time())


def whole(expected: float, random: Random) -> int:
    """A random integer with the expected value as its mean."""
    return int(expected + random.random())


# The tables and their rows

NEVER_WRITTEN: Final = frozenset({"SYS_SystemLog", "TRN_SkillEvidence", "HIS_NotificationLog"})
"""The tables here that no code of the application writes."""

RowMaker: TypeAlias = Callable[[World], Iterator[Row]]


@dataclass(frozen=True, slots=True)
class HostTable:
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

    def is_filled(self, shape: DataShape) -> bool:
        return not (shape.empty_logs and self.name in NEVER_WRITTEN)


TABLES: Final[list[HostTable]] = []
"""In the order of loading, as the functions below."""


def host_table(name: str, columns: str, *, gained_tenant_id: bool = False) -> Callable[[RowMaker], RowMaker]:
    """Declare the table and the columns for which the decorated function generates rows."""

    def declare(rows: RowMaker) -> RowMaker:
        TABLES.append(HostTable(name, tuple(columns.split()), rows, gained_tenant_id))
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
            head = number % company.employees
            manager = company.employee_code(head) if number % 4 == 1 else company.employee_id(head)
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
            yield (
                *(
                    company.user_id(person),
                    company.employee_code(person),
                    company.account_employee_key(person),
                ),
                *("LOCKED" if person % 31 == 30 else "ACTIVE", last_login, 0),
                *(person % 43 == 42, created, max(created, last_login or created)),
                company.account_tenant(person),
            )


# The actions of people

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
        user = f"USER_GONE_{int(draw * 1_000_000)}"  # an account that no longer exists
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
    company: Company
    tenant_id: str | None
    user_id: str
    action: str
    target_table: str
    target_id: str
    result: str | None
    moment: datetime


@dataclass(frozen=True, slots=True)
class Edit:
    """How a route of the application writes its audit rows."""

    action: str
    target_table: str
    user_key: PersonKey
    is_complete: bool
    """Whether the route gives tenant_id and result_status; the application's audit logger does not."""


EDITS: Final = (
    Edit("UPDATE", "SkillRecord", "code", is_complete=False),
    Edit("CREATE", "SkillRecord", "code", is_complete=False),
    Edit("UPDATE", "Employee", "code", is_complete=False),
    Edit("CREATE", "ReportGeneration", "code", is_complete=False),
    Edit("CREATE", "TrainingHistory", "user_id", is_complete=True),
)
EDITS_PER_REQUEST: Final = 0.05
TENANT_EDIT_SHARE: Final = 0.02
LOGINS: Final = Habits(keys=("user_id", "user_id", "code"), stamps=(OWN_TENANT, None))
DAILY_LOGIN_SHARE: Final = 0.12


@host_table(
    "HIS_AuditLog",
    """
    id tenant_id
    user_id action_type
    target_table target_id result_status execution_time_ms
    is_deleted
    created_at
    updated_at
    created_by
    """,
)
def audit_rows(world: World) -> Iterator[Row]:
    """The audit log with its gaps: in some rows user_id, is_deleted or a timestamp is NULL."""
    for number, event in enumerate(audit_events(world)):
        is_nameless = number % 211 == 210
        yield (
            *(f"aud_{number:09d}", event.company.id if is_nameless else event.tenant_id),
            *(None if is_nameless else event.user_id, event.action),
            *(event.target_table, event.target_id, event.result, 5 + number % 90),
            None if number % 89 == 88 else number % 503 == 502,
            None if number % 397 == 396 else event.moment,
            None if number % 97 == 96 or event.target_table == "TrainingHistory" else event.moment,
            event.user_id if event.result else None,
        )


def audit_events(world: World) -> Iterator[AuditEvent]:
    for company in world.companies:
        if not world.shape.empty_logs:
            yield from login_events(world, company)
        random = world.random("HIS_AuditLog/edits", company.index)
        for day in world.days:
            count = whole(world.requests(company, day) * EDITS_PER_REQUEST, random)
            for moment in world.moments(company, day, count, random):
                edit = random.choice(EDITS)
                person = int(random.random() * company.users)
                target = company.employee_id(int(random.random() * company.employees))
                if random.random() < TENANT_EDIT_SHARE:
                    yield AuditEvent(company, None, "system", "UPDATE", "tenant", company.id, None, moment)
                    continue
                user = company.person_key(person, 0, (edit.user_key,))
                tenant_id = company.stamp(person, 0, (OWN_TENANT if edit.is_complete else None,))
                result = "SUCCESS" if edit.is_complete else None
                yield AuditEvent(
                    company, tenant_id, user, edit.action, edit.target_table, target, result, moment
                )


def login_events(world: World, company: Company) -> Iterator[AuditEvent]:
    """Each user's last login of the period, and earlier logins on some days, of which some failed."""
    random = world.random("HIS_AuditLog/logins", company.index)
    for person, last_login in enumerate(world.last_logins(company)):
        if last_login is None or last_login < world.begin:
            continue
        for row, day in enumerate(world.days):
            if random.random() < DAILY_LOGIN_SHARE * LOAD_BY_WEEKDAY[day.weekday()]:
                moment = start_of_day(day) + time_of_day(random)
                if moment < last_login:
                    result = "FAILURE" if random.random() < 0.03 else "SUCCESS"
                    yield login_event(company, person, row, result, moment)
        yield login_event(company, person, len(world.days), "SUCCESS", last_login)


def login_event(company: Company, person: int, row: int, result: str, moment: datetime) -> AuditEvent:
    user, tenant_id = company.person_key(person, row, LOGINS.keys), company.stamp(person, row, LOGINS.stamps)
    return AuditEvent(
        company, tenant_id, user, "LOGIN", "MST_UserAuth", company.user_id(person), result, moment
    )


SKILL_RECORDS: Final = Habits(
    keys=("code", "code", "code", "user_id", "employee_id"),
    stamps=("tenant_001", "tenant_001", DEFAULT_TENANT_ID, OWN_TENANT),
)


@host_table(
    "TRN_SkillRecord",
    """
    id skill_item_id skill_level
    skill_status is_deleted created_at updated_at
    employee_id tenant_id created_by updated_by
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
                    *(record, skill, level),
                    *("ACTIVE" if person % 7 == 6 else "active", person % 61 == 60, created, changed),
                    *company.person_and_tenant(person, row, SKILL_RECORDS),
                )


FILLING_FILES: Final = 24
EVIDENCE: Final = Habits(
    keys=("employee_id", "employee_id", "code"),
    stamps=(OWN_TENANT, "default", OWN_TENANT, DEFAULT_TENANT_ID),
)


@host_table(
    "TRN_SkillEvidence",
    """
    id evidence_id evidence_type
    file_path file_type file_size_kb is_deleted created_at updated_at
    employee_id tenant_id created_by updated_by
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
        *(file, file, "CERTIFICATE" if kind == "pdf" else "VIDEO"),
        *(f"/evidence/{file}.{kind}", kind, size_kb, False, created, changed),
        *company.person_and_tenant(person, row, EVIDENCE),
    )


GOALS: Final = Habits(
    keys=("code", "code", "code", "user_id", "employee_id"),
    stamps=("default", "default", DEFAULT_TENANT_ID, OWN_TENANT),
)
GOAL_TYPES: Final = ("skill", "career", "certification", None)
"""The types of goals. Rows of the types ACTION_PLAN and CAREER_PATH are no goals."""


@host_table(
    "TRN_GoalProgress",
    """
    id goal_id goal_type goal_title
    progress_rate achievement_status last_updated_at
    is_deleted created_at updated_at
    employee_id tenant_id created_by updated_by
    """,
)
def goal_progress_rows(world: World) -> Iterator[Row]:
    """Goals of each fifth person, and action plans and career paths of some of them."""
    for company in world.companies:
        random = world.random("TRN_GoalProgress", company.index)
        for person in range(0, company.employees, 5):
            goal = f"goal_{company.index:05d}_{person:05d}"
            goal_type = random.choice(GOAL_TYPES)
            yield goal_progress_row(world, company, person, 0, goal, goal_type, "資格を取得する", random)
            if person % 3 == 0:
                plan, title = f"{goal}_plan", "研修を受ける"
                yield goal_progress_row(world, company, person, 1, plan, "ACTION_PLAN", title, random)
            if person % 4 == 0:
                path, title = f"{goal}_path", "管理職を目指す"
                yield goal_progress_row(world, company, person, 2, path, "CAREER_PATH", title, random)


def goal_progress_row(
    world: World,
    company: Company,
    person: int,
    row: int,
    goal: str,
    goal_type: str | None,
    title: str,
    random: Random,
) -> Row:
    changed = world.last_change(company, random)
    created = min(changed, world.earlier(random, 180))
    rate = random.choice((0, 20, 40, 60, 80, 100))
    status = "completed" if rate == 100 else "in_progress" if rate else "not_started"
    if rate < 100 and random.random() < 0.1:
        status = random.choice(("postponed", "cancelled"))
    if random.random() < 0.3:
        status = status.upper()
    return (
        *(goal, goal, goal_type, title),
        *(rate, status, changed),
        *(False, created, changed),
        *company.person_and_tenant(person, row, GOALS),
    )


PLACEHOLDER: Final = ("emp_001", "default", "emp_001", "emp_001")
"""employee_id, tenant_id, created_by and updated_by of a row that a screen writes without knowing the person."""
PDUS: Final = Habits(
    keys=("code", "code", "user_id", "employee_id", "employee_id"),
    stamps=("default", "default", DEFAULT_TENANT_ID, OWN_TENANT),
)
CERTIFICATES: Final = ("基本情報技術者", "応用情報技術者", "情報処理安全確保支援士", "PMP", "TOEIC 800")
ACTIVITIES: Final = ("training", "seminar", "conference", "self_study")


@host_table(
    "TRN_PDU",
    """
    id pdu_id activity_type
    activity_name activity_date pdu_points expiry_date approval_status
    is_deleted created_at updated_at
    employee_id tenant_id created_by updated_by
    """,
)
def pdu_rows(world: World) -> Iterator[Row]:
    """The certificates of each third person, and other activities that earn PDUs."""
    count = 0
    for company in world.companies:
        random = world.random("TRN_PDU", company.index)
        for person in range(0, company.employees, 3):
            for row in range(1 + (person % 9 == 0)):
                pdu = f"pdu_{company.index:05d}_{person:05d}_{row}"
                changed = world.last_change(company, random)
                marks = company.person_and_tenant(person, row, PDUS)
                activity = "certification" if row == 0 else random.choice(ACTIVITIES)
                yield pdu_row(world, pdu, activity, changed, person % 59 == 57, marks, random)
                count += 1
    random = world.random("TRN_PDU")
    for number, moment in enumerate(world.placeholder_moments("TRN_PDU", count)):
        yield pdu_row(world, f"pdu_nobody_{number}", "certification", moment, False, PLACEHOLDER, random)


def pdu_row(
    world: World, pdu: str, activity: str, changed: datetime, is_deleted: bool, marks: Row, random: Random
) -> Row:
    created = min(changed, world.earlier(random, 365))
    is_certificate = activity == "certification"
    approval = "pending" if random.random() < 0.15 else "approved"
    name = random.choice(CERTIFICATES) if is_certificate else "社外活動"
    expiry = certificate_expiry(world, random) if is_certificate else None
    return (
        *(pdu, pdu, activity),
        *(name, start_of_form_day(created), random.randrange(1, 20), expiry, approval),
        *(is_deleted, created, changed),
        *marks,
    )


def certificate_expiry(world: World, random: Random) -> datetime | None:
    """None, or a day at least 60 days before the end of the period or 46 days after it, so that no reminder is due."""
    draw, day = random.random(), start_of_form_day(world.end)
    if draw < 0.2:
        return None
    if draw < 0.3:
        return day - timedelta(days=random.randrange(60, 700))
    return day + timedelta(days=random.randrange(46, 85) if draw < 0.4 else random.randrange(200, 1_100))


TRAININGS: Final = Habits(
    keys=("code", "code", "employee_id"),
    stamps=("default", OWN_TENANT, DEFAULT_TENANT_ID, OWN_TENANT),
    editors=("user_id",),
)
ATTENDANCES: Final = ("completed", "completed", "completed", "COMPLETED", "planned", "REGISTERED")


@host_table(
    "TRN_TrainingHistory",
    """
    id training_history_id training_name training_type
    start_date end_date duration_hours attendance_status
    is_deleted created_at updated_at
    employee_id tenant_id created_by updated_by
    """,
)
def training_history_rows(world: World) -> Iterator[Row]:
    count = 0
    for company in world.companies:
        random = world.random("TRN_TrainingHistory", company.index)
        for person in range(1, company.employees, 4):
            training = f"trn_{company.index:05d}_{person:05d}"
            changed = world.last_change(company, random)
            marks = company.person_and_tenant(person, 0, TRAININGS)
            yield training_row(world, training, changed, person % 67 == 65, marks, random)
            count += 1
    random = world.random("TRN_TrainingHistory")
    for number, moment in enumerate(world.placeholder_moments("TRN_TrainingHistory", count)):
        yield training_row(world, f"trn_nobody_{number}", moment, False, PLACEHOLDER, random)


def training_row(
    world: World, training: str, changed: datetime, is_deleted: bool, marks: Row, random: Random
) -> Row:
    created = min(changed, world.earlier(random, 180))
    begins = start_of_form_day(created)
    days = random.randrange(3)
    return (
        *(training, training, "情報セキュリティ研修", "社内研修"),
        *(begins, begins + timedelta(days=days), 4 * (1 + days), random.choice(ATTENDANCES)),
        *(is_deleted, created, changed),
        *marks,
    )


PROJECTS: Final = Habits(
    keys=("code", "code", "code", "user_id", "employee_id"),
    stamps=("default", "tenant_001", DEFAULT_TENANT_ID, OWN_TENANT),
)


@host_table(
    "TRN_ProjectRecord",
    """
    id project_record_id project_name
    start_date end_date team_size project_status
    is_deleted created_at updated_at
    employee_id tenant_id created_by updated_by
    """,
)
def project_record_rows(world: World) -> Iterator[Row]:
    for company in world.companies:
        random = world.random("TRN_ProjectRecord", company.index)
        for person in range(2, company.employees, 6):
            changed = world.last_change(company, random)
            created = min(changed, world.earlier(random, 365))
            project = f"prj_{company.index:05d}_{person:05d}"
            begins = start_of_form_day(created)
            ends = begins + timedelta(days=random.randrange(30, 300)) if person % 4 else None
            yield (
                *(project, project, "基幹システムの刷新"),
                *(begins, ends, random.randrange(2, 30), "completed" if ends else "in_progress"),
                *(False, created, changed),
                *company.person_and_tenant(person, 0, PROJECTS),
            )


@dataclass(frozen=True, slots=True)
class Report:
    tenant_id: str | None
    requested_by: str
    output_format: str
    status: str
    file_size: int | None
    """The size in bytes; None if there is no file."""
    requested_at: datetime
    """UTC, as completed_at."""
    completed_at: datetime | None
    is_deleted: bool


REPORTS_PER_REQUEST: Final = 0.01


def reports(world: World, company: Company) -> Iterator[Report]:
    """Reports, of which some stay PENDING: the application inserts the request, but has no code that creates the file."""
    random = world.random("HIS_ReportGeneration", company.index)
    for day in world.days:
        count = whole(world.requests(company, day) * REPORTS_PER_REQUEST, random)
        for moment in world.moments(company, day, count, random):
            tenant_id: str | None = company.id
            user = "system"
            draw = random.random()
            if random.random() >= 0.1:
                person = int(random.random() * company.users)
                user = company.person_key(person, 0, ("code",))
                if draw < 0.3:
                    tenant_id = company.stamp(person, 0, ("tenant_001",))
            output_format = random.choice(("excel", "pdf"))
            is_deleted = random.random() < 0.02
            size = int(random.lognormvariate(12.2, 0.7))
            if draw < 0.36:
                status = "PENDING" if draw < 0.3 else "FAILED"
                yield Report(tenant_id, user, output_format, status, None, moment, None, is_deleted)
            else:
                # Requested and completed in the same second, so that a report on the edge of a day stays on it.
                yield Report(tenant_id, user, output_format, "COMPLETED", size, moment, moment, is_deleted)


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
            # The application gives a path to a waiting report too.
            path = None if report.status == "FAILED" else f"/reports/{file}.{extension}"
            error = "出力に失敗しました" if report.status == "FAILED" else None
            yield (
                *(file, report.tenant_id, report.requested_by, "スキル一覧", "SKILL"),
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
