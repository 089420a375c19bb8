import stat
from pathlib import Path

import pytest

from radfed.errors import GateError, InvalidInputError
from radfed.site.config import SiteSettings, init_site, open_site, read_secret, read_site


def test_init_writes_what_read_takes_back(tmp_path: Path) -> None:
    made = init_site(tmp_path / "site", "site-a")
    assert read_site(tmp_path / "site" / "site.yaml") == read_site(tmp_path / "site") == made
    secret = tmp_path / "site" / "secret.key"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert len(read_secret(tmp_path / "site")) == 32


def test_two_sites_have_two_secrets(tmp_path: Path) -> None:
    for name in "ab":
        init_site(tmp_path / name, f"site-{name}")
    assert read_secret(tmp_path / "a") != read_secret(tmp_path / "b")


@pytest.mark.parametrize("kept", ["site.yaml", "secret.key"])
def test_init_never_overwrites(tmp_path: Path, kept: str) -> None:
    init_site(tmp_path, "site-a")
    for name in {"site.yaml", "secret.key"} - {kept}:
        (tmp_path / name).unlink()
    before = (tmp_path / kept).read_bytes()
    with pytest.raises(InvalidInputError, match=f"already holds {kept}"):
        init_site(tmp_path, "site-b")
    assert (tmp_path / kept).read_bytes() == before


@pytest.mark.parametrize("name", ["", "a b", "../x", "-a", "a" * 65])
def test_names_that_are_no_site_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInputError, match="name"):
        init_site(tmp_path / "site", name)
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_secret_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    init_site(tmp_path, "site-a")
    (tmp_path / "secret.key").chmod(mode)
    with pytest.raises(GateError, match="chmod 600") as caught:
        read_secret(tmp_path)
    assert caught.value.exit_code == 3


def test_missing_or_short_secret_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="radfed site init"):
        read_secret(tmp_path)
    (tmp_path / "secret.key").write_bytes(b"short")
    (tmp_path / "secret.key").chmod(0o600)
    with pytest.raises(InvalidInputError, match="32 random bytes, got 5"):
        read_secret(tmp_path)


def test_dataset_is_relative_to_the_file(tmp_path: Path) -> None:
    init_site(tmp_path, "site-a")
    text = (tmp_path / "site.yaml").read_text()
    (tmp_path / "site.yaml").write_text(text.replace("dataset: null", "dataset: ../prepared"))
    assert read_site(tmp_path).dataset == (tmp_path.parent / "prepared").resolve()


def test_wrong_keys_and_values_are_named() -> None:
    with pytest.raises(InvalidInputError, match="device"):
        SiteSettings.check({"name": "a", "device": "tpu"}, "site.yaml")
    with pytest.raises(InvalidInputError, match="max_refused"):
        SiteSettings.check({"name": "a", "max_refused": 1.5}, "site.yaml")


def test_a_site_is_made_beside_a_dataset_once(tmp_path: Path) -> None:
    folder, made = open_site(None, tmp_path / "my data", None)
    assert folder == tmp_path / "my data.site"
    assert made.name == "my-data"
    secret = read_secret(folder)
    again, settings = open_site(None, tmp_path / "my data", "other")
    assert (again, settings) == (folder, made)
    assert read_secret(folder) == secret
