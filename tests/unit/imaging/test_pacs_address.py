import pytest

from radfed.errors import InvalidInputError
from radfed.imaging.pacs.address import PacsAddress, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("dicomweb+http://pacs/dicom-web", PacsAddress("dicomweb", False, "pacs", 80, "/dicom-web")),
        ("dicomweb+https://pacs.example/a/b/", PacsAddress("dicomweb", True, "pacs.example", 443, "/a/b")),
        ("dicomweb+http://10.0.0.1:8042", PacsAddress("dicomweb", False, "10.0.0.1", 8042)),
        ("dimse://MAIN_PACS@pacs", PacsAddress("dimse", False, "pacs", 104, aet="MAIN_PACS")),
        ("dimse+tls://MAIN%20PACS@pacs", PacsAddress("dimse", True, "pacs", 2762, aet="MAIN PACS")),
        (
            "dimse://A@pacs:11112?Modality=MR,CT&StudyDate=20240101-&SeriesDescription=t2*",
            PacsAddress(
                "dimse",
                False,
                "pacs",
                11112,
                aet="A",
                filters=(
                    ("Modality", "CT"),
                    ("Modality", "MR"),
                    ("SeriesDescription", "t2*"),
                    ("StudyDate", "20240101-"),
                ),
            ),
        ),
        (
            "dicomweb+http://pacs?PatientID=A%2CB&PatientID=C+D",
            PacsAddress("dicomweb", False, "pacs", 80, filters=(("PatientID", "A,B"), ("PatientID", "C D"))),
        ),
    ],
)
def test_addresses_are_read(text: str, address: PacsAddress) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("http://pacs", "allowed: dicomweb"),
        ("pacs:104", "allowed: dicomweb"),
        ("dicomweb+http://", "host name"),
        ("dicomweb+http://[::1]/x", "host name"),
        ("dicomweb+http://pacs:99999", "port"),
        ("dicomweb+http://pacs:0", "port 0"),
        ("dicomweb+http://pacs#part", "#"),
        ("dimse://pacs:104", "AE title"),
        ("dimse://A_TITLE_THAT_IS_LONG@pacs:104", "AE title"),
        ("dimse://A@pacs/path", "no path"),
        ("dicomweb+http://pacs?Colour=blue", "allowed: AccessionNumber, .*StudyInstanceUID"),
        ("dicomweb+http://pacs?PatientID=", "no value for PatientID"),
        ("dicomweb+http://pacs?Modality=CT,", "no value for Modality"),
        ("dicomweb+http://pacs?StudyDate=2024", "YYYYMMDD"),
        ("dicomweb+http://pacs?StudyInstanceUID=1.2.*", "no UID"),
        ("dimse://A@pacs?PatientID=A%5CB", "backslash"),
    ],
)
def test_wrong_addresses_say_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        parse_address(text)


@pytest.mark.parametrize("scheme", ["dicomweb+http", "dicomweb+https", "dimse"])
def test_credentials_in_an_address_are_refused_and_not_repeated(scheme: str) -> None:
    with pytest.raises(InvalidInputError, match="RADFED_PACS_USER") as caught:
        parse_address(f"{scheme}://someone:s3cret-word@pacs:104")
    assert "s3cret-word" not in str(caught.value)


@pytest.mark.parametrize("text", ["dicomweb+https://pacs:8443/dicom-web", "dimse+tls://A@pacs:2762"])
def test_an_address_prints_without_its_filters(text: str) -> None:
    address = parse_address(f"{text}?PatientID=P4711")
    assert str(address) == text
    assert "4711" not in repr(address)
