"""A Hugging Face hub with one repository on this machine (the routes that `huggingface_hub` uses), and what is none."""

from __future__ import annotations

import hashlib
import json
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from tests.conftest import WebServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """A hub with one repository.

    :ivar files: name -> content.
    :ivar etags: name -> ETag of the content: the SHA-256 of weights, a SHA-1 of small files.
    """

    def __init__(self, web: WebServer, repository: str, files: dict[str, bytes]) -> None:
        self.web, self.repository, self.files = web, repository, files
        self.etags = {
            name: (hashlib.sha256 if name.endswith(".safetensors") else hashlib.sha1)(data).hexdigest()
            for name, data in files.items()
        }
        web.otherwise = self._answer

    @property
    def fetched(self) -> list[str]:
        """Names of the files that were downloaded."""
        prefix = f"GET /{self.repository}/resolve/"
        return sorted(asked.rpartition("/")[2] for asked in self.web.asked if asked.startswith(prefix))

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = urlsplit(handler.path).path
        about, resolved = f"/api/models/{self.repository}", f"/{self.repository}/resolve/{COMMIT}/"
        if path in (about, f"{about}/revision/main", f"{about}/revision/{COMMIT}"):
            siblings = [{"rfilename": name} for name in self.files]
            _send(handler, 200, json.dumps({"id": self.repository, "sha": COMMIT, "siblings": siblings}).encode())
        elif path.startswith(f"{about}/tree/"):
            entries = [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for name, data in self.files.items()
            ]
            _send(handler, 200, json.dumps(entries).encode())
        elif path.startswith(resolved) and (name := path.removeprefix(resolved)) in self.files:
            _send(handler, 200, self.files[name], {"ETag": f'"{self.etags[name]}"', "X-Repo-Commit": COMMIT})
        else:
            missing = "Revision" if path.startswith(f"{about}/revision/") else "Repo"
            _send(handler, 404, b"{}", {"X-Error-Code": f"{missing}NotFound"})


def login_page(handler: BaseHTTPRequestHandler) -> None:
    """Answer with a page, as networks do that ask for a login first; its length is not stated."""
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(b"<html>Log in to this network</html>")


def nonsense(handler: BaseHTTPRequestHandler) -> None:
    """Answer with something that is not HTTP."""
    handler.wfile.write(b"not http at all\r\n\r\n")


def _send(handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
        handler.send_header(name, value)
    handler.end_headers()
    if handler.command == "GET":
        handler.wfile.write(body)
