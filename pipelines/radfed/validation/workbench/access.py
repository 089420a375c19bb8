"""Who makes a request, and whether they may: the dependencies of the routes."""

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Request

from radfed.validation.workbench import sessions
from radfed.validation.workbench.bench import Bench
from radfed.validation.workbench.sessions import COOKIE, CSRF_HEADER, Session
from radfed.validation.workbench.words import RefusedError, Role


def bench_of(request: Request) -> Bench:
    """The review that is served."""
    bench = request.app.state.bench
    assert isinstance(bench, Bench)
    return bench


Served = Annotated[Bench, Depends(bench_of)]


def address_of(request: Request) -> str:
    """Where a request comes from."""
    return request.client.host if request.client is not None else ""


def allow(*roles: Role) -> Callable[[Request], Session]:
    """Somebody who is logged in, as one of the roles; where something changes, by the page's own request.

    Raises:
        RefusedError: 401 not logged in, 403 another role or no CSRF token.
    """

    def check(request: Request) -> Session:
        bench = bench_of(request)
        session = sessions.find(bench.bundle.store, request.cookies.get(COOKIE), bench.clock())
        if request.method not in ("GET", "HEAD"):
            sessions.check_csrf(session, request.headers.get(CSRF_HEADER))
        if roles and session.role not in roles:
            raise RefusedError(403, f"this is for: {', '.join(roles)}; you are logged in as {session.role}")
        return session

    return check


Anybody = Annotated[Session, Depends(allow())]
Reader = Annotated[Session, Depends(allow("reader"))]
Lead = Annotated[Session, Depends(allow("lead"))]
Overseer = Annotated[Session, Depends(allow("lead", "auditor"))]
