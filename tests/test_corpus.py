"""What a corpus promises: the same bytes, whole or not at all, whatever the network does."""

import hashlib
import io
import math
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gmlp import corpus
from gmlp.corpus import cache_dir, count_bits, decode, encode, load_corpus, split_corpus

BODY = random.Random(0).randbytes(300_000)
SIZE = len(BODY)


class Server(ThreadingHTTPServer):
    """Answers each request with the next item of ``plan``, and well once the plan is used up.

    An item is a status code, or ``cut k`` (sends k bytes, then closes), ``hang k`` (sends k bytes,
    then nothing), ``slow``, ``corrupt``, ``no-range`` (always the whole file), ``other-range``,
    ``chunked k`` (tells no length, sends k bytes), ``short`` (another, smaller file).
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/text.txt"
        self.released = threading.Event()
        self.renew()

    def renew(self, *plan: str, body: bytes = BODY) -> None:
        self.plan, self.body = list(plan), body
        self.ranges: list[str | None] = []  # one a request
        self.sent = 0  # bytes of bodies


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        asked = self.headers.get("Range")
        server.ranges.append(asked)
        kind, _, number = (server.plan.pop(0) if server.plan else "ok").partition(" ")
        if kind.isdigit():
            return self.send_error(int(kind))
        body, first = server.body, 0
        if asked and kind != "no-range":
            first = int(asked.removeprefix("bytes=").removesuffix("-")) + (kind == "other-range")
        if kind == "short":
            body = b"<html>Please log in</html>"
        if kind == "corrupt":
            body = bytes([body[0] ^ 1]) + body[1:-1] + bytes([body[-1] ^ 1])
        rest = body[first:]
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        if kind != "chunked":
            self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        rest = rest[: int(number)] if number else rest
        server.sent += len(rest)
        if kind == "slow":
            self.wfile.write(rest[:1000])
            time.sleep(0.3)
            self.wfile.write(rest[1000:])
        else:
            self.wfile.write(rest)
        if kind == "hang":
            server.released.wait(20)


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.released.set()
        server.shutdown()


def stand_in(server: Server, patch: pytest.MonkeyPatch, cache: Path) -> None:
    """The server takes the place of the internet, the folder that of the user's cache."""
    source = corpus._Source(
        server.url, "tinyshakespeare.txt", SIZE, hashlib.sha256(BODY).hexdigest(), None
    )
    patch.setitem(corpus._SOURCES, "tinyshakespeare", source)
    patch.setattr(corpus, "_PAUSE", 0.0)
    patch.setenv("GMLP_CACHE", str(cache))
    patch.setenv("no_proxy", "*")
    server.renew()


@pytest.fixture
def server(running: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Server:
    stand_in(running, monkeypatch, tmp_path / "cache")
    return running


def cached() -> dict[str, int]:
    """The files in the cache, without the lock, and their sizes."""
    return {
        path.name: path.stat().st_size for path in cache_dir().iterdir() if path.suffix != ".lock"
    }


# --- fetching ---------------------------------------------------------------------------------


def test_fetched_once_with_a_progress_bar(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert load_corpus("tinyshakespeare") == BODY
    assert "300k/300k" in capsys.readouterr().err
    assert cached() == {"tinyshakespeare.txt": SIZE}
    assert load_corpus("tinyshakespeare") == BODY
    assert server.ranges == [None]
    assert capsys.readouterr().err == ""


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, SIZE), max_size=corpus._ATTEMPTS - 1))
def test_no_byte_is_sent_twice_however_often_the_line_breaks(
    running: Server, cuts: list[int]
) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        stand_in(running, patch, Path(folder))
        running.renew(*(f"cut {cut}" for cut in cuts))
        assert load_corpus("tinyshakespeare") == BODY
        assert running.sent == SIZE


