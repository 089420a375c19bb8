import importlib.util
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest
from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c

from radfed.imaging.deid.rules import Action, action
from radfed.imaging.deid.table import PRIVATE, Row, edition, profile, rows, safe_private

TOOL = Path(__file__).parents[3] / "tools" / "deid_table.py"

# What another project took from the standard's edition 2026c, by action.
INDEPENDENT = {
    "D": dicomfields_2026c.D_TAGS,
    "Z": dicomfields_2026c.Z_TAGS,
    "X": dicomfields_2026c.X_TAGS,
    "U": dicomfields_2026c.U_TAGS,
    "X/Z": dicomfields_2026c.X_Z_TAGS,
    "X/D": dicomfields_2026c.X_D_TAGS,
    "Z/D": dicomfields_2026c.Z_D_TAGS,
    "X/Z/D": dicomfields_2026c.X_Z_D_TAGS,
    "X/Z/U*": dicomfields_2026c.X_Z_U_STAR_TAGS,
}
NEW_IN_2026D = {0x3004007F}

SNIPPET = """
<book xmlns="http://docbook.org/ns/docbook" xmlns:xml="http://www.w3.org/XML/1998/namespace">
 <table xml:id="table_E.1-1"><caption>Application Level Confidentiality Profile Attributes</caption>
  <thead><tr>{head}</tr></thead>
  <tbody>
   <tr><td><para>Study Date</para></td><td><para>(0008,0020)</para></td><td/><td/><td><para>Z</para></td>
       <td/><td/><td/><td/><td/><td><para>K</para></td><td><para>C</para></td><td/><td/><td/></tr>
   <tr><td><para>Overlay Data</para></td><td><para>(60xx,3000)</para></td><td/><td/><td><para>X</para></td>
       <td/><td/><td/><td/><td/><td/><td/><td/><td/><td><para>C</para></td></tr>
   <tr><td><para>Private At\u200btributes</para></td><td><para>(gggg,eeee) where gggg is odd</para></td><td/><td/>
       <td><para>X</para></td><td><para>C</para></td><td/><td/><td/><td/><td/><td/><td/><td/><td/></tr>
  </tbody>
 </table>
 <table xml:id="table_E.3.10-1"><thead><tr><th>Data Element</th><th>Private Creator</th><th>VR</th><th>VM</th>
  <th>Meaning</th></tr></thead>
  <tbody><tr><td>(7053,xx0a)</td><td>Philips PET Private Group</td><td>DS</td><td>1</td><td>a factor</td></tr></tbody>
 </table>
</book>
"""
_HEADINGS = (
    "Attribute Name|Tag|Retd. (from PS3.6)|In Std. Comp. IOD (from PS3.3)|Basic Prof.|Rtn. Safe Priv. Opt.|"
    "Rtn. UIDs Opt.|Rtn. Dev. Id. Opt.|Rtn. Inst. Id. Opt.|Rtn. Pat. Chars. Opt.|Rtn. Long. Full Dates Opt.|"
    "Rtn. Long. Modif. Dates Opt.|Clean Desc. Opt.|Clean Struct. Cont. Opt.|Clean Graph. Opt."
)
HEADINGS = _HEADINGS.split("|")


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("deid_table", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _part15(headings: list[str]) -> ElementTree.Element:
    head = "".join(f"<th><para>{heading}</para></th>" for heading in headings)
    return ElementTree.fromstring(SNIPPET.format(head=head))


def test_basic_actions_are_those_that_another_project_took_from_the_standard() -> None:
    theirs = {group << 16 | element: name for name, tags in INDEPENDENT.items() for group, element, *_ in tags}
    theirs = {tag: name for tag, name in theirs.items() if tag >> 24 not in (0x50, 0x60) and tag >> 16}
    ours = {tag: row.basic for tag, row in profile().items()}
    assert len(ours) > 600
    assert {tag for tag in ours if tag >> 16 and tag not in theirs} == NEW_IN_2026D
    assert {tag: name for tag, name in theirs.items() if ours.get(tag) != name} == {}


def test_the_table_says_its_edition_and_holds_curves_overlays_and_private_attributes() -> None:
    assert edition() == "2026d"
    assert {row.tag for row in rows() if "x" in row.tag} == {"50xxxxxx", "60xx3000", "60xx4000"}
    assert [row.basic for row in rows() if row.tag == PRIVATE] == ["X"]


def test_the_last_of_several_actions_keeps_an_object_valid() -> None:
    assert [Row("00080080", "", basic, "", "", "", "").last for basic in ("X", "X/Z", "X/Z/D", "X/Z/U*")] == [
        "X",
        "Z",
        "D",
        "U*",
    ]


def test_safe_private_attributes_hold_what_diffusion_and_pet_need() -> None:
    assert len(safe_private()) == 479
    assert safe_private()["SIEMENS MR HEADER", 0x0019, 0x0C] == "IS"
    assert safe_private()["GEMS_PARM_01", 0x0043, 0x39] == "IS"
    assert safe_private()["Philips Imaging DD 001", 0x2001, 0x03] == "FL"
    assert safe_private()["Philips PET Private Group", 0x7053, 0x00] == "DS"


@pytest.mark.parametrize(
    "row", [row for row in rows() if "x" not in row.tag and row.tag != PRIVATE], ids=lambda r: r.tag
)
def test_no_attribute_of_the_table_is_kept_as_it_is_unless_an_option_says_so(row: Row) -> None:
    from pydicom.datadict import dictionary_has_tag, dictionary_VR

    tag = int(row.tag, 16)
    vr = dictionary_VR(tag) if dictionary_has_tag(tag) else "LO"
    chosen = action(tag, vr)
    if chosen in (Action.KEEP, Action.CODED):
        assert row.patient_characteristics == "K"
    if chosen is Action.DATE:
        assert row.modified_dates == "C"
    assert chosen is not Action.PLAIN


def test_the_tool_reads_the_standards_own_text(tool: ModuleType) -> None:
    text = tool.profile_csv(_part15(HEADINGS), "2099a")
    assert text.splitlines() == [
        "# DICOM PS3.15 2099a, Table E.1-1, Application Level Confidentiality Profile Attributes",
        "# edition 2099a",
        "tag,name,basic,safe_private,patient_characteristics,modified_dates,clean_descriptors",
        "00080020,Study Date,Z,,,C,",
        "60xx3000,Overlay Data,X,,,,",
        "ggggeeee,Private Attributes,X,C,,,",
    ]
    assert tool.safe_private_csv(_part15(HEADINGS), "2099a").splitlines()[2:] == [
        "creator,group,element,vr",
        "Philips PET Private Group,7053,0A,DS",
    ]


def test_the_tool_refuses_another_text(tool: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"no column .*Clean Desc\. Opt\."):
        tool.profile_csv(_part15([heading.replace("Clean Desc.", "Other") for heading in HEADINGS]), "2099a")
    with pytest.raises(ValueError, match="no table table_E"):
        tool.profile_csv(ElementTree.fromstring("<book/>"), "2099a")


def test_the_shipped_files_are_as_the_tool_writes_them(tool: ModuleType) -> None:
    for name, columns in (("table_e1_1.csv", 7), ("safe_private.csv", 4)):
        lines = (tool.FOLDER / name).read_text(encoding="utf-8").splitlines()
        assert lines[0].startswith("# DICOM PS3.15 2026")
        assert len(lines[2].split(",")) == columns
        assert len(set(lines)) == len(lines)
