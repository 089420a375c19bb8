"""A federation's own changes to radfed's policies: laid over them, and refused where they open a door."""

from collections.abc import Mapping, Sequence
from copy import deepcopy

from radfed.errors import InvalidInputError
from radfed.federation.provisioning_policies import EGRESS, FIXED, GUARD, Json, Policies


def merge(base: Json, change: Json) -> Json:
    """``base`` with ``change`` laid over it.

    Mappings are merged key by key, and a key set to null is taken away. Lists whose entries have an ``id`` or a
    ``name`` are merged by it: known ones are changed, new ones added behind. Lists of a single mapping are merged as
    that mapping. Everything else is replaced.
    """
    if isinstance(base, Mapping) and isinstance(change, Mapping):
        merged = {key: merge(base.get(key), value) for key, value in change.items() if value is not None}
        return {key: merged.get(key, value) for key, value in base.items() if change.get(key, 0) is not None} | merged
    if _named(base) and _named(change):
        entries = {_key(entry): entry for entry in _sequence(base)}
        for entry in _sequence(change):
            entries[_key(entry)] = merge(entries.get(_key(entry)), entry)
        return list(entries.values())
    if _single(base) and _single(change):
        return [merge(_sequence(base)[0], _sequence(change)[0])]
    return deepcopy(change)


def check(policies: Policies, owner: str) -> None:
    """Refuse policies that no longer keep what radfed promises of every kit.

    Args:
        policies: the content of each policy file, after a federation's changes.
        owner: whose they are, for the message.

    Raises:
        InvalidInputError: a change opened a door.
    """
    resources, problems = policies["resources.json"], []
    problems += [
        f"resources.json: {key} must stay {value!r}" for key, value in FIXED.items() if resources[key] != value
    ]
    permissions = policies["authorization.json"].get("permissions")
    for role, rights in permissions.items() if isinstance(permissions, Mapping) else ():
        if not isinstance(rights, Mapping) or any(rights.get(key) != "none" for key in ("byoc", "shell_commands")):
            problems.append(f"authorization.json: {role} must name its rights, with byoc and shell_commands: none")
    if "privacy.json" in policies:
        problems += _site_problems(policies)
    if problems:
        raise InvalidInputError(f"{owner}: {'; '.join(problems)}. Take the change out of site_configs/")


def _site_problems(policies: Policies) -> list[str]:
    problems, resources, privacy = [], policies["resources.json"], policies["privacy.json"]
    components = [entry for entry in _sequence(resources.get("components")) if isinstance(entry, Mapping)]
    if GUARD not in components:
        problems.append(f"resources.json: components must hold {GUARD}")
    if resources.get("allow_log_streaming") is not False or any(
        "LogStreamer" in str(c.get("path")) for c in components
    ):
        problems.append("resources.json: logs must not be streamed")
    scopes = [scope for scope in _sequence(privacy.get("scopes")) if isinstance(scope, Mapping)]
    if privacy.get("default_scope") not in [scope.get("name") for scope in scopes]:
        problems.append("privacy.json: default_scope must name a scope")
    for scope in scopes:
        filters = _sequence(scope.get("task_result_filters"))
        if not filters or filters[-1] != EGRESS:
            problems.append(f"privacy.json: the last task_result_filters of {scope.get('name')} must be {EGRESS}")
    return problems


def _sequence(value: Json) -> Sequence[Json]:
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


def _named(value: Json) -> bool:
    """A list of which every entry has a key to be merged by."""
    entries = _sequence(value)
    return bool(entries) and all(isinstance(entry, Mapping) and _key(entry) is not None for entry in entries)


def _single(value: Json) -> bool:
    entries = _sequence(value)
    return len(entries) == 1 and isinstance(entries[0], Mapping)


def _key(entry: Json) -> str | None:
    if not isinstance(entry, Mapping):
        return None
    key = entry.get("id", entry.get("name"))
    return key if isinstance(key, str) else None
