"""A stand-in for the Hugging Face Hub on this machine: repositories in memory, and the calls that DeepLense makes."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_stub"


@dataclass
class Hub:
    """Repositories (id -> path -> bytes) behind an address."""

    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    address: str = ""

    def sha(self, repo: str) -> str:
        """The commit: a hash of all that is in it."""
        parts = (f"{path}{hashlib.sha1(data).hexdigest()}" for path, data in sorted(self.repos[repo].items()))
        return hashlib.sha1("".join(parts).encode()).hexdigest()


def start(hub: Hub) -> ThreadingHTTPServer:
    """Serves a hub on a free port until ``shutdown``."""

    class Handler(_Handler):
        held = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class _Handler(BaseHTTPRequestHandler):
    held: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args) -> None:
        """Says nothing."""

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def say(self, value: object, status: int = 200) -> None:
        self.answer(status, json.dumps(value).encode(), Content_Type="application/json")

    def allowed(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def do_HEAD(self) -> None:  # noqa: N802
        self.do_GET()

    def do_GET(self) -> None:  # noqa: N802
        self.held.asked.append(f"{self.command} {self.path}")
        path = self.path.partition("?")[0].strip("/").split("/")
        api = path[:2] == ["api", "models"]
        repo = "/".join(path[2:4] if api else path[:2])
        if repo not in self.held.repos or (repo in self.held.private and not self.allowed()):
            return self.answer(404, X_Error_Code="RepoNotFound")
        files, sha = self.held.repos[repo], self.held.sha(repo)
        if api and "tree" in path:
            return self.say([{"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                             for name, data in files.items()])  # fmt: skip
        if api:
            return self.say({"id": repo, "sha": sha, "private": repo in self.held.private, "tags": [], "downloads": 0,
                             "likes": 0, "siblings": [{"rfilename": name} for name in files]})  # fmt: skip
        data = files.get("/".join(path[4:]))
        if data is None:
            return self.answer(404, X_Error_Code="EntryNotFound")
        return self.answer(200, data, ETag=f'"{hashlib.sha1(data).hexdigest()}"', X_Repo_Commit=sha)

    def do_POST(self) -> None:  # noqa: N802
        self.held.asked.append(f"POST {self.path}")
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self.allowed():
            return self.say({"error": "Invalid username or password."}, 401)
        if self.path == "/api/repos/create":
            asked = json.loads(raw)
            repo = f"{asked.get('organization') or 'me'}/{asked['name']}"
            self.held.repos.setdefault(repo, {})
            if asked.get("private") or asked.get("visibility") == "private":
                self.held.private.add(repo)
            return self.say({"url": f"{self.held.address}/{repo}", "name": repo, "id": "1"})
        if self.path == "/api/validate-yaml":  # of the README
            return self.say({"errors": [], "warnings": []})
        repo = "/".join(self.path.split("/")[3:5])
        if "/preupload/" in self.path:
            files = json.loads(raw)["files"]
            return self.say({"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                                       for f in files]})  # fmt: skip
        for line in raw.splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                self.held.repos[repo][entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
        sha = self.held.sha(repo)
        return self.say({"commitUrl": f"{self.held.address}/{repo}/commit/{sha}", "commitOid": sha, "success": True})
