"""The workbench's words: roles, verdicts, subjects, and an answer that says no."""

from typing import Annotated, Literal, get_args

from pydantic import Field

Role = Literal["reader", "lead", "auditor"]
VerdictName = Literal["accept", "minor", "major", "reject"]
ROLES: tuple[Role, ...] = get_args(Role)
VERDICTS: tuple[VerdictName, ...] = get_args(VerdictName)
Subject = Literal["prediction", "reference"]
UserName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9._-]{0,31}$")]
Verdicts = dict[Subject, VerdictName]


class RefusedError(Exception):
    """A request that is refused: the HTTP status, and a sentence for people."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
