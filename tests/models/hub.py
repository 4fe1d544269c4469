"""A hub on this machine: one repository whose files come from a folder, and a list of what was fetched."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """What the server was asked for."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.fetched: list[str] = []
        """Files whose bytes were sent, in order."""
        self.is_down = False
        """Refuse everything."""
        self.breaks_off_at: int | None = None
        """Bytes of a file with weights after which the connection is closed."""

    def weights(self) -> set[str]:
        """Files with weights that were fetched."""
        return {name for name in self.fetched if name.endswith(".safetensors")}


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            path = self.path.partition("?")[0]
            if hub.is_down:
                self.send_error(503)
            elif path.startswith(f"/api/models/{hub.name}/tree/"):
                self._json([_entry(file) for file in sorted(hub.folder.iterdir())])
            elif path.startswith(f"/api/models/{hub.name}"):
                self._json({"_id": "1", "id": hub.name, "modelId": hub.name, "sha": COMMIT, "siblings": []})
            elif path.startswith(f"/{hub.name}/resolve/"):
                self._file(hub.folder / path.rpartition("/")[2], with_body=with_body)
            else:
                self.send_error(404)

        def _json(self, value: object) -> None:
            body = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _file(self, file: Path, *, with_body: bool) -> None:
            body = file.read_bytes()
            start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
            self.send_response(206 if start else 200)
            self.send_header("ETag", f'"{_hash(file)}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(body) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.end_headers()
            if not with_body:
                return
            is_weights = file.suffix == ".safetensors"
            end = hub.breaks_off_at if is_weights and hub.breaks_off_at is not None else len(body)
            self.wfile.write(body[start:end])
            if end == len(body):
                hub.fetched.append(file.name)

    return Handler


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _entry(file: Path) -> dict[str, object]:
    size = file.stat().st_size
    lfs = {"lfs": {"oid": _hash(file), "size": size, "pointerSize": 1}}
    return {"type": "file", "path": file.name, "size": size, "oid": "0" * 40} | (
        lfs if file.suffix == ".safetensors" else {}
    )


@contextmanager
def serve(folder: Path, name: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that has one repository, and an empty cache here."""
    hub = Hub(folder, name)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        endpoint + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
