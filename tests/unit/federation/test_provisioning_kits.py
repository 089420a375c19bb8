import datetime
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from nvflare.lighter.utils import Identity, generate_cert, generate_keys, serialize_cert

from radfed.errors import GateError, InvalidInputError
from radfed.federation.certificates import check_certificate
from radfed.federation.provisioning_kits import find_kits, forget_certificate, kit_expiry, read_kit
from radfed.federation.revocation import Revocations, Revoked, read_revocations, revoke, serial_of

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)


@pytest.fixture(scope="module")
def keys() -> tuple[RSAPrivateKey, object]:
    """One pair for all, as making one takes long: the authority's and the participants'."""
    private, public = generate_keys()
    return private, public


def write_kit(folder: Path, name: str, pair: tuple[RSAPrivateKey, object], days: int = 10) -> Path:
    private, public = pair
    (folder / "startup").mkdir(parents=True)
    own = generate_cert(
        Identity(name), Identity("alpha"), private, public, not_valid_before=NOW, not_valid_after=NOW + days * DAY
    )
    root = generate_cert(Identity("alpha"), Identity("alpha"), private, public, ca=True)
    (folder / "startup" / "client.crt").write_bytes(serialize_cert(own))
    (folder / "startup" / "rootCA.pem").write_bytes(serialize_cert(root))
    return folder


def test_the_newest_kit_of_each_participant_counts(tmp_path: Path, keys: tuple[RSAPrivateKey, object]) -> None:
    old = write_kit(tmp_path / "alpha" / "prod_09" / "site-a", "site-a", keys, days=10)
    new = write_kit(tmp_path / "alpha" / "prod_10" / "site-a", "site-a", keys, days=30)
    gone = write_kit(tmp_path / "alpha" / "prod_09" / "site-b", "site-b", keys, days=20)
    assert {kit.folder for kit in find_kits(tmp_path)} == {new, gone}
    assert kit_expiry(tmp_path) == [("site-b", NOW + 20 * DAY), ("site-a", NOW + 30 * DAY)]
    assert kit_expiry(old) == [("site-a", NOW + 10 * DAY)]


def test_two_projects_may_have_a_site_of_one_name(tmp_path: Path, keys: tuple[RSAPrivateKey, object]) -> None:
    for project in ("alpha", "beta"):
        write_kit(tmp_path / project / "prod_00" / "site-a", "site-a", keys)
    assert len(find_kits(tmp_path)) == 2


def test_a_folder_without_kits_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="holds no startup kit"):
        kit_expiry(tmp_path)


def test_only_the_forgotten_participant_loses_its_certificate(tmp_path: Path) -> None:
    state = tmp_path / "state" / "cert.json"
    state.parent.mkdir()
    content = {"root_cert": "r", "site-a": {"cert": "a", "pri_key": "k"}, "site-b": {"cert": "b", "pri_key": "k"}}
    state.write_text(json.dumps(content))
    forget_certificate(tmp_path, "site-b")
    assert json.loads(state.read_text()) == {"root_cert": "r", "site-a": content["site-a"]}
    assert state.stat().st_mode & 0o077 == 0
    with pytest.raises(InvalidInputError, match="there are: site-a"):
        forget_certificate(tmp_path, "root_cert")


def test_an_entry_without_serial_covers_all_certificates_of_a_name() -> None:
    names = Revocations(revoked=(Revoked(name="site-a", since=NOW),))
    assert names.covers("site-a", "AB")
    assert names.covers("site-a", None)
    assert not names.covers("site-b", "AB")


def test_an_entry_with_serial_covers_that_one_and_sessions_of_unknown_certificate() -> None:
    one = Revocations(revoked=(Revoked(name="site-a", serial="AB", since=NOW),))
    assert one.covers("site-a", "AB")
    assert not one.covers("site-a", "CD")
    assert one.covers("site-a", None)


def test_a_revoked_certificate_is_written_and_read(tmp_path: Path, keys: tuple[RSAPrivateKey, object]) -> None:
    (tmp_path / "server" / "local").mkdir(parents=True)
    kit = read_kit(write_kit(tmp_path / "site-a", "site-a", keys))
    revoke(tmp_path / "server", "site-b", None, "left")
    revoke(tmp_path / "server", kit.participant, kit.serial, "stolen")
    found = read_revocations(tmp_path / "server")
    assert [(entry.name, entry.serial, entry.reason) for entry in found.revoked] == [
        ("site-b", None, "left"),
        ("site-a", kit.serial, "stolen"),
    ]
    assert serial_of((kit.folder / "startup" / "client.crt").read_bytes()) == kit.serial


def test_a_list_that_cannot_be_read_is_no_empty_list(tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    assert read_revocations(tmp_path) == Revocations()
    (tmp_path / "local" / "revoked.json").write_text('{"revoked": [{"nmae": "site-a"}]}')
    with pytest.raises(InvalidInputError, match="nmae"):
        read_revocations(tmp_path)


def test_a_certificate_holds_between_its_dates_only(tmp_path: Path, keys: tuple[RSAPrivateKey, object]) -> None:
    kit = write_kit(tmp_path / "site-a", "site-a", keys)
    assert check_certificate(kit, NOW + DAY) == NOW + 10 * DAY
    for at in (NOW - DAY, NOW + 11 * DAY):
        with pytest.raises(GateError, match="is valid from 2026-01-01"):
            check_certificate(kit, at)


def test_a_certificate_of_another_authority_does_not_hold(tmp_path: Path, keys: tuple[RSAPrivateKey, object]) -> None:
    kit, other = write_kit(tmp_path / "a", "site-a", keys), write_kit(tmp_path / "b", "site-a", generate_keys())
    (other / "startup" / "client.crt").replace(kit / "startup" / "client.crt")
    with pytest.raises(GateError, match="was not signed by this federation's authority"):
        check_certificate(kit, NOW + DAY)
