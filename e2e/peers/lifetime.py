"""What every server peer promises its test: one line when it is ready, and no life after the test's."""

import os
import sys
import threading


def listening(host, port):
    """Tells the test where the peer listens; connections are accepted from here on."""
    print(f"listening {host}:{port}", flush=True)


def end_with_stdin(end=lambda: os._exit(0)):
    """Calls `end` once stdin is closed: a test holds the other end, so a killed test leaves nothing behind."""

    def watch():
        # os.read and not sys.stdin: a thread that waits in sys.stdin would hold its lock at interpreter exit.
        while os.read(sys.stdin.fileno(), 4096):
            pass
        end()

    threading.Thread(target=watch, daemon=True).start()
