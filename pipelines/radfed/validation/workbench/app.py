"""The workbench as a web application: JSON under ``/api``, one page, and its files under ``/static``."""

from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from radfed.errors import GateError
from radfed.validation.workbench import routes_cases, routes_lead, routes_session
from radfed.validation.workbench.bench import Bench
from radfed.validation.workbench.guard import Guard, Place
from radfed.validation.workbench.words import RefusedError

STATIC = Path(__file__).parent / "static"
VIEWER = STATIC / "vendor" / "niivue.js"
"""NiiVue, which hatch_build.py fetches when the package is built."""


def make_app(bench: Bench, place: Place) -> Guard:
    """The application of a review that is open.

    Args:
        bench: what is reviewed.
        place: where it is served.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.state.bench, app.state.secure = bench, place.secure
    for routes in (routes_session, routes_cases, routes_lead):
        app.include_router(routes.router, prefix="/api")
    app.add_api_route("/", _page, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(GateError, _failed)
    app.add_exception_handler(RequestValidationError, _not_understood)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _broken)
    return Guard(app, place)  # outermost: an error page has the headers too


def _page() -> Response:
    return FileResponse(STATIC / "index.html", media_type="text/html")


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status_code=status)


def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RefusedError)
    return _error(error.status, str(error))


def _failed(request: Request, error: Exception) -> JSONResponse:
    return _error(409, str(error))


def _not_understood(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    # Where and what, but never what was sent: it may be a password.
    said = {f"{'.'.join(str(part) for part in one['loc'][1:]) or 'body'}: {one['msg']}" for one in error.errors()}
    return _error(400, "; ".join(sorted(said))[:500])


def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return _error(error.status_code, "there is nothing here" if error.status_code == 404 else str(error.detail))


def _broken(request: Request, error: Exception) -> JSONResponse:
    # Its message may hold a path, which is nothing for a browser; Starlette raises it again, and uvicorn logs it.
    return _error(500, "this failed; see the server's log")
