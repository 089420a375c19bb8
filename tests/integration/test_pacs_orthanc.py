"""Over a real Orthanc: whichever way files go, and however often it is killed, the same files arrive."""

import hashlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import UID
from tests.integration.orthanc import settings_for
from tools.test_pacs import OUR_AET, PASSWORD, USER, Orthanc, free_port

from radfed.imaging.pacs.address import parse_address
from radfed.imaging.pacs.failure import PacsError
from radfed.imaging.pacs.patience import Patience
from radfed.imaging.pacs.retrieve import RetrieveReport, retrieve
from radfed.imaging.pacs.send import send
from radfed.imaging.pacs.settings import PacsSettings
from radfed.imaging.phantoms_dicom import Compression, Flavour, fake_patient, write_series
from radfed.imaging.volume import Volume

SERIES: tuple[tuple[Flavour, Compression], ...] = (
    (Flavour.CT, "none"),
    (Flavour.CT, "jpegls"),
    (Flavour.MR, "rle"),
    (Flavour.MR_PHILIPS, "jpeg"),
    (Flavour.PT, "jpeg2000"),
    (Flavour.CR, "none"),
    (Flavour.DX, "none"),
    (Flavour.SC, "none"),
    (Flavour.ENHANCED_CT, "deflated"),
    (Flavour.ENHANCED_MR, "none"),
)
WAYS = ("dicomweb", "get", "move")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """Ten series of ten patients."""
    folder = tmp_path_factory.mktemp("source")
    array = np.random.default_rng(0).integers(0, 250, (1, 64, 48, 5)).astype(np.int16)
    volume = Volume(array, np.diag([1.0, 1.5, 2.0, 1.0]))
    paths: list[Path] = []
    for number, (flavour, compression) in enumerate(SERIES):
        patient = fake_patient(np.random.default_rng(number))
        paths += write_series(
            folder / str(number), volume, flavour, patient, seed=number, compression=compression, series_number=number
        )
    return tuple(paths)


@pytest.fixture(scope="module")
def filled(orthanc: Orthanc, source: tuple[Path, ...]) -> Orthanc:
    """Every other file came by STOW-RS, the others by C-STORE."""
    store(orthanc, orthanc.dicomweb, source[::2])
    store(orthanc, orthanc.dimse, source[1::2])
    return orthanc


@pytest.fixture(scope="module", autouse=True)
def credentials() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RADFED_PACS_USER", USER)
        patch.setenv("RADFED_PACS_PASSWORD", PASSWORD)
        yield


def store(pacs: Orthanc, address: str, files: tuple[Path, ...]) -> None:
    steps: list[tuple[int, int]] = []
    report = send(parse_address(address), settings_for(pacs), files, lambda *step: steps.append(step))
    assert report.failed == ()
    assert report.sent == files
    assert steps[-1] == (len(files), len(files))


def ask(pacs: Orthanc, way: str, **changes: object) -> tuple[str, PacsSettings]:
    """Address and settings for one of the ways."""
    if way == "dicomweb":
        return pacs.dicomweb, settings_for(pacs, None, **changes)
    return pacs.dimse, settings_for(pacs, None, retrieve=way, **changes)


def digests(report: RetrieveReport) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in report.files}


