"""A real PACS for tests: Orthanc on loopback, with authentication, and with TLS."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tools.test_pacs import PASSWORD, USER, Certificates, MissingOrthancError, Orthanc

from radfed.imaging.pacs.settings import PacsSettings


@pytest.fixture(scope="module")
def orthanc() -> Iterator[Orthanc]:
    """Empty at first; kept for the tests of one module."""
    yield from _started(None)


@pytest.fixture(scope="module")
def tls_orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """The same, where both ends show certificates."""
    yield from _started(Certificates.make(tmp_path_factory.mktemp("certificates")))


def _started(certificates: Certificates | None) -> Iterator[Orthanc]:
    try:
        pacs = Orthanc(certificates).__enter__()
    except MissingOrthancError as error:
        pytest.fail(str(error))  # a skipped test of the PACS would look like a passed one
    try:
        yield pacs
    finally:
        pacs.stop()


def settings_for(pacs: Orthanc, work: Path | None = None, **changes: object) -> PacsSettings:
    """Settings that fit the PACS; with a folder to work in, the credentials are in a file of mode 0600 there."""
    values = pacs.settings | {"retries": 1, "timeout": 20.0} | changes
    if work is not None:
        path = work / "pacs-credentials"
        path.touch(mode=0o600)
        path.write_text(f"{USER}:{PASSWORD}\n")
        values["credentials"] = path
    return PacsSettings.check(values, "settings of the test")
