import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from doctor_world import Authority, policies, write_kit  # type: ignore[import-not-found]

from radfed.site.approval_settings import ApprovalSettings, StandingApproval
from radfed.site.config import init_site
from radfed.site.doctor.findings import Finding
from radfed.site.doctor.policies import check_policies

TODAY = date(2030, 1, 15)


class Place:
    def __init__(self, folder: Path) -> None:
        self.kit, self.site = folder / "kit", folder / "site"
        authority = Authority()
        write_kit(self.kit, authority.root, authority.issue("site-a"))
        init_site(self.site, "site-a")

    def change(self, name: str, how: Callable[[dict[str, Any]], object]) -> None:
        content = policies()[name]
        how(content)
        (self.kit / "local" / name).write_text(json.dumps(content))

    def found(self, approval: ApprovalSettings | None = None) -> dict[str, Finding]:
        findings = check_policies(self.kit, self.site, approval or ApprovalSettings(), TODAY)
        return {finding.check: finding for finding in findings}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_closed_policies_pass(place: Place) -> None:
    assert {finding.verdict for finding in place.found().values()} == {"pass"}


OPENED = [
    ("allow-list", "resources.json", lambda c: c["class_allow_list"].append("nvflare."), "ClientAPIExecutor"),
    (
        "allow-list",
        "resources.json",
        lambda c: c["class_allow_list"].append("nvflare.app_common.executors.client_api_executor.ClientAPIExecutor"),
        "any command",
    ),
    ("allow-list", "resources.json", lambda c: c["class_allow_list"].append("numpy."), "whole package"),
    ("allow-list", "resources.json", lambda c: c.pop("class_allow_list"), "no class_allow_list"),
    ("allow-list", "resources.json", lambda c: c.update(class_list_enforcement_mode="warn"), "any class may run"),
    ("byoc", "authorization.json", lambda c: c["permissions"]["lead"].update(byoc="any"), "lead"),
    ("byoc", "authorization.json", lambda c: c["permissions"]["lead"].update(byoc=["none", "o:site"]), "lead"),
    ("byoc", "authorization.json", lambda c: c["permissions"].update(project_admin="any"), "project_admin"),
    ("guard", "resources.json", lambda c: c["components"].clear(), "FLARE's own deployer"),
    ("guard", "resources.json", lambda c: c["components"][0].update(path="a.B"), "a.B takes jobs in"),
    ("egress-log", "privacy.json", lambda c: c["scopes"][0]["task_result_filters"].append({"path": "a.F"}), "a.F"),
    ("egress-log", "privacy.json", lambda c: c["scopes"].append({"name": "loose"}), "'loose'"),
    ("egress-log", "privacy.json", lambda c: c.pop("default_scope"), "unfiltered"),
    ("log-streaming", "resources.json", lambda c: c.pop("allow_log_streaming"), "may be streamed"),
    (
        "log-streaming",
        "resources.json",
        lambda c: c["components"].append({"id": "s", "path": "nvflare.x.SiteLogStreamer"}),
        "SiteLogStreamer",
    ),
]


@pytest.mark.parametrize(("check", "file", "how", "words"), OPENED)
def test_an_opened_policy_fails(
    place: Place, check: str, file: str, how: Callable[[dict[str, Any]], object], words: str
) -> None:
    place.change(file, how)
    found = place.found()
    assert {name for name, finding in found.items() if finding.verdict == "fail"} == {check}
    assert words in found[check].found
    assert found[check].fix


@pytest.mark.parametrize(
    ("file", "checks"),
    [
        ("resources.json", {"allow-list", "guard", "log-streaming"}),
        ("authorization.json", {"byoc"}),
        ("privacy.json", {"egress-log"}),
    ],
)
def test_a_missing_or_broken_policy_fails(place: Place, file: str, checks: set[str]) -> None:
    for text in (None, "{"):
        if text is None:
            (place.kit / "local" / file).unlink()
        else:
            (place.kit / "local" / file).write_text(text)
        assert {name for name, finding in place.found().items() if finding.verdict == "fail"} == checks


def test_flares_default_file_counts_when_the_plain_one_is_missing(place: Place) -> None:
    (place.kit / "local" / "privacy.json").rename(place.kit / "local" / "privacy.json.default")
    assert place.found()["egress-log"].verdict == "pass"


def test_approval_and_its_rules_are_listed(place: Place) -> None:
    assert place.found(ApprovalSettings(required=False))["approval"].verdict == "warn"
    limited = StandingApproval(jobs="liver_.*", max_rounds=5)
    found = place.found(ApprovalSettings(standing=(limited,)))["approval"]
    assert (found.verdict, "liver_.*" in found.found) == ("pass", True)
    endless = StandingApproval(jobs=".*")
    found = place.found(ApprovalSettings(standing=(limited, endless)))["approval"]
    assert (found.verdict, ".*" in found.found) == ("warn", True)
    lapsed = StandingApproval(jobs=".*", until=date(2030, 1, 14))
    found = place.found(ApprovalSettings(standing=(lapsed,)))["approval"]
    assert found.verdict == "pass"
    assert "1 rule(s) have lapsed" in found.found


def test_a_secret_that_others_may_read_fails(place: Place) -> None:
    (place.site / "secret.key").chmod(0o644)
    found = place.found()["secret"]
    assert found.verdict == "fail"
    assert found.fix.startswith("chmod 600")
    (place.site / "secret.key").unlink()
    assert place.found()["secret"].verdict == "fail"
