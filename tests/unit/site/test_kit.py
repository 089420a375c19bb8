import json
from pathlib import Path

import pytest
from doctor_world import Authority, write_kit  # type: ignore[import-not-found]
from typer.testing import CliRunner

from radfed.cli.main import app
from radfed.errors import InvalidInputError
from radfed.site.config import init_site, read_secret, read_site
from radfed.site.kit import read_identity, read_kit_link, write_kit_link

runner = CliRunner()


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    authority = Authority()
    made: Path = write_kit(tmp_path / "kit", authority.root, authority.issue("site-a"), port=8002)
    return made


def test_a_link_goes_both_ways(tmp_path: Path, kit: Path) -> None:
    init_site(tmp_path / "site", "site-a")
    write_kit_link(kit, tmp_path / "site")
    assert read_kit_link(kit) == (tmp_path / "site").resolve()
    assert read_site(tmp_path / "site").kit == kit.resolve()
    assert json.loads((kit / "local" / "radfed.json").read_text()) == {"site": str((tmp_path / "site").resolve())}


def test_linking_again_keeps_what_the_site_wrote(tmp_path: Path, kit: Path) -> None:
    init_site(tmp_path / "site", "site-a")
    file = tmp_path / "site" / "site.yaml"
    file.write_text("# ours\nname: site-a # the name\nthreads: 3\n")
    write_kit_link(kit, tmp_path / "site")
    write_kit_link(kit, tmp_path / "site")
    text = file.read_text()
    assert text.startswith("# ours\nname: site-a # the name\nthreads: 3\n")
    assert text.count("kit:") == 1


def test_a_kit_without_a_link_or_with_a_broken_one_is_named(tmp_path: Path, kit: Path) -> None:
    with pytest.raises(InvalidInputError, match="linked to no site"):
        read_kit_link(kit)
    for content in ("{", "[]", '{"place": 1}', json.dumps({"site": 3})):
        (kit / "local" / "radfed.json").write_text(content)
        with pytest.raises(InvalidInputError, match="the key 'site'"):
            read_kit_link(kit)
    (kit / "local" / "radfed.json").write_text(json.dumps({"site": str(tmp_path)}))
    with pytest.raises(InvalidInputError, match=r"holds no site\.yaml"):
        read_kit_link(kit)


def test_the_kit_of_another_site_is_refused(tmp_path: Path, kit: Path) -> None:
    init_site(tmp_path / "site", "site-b")
    with pytest.raises(InvalidInputError, match="the kit is that of 'site-a'"):
        write_kit_link(kit, tmp_path / "site")
    assert not (kit / "local" / "radfed.json").exists()
    assert read_site(tmp_path / "site").kit is None


def test_a_kit_says_who_and_where(kit: Path, tmp_path: Path) -> None:
    identity = read_identity(kit)
    assert (identity.federation, identity.site, identity.host, identity.port) == ("fed", "site-a", "127.0.0.1", 8002)
    file = kit / "startup" / "fed_client.json"
    content = json.loads(file.read_text())
    content["client"]["fqsn"] = "relay-1.site-a"
    file.write_text(json.dumps(content))
    assert read_identity(kit).site == "site-a"
    with pytest.raises(InvalidInputError, match="no startup kit of a client"):
        read_identity(tmp_path)


def test_init_takes_the_name_from_the_kit(tmp_path: Path, kit: Path) -> None:
    made = runner.invoke(app, ["site", "init", str(tmp_path / "site"), "--kit", str(kit), "--json"])
    assert made.exit_code == 0, made.stderr
    assert json.loads(made.stdout)["site"] == "site-a"
    secret = read_secret(tmp_path / "site")
    # A renewed kit is linked to the site that is there; its secret stays.
    again = runner.invoke(app, ["site", "init", str(tmp_path / "site"), "--kit", str(kit)])
    assert again.exit_code == 0, again.stderr
    assert read_secret(tmp_path / "site") == secret


def test_init_needs_one_name(tmp_path: Path, kit: Path) -> None:
    nameless = runner.invoke(app, ["site", "init", str(tmp_path / "site")])
    assert nameless.exit_code == 2
    assert "--name" in nameless.stderr
    other = runner.invoke(app, ["site", "init", str(tmp_path / "site"), "--kit", str(kit), "--name", "site-b"])
    assert other.exit_code == 2
    assert "site-a" in other.stderr
    assert not (tmp_path / "site").exists()
