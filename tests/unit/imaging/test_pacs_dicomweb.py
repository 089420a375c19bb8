"""Against a service that misbehaves as told; a well-behaved one is in the integration tests."""

from pathlib import Path

import pytest
from fake_dicomweb import LEAK, FakePacs, Reply, serving, tiny_dicom  # type: ignore[import-not-found]
from pydicom import dcmread

from radfed.imaging.pacs.address import parse_address
from radfed.imaging.pacs.failure import PacsError
from radfed.imaging.pacs.patience import Patience
from radfed.imaging.pacs.retrieve import RetrieveReport, retrieve
from radfed.imaging.pacs.send import send
from radfed.imaging.pacs.settings import PacsSettings

A, B = ["1.1.1.1", "1.1.1.2", "1.1.1.3"], ["1.1.2.1", "1.1.2.2"]


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RADFED_PACS_USER", "RADFED_PACS_PASSWORD", "RADFED_PACS_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def pacs(**changes: object) -> FakePacs:
    return FakePacs({"1.1.1": A, "1.1.2": B}, **changes)


class Run:
    """Retrievals into one spool, without real waits."""

    def __init__(self, spool: Path, retries: int = 3, **settings: object) -> None:
        self.spool, self.waits = spool, list[float]()
        self.settings = PacsSettings.check({"min_free_gb": 0.0, "retries": retries, **settings}, "test")
        self.patience = Patience(retries, sleep=self.waits.append, draw=lambda: 0.5)

    def __call__(self, served: FakePacs, query: str = "") -> RetrieveReport:
        address = parse_address(f"dicomweb+http://127.0.0.1:{served.port}{query}")
        return retrieve(address, self.settings, self.spool, patience=self.patience)


def names(report: RetrieveReport) -> list[str]:
    return sorted(str(dcmread(path).SOPInstanceUID) for path in report.files)


@pytest.mark.parametrize(
    "changes",
    [{}, {"most": 1}, {"most": 2}, {"ignores_paging": True}, {"lists_instances": False}],
    ids=["plain", "one a page", "two a page", "no paging", "series only"],
)
@pytest.mark.parametrize("page", [1, 2, 3, 100])
def test_every_kind_of_paging_ends_with_everything(tmp_path: Path, changes: dict[str, object], page: int) -> None:
    with serving(pacs(**changes)) as served:
        run = Run(tmp_path, page=page)
        report = run(served)
        assert names(report) == A + B
        assert (report.series, report.fetched, report.missing) == (2, 5, {})
        assert run(served).fetched == 0
    assert run.waits == []


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_passes_is_tried_again(tmp_path: Path, status: int) -> None:
    busy = Reply(status, {"Retry-After": "9"})
    with serving(pacs(trouble=lambda path, accept, times: busy if times <= 2 else None)) as served:
        run = Run(tmp_path)
        assert names(run(served)) == A + B
    assert set(run.waits) == {9.0}


