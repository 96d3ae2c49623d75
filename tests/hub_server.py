"""A small Hub for tests: what `huggingface_hub` needs of one to make, fill and read repositories, in memory.

Set `HF_ENDPOINT` to its `url`, and `HF_HUB_DISABLE_XET=1`, before `huggingface_hub` is imported. Weights and data
(`*.safetensors`, `*.parquet`) go the way of large files. Tokens: `TOKEN` may write to `USER`'s repositories, `READER` to none.
"""

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit


USER, TOKEN, READER = "someone", "hf_write", "hf_read"
_DATASETS = "datasets/"  # what the names of data set repositories begin with here, and in the Hub's own addresses
_REPO = rf"(?P<repo>(?:{_DATASETS})?[\w.-]+/[\w.-]+)"


@dataclass
class Commit:
    """A state of a repository."""

    oid: str
    title: str
    files: dict[str, bytes]


@dataclass
class Repository:
    """Branches of commits, the newest last."""

    private: bool
    branches: dict[str, list[Commit]] = field(default_factory=dict)

    def add_commit(self, branch, title, files):
        seed = f"{branch} {len(self.branches.get(branch, []))} {title} {sorted(files)}"
        commit = Commit(hashlib.sha1(seed.encode()).hexdigest(), title, files)
        self.branches.setdefault(branch, []).append(commit)
        return commit

    def find(self, revision):
        if revision in self.branches:
            return self.branches[revision][-1]
        return next((commit for commits in self.branches.values() for commit in commits if commit.oid == revision), None)


class LocalHub:
    """The server and what it holds. A context manager: it listens within.

    Attributes:
        repositories: Name → `Repository`.
        blobs: Large files that arrived whole, by their SHA-256.
        broken: `None`, or where every connection breaks from now on: `"upload"`, in the middle of a large file, or `"commit"`,
            before the commit.
        uploads: Number of large files that were sent, whole or not.
    """

    def __init__(self):
        self.repositories, self.blobs = {}, {}
        self.broken, self.uploads = None, 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def files(self, repo, branch="main"):
        return self.repositories[repo].branches[branch][-1].files

    def commits(self, repo, branch="main"):
        """Titles of the commits after the first one, which the Hub makes itself."""
        return [commit.title for commit in self.repositories[repo].branches[branch][1:]]

    def put(self, repo, name, content):
        """Change a file as on the Hub's pages."""
        self.repositories[repo].add_commit("main", f"Update {name}", {**self.files(repo), name: content})


