"""Names that all teams of an Airflow share begin with the product's name, so that no other team's name is the same."""

from __future__ import annotations

import re

import yaml

from skill_batch.plugin import SkillBatchPlugin
from skill_batch.provider_info import get_provider_info
from include.skillreport.core import assets
from tests.airflow_installation import PROJECT

OUR_NAME = ("skill_batch_", "skill_report_")


def test_connections_and_variables_carry_the_name_of_the_product() -> None:
    settings = yaml.safe_load((PROJECT / "airflow_settings.yaml").read_text())["airflow"]
    names = [row["conn_id"] for row in settings["connections"]] + [
        row["variable_name"] for row in settings["variables"]
    ]
    assert len(names) > 10
    assert not [name for name in names if not name.startswith(OUR_NAME)]


def test_connection_types_and_assets_carry_the_name_of_the_product() -> None:
    types = [row["connection-type"] for row in get_provider_info()["connection-types"]]
    made = [asset.name for asset in vars(assets).values() if isinstance(asset, assets.AssetSpec)]
    assert types
    assert made
    assert not [name for name in types + made if not name.startswith(OUR_NAME)]


def test_the_variables_of_the_environment_carry_the_name_of_the_product() -> None:
    page = (PROJECT / "docs/install/airflow.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[A-Z].*?) \|", page, flags=re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"`([A-Z_]+)", row)]
    assert len(names) > 10
    assert not [
        name for name in names if not name.startswith(("SKILL_BATCH_", "AIRFLOW__")) and name != "TMPDIR"
    ]


def test_the_plugin_and_its_address_carry_the_name_of_the_product() -> None:
    assert SkillBatchPlugin.name == "skill_batch"
    assert [view["url_route"] for view in SkillBatchPlugin.external_views] == ["skill-batch-board"]
    assert [app["url_prefix"] for app in SkillBatchPlugin().fastapi_apps] == ["/skill-batch-board"]
