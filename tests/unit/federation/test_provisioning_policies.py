import json
from pathlib import Path
from typing import Any

import pytest

from radfed.errors import InvalidInputError
from radfed.federation.provisioning import equip
from radfed.federation.provisioning_changes import check, merge
from radfed.federation.provisioning_policies import Json, authorization, server_policies, site_policies
from radfed.federation.recipe import ALLOWED_CLASSES


def make_kit(folder: Path, name: str = "site-a") -> Path:
    """What FLARE's own builders leave in a site's kit, as far as radfed reads it."""
    (folder / "startup").mkdir(parents=True)
    (folder / "local").mkdir()
    (folder / "local" / "resources.json.default").write_text("{}")
    server = {"name": "alpha", "service": {"target": "fl.example.org:8002"}, "identity": "fl.example.org"}
    content = {"servers": [server], "client": {"fqsn": name}}
    (folder / "startup" / "fed_client.json").write_text(json.dumps(content))
    return folder


def put(changes: Path, layer: str, file: str, content: object) -> None:
    (changes / layer / "local").mkdir(parents=True, exist_ok=True)
    (changes / layer / "local" / file).write_text(json.dumps(content))


def read(kit: Path, file: str) -> Any:  # noqa: ANN401 - JSON
    return json.loads((kit / "local" / file).read_text())


def test_mappings_are_merged_and_null_takes_away() -> None:
    base: Json = {"a": 1, "b": {"c": 2, "d": 3}}
    assert merge(base, {"b": {"c": 4, "d": None}, "e": 5}) == {"a": 1, "b": {"c": 4}, "e": 5}


def test_lists_are_merged_by_id_and_others_replaced() -> None:
    base: Json = {"components": [{"id": "a", "args": {"x": 1, "y": 2}}, {"id": "b"}], "plain": [1, 2]}
    change: Json = {"components": [{"id": "a", "args": {"x": 3}}, {"id": "c"}], "plain": [3]}
    assert merge(base, change) == {
        "components": [{"id": "a", "args": {"x": 3, "y": 2}}, {"id": "b"}, {"id": "c"}],
        "plain": [3],
    }


def test_merging_leaves_the_base_as_it_was() -> None:
    base: Json = {"components": [{"id": "a", "args": {"x": 1}}]}
    merge(base, {"components": [{"id": "a", "args": {"x": 2}}]})
    assert base == {"components": [{"id": "a", "args": {"x": 1}}]}


def test_a_list_of_one_mapping_is_merged_as_that_mapping() -> None:
    assert merge([{"a": 1, "b": 2}], [{"b": 3}]) == [{"a": 1, "b": 3}]


@pytest.mark.parametrize("site", [True, False])
def test_no_role_may_do_everything_or_bring_code(site: bool) -> None:
    permissions: Any = authorization(site=site)["permissions"]
    assert {role: rights["byoc"] for role, rights in permissions.items()} == dict.fromkeys(permissions, "none")
    assert permissions["lead"]["submit_job"] == "any"


@pytest.mark.parametrize("policies", [site_policies(), server_policies(8003)], ids=["site", "server"])
def test_only_radfeds_own_classes_are_allowed(policies: Any) -> None:  # noqa: ANN401 - JSON
    assert set(policies["resources.json"]["class_allow_list"]) == set(ALLOWED_CLASSES)
    check(policies, "as they are")


@pytest.mark.parametrize(
    ("file", "change", "word"),
    [
        ("resources.json", {"class_allow_list": ["*"]}, "class_allow_list"),
        ("resources.json", {"class_list_enforcement_mode": "warn"}, "enforcement_mode"),
        ("resources.json", {"allow_log_streaming": True}, "streamed"),
        (
            "resources.json",
            {"components": [{"id": "x", "path": "nvflare.app_common.logging.site_log_streamer.SiteLogStreamer"}]},
            "streamed",
        ),
        ("resources.json", {"components": [{"id": "app_deployer", "path": "own.Deployer"}]}, "app_deployer"),
        ("authorization.json", {"permissions": {"lead": "any"}}, "lead"),
        ("authorization.json", {"permissions": {"project_admin": {"byoc": "any"}}}, "project_admin"),
        ("authorization.json", {"permissions": {"helper": {"view": "any"}}}, "helper"),
        ("privacy.json", {"scopes": [{"name": "radfed", "task_result_filters": []}]}, "task_result_filters"),
        ("privacy.json", {"scopes": [{"name": "open"}]}, "open"),
        ("privacy.json", {"default_scope": None}, "default_scope"),
    ],
)
def test_a_change_that_opens_a_door_stops_the_provisioning(
    tmp_path: Path, file: str, change: object, word: str
) -> None:
    kit = make_kit(tmp_path / "site-a")
    put(tmp_path / "changes", "default", file, change)
    with pytest.raises(InvalidInputError, match=word):
        equip(kit, 8003, tmp_path / "changes")
    assert not (kit / "local" / "resources.json").exists()


def test_a_sites_own_folder_comes_after_the_default_and_other_files_are_copied(tmp_path: Path) -> None:
    kit, changes = make_kit(tmp_path / "site-a"), tmp_path / "changes"
    put(changes, "default", "resources.json", {"client": {"retry_timeout": 60, "compression": "None"}})
    put(changes, "site-a", "resources.json", {"client": {"retry_timeout": 90}})
    put(changes, "site-b", "resources.json", {"client": {"retry_timeout": 120}})
    (changes / "site-a" / "local" / "NOTES.txt").write_text("call the night shift")
    equip(kit, 9003, changes)
    assert read(kit, "resources.json")["client"] == {"retry_timeout": 90, "compression": "None"}
    assert (kit / "local" / "NOTES.txt").read_text() == "call the night shift"


def test_flares_looser_defaults_are_gone_and_the_federation_is_named(tmp_path: Path) -> None:
    kit = make_kit(tmp_path / "site-a")
    equip(kit, 9003)
    assert not list((kit / "local").glob("*.default"))
    facts = read(kit, "federation.json")
    assert (facts["federation"], facts["participant"]) == ("alpha", "site-a")
    assert (facts["server"], facts["port"], facts["probe_port"]) == ("fl.example.org", 8002, 9003)


def test_equipping_again_changes_nothing(tmp_path: Path) -> None:
    kit = make_kit(tmp_path / "site-a")
    equip(kit)
    before = {path.name: path.read_bytes() for path in (kit / "local").iterdir()}
    equip(kit)
    assert {path.name: path.read_bytes() for path in (kit / "local").iterdir()} == before


@pytest.mark.parametrize(("text", "word"), [("{", "is no JSON"), ("[]", "must be a JSON mapping")])
def test_a_change_that_is_no_json_mapping_is_named(tmp_path: Path, text: str, word: str) -> None:
    kit = make_kit(tmp_path / "site-a")
    put(tmp_path / "changes", "default", "privacy.json", {})
    (tmp_path / "changes" / "default" / "local" / "privacy.json").write_text(text)
    with pytest.raises(InvalidInputError, match=word):
        equip(kit, 8003, tmp_path / "changes")


def test_a_folder_that_is_no_kit_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no startup kit"):
        equip(tmp_path)