class _BrokenError(Exception):
    """The connection is to break here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for the delayed acknowledgement of its head
    hub: LocalHub

    def log_message(self, *_):
        pass

    def _handle(self):
        self._unread = int(self.headers.get("Content-Length") or 0)
        path = unquote(urlsplit(self.path).path)
        method = "GET" if self.command == "HEAD" else self.command
        routes = ((re.fullmatch(pattern, path), answer) for verb, pattern, answer in _ROUTES if verb == method)
        found, answer = next(((found, answer) for found, answer in routes if found), (None, None))
        if found is None:
            return self._refuse(404, f"the local Hub has no {method} {path}")
        try:
            return answer(self, **{name: value for name, value in found.groupdict().items() if value is not None})
        except _BrokenError:
            self.close_connection = True
            return self.connection.close()

    do_GET = do_HEAD = do_POST = do_PUT = _handle  # noqa: N815

    def _answer(self, status, content, **headers):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _body(self):
        """What came with the request; nothing when asked again."""
        length, self._unread = self._unread, 0
        return self.rfile.read(length)

    def _refuse(self, status, message, **headers):
        self._body()
        self._answer(status, {"error": message}, X_Error_Message=message, **headers)

    def _user(self):
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        return {TOKEN: USER, READER: "reader"}.get(token)

    def _may_write(self, repo):
        if self._user() is None:
            self._refuse(401, "Invalid credentials in Authorization header")
        elif repo.removeprefix(_DATASETS).partition("/")[0] != self._user() or self._user() != USER:
            self._refuse(403, f"Forbidden: you don't have the right to write to {repo}")
        else:
            return True
        return False

    def _find(self, repo, revision="main"):
        """A repository's commit, or an answer that there is none."""
        known = self.hub.repositories.get(repo)
        if known is None or (known.private and self._user() != USER):
            self._refuse(404 if self._user() else 401, "Repository not found", X_Error_Code="RepoNotFound")
            return None
        commit = known.find(revision)
        if commit is None:
            self._refuse(404, f"Invalid rev id: {revision}", X_Error_Code="RevisionNotFound")
        return commit

    def whoami(self):
        if self._user() is None:
            return self._refuse(401, "Invalid credentials in Authorization header")
        return self._answer(200, {"name": self._user(), "type": "user", "orgs": []})

    def validate(self):
        self._body()
        self._answer(200, {"errors": [], "warnings": []})

    def create(self):
        asked = json.loads(self._body())
        kind = asked.get("type") or "model"
        name = f"{_DATASETS if kind == 'dataset' else ''}{asked.get('organization') or self._user()}/{asked['name']}"
        if not self._may_write(name):
            return None
        content = {"url": f"{self.hub.url}/{name}", "name": name}
        if name in self.hub.repositories:
            return self._answer(409, {"error": f"You already created this {kind} repo", **content})
        self.hub.repositories[name] = Repository(asked.get("visibility") == "private")
        large = b"*.safetensors filter=lfs\n*.parquet filter=lfs\n"
        self.hub.repositories[name].add_commit("main", "initial commit", {".gitattributes": large})
        return self._answer(200, content)

    def branch(self, repo, revision):
        self._body()
        if not self._may_write(repo):
            return None
        branches = self.hub.repositories[repo].branches
        if revision in branches:
            return self._answer(409, {"error": "Reference already exists"})
        branches[revision] = list(branches["main"])
        return self._answer(200, {})

    def info(self, repo, revision="main"):
        commit = self._find(repo, revision)
        if commit:
            files = [{"rfilename": name} for name in sorted(commit.files)]
            private = self.hub.repositories[repo].private
            name = repo.removeprefix(_DATASETS)
            self._answer(200, {"id": name, "sha": commit.oid, "private": private, "tags": [], "siblings": files})

    def tree(self, repo, revision, folder=""):
        commit = self._find(repo, revision)
        if commit and folder and not any(name.startswith(f"{folder}/") for name in commit.files):
            self._refuse(404, f"{folder} does not exist", X_Error_Code="EntryNotFound")
        elif commit:
            below = f"{folder}/" if folder else ""
            entries = [_entry(path, commit) for path in _paths(commit) if path.startswith(below) and path != folder]
            is_recursive = "recursive=true" in urlsplit(self.path).query.lower()
            self._answer(200, [e for e in entries if is_recursive or "/" not in e["path"].removeprefix(below)])

    def paths_info(self, repo, revision):
        asked = parse_qs(self._body().decode())["paths"]
        commit = self._find(repo, revision)
        if commit:
            self._answer(200, [_entry(path, commit) for path in _paths(commit) if path in asked])

    def resolve(self, repo, revision, name):
        commit = self._find(repo, revision)
        if commit and name not in commit.files:
            self._refuse(404, "Entry not found", X_Error_Code="EntryNotFound", X_Repo_Commit=commit.oid)
        elif commit:
            data = commit.files[name]
            etag = f'"{hashlib.sha256(data).hexdigest() if _is_large(name) else _git_oid(data)}"'
            self._answer(200, data, ETag=etag, X_Repo_Commit=commit.oid)

    def preupload(self, repo, revision):
        files = json.loads(self._body())["files"]
        commit = self._find(repo, revision) if self._may_write(repo) else None
        if commit:
            modes = [{"path": f["path"], "uploadMode": "lfs" if _is_large(f["path"]) else "regular"} for f in files]
            there = {name: _oid(name, data) for name, data in commit.files.items()}
            self._answer(200, {"files": [{**m, "shouldIgnore": False, "oid": there.get(m["path"])} for m in modes]})

    def batch(self, repo):
        objects = json.loads(self._body())["objects"]
        if self._may_write(repo):
            self._answer(200, {"transfer": "basic", "objects": [{**o, **self._upload_action(o["oid"])} for o in objects]})

    def _upload_action(self, oid):
        return {} if oid in self.hub.blobs else {"actions": {"upload": {"href": f"{self.hub.url}/lfs/{oid}", "header": {}}}}

    def store(self, oid):
        self.hub.uploads += 1
        if self.hub.broken == "upload":
            self.rfile.read(64)
            raise _BrokenError
        content = self._body()
        if hashlib.sha256(content).hexdigest() != oid:
            return self._answer(400, {"error": "the content is not what was announced"})
        self.hub.blobs[oid] = content
        return self._answer(200, {})

    def commit(self, repo, revision):
        lines = [json.loads(line) for line in self._body().splitlines() if line]
        if self.hub.broken == "commit":
            raise _BrokenError
        base = self._find(repo, revision) if self._may_write(repo) else None
        if base is None:
            return None
        files, title = dict(base.files), ""
        for line in lines:
            key, value = line["key"], line["value"]
            if key == "header":
                title = value["summary"]
            elif key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                files[value["path"]] = self.hub.blobs[value["oid"]]
            else:
                del files[value["path"]]
        known, branch, answer = self.hub.repositories[repo], revision, {}
        if "create_pr=1" in urlsplit(self.path).query:
            branch = "refs/pr/1"
            answer["pullRequestUrl"] = f"{self.hub.url}/{repo}/discussions/1"
        made = known.add_commit(branch, title, files)
        url = f"{self.hub.url}/{repo}/commit/{made.oid}"
        return self._answer(200, {"commitUrl": url, "commitOid": made.oid, **answer})


