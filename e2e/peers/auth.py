"""A stub for auth subrequests: 200 with X-User and X-Groups for the cookie session=good, else 401.

    auth.py --log FILE [--port 0]

Each request is one JSON line in FILE: {"method", "path", "headers": [[name, value], ...]}.
"""

import argparse
import http.cookies
import http.server
import json
import signal
import sys
import threading

from lifetime import end_with_stdin, listening


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    lock = threading.Lock()
    log = None

    def answer(self):
        line = json.dumps({"method": self.command, "path": self.path, "headers": self.headers.items()})
        with self.lock:
            self.log.write(line + "\n")
            self.log.flush()
        self.rfile.read(int(self.headers.get("Content-Length", 0)))

        session = http.cookies.SimpleCookie(self.headers.get("Cookie", "")).get("session")
        known = session is not None and session.value == "good"
        body = b"" if self.command == "HEAD" else b"welcome\n" if known else b"who are you?\n"
        self.send_response(200 if known else 401)
        if known:
            self.send_header("X-User", "alice")
            self.send_header("X-Groups", "staff")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer

    def log_message(self, *_):
        pass


def main():
    options = argparse.ArgumentParser(description="a stub for auth subrequests")
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--log", required=True)
    given = options.parse_args()

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    end_with_stdin()
    with open(given.log, "a", encoding="utf-8") as Handler.log:
        with http.server.ThreadingHTTPServer(("127.0.0.1", given.port), Handler) as server:
            server.daemon_threads = True
            listening(*server.server_address)
            server.serve_forever()


if __name__ == "__main__":
    main()
