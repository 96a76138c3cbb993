"""A Python server that tells what it read: uvicorn, every request a line of JSON in a file.

    reader.py --log FILE [--port 0]

Answers each request with "METHOD TARGET LENGTH-OF-BODY". The line is written before the answer goes:

    {"headers": [["host", "a"], ...], "method": "GET", "target": "/x?y", "body": "bytes as latin-1"}

A request whose body breaks off is no request, and leaves no line.
"""

import argparse
import json
import pathlib
import signal
import socket

import uvicorn

from lifetime import end_with_stdin, listening


def application(log):
    async def answer(scope, receive, send):
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message.get("more_body"):
                break
        else:
            return
        query = scope["query_string"]
        target = (scope["raw_path"] + (b"?" + query if query else b"")).decode("latin-1")
        headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]]
        told = {"method": scope["method"], "target": target, "headers": headers, "body": body.decode("latin-1")}
        log.write(json.dumps(told) + "\n")
        log.flush()
        text = f"{scope['method']} {target} {len(body)}\n".encode("latin-1")
        fields = [(b"content-type", b"text/plain"), (b"content-length", str(len(text)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": [*fields, (b"x-reader", b"python")]})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else text})

    return answer


class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        listening(*sockets[0].getsockname())


def main():
    options = argparse.ArgumentParser(description="a Python server that tells what it read")
    options.add_argument("--log", required=True, type=pathlib.Path)
    options.add_argument("--port", type=int, default=0)
    given = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: None)
    end_with_stdin()
    listener = socket.create_server(("127.0.0.1", given.port), backlog=1024)
    with given.log.open("a", encoding="utf-8") as log:
        config = uvicorn.Config(
            application(log),
            interface="asgi3",
            lifespan="off",
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
        Server(config).run([listener])


if __name__ == "__main__":
    main()
