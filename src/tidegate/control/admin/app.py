"""The admin app: routers behind the door, problems for every error, no page that loads from elsewhere."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

import tidegate
from tidegate.control.admin import health, keys, metrics, probe, reload, status, usage
from tidegate.control.admin.desk import Desk
from tidegate.control.admin.door import Door
from tidegate.control.admin.problem import problem

_CODES = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large", 415: "unsupported_media_type"}


def make_app(desk: Desk, bench: probe.Bench | None = None) -> FastAPI:
    """All routes over *desk*, and with ``--test-profile`` those over *bench*; without a door: never serve this by
    itself."""
    app = FastAPI(
        title="tidegate admin",
        version=tidegate.__version__,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        redirect_slashes=False,
        exception_handlers={HTTPException: _http, RequestValidationError: _invalid, Exception: _unexpected},
    )
    for each in (health, metrics, status, reload, usage, keys):
        app.include_router(each.router(desk))
    if bench is not None:
        app.include_router(probe.router(bench))
    return app


def guarded(app: ASGIApp, token: str, on_loopback: bool) -> Door:
    """*app* for the TCP listener."""
    return Door(app, token=token, open_metrics=on_loopback)


def trusted(app: ASGIApp) -> Door:
    """*app* for the Unix socket, whose callers the kernel has checked (C3.1)."""
    return Door(app, trusted=True)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(_CODES.get(error.status_code, "bad_request"), "", error.headers)


async def _invalid(request: Request, error: Exception) -> Response:
    return problem("invalid_field")


async def _unexpected(request: Request, error: Exception) -> Response:
    # The cause goes to the program log by the server; the caller learns nothing of it.
    return problem("overloaded", "The admin API met an error; see the gateway's log.")
