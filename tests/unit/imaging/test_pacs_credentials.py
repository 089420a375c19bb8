from pathlib import Path

import pytest

from radfed.errors import GateError, InvalidInputError
from radfed.imaging.pacs.credentials import Credentials, find_credentials
from radfed.imaging.pacs.settings import PacsSettings


def secret_file(folder: Path, text: str, mode: int = 0o600) -> PacsSettings:
    path = folder / "credentials"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return PacsSettings(credentials=path)


def test_the_environment_comes_before_the_file(tmp_path: Path) -> None:
    settings = secret_file(tmp_path, "file:secret\n")
    assert find_credentials(settings, {}) == Credentials(user="file", password="secret")
    environment = {"RADFED_PACS_USER": "env", "RADFED_PACS_PASSWORD": "other"}
    assert find_credentials(settings, environment) == Credentials(user="env", password="other")
    assert find_credentials(settings, {"RADFED_PACS_TOKEN": "abc.def"}) == Credentials(token="abc.def")
    assert find_credentials(PacsSettings(), {}) is None


@pytest.mark.parametrize(
    ("text", "credentials"),
    [
        ("me:pass:with:colons ", Credentials(user="me", password="pass:with:colons ")),
        ("\nmé:pässword\n\n", Credentials(user="mé", password="pässword")),
        ("token: abc \n", Credentials(token="abc")),
    ],
)
def test_files_are_read(tmp_path: Path, text: str, credentials: Credentials) -> None:
    assert find_credentials(secret_file(tmp_path, text), {}) == credentials


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
def test_a_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(GateError, match="chmod 600"):
        find_credentials(secret_file(tmp_path, "me:secret", mode), {})


@pytest.mark.parametrize("text", ["", "no colon", ":secret", "me:", "me:a\nyou:b\n"])
def test_a_malformed_file_is_refused_and_not_repeated(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidInputError, match="one line") as caught:
        find_credentials(secret_file(tmp_path, text), {})
    assert "secret" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="FileNotFoundError"):
        find_credentials(PacsSettings(credentials=tmp_path / "none"), {})


@pytest.mark.parametrize(
    "environment",
    [
        {"RADFED_PACS_USER": "me"},
        {"RADFED_PACS_PASSWORD": "s3cret-word"},
        {"RADFED_PACS_TOKEN": "s3cret-word", "RADFED_PACS_USER": "me"},
        {"RADFED_PACS_TOKEN": "s3cret-word\nX-Header: 1"},
    ],
)
def test_half_or_double_credentials_are_refused_and_not_repeated(environment: dict[str, str]) -> None:
    with pytest.raises(InvalidInputError, match="PACS") as caught:
        find_credentials(PacsSettings(), environment)
    assert "s3cret-word" not in str(caught.value)


def test_credentials_do_not_print() -> None:
    assert "secret" not in repr(Credentials(user="me", password="secret", token="secret"))
