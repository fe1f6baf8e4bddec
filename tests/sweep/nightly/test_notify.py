"""A message is posted as Slack takes it, tried again where that helps, and never a reason to fail."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from sweep.errors import QueryError
from sweep.nightly.notify import check_url, notify


@contextmanager
def receiver(*answers: int) -> Iterator[tuple[str, list[dict[str, object]]]]:
    """An HTTP server that answers with these codes, one after the other, and what was posted to it."""
    posted: list[dict[str, object]] = []
    codes = iter(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(next(codes))
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", posted
    finally:
        server.shutdown()
        server.server_close()


def test_the_message_arrives_as_json_with_a_text() -> None:
    with receiver(200) as (url, posted):
        assert notify(url, {"text": "live: ok", "exit_code": 0}) is None
    assert posted == [{"text": "live: ok", "exit_code": 0}]


def test_a_receiver_that_is_busy_is_tried_again() -> None:
    with receiver(503, 429, 200) as (url, posted):
        assert notify(url, {"text": "x"}, wait=0.01) is None
    assert len(posted) == 3


def test_a_refusal_is_told_and_not_tried_again() -> None:
    with receiver(403) as (url, posted):
        assert notify(url, {"text": "x"}, wait=0.01) == "not delivered: the receiver answers 403"
    assert len(posted) == 1


def test_nobody_there_is_told_without_the_address() -> None:
    failure = notify("http://127.0.0.1:9/secret", {"text": "x"}, wait=0.01)
    assert failure is not None
    assert "secret" not in failure


@pytest.mark.parametrize("url", ["", "chat", "ftp://host/x", "http://"])
def test_what_is_no_address_is_refused_before_anything_runs(url: str) -> None:
    with pytest.raises(QueryError, match="allowed: http://"):
        check_url(url)
