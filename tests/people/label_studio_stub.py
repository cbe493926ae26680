"""A stub of Label Studio's REST API: one project, its export, users, and both kinds of tokens."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LEGACY = "0123456789abcdef0123456789abcdef01234567"
PERSONAL = "header.payload.signature"
PROJECT = 7


@contextmanager
def label_studio(
    batch_id,
    tasks,
    *,
    users=(),
    takes=LEGACY,
    page_size=100,
    access_calls=99,
    projects=None,
    refreshed=None,
    posted=None,
):
    """Address of a server that exports `tasks`; it takes one kind of token only.

    An access token that it gives ends after `access_calls` calls. `projects` and `refreshed` are
    answered as they are, in place of ours; what is sent to a path is put into `posted`.
    """
    given = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_POST(self):
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if "token" not in self.path:
                posted.append((self.path, sent))
                self.answer(201, {"task_count": len(sent)})
                return
            if refreshed is not None:
                self.answer(200, refreshed)
                return
            known = takes == PERSONAL and sent == {"refresh": PERSONAL}
            if known:
                given.append(access_calls)
            self.answer(
                200 if known else 401, {"access": f"a{len(given)}"} if known else {"detail": "no"}
            )

        def do_GET(self):
            if not self.welcome():
                self.answer(401, {"detail": "Authentication credentials were not provided."})
            elif "/export" in self.path:
                self.answer(200, tasks)
            elif "users" in self.path:
                self.answer(200, users if isinstance(users, dict) else list(users))
            elif projects is not None:
                self.answer(200, projects)
            else:
                self.answer(200, self.projects())

        def projects(self):
            """Pages of projects, ours on the last one."""
            number = int(self.path.partition("page=")[2] or 1) if "&page=" in self.path else 1
            others = [{"id": n, "title": f"other {n}"} for n in range(100, 100 + page_size)]
            if page_size < 100 and number == 1:
                host = self.headers["Host"]
                return {
                    "results": others,
                    "next": f"http://{host}/api/projects/?page_size=2&page=2",
                }
            return {"results": [{"id": PROJECT, "title": f"{batch_id} x1"}], "next": None}

        def welcome(self):
            said = self.headers.get("Authorization")
            if takes == LEGACY:
                return said == f"Token {LEGACY}"
            if not given or said != f"Bearer a{len(given)}" or not given[-1]:
                return False
            given[-1] -= 1
            return True

        def answer(self, status, body):
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
