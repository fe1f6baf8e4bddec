"""An object store on loopback: a real server process that speaks S3."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def object_server() -> Iterator[str]:
    """HOST:PORT of a server that keeps objects in its memory."""
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


@pytest.fixture
def bucket(object_server: str) -> str:
    """The URI of a folder, with `{}` for its name, in a bucket of its own."""
    from pyarrow import fs

    options = f"region=us-east-1&scheme=http&endpoint_override={object_server}"
    name = f"bucket-{uuid.uuid4().hex[:8]}"
    filesystem, path = fs.FileSystem.from_uri(f"s3://key:secret@{name}?{options}&allow_bucket_creation=true")
    filesystem.create_dir(path)
    return f"s3://key:secret@{name}/{{}}?{options}"