@pytest.mark.parametrize("kind", ["cut", "hang", "chunked"])
def test_the_next_call_goes_on_where_the_last_one_stopped(
    server: Server, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    kept = 123_457
    if kind == "hang":
        monkeypatch.setattr(corpus, "_TIMEOUT", 0.3)
    server.plan = [f"{kind} {kept}"] + ["500"] * (corpus._ATTEMPTS - 1)
    with pytest.raises(ConnectionError, match=f"{kept} of {SIZE} bytes"):
        load_corpus("tinyshakespeare")
    assert cached() == {"tinyshakespeare.txt.part": kept}
    server.renew()
    assert load_corpus("tinyshakespeare") == BODY
    assert (server.ranges, server.sent) == ([f"bytes={kept}-"], SIZE - kept)
    assert cached() == {"tinyshakespeare.txt": SIZE}


@pytest.mark.parametrize("refusal", ["no-range", "416", "other-range"])
def test_starts_again_with_a_server_that_cannot_go_on(server: Server, refusal: str) -> None:
    server.plan = ["cut 1500", refusal]
    assert load_corpus("tinyshakespeare") == BODY
    assert server.ranges == [None, "bytes=1500-"] + [None] * (refusal != "no-range")


@pytest.mark.parametrize("left", [BODY[:-1] + b"?", BODY + b"?", b"?" * 1000, BODY])
def test_what_lies_in_the_part_file_is_not_trusted(server: Server, left: bytes) -> None:
    cache_dir().mkdir()
    (cache_dir() / "tinyshakespeare.txt.part").write_bytes(left)
    assert load_corpus("tinyshakespeare") == BODY
    assert len(server.ranges) == {BODY: 0, b"?" * 1000: 2}.get(left, 1)


@pytest.mark.parametrize("damaged", [b"", BODY[:-1], BODY + b"?", BODY[:-1] + b"?"])
def test_a_damaged_file_in_the_cache_is_fetched_again(server: Server, damaged: bytes) -> None:
    cache_dir().mkdir()
    (cache_dir() / "tinyshakespeare.txt").write_bytes(damaged)
    assert load_corpus("tinyshakespeare") == BODY
    assert server.sent == SIZE


@pytest.mark.parametrize("busy", ["500", "503", "429", "408"])
def test_a_busy_server_is_asked_again(server: Server, busy: str) -> None:
    server.plan = [busy]
    assert load_corpus("tinyshakespeare") == BODY
    assert len(server.ranges) == 2


ALWAYS = corpus._ATTEMPTS
FAILURES = [  # what the server does, the error, what it says, requests made, bytes kept
    (["404"], OSError, "answered 404 Not Found", 1, None),
    (["403"], OSError, "answered 403 Forbidden", 1, None),
    (["short"], OSError, f"26 bytes instead of {SIZE}", 1, None),
    (["corrupt"], OSError, "another sha256", 1, None),
    (["cut 10", "corrupt"], OSError, "another sha256", 2, None),
    (["500"] * ALWAYS, ConnectionError, "Internal Server Error", ALWAYS, None),
    (["hang 0"] * ALWAYS, ConnectionError, "timed out", ALWAYS, 0),
    (["cut 10"] * ALWAYS, ConnectionError, "closed early", ALWAYS, 10 * ALWAYS),
    (["cut 10", "404"], OSError, "answered 404", 2, 10),
]


@pytest.mark.parametrize(("plan", "error", "words", "requests", "kept"), FAILURES)
def test_a_failure_leaves_nothing_but_what_can_be_gone_on_from(
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    plan: list[str],
    error: type,
    words: str,
    requests: int,
    kept: int | None,
) -> None:
    server.plan = list(plan)
    if "timed out" in words:
        monkeypatch.setattr(corpus, "_TIMEOUT", 0.3)
    with pytest.raises(error, match=words) as caught:
        load_corpus("tinyshakespeare")
    assert isinstance(caught.value, ConnectionError) == (error is ConnectionError)
    assert server.url in str(caught.value)
    assert len(server.ranges) == requests
    assert cached() == ({} if kept is None else {"tinyshakespeare.txt.part": kept})


def test_offline_says_which_file_to_put_where_and_that_works(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:  # bound, but nobody listens
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/text.txt"
        source = corpus._SOURCES["tinyshakespeare"]._replace(url=url)
        monkeypatch.setitem(corpus._SOURCES, "tinyshakespeare", source)
        monkeypatch.setattr(corpus, "_PAUSE", 5.0)
        start = time.monotonic()
        with pytest.raises(ConnectionError) as caught:
            load_corpus("tinyshakespeare")
        assert time.monotonic() - start < 5  # waiting would not have helped
        target = cache_dir() / "tinyshakespeare.txt"
        for told in (url, f"'{target}'", str(SIZE), source.sha256):
            assert told in str(caught.value)
        assert "another file or damaged" not in str(caught.value)
        assert cached() == {}

        target.write_bytes(BODY[:-1])
        with pytest.raises(ConnectionError, match="another file or damaged"):
            load_corpus("tinyshakespeare")
        assert cached() == {"tinyshakespeare.txt": SIZE - 1}  # the user's, and left alone

        target.write_bytes(BODY)
        assert load_corpus("tinyshakespeare") == BODY


def test_the_archive_is_kept_and_its_member_returned(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("enwik8", "<mediawiki>" * 1000)
    zipped = packed.getvalue()
    digest = hashlib.sha256(zipped).hexdigest()
    source = corpus._Source(server.url, "enwik8.zip", len(zipped), digest, "enwik8")
    monkeypatch.setitem(corpus._SOURCES, "enwik8", source)
    server.renew(body=zipped)
    assert load_corpus("enwik8") == load_corpus("enwik8") == b"<mediawiki>" * 1000
    assert cached() == {"enwik8.zip": len(zipped)}
    assert server.sent == len(zipped)


def test_threads_that_want_the_same_corpus_make_one_download(server: Server) -> None:
    server.plan = ["slow"]
    texts: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: texts.append(load_corpus("tinyshakespeare")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == [BODY] * 4
    assert (len(server.ranges), server.sent) == (1, SIZE)


CHILD = """
import hashlib, sys
from gmlp import corpus
print(hashlib.sha256(corpus.load_corpus("pydocs") + corpus.load_corpus("stdlib")).hexdigest())
name = "tinyshakespeare"
corpus._SOURCES[name] = corpus._SOURCES[name]._replace(
    url=sys.argv[1], size=int(sys.argv[2]), sha256=sys.argv[3]
)
sys.stdout.flush()
for _ in sys.stdin:
    try:
        print(len(corpus.load_corpus(name)), flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


class Child(subprocess.Popen[str]):
    """A Python of its own that tells what ships with it, then fetches whenever it is told to."""

    def __init__(self, server: Server) -> None:
        digest = corpus._SOURCES["tinyshakespeare"].sha256
        super().__init__(
            [sys.executable, "-c", CHILD, server.url, str(SIZE), digest],
            env=os.environ | {"PYTHONHASHSEED": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def fetch(self) -> None:
        assert self.stdin
        print(file=self.stdin, flush=True)

    def answer(self) -> str:
        assert self.stdout
        return self.stdout.readline().strip()


def test_processes_share_one_download_and_may_be_stopped_at_any_time(server: Server) -> None:
    part = cache_dir() / "tinyshakespeare.txt.part"

    def fetch_until(size: int) -> None:
        # the last few bytes may still be in the child's buffer
        patience = time.monotonic() + 20
        while not part.exists() or part.stat().st_size < size - io.DEFAULT_BUFFER_SIZE:
            assert time.monotonic() < patience
            time.sleep(0.01)

    with Child(server) as doomed, Child(server) as other:
        try:
            shipped = hashlib.sha256(load_corpus("pydocs") + load_corpus("stdlib")).hexdigest()
            assert doomed.answer() == other.answer() == shipped

            server.renew("hang 100000")
            doomed.fetch()
            fetch_until(100_000)
            doomed.kill()
            doomed.wait()
            kept = part.stat().st_size
            assert list(cached()) == [part.name]

            if sys.platform != "win32":  # which cannot send the interrupt of a notebook
                server.renew("hang 100000")
                other.fetch()
                fetch_until(kept + 100_000)
                other.send_signal(signal.SIGINT)
                assert other.answer() == "interrupted"
                assert cached() == {part.name: kept + 100_000}
                assert server.ranges == [f"bytes={kept}-"]
                kept += 100_000

            server.renew("slow")
            other.fetch()
            assert load_corpus("tinyshakespeare") == BODY
            assert other.answer() == str(SIZE)
            assert (server.ranges, server.sent) == ([f"bytes={kept}-"], SIZE - kept)
        finally:
            doomed.kill()
            other.kill()


def test_a_cache_that_cannot_be_written_is_named(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GMLP_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match="Name another one in the environment variable GMLP_CACHE"):
        load_corpus("tinyshakespeare")
    assert server.ranges == []


def test_the_cache_is_the_users_unless_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GMLP_CACHE", os.path.join("~", "texts"))
    assert cache_dir() == Path.home() / "texts"
    monkeypatch.delenv("GMLP_CACHE")
    assert cache_dir().is_absolute()
    assert "gmlp-course" in cache_dir().parts


# --- what ships with Python -------------------------------------------------------------------


def test_pydocs_is_the_same_every_time_and_needs_nothing(server: Server) -> None:
    text = load_corpus()
    assert text == load_corpus("pydocs")
    assert 250_000 < len(text) < 600_000
    assert not cache_dir().exists()
    assert server.ranges == []


@pytest.mark.parametrize("valid_fraction", [0.05, 0.1, 0.3, 0.5])
def test_no_paragraph_of_pydocs_stands_in_both_parts(valid_fraction: float) -> None:
    train, valid = (
        decode(part).split("\n\n")
        for part in split_corpus(load_corpus(), valid_fraction=valid_fraction)
    )
    assert len(train) > 300 and len(valid) > 50
    assert not set(train) & set(valid)
    assert len(train + valid) <= len(set(train + valid)) + 1  # the cut makes two of one


def test_stdlib_is_the_source_of_this_python(server: Server) -> None:
    text = load_corpus("stdlib")
    assert 8_000_000 < len(text) < 16_000_000
    assert Path(tempfile.__file__).read_bytes() in text
    assert not cache_dir().exists()


def test_stdlib_is_in_order_of_paths_without_tests_and_packages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("b.py", "a/z.py", "a/b/c.py", "c.txt", "a/test/t.py", "site-packages/p/q.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"{name}\r\n".encode())
    monkeypatch.setattr("sysconfig.get_path", {"stdlib": str(tmp_path)}.get)
    assert load_corpus("stdlib") == b"a/b/c.py\n\na/z.py\n\nb.py\n"


def test_a_python_without_sources_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(FileNotFoundError, match=r"pydoc_data\.topics.*complete Python"):
        load_corpus("pydocs")
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"no \.py file in .*complete Python"):
        load_corpus("stdlib")


# --- files ------------------------------------------------------------------------------------


@given(content=st.binary(min_size=1))
def test_a_file_is_its_bytes(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "text")
        path.write_bytes(content)
        assert load_corpus(path) == load_corpus(str(path)) == content


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("pydoc", ValueError, "did you mean 'pydocs'"),
        ("Enwik", ValueError, "did you mean 'enwik8'"),
        ("qqq", ValueError, "no corpus is called 'qqq'"),
        ("book.txt", FileNotFoundError, "no file at .*book.txt"),
        (os.path.join("no", "book"), FileNotFoundError, "no file at .*book"),
        (Path("pydoc"), FileNotFoundError, "no file at .*pydoc'"),
        (os.path.join("empty", "book"), FileNotFoundError, "no file at .*book"),
        ("empty", ValueError, "is empty"),
        ("folder", IsADirectoryError, "is a folder"),
        (Path("folder"), IsADirectoryError, "is a folder"),
        ("", IsADirectoryError, "is a folder"),
        (None, TypeError, "name or a path, got None"),
        (b"pydocs", TypeError, "name or a path, got b'pydocs'"),
    ],
)
def test_what_is_no_corpus_is_refused_in_words(
    name: object, error: type, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").touch()
    Path("folder").mkdir()
    with pytest.raises(error, match=words) as caught:
        load_corpus(name)  # type: ignore[arg-type]
    if "no " in words:  # then all that would do is told
        assert "'pydocs', 'stdlib', 'tinyshakespeare', 'enwik8'" in str(caught.value)


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are another matter there")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "secret.txt"
    path.write_text("secret")
    path.chmod(0)
    me = os.geteuid()
    if me == 0:  # to whom everything is open
        os.seteuid(65534)
    try:
        with pytest.raises(PermissionError, match=r"cannot read .*secret\.txt.* Choose a file"):
            load_corpus(path)
    finally:
        os.seteuid(me)


# --- bytes and tensors ------------------------------------------------------------------------


@given(text=st.text())
def test_decode_undoes_encode(text: str) -> None:
    tokens = encode(text)
    assert tokens.dtype == torch.int64
    assert tokens.shape == (len(text.encode()),)
    assert decode(tokens) == text
    assert decode(tokens.to(torch.uint8)) == text


@given(data=st.binary())
def test_tokens_are_bytes(data: bytes) -> None:
    assert encode(data).tolist() == list(data)
    assert decode(encode(data)) == data.decode(errors="replace")


@pytest.mark.parametrize(
    "tokens",
    [
        torch.zeros(2, 3, dtype=torch.int64),
        torch.tensor(65),
        torch.tensor([65.0]),
        torch.tensor([65, 256]),
        torch.tensor([-1]),
    ],
)
def test_decode_refuses_what_is_no_row_of_bytes(tokens: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="got"):
        decode(tokens)


@given(
    text=st.binary(max_size=400),
    context=st.integers(1, 50),
    valid_fraction=st.floats(0.01, 0.99),
)
def test_the_parts_make_the_text_and_hold_a_context_each(
    text: bytes, context: int, valid_fraction: float
) -> None:
    valid_size = int(len(text) * valid_fraction)
    train_size = len(text) - valid_size
    if min(train_size, valid_size) < context + 1:
        words = f"{len(text)} bytes is too short.* at least {context + 1} "
        with pytest.raises(ValueError, match=words):
            split_corpus(text, context=context, valid_fraction=valid_fraction)
        return
    train, valid = split_corpus(text, context=context, valid_fraction=valid_fraction)
    assert train.dtype == valid.dtype == torch.uint8
    assert (len(train), len(valid)) == (train_size, valid_size)
    assert bytes(train.tolist()) + bytes(valid.tolist()) == text


def test_a_tenth_is_kept_for_validation_and_the_shortest_text_is_1290_bytes() -> None:
    train, valid = split_corpus(bytes(1290))
    assert (len(train), len(valid)) == (1161, 129)
    with pytest.raises(ValueError, match=r"1289 bytes is too short: 1161 .* 128 .* at least 129"):
        split_corpus(bytes(1289))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"text": "abc"}, TypeError, r"text\.encode\(\)"),
        ({"text": b""}, ValueError, "0 bytes is too short"),
        ({"context": 0}, ValueError, "context must be at least 1, got 0"),
        ({"valid_fraction": 0.0}, ValueError, "valid_fraction .* got 0.0"),
        ({"valid_fraction": 1.0}, ValueError, "valid_fraction .* got 1.0"),
        ({"valid_fraction": float("nan")}, ValueError, "valid_fraction .* got nan"),
    ],
)
def test_split_corpus_names_the_wrong_argument(
    arguments: dict[str, object], error: type, words: str
) -> None:
    with pytest.raises(error, match=words):
        split_corpus(**({"text": bytes(5000)} | arguments))  # type: ignore[arg-type]


letters = st.binary(min_size=6, max_size=40).map(lambda data: bytes(byte % 3 for byte in data))


@given(train=letters, valid=letters, context=st.integers(0, 4))
@settings(deadline=None)
def test_count_bits_is_its_formula(train: bytes, valid: bytes, context: int) -> None:
    def chance(before: bytes, byte: int) -> float:
        followers = [
            train[i + len(before)]
            for i in range(len(train) - len(before))
            if train[i : i + len(before)] == before
        ]
        shorter = chance(before[1:], byte) if before else 1 / 256
        return (followers.count(byte) + shorter) / (len(followers) + 1)

    bill = [
        -math.log2(chance(valid[i - context : i], valid[i])) for i in range(context, len(valid))
    ]
    found = count_bits(encode(train), encode(valid), context)
    assert found == pytest.approx(sum(bill) / len(bill))


@given(context=st.integers(0, 2), before=st.binary(min_size=3, max_size=3))
@settings(deadline=None)
def test_the_counted_chances_of_all_bytes_add_up_to_one(context: int, before: bytes) -> None:
    train = encode(b"abcabdabcaacba" + before)
    bits = [
        count_bits(train, encode(before[:context] + bytes([byte])), context) for byte in range(256)
    ]
    assert sum(2**-bit for bit in bits) == pytest.approx(1)


def test_count_bits_names_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"context.*-1"):
        count_bits(encode("abc"), encode("abc"), -1)
    with pytest.raises(ValueError, match=r"context=3, got 3 bytes"):
        count_bits(encode("abc"), encode("abc"), 3)
