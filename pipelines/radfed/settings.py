"""Strict settings: frozen pydantic models from YAML, with errors that name the key, what was got, what is allowed."""

from pathlib import Path
from types import UnionType
from typing import Any, Self, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from radfed.errors import InvalidInputError


class Settings(BaseModel):
    """Base of every settings model: immutable, and no key that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and check a YAML file.

        Raises:
            InvalidInputError: the file is missing, is no YAML mapping, or a key or value is not allowed.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInputError(
                f"{path}: cannot be read as text ({type(error).__name__}); give a YAML file"
            ) from error
        return cls.parse(text, source=str(path))

    @classmethod
    def parse(cls, text: str, source: str) -> Self:
        """Check YAML text; ``source`` names it in errors."""
        try:
            content = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise InvalidInputError(f"{source}: is not valid YAML: {error}") from error
        if not isinstance(content, dict):
            raise InvalidInputError(f"{source}: must be a mapping of keys to values, got {type(content).__name__}")
        return cls.check(content, source)

    @classmethod
    def check(cls, content: dict[str, Any], source: str) -> Self:
        """Check a mapping; ``source`` names it in errors."""
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise InvalidInputError(explain(error, cls, source)) from error

    def to_yaml(self) -> str:
        """All values, defaults included, as YAML that ``read`` takes back."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def explain(error: ValidationError, model: type[BaseModel], source: str) -> str:
    """One line a problem: the key's path, what was wrong, what was got, what is allowed."""
    lines = []
    problems = error.errors(include_url=False)
    for problem in problems:
        at = problem["loc"]
        if problem["type"] == "too_short" and any(
            len(p["loc"]) > len(at) and p["loc"][: len(at)] == at for p in problems
        ):
            continue  # only short because its bad entries are not counted; those are named themselves
        owner = _model_at(model, at[:-1])
        key = ".".join(str(part) for part in _visible(model, at)) or "(top level)"
        got = f"got {problem['input']!r:.120}"
        match problem["type"]:
            case "extra_forbidden":
                allowed = ", ".join(sorted(owner.model_fields)) if owner else "none"
                lines.append(f"{key}: unknown key, {got}; allowed here: {allowed}")
            case "missing":
                lines.append(f"{key}: required, but missing")
            case "union_tag_invalid":
                context = problem.get("ctx", {})
                lines.append(f"{key}: got {context.get('tag')!r}; allowed: {context.get('expected_tags')}")
            case "value_error":
                # Our own validators say themselves what they got.
                lines.append(f"{key}: {problem['msg'].removeprefix('Value error, ')}")
            case "union_tag_not_found":
                lines.append(f"{key}: {problem['ctx']['discriminator']} is required, but missing")
            case _:
                lines.append(f"{key}: {problem['msg']}, {got}")
    return f"{source}: " + f"\n{source}: ".join(lines)


def _models(annotation: Any) -> list[type[BaseModel]]:  # noqa: ANN401 - an annotation can be any object
    """The models that an annotation mentions, at any depth."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, UnionType) or get_args(annotation):
        return [model for argument in get_args(annotation) for model in _models(argument)]
    return []


def _tag(model: type[BaseModel]) -> object:
    """The value of a tagged model's discriminating literal: ``name``, ``rule`` or ``type``."""
    for key in ("name", "rule", "type"):
        field = model.model_fields.get(key)
        if field is not None and get_args(field.annotation):
            return get_args(field.annotation)[0]
    return None


def _model_at(model: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The model that holds the key behind ``location``, following lists and tagged unions."""
    here: list[type[BaseModel]] = [model]
    for part in location:
        tagged = [candidate for candidate in here if _tag(candidate) == part]
        if tagged:
            here = tagged
        elif isinstance(part, str):
            here = [m for c in here if part in c.model_fields for m in _models(c.model_fields[part].annotation)]
    return here[0] if len(here) == 1 else None


def _visible(model: type[BaseModel], location: tuple[int | str, ...]) -> list[int | str]:
    """The location without the union tags that pydantic inserts and that stand in no file."""
    shown: list[int | str] = []
    for index, part in enumerate(location):
        holder = _model_at(model, location[:index])
        is_tag = isinstance(part, str) and (
            holder is None or (part not in holder.model_fields and _tag(holder) != part and index + 1 < len(location))
        )
        if not is_tag:
            shown.append(part)
    return shown
