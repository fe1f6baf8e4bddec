"""Whether a Ray cluster answers at an address, found out in seconds: Ray itself tries for half a minute and more.

All of Ray's ports speak gRPC, so an HTTP/2 handshake tells whether somebody is there who talks. A request for nothing
in particular then tells whether a token is asked for: Ray's own message in that case does not mention it.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Final

from cluster.errors import ClusterError

SECONDS: Final = 5.0

_SETTINGS, _HEADERS, _DATA = 4, 1, 0  # kinds of frames
_END_STREAM, _END_HEADERS = 1, 4  # their flags
_FRAME_HEAD: Final = 9
_LONGEST: Final = 126  # of a text whose length is one byte
_REQUEST: Final = {
    ":method": "POST",
    ":scheme": "http",
    ":path": "/ray.rpc.InternalKVGcsService/InternalKVGet",
    ":authority": "localhost",
    "content-type": "application/grpc",
    "te": "trailers",
}


def check_answers(address: str, host: str, port: int, seconds: float = SECONDS) -> None:
    """Raise ClusterError if no Ray answers there within so many seconds, or none that lets this process in."""
    try:
        with socket.create_connection((host, port), timeout=seconds) as connection:
            if os.environ.get("RAY_USE_TLS", "0") != "0":
                return  # whoever listens there wants to see certificates first
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(_SETTINGS, 0, 0, b""))
            answer = connection.recv(_FRAME_HEAD)
            if len(answer) < _FRAME_HEAD or answer[3] != _SETTINGS:
                raise ClusterError(f"address {address}: what listens there is no Ray; is the port right?")
            _check_token(address, connection)
    except TimeoutError:
        raise ClusterError(
            f"address {address}: nobody answers within {seconds:.0f} s; is the cluster up, and the port right?"
        ) from None
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ClusterError(
            f"address {address}: cannot be reached: {reason}; is the cluster up, and the port right?"
        ) from error


def _check_token(address: str, connection: socket.socket) -> None:
    token = ray_token()
    fields = _REQUEST | ({"authorization": f"Bearer {token}"} if token else {})
    if any(len(value) > _LONGEST for value in fields.values()):
        return
    head = b"".join(_literal(name, value) for name, value in fields.items())
    connection.sendall(_frame(_HEADERS, _END_HEADERS, 1, head) + _frame(_DATA, _END_STREAM, 1, bytes(5)))
    answer = b""
    while b"grpc-status" not in answer:
        received = connection.recv(65536)
        if not received:
            return
        answer += received
    if b"InvalidAuthToken" in answer:
        has = "this process has another one" if token else "this process has none"
        raise ClusterError(
            f"address {address}: this cluster asks for a token, and {has}; set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN "
            "or RAY_AUTH_TOKEN_PATH to what `ray get-auth-token` prints on its head"
        )


def ray_token() -> str | None:
    """The token that Ray would use, where it looks for it."""
    if os.environ.get("RAY_AUTH_MODE") != "token":
        return None
    if "RAY_AUTH_TOKEN" in os.environ:
        return os.environ["RAY_AUTH_TOKEN"].strip()
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    try:
        return file.read_text().strip()
    except OSError:
        return None


def _frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    return len(content).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + content


def _literal(name: str, value: str) -> bytes:
    """A header field as HPACK writes one that no table has."""
    return b"\x10" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
