"""A gRPC backend over plain HTTP/2, messages being bytes of text.

    grpc_peer.py [--port 0]

/sunbeam.Test/Echo   unary: the message
/sunbeam.Test/Count  server streaming: "1" to the number asked for, then the trailer x-trailer: end
/sunbeam.Test/Chat   both ways: "re:" + each message as it comes
/sunbeam.Test/Fail   unary: NOT_FOUND, "no such thing"
"""

import argparse
import concurrent.futures
import signal
import threading

import grpc

from lifetime import end_with_stdin, listening

SERVICE = "sunbeam.Test"


def echo(message, call):
    return message


def count(message, call):
    call.set_trailing_metadata((("x-trailer", "end"),))
    for n in range(1, int(message) + 1):
        yield str(n).encode()


def chat(messages, call):
    for message in messages:
        yield b"re:" + message


def fail(message, call):
    call.abort(grpc.StatusCode.NOT_FOUND, "no such thing")


def main():
    options = argparse.ArgumentParser(description="a gRPC backend")
    options.add_argument("--port", type=int, default=0)
    port = options.parse_args().port

    # No serialisers: a message is its bytes, so nothing has to be generated from a .proto.
    handlers = {
        "Echo": grpc.unary_unary_rpc_method_handler(echo),
        "Count": grpc.unary_stream_rpc_method_handler(count),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
    }
    # A stream holds its thread for as long as it lives.
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=64))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    bound = server.add_insecure_port(f"127.0.0.1:{port}")

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    end_with_stdin()
    server.start()
    listening("127.0.0.1", bound)
    stop.wait()
    server.stop(grace=1).wait()


if __name__ == "__main__":
    main()
