"""Credentials in a URI open the place and are seen nowhere else; a place that cannot be opened is one line, soon."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import hypothesis.strategies as st
import pytest
from hypothesis import given

import sweep.secrets
from sweep.cli import exit_code
from sweep.dataset.store import endpoint, open_store
from sweep.errors import StoreError
from sweep.secrets import has_secrets, hide_secrets, with_secrets, without_secrets
from tests.sweep.dataset.conftest import bucket, object_server  # noqa: F401  (fixtures)

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCY"


@pytest.fixture(autouse=True, scope="module")
def forget_secrets() -> Iterator[None]:
    """Whatever these tests call a secret, others may write."""
    yield
    sweep.secrets._secrets.clear()


@pytest.mark.parametrize(
    "uri",
    [
        f"s3://AKIA:{quote(SECRET, safe='')}@bucket/folder?region=eu-west-1",
        f"s3://AKIA:{SECRET}@bucket/folder",  # not quoted, as people do
        f"s3://bucket/folder?region=x&access_key=AKIA&secret_key={quote(SECRET, safe='')}",
        f"abfs://{quote(SECRET, safe='')}@account.dfs.core.windows.net/folder",
        f"s3://bucket/x?session_token={quote(SECRET, safe='')}&endpoint_override=localhost:9000",
    ],
)
def test_a_uri_is_shown_with_marks_and_opened_as_it_came(uri: str) -> None:
    shown = hide_secrets(uri)
    assert SECRET not in shown
    assert quote(SECRET, safe="") not in shown
    assert "***" in shown
    assert with_secrets(shown) == uri
    assert hide_secrets(shown) == shown
    assert has_secrets(uri)
    assert SECRET not in without_secrets(f"cannot parse {uri}: signature of {SECRET} is wrong")


@pytest.mark.parametrize(
    "word", ["results/here", "s3://bucket/run@2/x?region=eu", "gs://anonymous@bucket/x", "SELECT 1", "label=a@b"]
)
def test_what_has_no_secret_stays_as_it_is(word: str) -> None:
    assert hide_secrets(word) == with_secrets(word) == word
    assert not has_secrets(word)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="?&*"), min_size=1))
def test_any_key_and_secret_come_back(secret: str) -> None:
    uri = f"s3://key:{secret}@bucket/x?token={quote(secret, safe='')}x"
    assert with_secrets(hide_secrets(uri)) == uri


def test_two_places_with_credentials_of_their_own_are_told_apart() -> None:
    one, other = (hide_secrets(f"s3://key:{secret}@bucket/x") for secret in ("first-secret", "second-secret"))
    assert one != other
    assert [with_secrets(shown).split("@")[0] for shown in (one, other)] == [
        "s3://key:first-secret",
        "s3://key:second-secret",
    ]


def test_a_mark_that_stands_for_nothing_says_what_to_write() -> None:
    with pytest.raises(StoreError, match=r"\*{3}9999 stands for credentials that were not kept; write them there"):
        open_store("s3://***9999@bucket/x")


def test_a_sweep_keeps_and_prints_no_secret(
    bucket: str,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("spec.toml").write_text('name = "s"\n[fixed]\nmem_per_vcpu = "2MiB"\n')
    location = bucket.replace("key:secret@", "AKIAKEY:s3cr3tvalue@").format("sweep")
    broken = location.replace("region=us-east-1", "region=us-east-1&nonsense=1")
    for words, code in (
        (["run", "spec.toml", "--results", location, "--address", "inline"], 0),
        (["run", "spec.toml", f"--results={location}", "--dry-run"], 0),
        (["status", location], 0),
        (["status", location, "--format", "json"], 0),
        (["report", location, "-o", "page.html"], 0),
        (["nightly", "spec.toml", "--history", location.replace("sweep", "nights"), "--address", "inline"], 0),
        (["status", broken, "--debug"], 2),
        (["schedule", "install", "spec.toml", "--at", "02:30", "--history", location], 2),
    ):
        assert exit_code(words) == code, capsys.readouterr().err
        said = capsys.readouterr()
        assert not [text for text in (said.out, said.err) if "s3cr3tvalue" in text or "AKIAKEY" in text], words
    store = open_store(location.replace("/sweep?", "?"))
    from pyarrow import fs

    files = [info.path for info in store.filesystem.get_file_info(fs.FileSelector(store.path, recursive=True))]
    kept = [path for path in files if path.endswith((".parquet", ".toml", ".json", ".html"))]
    assert len(kept) > 5
    for path in kept:
        with store.filesystem.open_input_file(path) as file:
            assert b"s3cr3tvalue" not in file.read(), path
    assert "s3cr3tvalue" not in Path("page.html").read_text()


@pytest.fixture
def mute_server() -> Iterator[str]:
    """HOST:PORT of a server that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_a_store_that_says_nothing_ends_the_command_with_one_line(mute_server: str) -> None:
    location = f"s3://key:secret@bucket/x?endpoint_override={mute_server}&scheme=http&region=us-east-1"
    command = [sys.executable, "-c", "from sweep.cli import main; main()", "status", location]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # the client: 100 s
    assert (found.returncode, len(found.stderr.splitlines())) == (2, 1)
    assert "no answer within 6 s; is it reachable from here, with these credentials?" in found.stderr


def test_a_store_that_nobody_serves_is_named() -> None:
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:9 cannot be reached from here: Connection refused"):
        open_store("s3://key:secret@bucket/x?endpoint_override=127.0.0.1:9&scheme=http&region=us-east-1")


def test_the_server_of_a_uri(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    assert endpoint("s3://bucket/x") == ("s3.amazonaws.com", 443)
    assert endpoint("s3://bucket/x?endpoint_override=localhost:9000&scheme=http") == ("localhost", 9000)
    assert endpoint("gs://bucket/x") == ("storage.googleapis.com", 443)
    assert endpoint("hdfs://host:8020/x") is None
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://minio:9000")
    assert endpoint("s3://bucket/x") == ("minio", 9000)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    assert endpoint("s3://bucket/x") is None
