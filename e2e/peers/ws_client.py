"""A WebSocket client: one reply is awaited for each message sent.

    ws_client.py URL [--send TEXT]... [--send-hex HEX]... [--send-size BYTES]... [--connect HOST:PORT]
                 [--header 'NAME: VALUE']... [--subprotocol NAME]... [--tls-ca FILE | --insecure]
                 [--pause SECONDS] [--hold] [--timeout SECONDS]

--send-size sends a binary message of that many bytes; its reply is told as {"bytes", "same"}. --pause keeps silent
before each message but the first, --hold keeps the connection after the last until stdin closes.

Prints {"status", "headers", "subprotocol", "replies", "close"}: a text reply is a string, a binary one {"hex"};
"close" is [code, reason]. Messages go out in the order given. Exit 0 where the handshake was taken and every message
was answered, 1 otherwise: a refused handshake is told by its "status" and "body", a failed connection by "error".
"""

import argparse
import asyncio
import json
import random
import socket
import ssl
import sys
import urllib.parse

# Not the client with threads: in Python 3.11 one that reads and one that writes break a TLS connection now and then.
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus


class Sized(bytes):
    """A message that is too large to be told: only whether it came back the same."""

    def __new__(cls, size):
        return super().__new__(cls, random.Random(size).randbytes(int(size)))


def arguments():
    options = argparse.ArgumentParser(description="a WebSocket client")
    options.add_argument("url")
    options.add_argument("--send", dest="messages", action="append", default=[], metavar="TEXT")
    options.add_argument("--send-hex", dest="messages", action="append", type=bytes.fromhex, metavar="HEX")
    options.add_argument("--send-size", dest="messages", action="append", type=Sized, metavar="BYTES")
    options.add_argument("--pause", type=float, default=0.0, metavar="SECONDS")
    options.add_argument("--hold", action="store_true")
    options.add_argument("--connect", metavar="HOST:PORT", help="connect there, whatever the URL's host")
    options.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'")
    options.add_argument("--subprotocol", action="append", metavar="NAME")
    options.add_argument("--tls-ca", metavar="FILE")
    options.add_argument("--insecure", action="store_true", help="take any certificate")
    options.add_argument("--timeout", type=float, default=10.0)
    return options.parse_args()


def open_connection(given):
    url = urllib.parse.urlsplit(given.url)
    tls = None
    if url.scheme == "wss":
        tls = ssl.create_default_context(cafile=given.tls_ca)
        if given.insecure:
            tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    where = (url.hostname, url.port or (443 if tls else 80))
    if given.connect:
        host, port = given.connect.rsplit(":", 1)
        where = (host.strip("[]"), int(port))
    return connect(
        given.url,
        sock=socket.create_connection(where, given.timeout),
        ssl=tls,
        server_hostname=url.hostname if tls else None,
        additional_headers=[tuple(part.strip() for part in line.split(":", 1)) for line in given.header],
        subprotocols=given.subprotocol,
        open_timeout=given.timeout,
        close_timeout=given.timeout,
        proxy=None,
        max_size=None,
    )


def shown(message, reply):
    if isinstance(message, Sized):
        return {"bytes": len(reply), "same": reply == message}
    return reply if isinstance(reply, str) else {"hex": reply.hex()}


async def talk(given, told):
    """Fills `told` as it goes, so that a failure half-way still shows what came before."""
    async with open_connection(given) as ws:
        told["status"] = ws.response.status_code
        told["headers"] = [list(pair) for pair in ws.response.headers.raw_items()]
        told["subprotocol"] = ws.subprotocol
        try:
            for number, message in enumerate(given.messages):
                await asyncio.sleep(given.pause if number else 0)
                await ws.send(message)
                reply = await asyncio.wait_for(ws.recv(), given.timeout)
                told["replies"].append(shown(message, reply))
            if given.hold:
                await asyncio.to_thread(sys.stdin.read)
        except (ConnectionClosed, TimeoutError) as error:
            told["error"] = f"{type(error).__name__}: {error}"
    told["close"] = [ws.close_code, ws.close_reason]


def main():
    given = arguments()
    told = {"status": None, "headers": [], "subprotocol": None, "replies": [], "close": None}
    try:
        asyncio.run(talk(given, told))
    except InvalidStatus as refused:
        told["status"] = refused.response.status_code
        told["headers"] = [list(pair) for pair in refused.response.headers.raw_items()]
        told["body"] = bytes(refused.response.body or b"").decode("utf-8", "replace")
        told["error"] = str(refused)
    except (InvalidHandshake, OSError) as error:
        told["error"] = f"{type(error).__name__}: {error}"
    print(json.dumps(told))
    return 1 if "error" in told else 0


if __name__ == "__main__":
    sys.exit(main())