def test_a_date_to_wait_for_that_is_over(tmp_path: Path) -> None:
    busy = Reply(503, {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"})
    with serving(
        pacs(trouble=lambda path, accept, times: busy if times == 1 and path == "/studies" else None)
    ) as served:
        run = Run(tmp_path)
        assert names(run(served)) == A + B
    assert run.waits == [0.5]


def test_a_body_cut_short_costs_only_what_was_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radfed.imaging.pacs.dicomweb._CHUNK", 256)
    whole = pacs().files("1.1.1", A)
    half = Reply(200, whole.headers, whole.body, send=len(whole.body) // 2)

    with serving(
        pacs(trouble=lambda path, accept, times: half if path == "/studies/1.1/series/1.1.1" else None)
    ) as served:
        report = Run(tmp_path)(served)
        assert names(report) == A + B
        # The first came whole, the others are asked for by themselves.
        assert [served.asked[f"/studies/1.1/series/1.1.1/instances/{uid}"] for uid in A] == [0, 1, 1]


def test_an_envelope_that_ends_early_is_noticed(tmp_path: Path) -> None:
    whole = pacs().files("1.1.1", A)
    cut = Reply(200, whole.headers, whole.body[: len(whole.body) // 2])
    with serving(
        pacs(trouble=lambda path, accept, times: cut if path == "/studies/1.1/series/1.1.1" else None)
    ) as served:
        assert names(Run(tmp_path)(served)) == A + B


def test_what_does_not_come_is_counted_and_stops_nothing(tmp_path: Path) -> None:
    gone = ("/studies/1.1/series/1.1.1", "/studies/1.1/series/1.1.1/instances/1.1.1.2")
    with serving(pacs(trouble=lambda path, accept, times: Reply(404) if path in gone else None)) as served:
        run = Run(tmp_path, retries=2)
        report = run(served)
        assert dict(report.missing) == {"1.1.1": 1}
        assert names(report) == [A[0], A[2], *B]
        served.trouble = lambda path, accept, times: None
        assert dict(run(served).missing) == {}


def test_another_instance_than_was_asked_for_is_not_taken(tmp_path: Path) -> None:
    wrong = pacs().files("1.1.1", ["1.1.1.99"])
    with serving(
        pacs(
            trouble=lambda path, accept, times: (
                wrong if path.startswith("/studies/1.1/series/1.1.1") and not path.endswith("/instances") else None
            )
        )
    ) as served:
        report = Run(tmp_path, retries=1)(served)
    assert dict(report.missing) == {"1.1.1": 3}
    assert names(report) == B


@pytest.mark.parametrize(
    "body", [b"", b"<html>login</html>", tiny_dicom("1", "2", "3")[:100], b"\x00" * 128 + b"DICM" + b"\xff" * 64]
)
def test_what_is_no_dicom_is_not_taken(tmp_path: Path, body: bytes) -> None:
    junk = Reply(200, {"Content-Type": "application/dicom"}, body)
    with serving(
        pacs(trouble=lambda path, accept, times: junk if "/1.1.1" in path and not path.endswith("/instances") else None)
    ) as served:
        report = Run(tmp_path, retries=1)(served)
    assert dict(report.missing) == {"1.1.1": 3}
    assert names(report) == B
    assert list((tmp_path / "incoming").iterdir()) == []


def test_a_server_that_does_not_know_the_transfer_syntax_parameter(tmp_path: Path) -> None:
    with serving(
        pacs(trouble=lambda path, accept, times: Reply(406) if "transfer-syntax" in accept else None)
    ) as served:
        assert names(Run(tmp_path)(served)) == A + B


def test_a_single_instance_without_envelope_is_taken(tmp_path: Path) -> None:
    def bare(path: str, accept: str, times: int) -> Reply | None:
        uid = path.rpartition("/")[2]
        if path == "/studies/1.1/series/1.1.1":
            return Reply(500)
        return Reply(200, {"Content-Type": "application/dicom"}, tiny_dicom("1.1", "1.1.1", uid)) if uid in A else None

    with serving(pacs(trouble=bare)) as served:
        assert names(Run(tmp_path)(served)) == A + B


def test_a_server_that_ignores_a_filter_sends_nobody_else(tmp_path: Path) -> None:
    with serving(pacs(patient="P2")) as served:
        assert Run(tmp_path)(served, "?PatientID=P1").series == 0
        assert Run(tmp_path)(served, "?PatientID=P2").series == 2


def test_files_of_an_earlier_query_are_not_used(tmp_path: Path) -> None:
    with serving(pacs()) as served:
        run = Run(tmp_path)
        run(served)
        del served.series["1.1.1"]
        served.series["1.1.2"] = B[:1]
        assert names(run(served)) == B[:1]


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(401), "HTTP 401.*RADFED_PACS_USER"),
        (Reply(403), "HTTP 403"),
        (Reply(400), "HTTP 400"),
        (Reply(404), "HTTP 404"),
        (Reply(302, {"Location": f"http://127.0.0.1:1/{LEAK}"}), "another address"),
        (Reply(200, {"Content-Type": "text/html"}), "no DICOM JSON"),
        (Reply(200, {"Content-Type": "application/json"}, f'["{LEAK}"]'.encode()), "no DICOM JSON"),
        (Reply(503), "HTTP 503.*4 tries"),
    ],
)
def test_errors_say_the_status_and_not_what_the_server_says(tmp_path: Path, reply: Reply, message: str) -> None:
    with (
        serving(pacs(trouble=lambda path, accept, times: reply)) as served,
        pytest.raises(PacsError, match=message) as caught,
    ):
        Run(tmp_path)(served, f"?PatientID={LEAK}")
    seen: BaseException | None = caught.value
    while seen is not None:
        assert "DOE" not in str(seen)
        seen = seen.__cause__


def test_a_token_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADFED_PACS_TOKEN", "abc.def")
    with serving(pacs()) as served:
        from radfed.imaging.pacs.dicomweb import DicomWeb

        web = DicomWeb(parse_address(f"dicomweb+http://127.0.0.1:{served.port}"), PacsSettings(), Patience(0))
        assert web._session.headers["Authorization"] == "Bearer abc.def"
        web.close()


def test_two_retrievals_do_not_share_a_spool(tmp_path: Path) -> None:
    from radfed.imaging.pacs.spool import Spool

    with serving(pacs()) as served, Spool(tmp_path, 0.0, None), pytest.raises(PacsError, match="another retrieval"):
        Run(tmp_path)(served)


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(200, body=b"{}"), None),
        (
            Reply(202, body=b'{"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [290]}}]}}'),
            "0x0122",
        ),
        (
            Reply(409, body=b'{"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [272]}}]}}'),
            "0x0110",
        ),
        (Reply(409, body=LEAK.encode()), "HTTP 409"),
        (Reply(415), "HTTP 415"),
    ],
)
def test_sending_reports_the_code(tmp_path: Path, reply: Reply, code: str | None) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(tiny_dicom("1", "2", "3"))
    with serving(pacs(trouble=lambda path, accept, times: reply if times > 1 else Reply(503))) as served:
        waits: list[float] = []
        report = send(
            parse_address(f"dicomweb+http://127.0.0.1:{served.port}"),
            PacsSettings(),
            (path,),
            patience=Patience(1, sleep=waits.append),
        )
    assert len(waits) == 1
    assert report.sent == (() if code else (path,))
    assert report.failed == (((path, code),) if code else ())
