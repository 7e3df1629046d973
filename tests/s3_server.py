"""Enough of S3 for obstore, in this process: objects in a dictionary, faults on demand."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape, unescape


class S3Server:
    """Buckets at ``endpoint``, without signatures.

    Attributes:
        objects: content and time of each, by "bucket/key".
        puts: keys in the order in which they were put.
        fault: called with method and key before each request; may sleep; True: the request is answered with 503.
    """

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, float]] = {}
        self.puts: list[str] = []
        self.fault: Callable[[str, str], bool] = lambda method, key: False
        self.lock = threading.Lock()
        outer = self

        class Handler(_Handler):
            server_state = outer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def environment(self) -> dict[str, str]:
        """What a process needs to find it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_SKIP_SIGNATURE": "true",
            "AWS_REGION": "here",
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def keys(self, prefix: str) -> list[str]:
        with self.lock:
            return sorted(key for key in self.objects if key.startswith(prefix))


class _Handler(BaseHTTPRequestHandler):
    server_state: S3Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).lstrip("/")

    def _handle(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        state, key = self.server_state, self._key()
        if state.fault(self.command, key):
            self._answer(503, b"<Error><Code>SlowDown</Code><Message>out of order</Message></Error>")
            return
        with state.lock:
            self._do(key, data)

    do_PUT = do_GET = do_HEAD = do_DELETE = do_POST = _handle  # noqa: N815 - names that http.server asks for

    def _do(self, key: str, data: bytes) -> None:
        objects, query = self.server_state.objects, parse_qs(urlsplit(self.path).query)
        if self.command == "PUT":
            if self.headers.get("If-None-Match") == "*" and key in objects:
                self._answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
                return
            objects[key] = data, time.time()
            self.server_state.puts.append(key)
            self._answer(200, ETag=_etag(data))
        elif self.command == "GET" and "list-type" in query:
            self._list(key.strip("/"), query.get("prefix", [""])[0])
        elif self.command in ("GET", "HEAD"):
            if key not in objects:
                self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
                return
            content, when = objects[key]
            self._answer(200, content, ETag=_etag(content), Last_Modified=formatdate(when, usegmt=True))
        elif self.command == "POST" and "delete" in urlsplit(self.path).query:
            bucket, asked = key.strip("/"), re.findall(r"<Key>(.*?)</Key>", data.decode())
            for each in asked:
                objects.pop(f"{bucket}/{unescape(each)}", None)
            gone = "".join(f"<Deleted><Key>{each}</Key></Deleted>" for each in asked)
            self._answer(200, f"<DeleteResult>{gone}</DeleteResult>".encode())
        else:
            self._answer(501)

    def _list(self, bucket: str, prefix: str) -> None:
        found = []
        for key, (content, when) in sorted(self.server_state.objects.items()):
            inside = key.removeprefix(f"{bucket}/")
            if inside.startswith(prefix):
                stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(when))
                found.append(
                    f"<Contents><Key>{escape(inside)}</Key><LastModified>{stamp}</LastModified>"
                    f"<ETag>{escape(_etag(content))}</ETag><Size>{len(content)}</Size></Contents>"
                )
        body = f"<ListBucketResult><IsTruncated>false</IsTruncated>{''.join(found)}</ListBucketResult>"
        self._answer(200, body.encode())


def _etag(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """The server, which this process and those that it starts find by their environment."""
    server = S3Server()
    before = {name: os.environ.get(name) for name in server.environment()}
    os.environ.update(server.environment())
    try:
        yield server
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
        server.close()
