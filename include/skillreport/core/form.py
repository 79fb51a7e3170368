"""The description of an operation: its texts and its typed fields.

It is the source of Airflow's form, the validation, the board's dialog and the tables of the documentation. Airflow's forms have no
conditional fields. They show all fields, grouped by operation, and a run rejects a value of another operation's field.

DAG files import this module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from inspect import getfile
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from include.skillreport.core.docstrings import docstring_of
from include.skillreport.core.entered import SHOWN
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.form_fields import Field, Lines

if TYPE_CHECKING:
    from include.skillreport.core.run_spec import OperationSpec


@dataclass(frozen=True)
class Shows:
    """The items that a dialog shows before an operation. The run refuses to work on other items (``operations.shown``).

    ``tenants``: the named tenants are shown. ``rows``: their rows are shown, found by the blocks ``shown_…`` of the operations and
    ``described_…`` of the board; ``also`` adds further rows. ``ids``: the values of these fields are shown. ``unless`` is the flag with
    which the operation works on entire tenants.
    """

    rows: str = ""
    also: Literal["", "closed", "waiting_credits", "waiting"] = ""
    ids: tuple[str, ...] = ()
    tenants: bool = True
    unless: str = ""


NO_MAIL = "取引先にメールは送りません。"

# Why the dialog of a file's import shows no values.
OF_A_FILE = "変わる値は、ファイルを読むまで決まりません。結果の画面に出ます。"

# For an operation without an existing target: the user types everything into the dialog.
NOTHING_YET = Shows(tenants=False)


class Operation(BaseModel):
    """One choice of a form, with the entered values. A subclass describes the operation.

    Its docstring becomes ``effect``: what the operation changes, in Japanese. Each field has a ``Field``; a field with a default is
    optional. ``takes_former``: the operation also accepts tenants that have left or were deleted in the application. The board also
    requires the fields in ``needed_on_board``. ``shows`` is what the dialog shows, and has no default. ``of_month``: the operation works on
    the month of the business date; otherwise the board does not ask for a month. ``label`` is the text in the form, ``button`` that on the
    board. ``unchanged`` says why the dialog shows no values before and after, ``mail`` who gets an e-mail.
    """

    # Parsing a DAG file needs no validators.
    model_config = ConfigDict(frozen=True, defer_build=True)

    name: ClassVar[str]
    title: ClassVar[str]
    label: ClassVar[str]
    button: ClassVar[str]
    effect: ClassVar[str]
    is_read_only: ClassVar[bool]
    shows: ClassVar[Shows]
    takes_former: ClassVar[bool] = False
    needed_on_board: ClassVar[tuple[str, ...]] = ()
    of_month: ClassVar[bool] = True
    unchanged: ClassVar[str] = ""
    mail: ClassVar[str] = NO_MAIL

    def values(self) -> dict[str, Any]:
        """The values as JSON, readable by ``OperationForm.entered``."""
        return {"operation": self.name, **self.model_dump(mode="json", exclude_defaults=True)}

    def check(self, today: date, /) -> None:
        """Check the values on their day of entry (Asia/Tokyo). :raises ParameterError: a value cannot be used."""

    @classmethod
    def so_far(cls, values: Mapping[str, Any]) -> Self:
        """The operation with the values entered so far. A missing required value is None. Each value must be readable."""
        given = {name: field for name, field in cls.fields().items() if not is_empty(values.get(name))}
        read = {name: field.read(values[name]) for name, field in given.items()}
        return cls.model_construct(**dict.fromkeys(cls.fields(required=True)) | read)

    @classmethod
    def is_personal(cls) -> bool:
        """True if a field has personal values. Users enter them on the board, and the run's conf has a token (``ENTRY``) for them."""
        return any(field.is_personal for field in cls.fields().values())

    @classmethod
    def fields(cls, *, required: bool | None = None) -> dict[str, Field]:
        """The fields by name: all, only the required, or only the optional ones."""
        infos = cls.model_fields.items()
        return {name: _field(info) for name, info in infos if required in (None, info.is_required())}


OperationT = TypeVar("OperationT", bound=Operation)


def described(
    name: str, title: str, *, button: str = "", is_read_only: bool = False
) -> Callable[[type[OperationT]], type[OperationT]]:
    """Decorate an operation class with its texts. ``button`` defaults to the title."""

    def describe(operation: type[OperationT]) -> type[OperationT]:
        if not hasattr(operation, "shows"):
            raise TypeError(f"{operation.__name__} does not declare what its dialog shows")
        operation.name, operation.title, operation.button = name, title, button or title
        operation.label = f"{title}（読み取りのみ）" if is_read_only else title
        effect = operation.__doc__ or docstring_of(getfile(operation), operation.__name__)
        operation.effect = "".join(line.strip() for line in effect.splitlines())
        operation.is_read_only = is_read_only
        return operation

    return describe


_SHARED = "いくつかの操作で使う欄"

# The field of Airflow's form with the token of the values entered on the board.
ENTRY = "entry"
_ENTRY_FIELD = Field(
    "入力の控え",
    "個人の情報のある操作は、ボードの画面で入力します。控えはそのとき自動で入ります。15 分以内に 1 回だけ使えます。",
)
_SHOWN_FIELD = Lines(
    "画面の対象",
    "ボードの画面に出ていた対象が自動で入ります。実行のときに別のものになっていると、何もせずに止まります。空欄なら比べません。",
    example=(),
)


