"""Calls grpc_peer.py, straight or through a proxy, with the gRPC library's own client.

    grpc_client.py --target HOST:PORT --call echo|count|chat|fail [--tls-ca FILE] [--authority NAME]
                   [--message TEXT] [--n N] [--pause SECONDS] [--metadata NAME:VALUE]... [--timeout SECONDS]

Prints {"call", "messages", "code", "details", "initial_metadata", "trailing_metadata"}; exit 0 where messages, code
and trailer are what the peer promises.
"""

import argparse
import json
import queue
import sys
import time

import grpc


def arguments():
    options = argparse.ArgumentParser(description="a gRPC client")
    options.add_argument("--target", required=True, metavar="HOST:PORT")
    options.add_argument("--call", required=True, choices=["echo", "count", "chat", "fail"])
    options.add_argument("--tls-ca", metavar="FILE", help="speak TLS and trust this certificate")
    options.add_argument("--authority", metavar="NAME", help=":authority, and with TLS the name to verify")
    options.add_argument("--message", default="hello")
    options.add_argument("--n", type=int, default=3, help="how many messages count and chat exchange")
    options.add_argument("--pause", type=float, default=0.0, help="silence before each message of a chat but the first")
    options.add_argument("--metadata", action="append", default=[], metavar="NAME:VALUE")
    options.add_argument("--timeout", type=float, default=10.0)
    return options.parse_args()


def open_channel(given):
    settings = [("grpc.enable_http_proxy", 0)]
    if given.authority:
        settings.append(("grpc.default_authority", given.authority))
    if not given.tls_ca:
        return grpc.insecure_channel(given.target, settings)
    if given.authority:
        settings.append(("grpc.ssl_target_name_override", given.authority))
    with open(given.tls_ca, "rb") as file:
        return grpc.secure_channel(given.target, grpc.ssl_channel_credentials(file.read()), settings)


def start(channel, given, outgoing):
    """Starts the call; every kind answers with a stream, so that all four are read alike."""
    kind = channel.unary_stream if given.call != "chat" else channel.stream_stream
    method = kind(f"/sunbeam.Test/{given.call.capitalize()}")
    first = str(given.n).encode() if given.call == "count" else given.message.encode()
    metadata = [tuple(pair.split(":", 1)) for pair in given.metadata]
    request = iter(outgoing.get, None) if given.call == "chat" else first
    return method(request, timeout=given.timeout, metadata=metadata)


def talk(call, given, outgoing):
    """Reads all replies. A chat sends each message only when the one before was answered."""
    replies = []
    sent = 0

    def send_next():
        nonlocal sent
        time.sleep(given.pause if 0 < sent < given.n else 0)
        outgoing.put(f"{given.message} {sent}".encode() if sent < given.n else None)
        sent += 1

    if given.call == "chat":
        send_next()
    try:
        for reply in call:
            replies.append(reply.decode())
            if given.call == "chat":
                send_next()
    except grpc.RpcError:
        pass  # call.code() says it
    finally:
        outgoing.put(None)
    return replies


def expected(given):
    """What the peer promises: messages, code."""
    return {
        "echo": ([given.message], "OK"),
        "count": ([str(n) for n in range(1, given.n + 1)], "OK"),
        "chat": ([f"re:{given.message} {n}" for n in range(given.n)], "OK"),
        "fail": ([], "NOT_FOUND"),
    }[given.call]


def main():
    given = arguments()
    outgoing = queue.SimpleQueue()
    with open_channel(given) as channel:
        call = start(channel, given, outgoing)
        messages = talk(call, given, outgoing)
        told = {
            "call": given.call,
            "messages": messages,
            "code": call.code().name,
            "details": call.details(),
            "initial_metadata": [list(pair) for pair in call.initial_metadata() or ()],
            "trailing_metadata": [list(pair) for pair in call.trailing_metadata() or ()],
        }
    print(json.dumps(told, default=repr))
    trailer = given.call != "count" or ["x-trailer", "end"] in told["trailing_metadata"]
    return 0 if (told["messages"], told["code"]) == expected(given) and trailer else 1


if __name__ == "__main__":
    sys.exit(main())
