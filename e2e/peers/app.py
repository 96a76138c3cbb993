"""A Python application as a backend: Starlette on uvicorn, over HTTP/1.1.

    app.py [--port 0]

/             a page that loads css, js and an image, talks over a WebSocket and reads an event stream
/echo         any method: the request as JSON, its header lines in order and its target undecoded
/upload       length and SHA-256 of the body, which is never held
/gzip         a page that names old.example.com, gzip-compressed where the client takes gzip
/stream       10 chunks, 50 ms apart            /events       3 events, then an open stream
/slow?ms=     answers late                      /big?bytes=   that many bytes, with Content-Length
/status/N     answers N                         /redirect?to= 302
/set-cookie   two Set-Cookie lines
/ws           text comes back as "echo:" + text, bytes unchanged; the text "close:CODE:REASON" closes so;
              of the subprotocols offered the first is taken
"""

import argparse
import asyncio
import hashlib
import pathlib
import signal
import socket

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse
from starlette.responses import Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from lifetime import end_with_stdin, listening

SITE = pathlib.Path(__file__).resolve().parent / "site"
ANY = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "PURGE"]
BLOCK = 64 * 1024
closing = asyncio.Event()


async def page(request):
    return FileResponse(SITE / "index.html")


async def measure(request):
    """Reads the body to its end, keeping only length and digest."""
    length, digest = 0, hashlib.sha256()
    async for chunk in request.stream():
        length += len(chunk)
        digest.update(chunk)
    return {"body_len": length, "body_sha256": digest.hexdigest()}


async def echo(request):
    told = {
        "method": request.method,
        "path": request.scope["raw_path"].decode("latin-1"),
        "query": request.scope["query_string"].decode("latin-1"),
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in request.headers.raw],
    }
    return JSONResponse(told | await measure(request))


async def upload(request):
    return JSONResponse(await measure(request))


async def gzip_page(request):
    links = "".join(f'<p><a href="https://old.example.com/{n}">old.example.com {n}</a></p>\n' for n in range(20))
    return HTMLResponse(f"<!doctype html><title>old.example.com</title>\n{links}")


async def stream(request):
    async def chunks():
        for n in range(10):
            yield f"chunk {n}\n"
            await asyncio.sleep(0.05)

    return StreamingResponse(chunks(), media_type="text/plain")


async def events(request):
    async def three_then_silence():
        for n, word in enumerate(["one", "two", "three"]):
            yield f"id: {n}\ndata: {word}\n\n"
        await closing.wait()

    headers = {"cache-control": "no-cache"}
    return StreamingResponse(three_then_silence(), media_type="text/event-stream", headers=headers)


async def slow(request):
    await asyncio.sleep(int(request.query_params.get("ms", 1000)) / 1000)
    return PlainTextResponse("late\n")


async def status(request):
    code = request.path_params["code"]
    return Response(status_code=code) if code in (204, 304) else PlainTextResponse(f"{code}\n", code)


async def set_cookie(request):
    answer = PlainTextResponse("two cookies\n")
    answer.set_cookie("session", "good", path="/", httponly=True)
    answer.set_cookie("theme", "dark", path="/", samesite="lax")
    return answer


async def big(request):
    size = int(request.query_params.get("bytes", 1 << 20))
    block = bytes(range(256)) * (BLOCK // 256)

    async def blocks():
        for start in range(0, size, BLOCK):
            yield block[: min(BLOCK, size - start)]

    headers = {"content-length": str(size)}
    return StreamingResponse(blocks(), media_type="application/octet-stream", headers=headers)


async def redirect(request):
    return RedirectResponse(request.query_params.get("to", "/echo"), 302)


async def websocket(ws):
    await ws.accept(subprotocol=next(iter(ws.scope["subprotocols"]), None))
    while (message := await ws.receive())["type"] == "websocket.receive":
        text = message.get("text")
        if text is None:
            await ws.send_bytes(message["bytes"])
        elif text.startswith("close:"):
            _, code, reason = (text + ":").split(":", 2)
            await ws.close(int(code), reason.rstrip(":"))
            return
        else:
            await ws.send_text(f"echo:{text}")


application = Starlette(
    routes=[
        Route("/", page),
        Mount("/assets", StaticFiles(directory=SITE)),
        Route("/echo", echo, methods=ANY),
        Route("/upload", upload, methods=["POST", "PUT"]),
        Route("/gzip", gzip_page, middleware=[Middleware(GZipMiddleware)]),
        Route("/stream", stream),
        Route("/events", events),
        Route("/slow", slow),
        Route("/status/{code:int}", status, methods=ANY),
        Route("/set-cookie", set_cookie),
        Route("/big", big),
        Route("/redirect", redirect),
        WebSocketRoute("/ws", websocket),
    ]
)


class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        listening(*sockets[0].getsockname())

    async def shutdown(self, sockets=None):
        closing.set()  # ends the open event streams, which uvicorn would wait for
        await super().shutdown(sockets)


def main():
    options = argparse.ArgumentParser(description="a Python application as a backend")
    options.add_argument("--port", type=int, default=0)
    port = options.parse_args().port

    # uvicorn ends on SIGTERM, then raises it once more for whoever had it before: here nobody, so exit 0.
    signal.signal(signal.SIGTERM, lambda *_: None)
    end_with_stdin()
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    config = uvicorn.Config(
        application,
        lifespan="off",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
    )
    Server(config).run([listener])


if __name__ == "__main__":
    main()
