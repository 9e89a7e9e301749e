"""A registry that sends its images byte by byte, for as long as somebody takes them."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = json.dumps(
    {"architecture": "amd64", "os": "linux", "config": {},
     "rootfs": {"type": "layers", "diff_ids": [f"sha256:{'0' * 64}"]}}
).encode()  # fmt: skip


class TricklingRegistry:
    """Has every image that is asked for, with one layer of its own that never comes to its end.

    Attributes:
        address: ``127.0.0.1:port``.
        trickling: how many layers are being sent.
    """

    def __init__(self) -> None:
        self.trickling = 0
        self._closed, self._lock = threading.Event(), threading.Lock()
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry._answer(self)

            def do_HEAD(self) -> None:
                registry._answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Hang up on everybody, and stop listening."""
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        _, _, rest = request.path.partition("/v2/")
        name = rest.partition("/manifests/")[0]
        if "/blobs/" in rest and not rest.endswith(_digest(_CONFIG)):
            self._trickle(request)
        elif "/blobs/" in rest:
            _send(request, _CONFIG, "application/octet-stream")
        elif "/manifests/" in rest:
            _send(request, _manifest(name), MANIFEST)
        else:
            _send(request, b"{}", "application/json")

    def _trickle(self, request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(1 << 20))
        request.end_headers()
        with self._lock:
            self.trickling += 1
        try:
            while not self._closed.wait(0.1):
                request.wfile.write(b"\0")
                request.wfile.flush()
        except OSError:
            return
        finally:
            with self._lock:
                self.trickling -= 1


def _manifest(name: str) -> bytes:
    layer = {
        "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "size": 1 << 20,
        "digest": _digest(name.encode()),
    }
    config = {
        "mediaType": "application/vnd.docker.container.image.v1+json",
        "size": len(_CONFIG),
        "digest": _digest(_CONFIG),
    }
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}
    return json.dumps(manifest).encode()


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _send(request: BaseHTTPRequestHandler, body: bytes, kind: str) -> None:
    request.send_response(200)
    request.send_header("Content-Type", kind)
    request.send_header("Content-Length", str(len(body)))
    request.send_header("Docker-Content-Digest", _digest(body))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)
