"""The loader of YAML files: YAML 1.2, one meaning for each value, limits, and an error with file, line and key."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from include.skillreport.core.errors import SettingsError
from include.skillreport.core.settings import default_files
from include.skillreport.core.yaml_files import (
    DEEPEST,
    LARGEST_FILE,
    LONGEST_NUMBER,
    MOST_VALUES,
    load_yaml,
    read_text,
    read_yaml,
    scalar_of,
)
from tests.airflow_installation import PROJECT

YAML_FILES = [
    *(
        path
        for folder in ("include", "local_stack", "plugins")
        for path in (PROJECT / folder).rglob("*.yaml")
    ),
    PROJECT / "airflow_settings.yaml",
]


def value_of(text: str) -> Any:
    return read_yaml(text, "file.yaml").plain()


def refusal_of(text: str) -> str:
    with pytest.raises(SettingsError) as raised:
        read_yaml(text, "file.yaml")
    return str(raised.value)


# Scalars ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010000", 10000),
        ("0o17", 15),
        ("0x1F", 31),
        ("+12", 12),
        ("-0", 0),
        ("0b11", "0b11"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("1:30.5", "1:30.5"),
        ("yes", "yes"),
        ("No", "No"),
        ("on", "on"),
        ("OFF", "OFF"),
        ("y", "y"),
        ("true", True),
        ("True", True),
        ("FALSE", False),
        ("tRUE", "tRUE"),
        ("null", None),
        ("~", None),
        ("", None),
        ("nULL", "nULL"),
        ("2026-11-31", "2026-11-31"),
        ("2026-12-01", "2026-12-01"),
        ("=", "="),
        ("１２", "１２"),
        ("0.10", Decimal("0.10")),
        (".5", Decimal("0.5")),
        ("5.", Decimal(5)),
        ("1e3", Decimal("1E+3")),
        ("-1.5E-3", Decimal("-0.0015")),
        ("0.1234567890123456789", Decimal("0.1234567890123456789")),
        ("685.230_15e+03", "685.230_15e+03"),
        ("-.INF", Decimal("-Infinity")),
    ],
)
def test_a_plain_value_has_the_meaning_of_yaml_1_2(text: str, value: object) -> None:
    found = value_of(f"key: {text}\n")["key"]
    assert (type(found), str(found)) == (type(value), str(value))
    assert value_of(f"key: '{text}'\n")["key"] == text, "a value in quotes is a text"


def core_number(text: str) -> int | Decimal | None:
    """The number of the core schema, by the table of YAML 1.2.2 (section 10.3.2), independent of the loader."""
    if re.fullmatch(r"[-+]?[0-9]+", text):
        return int(text)
    if re.fullmatch(r"0o[0-7]+", text):
        return int(text[2:], 8)
    if re.fullmatch(r"0x[0-9a-fA-F]+", text):
        return int(text[2:], 16)
    if re.fullmatch(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", text):
        return Decimal(text)
    return None


@given(st.text("0123456789abcdefoxXeE_.:+-bn ", min_size=1, max_size=20).map(str.strip).filter(bool))
@example("0o8")
@example("1e-41")
@example("0x")
@example("190:20:30")
@example(".nan")
def test_a_number_is_the_number_of_the_core_schema_or_no_number(text: str) -> None:
    expected = core_number(text)
    try:
        found = scalar_of(text)
    except ValueError:
        assert expected is not None
        assert abs(int(Decimal(expected).as_tuple().exponent)) > LONGEST_NUMBER
        return
    if expected is None:
        assert isinstance(found, str) or text == ".nan", "the other forms are texts"
    else:
        assert (type(found), str(found)) == (type(expected), str(expected))


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**15), max_value=10**15))
def test_money_is_exact(amount: Decimal) -> None:
    found = value_of(f"price: {amount:f}")["price"]
    assert (type(found), str(found)) == (Decimal, f"{amount:f}")


# Documents -------------------------------------------------------------------------------------------------------------


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    # PyYAML breaks lines at the separators of Unicode, as YAML 1.1 does.
    | st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn", "Zl", "Zp"]), max_size=8),
    lambda part: (
        st.lists(part, max_size=3) | st.dictionaries(st.text("abé:#-", max_size=4), part, max_size=3)
    ),
    max_leaves=12,
)


@given(VALUES)
def test_json_is_read_as_json(value: Any) -> None:
    assert value_of(json.dumps(value, ensure_ascii=False)) == value


PIECES = st.sampled_from(
    [
        *(
            "a: ",
            "- ",
            "? ",
            ": ",
            "\n",
            "  ",
            "\t",
            "{",
            "}",
            "[",
            "]",
            ", ",
            "&x ",
            "*x",
            "<<: ",
            "*",
            "&",
            "!",
            "!!str ",
        ),
        *(
            "|",
            ">",
            "%YAML 1.1\n",
            "---\n",
            "...\n",
            "#",
            "'",
            '"',
            "\\U",
            "\\x0",
            "FFFFFFFF",
            "\x00",
            "\ud800",
            "\ufeff",
            "\x85",
        ),
        *("\u2028", "1", "1e99", "9" * 50, "yes", ".nan", "~"),
    ]
)


@settings(max_examples=300)
@given(st.lists(PIECES | st.text(max_size=4), max_size=25).map("".join))
@example('"\\UFFFFFFFF"')
@example("%YAML 1." + "9" * 5000 + "\n--- a")
@example("a: " + "9" * 5000)
@example("a: 1e" + "9" * 30)
@example("a: &a [*a]")
@example("[" * 2000)
@example("- " * 2000)
@example("? " * 2000)
@example("{a: " * 2000)
@example("\xa0a: [")
def test_no_text_gives_another_error_than_ours(text: str) -> None:
    try:
        value = value_of(text)
    except SettingsError as error:
        sentence = str(error)
    else:
        json.dumps(value, default=str, ensure_ascii=False).encode()
        return
    assert re.match(r"file\.yaml の [1-9]\d* 行目[: ]", sentence)


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: path.name)
def test_the_files_of_the_product_are_read(path: Path) -> None:
    assert load_yaml(path)


def test_anchors_and_merge_keys_are_read() -> None:
    text = "base: &base {a: 1, b: 2}\nown:\n  <<: *base\n  b: 3\nboth: {<<: [{a: 9}, *base]}\nsame: *base\n"
    assert value_of(text) == {
        "base": {"a": 1, "b": 2},
        "own": {"a": 1, "b": 3},
        "both": {"a": 9, "b": 2},
        "same": {"a": 1, "b": 2},
    }


@pytest.mark.parametrize(
    ("text", "line", "place", "words"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2", 4, "b", "キー 'c' が 2 回あります（1 回目は 3 行目）"),
        ("a: {<<: {b: 1}, <<: {c: 1}}", 1, "a", "キー '<<' が 2 回あります"),
        ("a: 1\n'a': 2", 2, "", "キー 'a' が 2 回あります"),
        ("a:\n  2026: 1", 2, "a", "キー '2026' は文字列ではありません。引用符で囲んでください"),
        ("? [a]\n: 1", 1, "", "キーは文字列にしてください"),
        ("a: *b", 1, "a", "*b の前に &b がありません"),
        ("a: &x 1\nb: &x 2", 2, "b", "&x が 2 回あります"),
        ("a: &x\n  b: *x", 2, "a.b", "*x の前に &x がありません"),
        ("a:\n- !!python/name:os.system x", 2, "a.0", "タグ（!）は使えません"),
        ("a: !!int '12'", 1, "a", "タグ（!）は使えません"),
        ("<<: 5", 1, "<<", "<< の値は「キー: 値」のまとまりか、その一覧"),
        ("---\na: 1\n---\nb: 1", 3, "", "文書が 2 つあります"),
        ("a: 1\nb: \x07", 2, "", "使えない文字（U+0007）"),
        ('a: "\\0"', 1, "a", "使えない文字"),
        ("a:\n\t- 1", 2, "a", "YAML として読めません。タブ文字は使えません"),
        ("a:\n  b: 1\n c: 2", 3, "", "YAML として読めません。字下げがそろっていない"),
        ("a: b: c", 1, "", "YAML として読めません。「: 」が余分です"),
        ("a:\n  b: [1, 2", 2, "a.b", "YAML として読めません。かっこが閉じていない"),
        ("a: 'x", 1, "a", "YAML として読めません。引用符が閉じていません"),
        ("a: @x", 1, "a", "YAML として読めません。この文字では始められません"),
        (f"a: {'9' * (LONGEST_NUMBER + 1)}", 1, "a", "数が長すぎます"),
        ("a: 1e999999999", 1, "a", "数が長すぎます"),
    ],
)
def test_an_error_has_file_line_key_and_what_to_do(text: str, line: int, place: str, words: str) -> None:
    assert refusal_of(text).startswith(f"file.yaml の {line} 行目 {place}".rstrip() + f": {words}")
    assert refusal_of(text).endswith("。")


def test_aliases_cannot_stand_for_millions_of_values() -> None:
    names = [f"x{level}" for level in range(8)]
    lines = ["x0: &x0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"{name}: &{name} [{', '.join([f'*{below}'] * 10)}]" for below, name in pairwise(names)]
    assert f"値が多すぎます。{MOST_VALUES:,} 個まで" in refusal_of("\n".join(lines))
    assert len(value_of("\n".join(lines[:3]))["x2"][9][9]) == 10


def test_merged_values_count_each_time() -> None:
    entries = ", ".join(f"k{number}: 1" for number in range(1000))
    copies = "\n".join(f"b{number}: {{<<: *a}}" for number in range(MOST_VALUES // 1000))
    assert "行目 b98.<<: 値が多すぎます" in refusal_of(f"a: &a {{{entries}}}\n{copies}")


def test_depth_is_bounded_with_and_without_aliases() -> None:
    assert value_of("[" * DEEPEST + "]" * DEEPEST)
    assert "入れ子が深すぎます" in refusal_of("[" * (DEEPEST + 2) + "]" * (DEEPEST + 2))
    chain = ["- &x0 [1]", *(f"- &x{level + 1} [*x{level}]" for level in range(DEEPEST + 2))]
    assert "入れ子が深すぎます" in refusal_of("\n".join(chain))


def test_a_large_file_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    file = tmp_path / "large.yaml"
    file.write_text("a: " + "x" * LARGEST_FILE, encoding="utf-8")
    with pytest.raises(SettingsError, match=rf"large\.yaml は大きすぎます。{LARGEST_FILE:,} バイト以下"):
        load_yaml(file)
    assert "file.yaml は大きすぎます" in refusal_of("x" * (LARGEST_FILE + 1))


@pytest.mark.parametrize("file", default_files(), ids=lambda file: file.parent.name)
def test_both_readers_read_the_files_of_the_package_alike(file: Path) -> None:
    text = read_text(file)
    assert read_yaml(text, "own", is_ours=True) == read_yaml(text, "own")
