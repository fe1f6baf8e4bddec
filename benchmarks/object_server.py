"""A real object store to run against: moto's server, on loopback, with its objects in memory."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def object_server() -> Iterator[str]:
    """HOST:PORT of a server that answers S3's requests until the end of the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/", timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def new_bucket(server: str, name: str) -> str:
    """Make a bucket; the URI of a folder in it, with `{}` for the folder's name."""
    from pyarrow import fs

    options = f"region=us-east-1&scheme=http&endpoint_override={server}"
    filesystem, path = fs.FileSystem.from_uri(f"s3://key:secret@{name}?{options}&allow_bucket_creation=true")
    filesystem.create_dir(path)
    return f"s3://key:secret@{name}/{{}}?{options}"
