"""Runs nginx or sshd as a peer like the others: port 0, a line when ready, gone with the test.

    daemon.py nginx|sshd --root DIR [--port 0] [--conf TEMPLATE] [--backend HOST:PORT]

DIR is made where missing and gets everything: the configuration filled in from the template beside this file, nginx's
html/ (index.html, gz/page.html, big.bin), sshd's host_key, user_key and authorized_keys. What is there already stays.
"""

import argparse
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

from lifetime import end_with_stdin, listening

HERE = pathlib.Path(__file__).resolve().parent
BIG = 8 << 20
START_TRIES = 5
START_DEADLINE = 10.0


def write_once(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(content)


def prepare_nginx(root, conf):
    write_once(root / "html/index.html", b"<!doctype html><title>nginx</title>hello from nginx\n")
    write_once(root / "html/gz/page.html", b"<!doctype html><title>gz</title>\n" + b"<p>hello from nginx</p>\n" * 200)
    write_once(root / "html/big.bin", bytes(range(256)) * (BIG // 256))
    return ["-e", str(root / "error.log"), "-p", str(root), "-c", str(root / conf)]


def prepare_sshd(root, conf):
    for name in ("host_key", "user_key"):
        if not (root / name).exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", root / name], check=True)
    write_once(root / "authorized_keys", (root / "user_key.pub").read_bytes())
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    return ["-D", "-e", "-f", str(root / conf)]


DAEMONS = {"nginx": ("nginx.conf", prepare_nginx), "sshd": ("sshd_config", prepare_sshd)}


def free_port():
    """A port that was free just now: neither daemon can be asked for port 0."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        return unused.getsockname()[1]


def is_up(child, pid_file):
    """Both write their pid once they listen; a port that answers could be somebody else's."""
    try:
        return pid_file.read_text().strip() == str(child.pid)
    except FileNotFoundError:
        return False


def start(given, root, port):
    """Starts the daemon on `port`; None where it ended instead of listening (somebody else took the port)."""
    name = given.daemon
    template, prepare = DAEMONS[name]
    template = given.conf or template
    arguments = prepare(root, template)
    text = (HERE / f"{template}.in").read_text()
    for key, value in (("PORT", port), ("ROOT", root), ("BACKEND", given.backend)):
        text = text.replace(f"@{key}@", str(value))
    (root / template).write_text(text)
    # sshd wants to be called by its absolute path.
    program = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin")
    if program is None:
        sys.exit(f"{name} is not installed: ./dev setup")
    # setpriv: the daemon ends even where this script is killed without a chance to say so.
    command = ["setpriv", "--pdeathsig", "TERM", "--", program, *arguments]
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    deadline = time.monotonic() + START_DEADLINE
    while child.poll() is None and time.monotonic() < deadline:
        if is_up(child, root / f"{name}.pid"):
            return child
        time.sleep(0.02)
    child.kill()
    child.wait()
    return None


def main():
    options = argparse.ArgumentParser(description="nginx or sshd as a peer")
    options.add_argument("daemon", choices=DAEMONS)
    options.add_argument("--root", required=True, type=pathlib.Path)
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--conf", help="another template of this folder, without its .in")
    options.add_argument("--backend", default="", help="HOST:PORT, for templates that pass requests on")
    given = options.parse_args()
    root = given.root.resolve()
    root.mkdir(parents=True, exist_ok=True)

    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    for _ in range(1 if given.port else START_TRIES):
        port = given.port or free_port()
        child = start(given, root, port)
        if child:
            break
    else:
        sys.exit(f"{given.daemon} did not start; its own words are above, or in {root}")

    end_with_stdin(stopping.set)
    listening("127.0.0.1", port)
    while child.poll() is None and not stopping.wait(0.05):
        pass
    asked = stopping.is_set()
    child.terminate()
    try:
        child.wait(5)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    return 0 if asked else 1


if __name__ == "__main__":
    sys.exit(main())
