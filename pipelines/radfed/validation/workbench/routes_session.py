"""Logging in and out, and who one is."""

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from radfed.settings import Settings
from radfed.validation.workbench import sessions
from radfed.validation.workbench.access import Anybody, Served, address_of
from radfed.validation.workbench.journal import Deed
from radfed.validation.workbench.reviews import is_signed
from radfed.validation.workbench.sessions import COOKIE, LONGEST_S
from radfed.validation.workbench.users import LONGEST_PASSWORD, authenticate
from radfed.validation.workbench.words import VERDICTS

router = APIRouter()


class Login(Settings):
    """What somebody types."""

    user: Annotated[str, Field(max_length=64)]
    password: Annotated[str, Field(max_length=LONGEST_PASSWORD)]


@router.post("/login")
def login(body: Login, request: Request, response: Response, bench: Served) -> dict[str, str]:
    """Begin a session; the guard has checked where the request comes from."""
    store, at = bench.bundle.store, bench.clock()
    user = authenticate(bench.journal, body.user, body.password, address_of(request), at)
    bench.journal.record(Deed(user.name, user.role, "login", {}))
    token, session = sessions.begin(store, user, at)
    secure = bool(request.app.state.secure)
    response.set_cookie(
        COOKIE, token, max_age=int(LONGEST_S), path="/", secure=secure, httponly=True, samesite="strict"
    )
    return {"user": user.name, "role": user.role, "csrf": session.csrf}


@router.post("/logout")
def logout(session: Anybody, response: Response, bench: Served) -> dict[str, bool]:
    """End the session."""
    sessions.end(bench.bundle.store, session)
    bench.journal.record(Deed(session.user, session.role, "logout", {}))
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return {"ended": True}


@router.get("/me")
def me(session: Anybody, bench: Served) -> dict[str, Any]:
    """Who is logged in, and what is reviewed."""
    reviewed = bench.bundle.reviewed
    with bench.bundle.store.read() as db:
        signed = is_signed(db)
    return {
        "user": session.user,
        "role": session.role,
        "csrf": session.csrf,
        "blinded": reviewed.blinded and not signed,
        "release": {
            "name": bench.bundle.release.resolve().name,
            "task": bench.task.name,
            "version": bench.task.version,
            "model_sha256": reviewed.model_sha256,
        },
        "labels": bench.labels(),
        "windows": bench.windows(),
        "verdicts": list(VERDICTS),
        "readers": reviewed.readers,
    }
