"""Code that is run in a kernel of a JupyterLab behind a Hub, as notebooks do it."""

from __future__ import annotations

import json
import uuid
from typing import Any

from websockets.sync.client import connect

from support.hub.hubproc import Hub
from support.hub.waiting import eventually


def run_code(hub: Hub, lab: str, kernel: str, token: str, code: str) -> str:
    """Execute code in a kernel over its websocket, as a notebook does; the result's text."""
    request = {
        "header": {
            "msg_id": uuid.uuid4().hex,
            "msg_type": "execute_request",
            "username": "",
            "session": uuid.uuid4().hex,
            "version": "5.3",
        },
        "parent_header": {},
        "metadata": {},
        "content": {"code": code, "silent": False, "store_history": False},
        "channel": "shell",
    }
    url = f"ws://127.0.0.1:{hub.port}{lab}api/kernels/{kernel}/channels"
    headers = {"Authorization": f"token {token}"}
    with connect(url, additional_headers=headers, open_timeout=30, max_size=None) as socket:
        socket.send(json.dumps(request))
        result = eventually(
            lambda: _result(json.loads(socket.recv(timeout=60)), request),
            lambda result: result is not None,
            what=f"the result of {code!r}",
            timeout=60,
            every=0,
        )
        return str(result)


def _result(message: dict[str, Any], request: dict[str, Any]) -> Any:
    ours = message.get("parent_header", {}).get("msg_id") == request["header"]["msg_id"]
    if not ours:
        return None
    assert message["msg_type"] != "error", message["content"]
    if message["msg_type"] == "execute_result":
        return message["content"]["data"]["text/plain"]
    return None