class OperationForm:
    """The form of an operation DAG. The first operation is the default.

    ``groups`` sorts the operations by purpose, for a form with many fields.
    """

    def __init__(
        self, spec: OperationSpec, groups: Mapping[str, Sequence[type[Operation]]] = MappingProxyType({})
    ) -> None:
        self.spec, self._groups = spec, groups
        self.operations = [operation for group in groups.values() for operation in group]

    def add(
        self, name: str, title: str, *, button: str = "", is_read_only: bool = False
    ) -> Callable[[type[OperationT]], type[OperationT]]:
        """Decorate an operation class as ``described``, and append it to the form."""

        def added(operation: type[OperationT]) -> type[OperationT]:
            self.operations.append(
                described(name, title, button=button, is_read_only=is_read_only)(operation)
            )
            return operation

        return added

    @property
    def has_choice(self) -> bool:
        """True if the form has the field "operation"."""
        return len(self.operations) > 1

    @property
    def fields(self) -> dict[str, Field]:
        """The fields of all operations by name, in form order."""
        return {name: each for operation in self.operations for name, each in operation.fields().items()}

    @property
    def shown_fields(self) -> dict[str, Field]:
        """The fields of Airflow's form by name: fields of operations without personal values, the token of the others, and ``SHOWN``."""
        shown = {
            name: field
            for name, field in self.fields.items()
            if not all(each.is_personal() for each in self.users(name))
        }
        token = {ENTRY: _ENTRY_FIELD} if any(each.is_personal() for each in self.operations) else {}
        return shown | token | {SHOWN: _SHOWN_FIELD}

    def users(self, name: str) -> list[type[Operation]]:
        """The operations that use the field."""
        return [each for each in self.operations if name == SHOWN or name in each.fields()]

    def section(self, name: str) -> str | None:
        """The heading of a field in the form.

        With groups: its group or the heading for several groups; None if more than three quarters of the operations use it. Without groups:
        the titles of its users; None if all operations use it.
        """
        if not self._groups:
            return self._users_text(name)
        users = self.users(name)
        if self._is_of_most(users):
            return None
        groups = [group for group, operations in self._groups.items() if not {*users}.isdisjoint(operations)]
        return groups[0] if len(groups) == 1 else _SHARED

    def description(self, name: str) -> str:
        """The help text of a field. In a form with groups, it names the operations that use the field."""
        text = self.shown_fields[name].description
        users = self._users_text(name) if self._groups else None
        return f"{text}［{users}］" if users else text

    def _users_text(self, name: str) -> str | None:
        """The titles of the operations that use the field, or of the others; None if all use it."""
        if name == ENTRY:
            return "・".join(each.title for each in self.operations if each.is_personal())
        users = self.users(name)
        others = [each.title for each in self.operations if each not in users]
        if self._is_of_most(users):
            return f"{'・'.join(others)} 以外のすべて" if others else None
        return "・".join(each.title for each in users)

    def _is_of_most(self, users: Sequence[type[Operation]]) -> bool:
        return len(users) * 4 > 3 * len(self.operations)

    def chosen(self, values: Mapping[str, Any]) -> type[Operation]:
        """The operation that the form's values select. :raises ParameterError: it is unknown."""
        name = str(values.get("operation") or self.operations[0].name)
        for operation in self.operations:
            if operation.name == name:
                return operation
        names = "、".join(operation.name for operation in self.operations)
        raise ParameterError(
            f"「操作」（operation）{name!r} は使えません。{names} のどれかを指定してください。"
        )

    def entered(
        self, values: Mapping[str, Any], today: date | None = None, *, on_board: bool = False
    ) -> Operation:
        """The operation with its values. ``today`` is the day of entry (Asia/Tokyo), or None if the values were checked before.

        :raises ParameterError: the operation is unknown, a required field is empty, a field of another operation has a value, or a value
            cannot be used. The message names the field.
        """
        operation = self.chosen(values)
        fields = operation.fields()
        for name in (*operation.fields(required=True), *(operation.needed_on_board if on_board else ())):
            if is_empty(values.get(name)):
                raise ParameterError(
                    f"操作「{operation.title}」には「{fields[name].title}」（{name}）が必要です。指定してください。"
                )
        given = {name: values[name] for name in self.fields if not is_empty(values.get(name))}
        for name in given:
            if name not in fields:
                users = "・".join(f"「{user.title}」" for user in self.users(name))
                raise ParameterError(
                    f"「{self.fields[name].title}」（{name}）は操作「{operation.title}」では使いません。"
                    f"空欄にするか、「操作」を {users} のどれかにしてください。"
                )
        try:
            entered = operation.model_validate(given)
        except ValidationError as error:
            found = error.errors()[0]
            name = str(found["loc"][0])
            problem = found.get("ctx", {}).get("error") or f"の {found['input']!r} は使えません。"
            raise ParameterError(f"「{fields[name].title}」（{name}）{problem}") from None
        if today:
            entered.check(today)
        return entered

    def table(self) -> str:
        """The operations with their fields and effects, in Markdown."""
        rows = [("操作", "値", "必須の欄", "任意の欄", "何が変わるか"), ("---",) * 5]
        for each in self.operations:
            needed, optional = (_listed(each.fields(required=required)) for required in (True, False))
            rows.append((each.label, f"`{each.name}`", needed, optional, each.effect))
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def is_empty(value: object) -> bool:
    """True if a form field has no value."""
    if isinstance(value, list | tuple):
        return not any(str(each).strip() for each in value)
    return value is None or value is False or not str(value).strip()


def _field(info: Any) -> Field:
    # In "Annotated[…] | None" the parts are one level deeper.
    inner = (part for each in get_args(info.annotation) for part in getattr(each, "__metadata__", ()))
    return next(part for part in (*info.metadata, *inner) if isinstance(part, Field))


def _listed(fields: Mapping[str, Field]) -> str:
    return "、".join(f"「{each.title}」 `{name}`" for name, each in fields.items()) or "–"
