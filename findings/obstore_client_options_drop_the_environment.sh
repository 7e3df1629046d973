#!/usr/bin/env bash
# obstore (the object stores of Rust for Python): a store whose settings are in the environment, as AWS_* of an S3-like server
# in one's own network usually are, stops answering once any client option is given in Python, a timeout say, even none at all:
# the settings of the client among them, AWS_ALLOW_HTTP here, are then not read, while address and keys are. The error
# says "builder error", and names neither the setting nor what it needs. Giving {"allow_http": True} beside the timeout helps.
#
# Seen (obstore 0.12.1, Python 3.11), a server on this machine that takes objects by plain http, AWS_ALLOW_HTTP=true:
#   from_url("s3://bucket")                                     an object is put
#   from_url("s3://bucket", client_options={"timeout": "5s"})   GenericError: HTTP error: builder error
#   from_url("s3://bucket", client_options={})                  the same
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet obstore==0.12.1
cat > "$folder/put.py" <<'PY'
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

kept = []


class Takes(BaseHTTPRequestHandler):
    def do_PUT(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        kept.append(self.path)
        self.send_response(200)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *words):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Takes)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ.update(
    AWS_ENDPOINT=f"http://127.0.0.1:{server.server_port}", AWS_ALLOW_HTTP="true", AWS_REGION="somewhere",
    AWS_ACCESS_KEY_ID="key", AWS_SECRET_ACCESS_KEY="secret",
)

import obstore
from obstore.store import from_url


def put(name, **options):
    """What comes of putting an object."""
    store = from_url("s3://bucket", retry_config={"max_retries": 0}, **options)
    try:
        obstore.put(store, name, b"1")
    except Exception as error:
        return f"{type(error).__name__}: {'builder error' if 'builder error' in str(error) else str(error)[:80]}"
    return "put"


came = {
    "environment alone": put("one"),
    "a timeout": put("two", client_options={"timeout": "5s"}),
    "no option": put("three", client_options={}),
    "a timeout and allow_http": put("four", client_options={"timeout": "5s", "allow_http": True}),
}
for what, how in came.items():
    print(f"{what:26}{how}")
assert list(came.values()) == ["put", "GenericError: builder error", "GenericError: builder error", "put"]
assert kept == ["/bucket/one", "/bucket/four"]
PY
"$folder/venv/bin/python" "$folder/put.py"