def _is_large(name):
    return name.endswith((".safetensors", ".parquet"))


def _paths(commit):
    """Its files and folders."""
    folders = {str(folder) for name in commit.files for folder in PurePosixPath(name).parents} - {"."}
    return sorted({*commit.files, *folders})


def _entry(path, commit):
    if path not in commit.files:
        return {"type": "directory", "path": path, "oid": _git_oid(path.encode())}
    data = commit.files[path]
    large = {"lfs": {"oid": _oid(path, data), "size": len(data), "pointerSize": 1}} if _is_large(path) else {}
    return {"type": "file", "path": path, "size": len(data), "oid": _git_oid(data), **large}


def _git_oid(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _oid(name, data):
    return hashlib.sha256(data).hexdigest() if _is_large(name) else _git_oid(data)


_ROUTES = [
    ("GET", "/api/whoami-v2", _Handler.whoami),
    ("POST", "/api/validate-yaml", _Handler.validate),
    ("POST", "/api/repos/create", _Handler.create),
    ("POST", f"/api/(?:models/)?{_REPO}/branch/(?P<revision>.+)", _Handler.branch),
    ("POST", f"/api/(?:models/)?{_REPO}/preupload/(?P<revision>.+)", _Handler.preupload),
    ("POST", f"/api/(?:models/)?{_REPO}/commit/(?P<revision>.+)", _Handler.commit),
    ("GET", f"/api/(?:models/)?{_REPO}/tree/(?P<revision>[^/]+)(/(?P<folder>.+))?", _Handler.tree),
    ("POST", f"/api/(?:models/)?{_REPO}/paths-info/(?P<revision>.+)", _Handler.paths_info),
    ("GET", f"/api/(?:models/)?{_REPO}/revision/(?P<revision>.+)", _Handler.info),
    ("GET", f"/api/(?:models/)?{_REPO}", _Handler.info),
    ("POST", f"/{_REPO}[.]git/info/lfs/objects/batch", _Handler.batch),
    ("PUT", "/lfs/(?P<oid>[0-9a-f]{64})", _Handler.store),
    ("GET", f"/{_REPO}/resolve/(?P<revision>[^/]+)/(?P<name>.+)", _Handler.resolve),
]