@pytest.fixture(scope="module")
def whole(filled: Orthanc, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Digests of all files, retrieved undisturbed over DICOMweb."""
    address, settings = ask(filled, "dicomweb")
    return digests(retrieve(parse_address(address), settings, tmp_path_factory.mktemp("whole")))


@pytest.mark.parametrize("way", WAYS)
def test_every_way_brings_the_data_sets_that_were_stored(
    filled: Orthanc, source: tuple[Path, ...], whole: dict[str, str], tmp_path: Path, way: str
) -> None:
    address, settings = ask(filled, way)
    steps: list[tuple[int, int]] = []
    report = retrieve(parse_address(address), settings, tmp_path / "spool", lambda *step: steps.append(step))
    assert (report.series, report.missing, report.fetched) == (len(SERIES), {}, len(source))
    assert steps[0] == (0, len(source))
    assert steps[-1] == (len(source), len(source))
    stored = {str(dataset.SOPInstanceUID): dataset for dataset in map(dcmread, source)}
    arrived = {str(dataset.SOPInstanceUID): dataset for dataset in map(dcmread, report.files)}
    assert arrived.keys() == stored.keys()
    assert [uid for uid in stored if arrived[uid] != stored[uid]] == []
    syntaxes = {uid: dataset.file_meta.TransferSyntaxUID for uid, dataset in stored.items()}
    assert {uid: dataset.file_meta.TransferSyntaxUID for uid, dataset in arrived.items()} == syntaxes
    assert digests(report) == whole
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700


def test_a_second_retrieval_fetches_nothing(filled: Orthanc, whole: dict[str, str], tmp_path: Path) -> None:
    for way, fetched in (("dicomweb", len(whole)), ("get", 0), ("move", 0)):
        address, settings = ask(filled, way)
        report = retrieve(parse_address(address), settings, tmp_path)
        assert report.fetched == fetched
        assert digests(report) == whole


def test_a_file_cut_short_is_fetched_again(filled: Orthanc, tmp_path: Path) -> None:
    address, settings = ask(filled, "dicomweb")
    first = retrieve(parse_address(address), settings, tmp_path)
    before = digests(first)
    first.files[3].write_bytes(first.files[3].read_bytes()[:-10])
    first.files[5].unlink()
    again = retrieve(parse_address(address), settings, tmp_path)
    assert again.fetched == 2
    assert digests(again) == before


def test_small_pages_bring_everything(filled: Orthanc, whole: dict[str, str], tmp_path: Path) -> None:
    address, settings = ask(filled, "dicomweb", page=2)
    assert digests(retrieve(parse_address(address), settings, tmp_path)) == whole


KILLED = """
import sys, json
from pathlib import Path
from radfed.imaging.pacs.address import parse_address
from radfed.imaging.pacs.retrieve import retrieve
from radfed.imaging.pacs.settings import PacsSettings
settings = PacsSettings.read(Path(sys.argv[2]))
retrieve(parse_address(sys.argv[1]), settings, Path(sys.argv[3]), lambda done, total: print(done, flush=True))
"""


@pytest.mark.parametrize("way", ["dicomweb", "move"])
def test_killed_at_three_points_and_continued(filled: Orthanc, whole: dict[str, str], tmp_path: Path, way: str) -> None:
    # Over DICOMweb the rate is limited such that there is time to kill it.
    address, settings = ask(filled, way, max_mbit=4.0 if way == "dicomweb" else None)
    (tmp_path / "settings.yaml").write_text(settings.to_yaml())
    spool = tmp_path / "spool"
    command = [sys.executable, "-c", KILLED, address, str(tmp_path / "settings.yaml"), str(spool)]
    reached = []
    for point in (1, len(whole) // 3, 2 * len(whole) // 3):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if int(line) >= point:
                    process.kill()
                    break
            assert process.wait() == -signal.SIGKILL
        reached.append(len(list(spool.glob("*/*.dcm"))))
    assert all(point < len(whole) for point in reached)
    # What a kill in the middle of a transfer leaves behind.
    (spool / "incoming" / "half").write_bytes(b"\x00" * 100)
    with (spool / "state.jsonl").open("a") as state:
        state.write('{"sop": "1.2.3", "ser')
    report = retrieve(parse_address(address), settings.model_copy(update={"max_mbit": None}), spool)
    assert 0 < report.fetched < len(whole)
    assert digests(report) == whole
    assert list((spool / "incoming").iterdir()) == []


@pytest.mark.parametrize("way", ["dicomweb", "get"])
def test_filters_choose(filled: Orthanc, source: tuple[Path, ...], tmp_path: Path, way: str) -> None:
    address, settings = ask(filled, way)
    headers = [dcmread(path, stop_before_pixels=True) for path in source]
    ct, mr = (next(h for h in headers if h.Modality == modality) for modality in ("CT", "MR"))

    def chosen(query: str) -> set[str]:
        report = retrieve(parse_address(f"{address}?{query}"), settings, tmp_path)
        return {str(dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in report.files}

    def having(**values: str) -> set[str]:
        return {str(h.SOPInstanceUID) for h in headers if all(str(h[k].value) == v for k, v in values.items())}

    assert chosen("Modality=CT") == having(Modality="CT")
    # The spool holds the CT files too by now; they are not part of this query.
    assert chosen("Modality=MR,PT") == having(Modality="MR") | having(Modality="PT")
    assert chosen(f"PatientID={mr.PatientID}") == having(PatientID=mr.PatientID)
    assert chosen(f"PatientID={ct.PatientID}&Modality=MR") == set()
    assert chosen(f"StudyDate={ct.StudyDate}-{ct.StudyDate}") >= having(StudyDate=ct.StudyDate)
    assert chosen(f"StudyInstanceUID={ct.StudyInstanceUID},{mr.StudyInstanceUID}") == having(
        StudyInstanceUID=ct.StudyInstanceUID
    ) | having(StudyInstanceUID=mr.StudyInstanceUID)
    assert chosen(f"SeriesInstanceUID={mr.SeriesInstanceUID}") == having(SeriesInstanceUID=mr.SeriesInstanceUID)
    assert chosen(f"AccessionNumber={mr.AccessionNumber}") == having(AccessionNumber=mr.AccessionNumber)


def test_over_tls_the_same_files_come(
    tls_orthanc: Orthanc, source: tuple[Path, ...], whole: dict[str, str], tmp_path: Path
) -> None:
    store(tls_orthanc, tls_orthanc.dicomweb, source[::2])
    store(tls_orthanc, tls_orthanc.dimse, source[1::2])
    for way in WAYS:
        address, settings = ask(tls_orthanc, way)
        assert "+https" in address or "+tls" in address
        assert digests(retrieve(parse_address(address), settings, tmp_path / way)) == whole


@pytest.mark.parametrize("way", WAYS)
def test_a_certificate_that_nobody_vouches_for_is_refused(tls_orthanc: Orthanc, tmp_path: Path, way: str) -> None:
    address, settings = ask(tls_orthanc, way, ca_file=None, retries=0)
    with pytest.raises(PacsError, match="TLS"):
        retrieve(parse_address(address), settings, tmp_path)


@pytest.mark.parametrize("way", WAYS)
def test_a_certificate_for_another_host_is_refused(tls_orthanc: Orthanc, tmp_path: Path, way: str) -> None:
    address, settings = ask(tls_orthanc, way, retries=0)
    with pytest.raises(PacsError, match="TLS"):
        # The same machine, but the certificate does not have this name.
        retrieve(parse_address(address.replace("localhost", "127.0.0.1")), settings, tmp_path)


@pytest.mark.parametrize("secret", ["wrong-secret-value", "\u00e4\u00f6\u4e2d"])
def test_a_wrong_password_is_said_without_saying_it(
    filled: Orthanc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    monkeypatch.setenv("RADFED_PACS_PASSWORD", secret)
    with pytest.raises(PacsError, match="HTTP 401") as caught:
        retrieve(parse_address(f"{filled.dicomweb}?PatientID=P4711"), settings_for(filled), tmp_path)
    assert caught.value.exit_code == 1
    assert secret not in str(caught.value)
    assert "4711" not in str(caught.value)


def test_credentials_from_a_file(filled: Orthanc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RADFED_PACS_USER")
    monkeypatch.delenv("RADFED_PACS_PASSWORD")
    settings = settings_for(filled, tmp_path)
    report = retrieve(parse_address(f"{filled.dicomweb}?Modality=CR"), settings, tmp_path / "spool")
    assert report.series == 1


@pytest.mark.parametrize("change", [{"ae_title": "STRANGER"}, {"aet": "WRONG"}], ids=["ours", "theirs"])
def test_ae_titles_that_do_not_know_each_other(filled: Orthanc, tmp_path: Path, change: dict[str, str]) -> None:
    address = filled.dimse.replace("TESTPACS", change.get("aet", "TESTPACS"))
    settings = settings_for(filled, ae_title=change.get("ae_title", OUR_AET), retries=0)
    with pytest.raises(PacsError, match="AE title"):
        retrieve(parse_address(address), settings, tmp_path)


# pynetdicom does not close the socket of a connection that was refused.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("way", WAYS)
def test_a_server_that_is_down_is_tried_again_then_named(tmp_path: Path, way: str) -> None:
    down = Orthanc(http_port=free_port(), dicom_port=free_port())
    address, settings = ask(down, way, retries=3)
    waits: list[float] = []
    patience = Patience(settings.retries, sleep=waits.append, draw=lambda: 0.5)
    with pytest.raises(PacsError, match="4 tries") as caught:
        retrieve(parse_address(address), settings, tmp_path, patience=patience)
    assert waits == [0.5, 1.0, 2.0]
    assert str(parse_address(address)) in str(caught.value)


def test_the_disk_is_not_filled_up_and_nothing_is_lost(
    filled: Orthanc, whole: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.disk_usage(tmp_path)
    for way in WAYS:
        spool = tmp_path / way
        address, settings = ask(filled, way, min_free_gb=5.0)
        chunks = iter(range(10**9))
        # The disk has 20 GB at first, and less than 5 GB after some pieces.
        monkeypatch.setattr(
            "radfed.imaging.pacs.spool.shutil.disk_usage",
            lambda _, chunks=chunks: real._replace(free=int((20.0 - next(chunks)) * 1e9)),
        )
        with pytest.raises(PacsError, match="min_free_gb"):
            retrieve(parse_address(address), settings, spool)
        monkeypatch.undo()
        kept = len(list(spool.glob("*/*.dcm")))
        assert 0 < kept < len(whole)
        report = retrieve(parse_address(address), settings_for(filled, retrieve=settings.retrieve), spool)
        assert report.fetched == len(whole) - kept
        assert digests(report) == whole


def test_what_the_pacs_does_not_take_is_reported(filled: Orthanc, source: tuple[Path, ...], tmp_path: Path) -> None:
    dataset = dcmread(source[0])
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = UID("1.2.826.0.1.3680043.10.999.1")
    strange = tmp_path / "strange.dcm"
    dataset.save_as(strange)
    report = send(parse_address(filled.dimse), settings_for(filled), (source[0], strange))
    assert report.sent == (source[0],)
    assert report.failed == ((strange, "not accepted"),)
    assert send(parse_address(filled.dimse), settings_for(filled), (strange,)).failed == ((strange, "not accepted"),)
