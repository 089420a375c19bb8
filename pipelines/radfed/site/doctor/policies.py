"""Which policies of the kit are in force, as FLARE reads them: a door that stands open is a failure."""

import json
from datetime import date
from pathlib import Path
from typing import Any

from radfed.errors import GateError, InvalidInputError
from radfed.site.approval import Approvals
from radfed.site.approval_settings import ApprovalSettings
from radfed.site.config import read_secret
from radfed.site.doctor.findings import Finding, failed, passed, warned

GUARD = "radfed.federation.guard.ApprovingDeployer"
EGRESS = "radfed.federation.egress.EgressFilter"
# Its command is free text: who may name it runs anything, in a job that carries no code.
_FREE_TEXT = "nvflare.app_common.executors.client_api_executor.ClientAPIExecutor"
_FEW = 20
_RENEW = "take local/ from this federation's kit again, or mend the file"
_CLOSED = ("none", "no")


def check_policies(kit: Path, site_folder: Path, approval: ApprovalSettings, today: date) -> list[Finding]:
    """Findings on everything that decides what may run at the site and what may leave it."""
    local = kit / "local"
    resources, authorization = _read(local, "resources.json"), _read(local, "authorization.json")
    findings = [
        _allow_list(resources),
        _byoc(authorization),
        _guard(resources),
        _egress(_read(local, "privacy.json")),
        _streaming(resources),
        _approval(approval, today),
        _secret(site_folder),
    ]
    return [*findings, _pending(site_folder)]


def _allow_list(resources: dict[str, Any] | None) -> Finding:
    check = "allow-list"
    if resources is None:
        return failed(check, "local/resources.json is missing or is no JSON object", _RENEW)
    allowed, mode = resources.get("class_allow_list"), resources.get("class_list_enforcement_mode", "enforce")
    if not isinstance(allowed, list) or not allowed:
        return failed(check, "resources.json has no class_allow_list: FLARE's own long list is in force", _RENEW)
    if mode != "enforce":
        return failed(check, f"class_list_enforcement_mode is {mode!r}: any class may run", "set it to enforce")
    open_to = [str(name) for name in allowed if _covers(str(name), _FREE_TEXT)]
    if open_to:
        return failed(
            check, f"{open_to[0]} lets a job run any command through FLARE's ClientAPIExecutor", "take it out"
        )
    prefixes = [str(name) for name in allowed if str(name).endswith(".")]
    if prefixes:
        return failed(check, f"{', '.join(prefixes)}: a whole package is allowed", "name single classes")
    if len(allowed) > _FEW:
        return warned(check, f"{len(allowed)} classes are allowed; radfed needs a handful", "take out what no job uses")
    return passed(check, f"{len(allowed)} classes, enforced")


def _covers(entry: str, name: str) -> bool:
    """FLARE reads an entry that ends with a dot as a prefix."""
    return name.startswith(entry) if entry.endswith(".") else name == entry or entry in ("*", "")


def _byoc(authorization: dict[str, Any] | None) -> Finding:
    roles = authorization.get("permissions") if authorization else None
    if not isinstance(roles, dict) or not roles:
        return failed("byoc", "local/authorization.json is missing or names no permissions", _RENEW)
    # One word for a role stands for all of its rights, bringing code among them.
    opened = [
        role
        for role, rights in roles.items()
        if not _is_closed(rights.get("byoc", "none") if isinstance(rights, dict) else rights)
    ]
    if opened:
        return failed("byoc", f"jobs of {', '.join(opened)} may bring code (byoc)", "set byoc to none for every role")
    return passed("byoc", "nobody's job may bring code")


def _is_closed(expression: object) -> bool:
    words = expression if isinstance(expression, list) else [expression]
    return all(isinstance(word, str) and word.strip().lower() in _CLOSED for word in words)


