"""What requests bring."""

from __future__ import annotations

import base64
import json
from typing import Any

from aiohttp import web

from support.fake_engine.core import ApiError


def filters_of(request: web.Request) -> dict[str, Any]:
    """The filters of a list."""
    found = json.loads(request.query.get("filters") or "{}")
    return {key: list(values) for key, values in found.items()}


async def body_of(request: web.Request) -> dict[str, Any]:
    """A JSON object."""
    try:
        body = await request.json()
    except ValueError as error:
        raise ApiError(400, f"invalid JSON: {error}") from error
    if not isinstance(body, dict):
        raise ApiError(400, "not an object")
    return body


def auth_of(request: web.Request) -> dict[str, Any] | None:
    """Credentials of a registry."""
    header = request.headers.get("X-Registry-Auth")
    if not header:
        return None
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(header))
    return {key.lower(): value for key, value in found.items()}  # as Go reads JSON