def _guard(resources: dict[str, Any] | None) -> Finding:
    deployers = [c for c in _components(resources) if c.get("id") == "app_deployer"]
    if [c.get("path") for c in deployers] != [GUARD]:
        found = deployers[0].get("path") if deployers else "FLARE's own deployer"
        return failed("guard", f"{found} takes jobs in without asking for an approval", f"set app_deployer to {GUARD}")
    return passed("guard", "jobs are judged before anything of them runs")


def _egress(privacy: dict[str, Any] | None) -> Finding:
    check = "egress-log"
    scopes = privacy.get("scopes") if privacy else None
    if not isinstance(scopes, list) or not scopes:
        return failed(check, "local/privacy.json is missing or has no scope: what leaves is not logged", _RENEW)
    for scope in scopes:
        last = (scope.get("task_result_filters") or [{}])[-1]
        if last.get("path") != EGRESS:
            return failed(
                check,
                f"in scope {scope.get('name')!r} the last filter is {last.get('path') or last.get('name') or 'none'}",
                f"put {EGRESS} last in task_result_filters of every scope: it logs what really leaves",
            )
    names = [scope.get("name") for scope in scopes]
    if privacy is not None and privacy.get("default_scope") not in names:
        return failed(
            check, "no default_scope: a job without a scope would pass unfiltered", f"set it to one of {names}"
        )
    return passed(check, f"last in {len(scopes)} scope(s): {', '.join(map(str, names))}")


def _streaming(resources: dict[str, Any] | None) -> Finding:
    check, fix = "log-streaming", "set allow_log_streaming to false and take the log streamer out of components"
    if resources is None or resources.get("allow_log_streaming", True) is not False:
        return failed(check, "logs of this site may be streamed to the server", fix)
    streamers = [c for c in _components(resources) if "LogStreamer" in str(c.get("path"))]
    if streamers:
        return failed(check, f"{streamers[0].get('path')} sends this site's log to the server", fix)
    return passed(check, "no log leaves the site")


def _approval(approval: ApprovalSettings, today: date) -> Finding:
    check = "approval"
    if not approval.required:
        return warned(check, "jobs run without anybody's approval", "set approval.required to true in site.yaml")
    rules = [rule for rule in approval.standing if rule.until is None or rule.until >= today]
    lapsed = len(approval.standing) - len(rules)
    if not rules:
        return passed(
            check, "every job needs a person's approval" + (f"; {lapsed} rule(s) have lapsed" if lapsed else "")
        )
    said = "; ".join(f"{rule.jobs}{f' until {rule.until}' if rule.until else ''}" for rule in rules)
    endless = [rule.jobs for rule in rules if rule.until is None and rule.max_bytes is None and rule.max_rounds is None]
    if endless:
        return warned(
            check, f"approved by rule without any limit: {', '.join(endless)}", "give until, max_rounds or max_bytes"
        )
    return passed(check, f"approved by rule: {said}; all others by a person")


def _secret(site_folder: Path) -> Finding:
    try:
        read_secret(site_folder)
    except GateError as error:
        return failed(
            "secret", "others may read secret.key, which keys the pseudonyms", str(error).rpartition("run: ")[2]
        )
    except InvalidInputError as error:
        return failed("secret", str(error), "restore secret.key from the backup of this folder")
    return passed("secret", "secret.key is readable by its owner only")


def _pending(site_folder: Path) -> Finding:
    waiting = len(Approvals(site_folder).pending())
    if waiting:
        return warned("pending", f"{waiting} job(s) wait for an approval", f"radfed site approve {site_folder}")
    return passed("pending", "no job waits for an approval")


def _components(resources: dict[str, Any] | None) -> list[dict[str, Any]]:
    found = (resources or {}).get("components", [])
    return [component for component in found if isinstance(component, dict)]


def _read(local: Path, name: str) -> dict[str, Any] | None:
    """A policy as FLARE finds it: the plain name before ``.default``."""
    for file in (local / name, local / f"{name}.default"):
        if file.is_file():
            try:
                content = json.loads(file.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                return None
            return content if isinstance(content, dict) else None
    return None
