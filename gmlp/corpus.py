"""Lesson 00: text to learn from, as bytes.

Two corpora are on the machine already, inside Python itself; two are fetched once and kept; any
file will do. A token is a byte, so the vocabulary is 256 and nothing has to be trained to read.
"""

import difflib
import hashlib
import http.client
import io
import math
import os
import re
import sys
import sysconfig
import time
import urllib.error
import urllib.request
import zipfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor


class _Source(NamedTuple):
    """What stands at an address; a download that differs in one bit is refused."""

    url: str
    file: str  # its name in the cache
    size: int
    sha256: str
    member: str | None  # of a zip archive; None for a plain file


_SOURCES = {
    "tinyshakespeare": _Source(
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        "tinyshakespeare.txt",
        1_115_394,
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        None,
    ),
    "enwik8": _Source(
        "https://mattmahoney.net/dc/enwik8.zip",
        "enwik8.zip",
        36_445_475,
        "547994d9980ebed1288380d652999f38a14fe291a6247c157c3d33d4932534bc",
        "enwik8",
    ),
}
_NAMES = ("pydocs", "stdlib", *_SOURCES)

_TIMEOUT = 30.0  # seconds of silence before a server is given up
_ATTEMPTS = 4  # connections per call; each goes on where the last one broke off
_PAUSE = 0.5  # seconds before the second connection, doubled before each further one


def load_corpus(name: str | os.PathLike[str] = "pydocs") -> bytes:
    """The bytes of a corpus.

    Args:
        name: one of

            - ``"pydocs"``: Python's language reference, about 0.4 MB of English with examples.
              Every paragraph occurs once, so none can be learnt by heart in one part of the text
              and met again in another.
            - ``"stdlib"``: the source of Python's standard library without its tests, about 11 MB.
            - ``"tinyshakespeare"``: 1.1 MB of plays, fetched once.
            - ``"enwik8"``: the first 100 MB of a Wikipedia dump of 2006, fetched once (36 MB).
            - a path: the bytes of that file. (For a file that bears one of the names above, write
              ``"./enwik8"``.)

    The first two differ a little from one Python version to the next. A fetched file is kept in
    :func:`cache_dir`, and its sha256 is compared at every call.

    Raises:
        ValueError: no such name, or an empty file.
        FileNotFoundError, IsADirectoryError, PermissionError: the path cannot be read.
        ConnectionError: the download broke off, or never began. The next call goes on from there.
        OSError: the server has no such file, or another one.
    """
    if not isinstance(name, (str, os.PathLike)):
        raise TypeError(f"load_corpus takes a name or a path, got {name!r}")
    if name == "pydocs":
        return _pydocs()
    if name == "stdlib":
        return _stdlib()
    if isinstance(name, str) and name in _SOURCES:
        return _online(name)
    return _file(name)


def split_corpus(
    text: bytes, *, context: int = 128, valid_fraction: float = 0.1
) -> tuple[Tensor, Tensor]:
    """Cut a text in two: the front to learn from, the end to be examined on.

    Args:
        text: the whole corpus.
        context: bytes ``n`` that a model reads at once. Each part must have one more, because the
            target of a byte is the byte after it.
        valid_fraction: the share of the second part.

    Returns:
        Training and validation part, each ``(bytes,)`` uint8.

    Raises:
        ValueError: the text is too short for the context, or an argument is out of range.
    """
    if isinstance(text, str):
        raise TypeError("split_corpus takes bytes, got str: write text.encode()")
    if context < 1:
        raise ValueError(f"context must be at least 1, got {context}")
    if not 0 < valid_fraction < 1:
        raise ValueError(f"valid_fraction must lie between 0 and 1, got {valid_fraction}")
    valid = int(len(text) * valid_fraction)
    train = len(text) - valid
    if min(train, valid) <= context:
        raise ValueError(
            f"a text of {len(text)} bytes is too short: {train} for training and {valid} for "
            f"validation, but each part needs at least {context + 1} (a context of {context} and "
            "the byte after it). Take a longer text, a shorter context or another valid_fraction"
        )
    return _tensor(text[:train]), _tensor(text[train:])


def encode(text: str | bytes) -> Tensor:
    """Text to tokens: the bytes of its UTF-8 form, ``(n,)`` int64 from 0 to 255."""
    return _tensor(text.encode() if isinstance(text, str) else text).long()


def decode(tokens: Tensor) -> str:
    """Tokens ``(n,)`` back to text. Bytes that are no UTF-8, such as a character cut in half, show
    as the replacement character.

    Raises:
        ValueError: not one row of integers, or one that is no byte.
    """
    if tokens.ndim != 1 or tokens.is_floating_point() or tokens.is_complex():
        raise ValueError(
            "decode takes one row of integer tokens, "
            f"got shape {tuple(tokens.shape)} of {tokens.dtype}; decode row by row"
        )
    values = tokens.tolist()
    if wrong := [value for value in values if not 0 <= value <= 255]:
        raise ValueError(f"a token is a byte from 0 to 255, got {wrong[0]}")
    return bytes(values).decode(errors="replace")


def count_bits(train: Tensor, valid: Tensor, context: int = 0) -> float:
    r"""Bits per byte of a reader who only counts: what came next, after these bytes?

    .. math:: p_k(x \mid c) = \frac{N(c x) + p_{k-1}(x \mid c_{2:})}{N(c) + 1},
              \qquad p_{-1}(x) = 1/256

    ``N`` counts in the training part. What was never seen there falls back on a shorter context,
    so nothing is impossible and the bits stay finite.

    Args:
        train, valid: ``(bytes,)``, as from :func:`split_corpus`.
        context: ``k``, the number of bytes before; 0 knows only how common each byte is.

    Returns:
        The mean of ``-log2 p`` over the validation part.

    Source: Shannon 1948, section 3 (series of approximations); the smoothing is MacKay & Peto's
    1995 hierarchical Dirichlet model with a weight of one.
    """
    if context < 0:
        raise ValueError(f"context must be 0 or more, got {context}")
    read, asked = bytes(train.tolist()), bytes(valid.tolist())
    if len(asked) <= context:
        raise ValueError(f"valid must be longer than context={context}, got {len(asked)} bytes")
    chances = [1 / 256] * (len(asked) - context)
    for k in range(context + 1):
        seen = Counter(read[i : i + k + 1] for i in range(len(read) - k))
        before: Counter[bytes] = Counter()
        for window, count in seen.items():
            before[window[:k]] += count
        for i, shorter in enumerate(chances):
            window = asked[i + context - k : i + context + 1]
            chances[i] = (seen[window] + shorter) / (before[window[:k]] + 1)
    return -sum(math.log2(chance) for chance in chances) / len(chances)


def cache_dir() -> Path:
    """Where fetched corpora are kept: the environment variable ``GMLP_CACHE``, or else the place
    that this system has for caches."""
    if chosen := os.environ.get("GMLP_CACHE"):
        return Path(chosen).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("gmlp-course", appauthor=False)


def cached() -> dict[str, tuple[Path, bool]]:
    """The fetched corpora that are here: their files, and whether the sha256 is right."""
    kept = {name: (cache_dir() / source.file, source) for name, source in _SOURCES.items()}
    return {
        name: (path, _intact(path, source) is not None)
        for name, (path, source) in kept.items()
        if path.exists()
    }


def _tensor(data: bytes) -> Tensor:
    if not data:  # frombuffer wants at least one byte, and memory that may be written to
        return torch.empty(0, dtype=torch.uint8)
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def _pydocs() -> bytes:
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise FileNotFoundError(
            "this Python came without its help texts (the module pydoc_data.topics). Install a "
            "complete Python, or give load_corpus the path of any text file"
        ) from error
    # Topics quote each other. A dict keeps the first of equal keys, and the order.
    paragraphs = dict.fromkeys(
        paragraph.rstrip()
        for _, topic in sorted(topics.items())
        for paragraph in re.split(r"\n\s*\n", topic.strip())
    )
    return "\n\n".join(paragraphs).encode()


# Folders left out of "stdlib": tests are longer than all the rest, lib2to3 goes over the grammar
# again, pydoc_data is the other corpus, and installed packages differ from machine to machine.
_LEFT_OUT = {
    "test",
    "tests",
    "idle_test",
    "lib2to3",
    "pydoc_data",
    "site-packages",
    "dist-packages",
}


def _stdlib() -> bytes:
    root = sysconfig.get_path("stdlib")
    paths: list[Path] = []
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = set(subfolders) - _LEFT_OUT  # never walked into
        paths += [Path(folder, file) for file in files if file.endswith(".py")]
    if not paths:
        raise FileNotFoundError(
            f"this Python came without the source of its standard library (no .py file in {root}). "
            "Install a complete Python, or give load_corpus the path of any text file"
        )
    return b"\n".join(path.read_bytes().replace(b"\r\n", b"\n") for path in sorted(paths))


def _file(name: str | os.PathLike[str]) -> bytes:
    path = Path(os.path.expanduser(name))
    known = f"The names are {', '.join(map(repr, _NAMES))}; anything else is the path of a file"
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        if isinstance(name, str) and not os.path.dirname(name) and not path.suffix:
            close = difflib.get_close_matches(name.lower(), _NAMES, n=1)
            meant = f"; did you mean {close[0]!r}?" if close else "."
            raise ValueError(f"no corpus is called {name!r}{meant} {known}") from error
        raise FileNotFoundError(f"no file at '{path.absolute()}'. {known}") from error
    except OSError as error:
        if os.path.isdir(path):
            raise IsADirectoryError(
                f"'{path.absolute()}' is a folder; give load_corpus the path of one file in it"
            ) from error
        raise type(error)(
            f"cannot read '{path}': {error.strerror}. Choose a file that you may read"
        ) from error
    if not text:
        raise ValueError(f"'{path}' is empty; there is nothing to learn from it")
    return text


def _online(name: str) -> bytes:
    source = _SOURCES[name]
    target = cache_dir() / source.file
    data = _intact(target, source)
    if data is None:
        data = _fetch_once(name, source, target)
    if source.member is None:
        return data
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read(source.member)


def _intact(path: Path, source: _Source) -> bytes | None:
    """The bytes of a file if they are what the source promises."""
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    whole = len(data) == source.size and hashlib.sha256(data).hexdigest() == source.sha256
    return data if whole else None


def _fetch_once(name: str, source: _Source, target: Path) -> bytes:
    """Download under a lock; whoever had to wait for it finds the file there."""
    from filelock import FileLock, Timeout

    lock = FileLock(f"{target}.lock")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        print(f"{name} is being fetched by another process; waiting for it", file=sys.stderr)
        lock.acquire()
    except OSError as error:
        raise type(error)(
            f"cannot write to the folder '{target.parent}': {error.strerror}. Name another "
            "one in the environment variable GMLP_CACHE"
        ) from error
    try:
        data = _intact(target, source)
        return _download(name, source, target) if data is None else data
    finally:
        lock.release()


def _download(name: str, source: _Source, target: Path) -> bytes:
    part = target.with_name(f"{target.name}.part")
    by_hand = (
        f"To do it by hand, put {source.url} at '{target}' "
        f"({source.size} bytes, sha256 {source.sha256})"
    )
    if target.exists():
        by_hand += f"; what is there now ({_size(target)} bytes) is another file or damaged"
    kept_from_before = part.exists()
    trouble: Exception | None = None
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE * 2 ** (attempt - 1))
        trouble = _receive(name, source, part, by_hand)
        if _size(part) == source.size:
            data = _intact(part, source)
            if data is not None:
                os.replace(part, target)
                return data
            part.unlink()
            if not kept_from_before:
                raise OSError(
                    f"{source.url} sent a file of the right size but with another sha256: it was "
                    f"replaced there or altered on the way. Nothing was kept. {by_hand}"
                )
            kept_from_before = False  # its beginning may have been the damaged piece: once more
        if type(trouble) is urllib.error.URLError and not attempt:
            break  # nobody there: without a network, waiting does not help
    why = getattr(trouble, "reason", trouble) or "the connection closed early"
    raise ConnectionError(
        f"could not fetch {name} from {source.url}: {why}. "
        f"{_size(part)} of {source.size} bytes are here, and the next call goes on from there. "
        f"{by_hand}"
    )


def _receive(name: str, source: _Source, part: Path, by_hand: str) -> Exception | None:
    """One connection: append what arrives to ``part``.

    Returns the trouble that ended it when another attempt may help, and raises when none will;
    errors in writing to the disk are of that kind, so only the network's are caught.
    """
    from tqdm.std import tqdm

    have = _size(part)
    if have > source.size:  # not ours
        part.unlink()
        have = 0
    if have == source.size:  # an earlier call was stopped before it could compare the sha256
        return None
    request = urllib.request.Request(source.url, headers={"User-Agent": "gmlp-course"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # the server disagrees about the bytes we have: start again
            part.unlink(missing_ok=True)
        elif error.code < 500 and error.code not in (408, 429):
            raise OSError(f"{source.url} answered {error.code} {error.reason}. {by_hand}") from None
        return error
    except (OSError, http.client.HTTPException) as error:
        return error

    with response:
        if response.status == 206:
            found = response.headers.get("Content-Range", "")
            if not found.startswith(f"bytes {have}-") or not found.endswith(f"/{source.size}"):
                part.unlink(missing_ok=True)
                return ConnectionError(f"asked for the bytes from {have} on, got {found!r}")
        else:  # the whole file, asked or not
            have = 0
            length = response.headers.get("Content-Length", str(source.size))
            if length != str(source.size):
                raise OSError(
                    f"{source.url} sends {length} bytes instead of {source.size}: the file was "
                    "replaced there, or a login page of the network answers in its place. "
                    f"{by_hand}"
                )
        with (
            part.open("ab" if have else "wb") as file,
            tqdm(desc=name, total=source.size, initial=have, unit="B", unit_scale=True) as bar,
        ):
            while have < source.size:
                try:
                    # read1 hands over what is there, so that a silence loses nothing
                    chunk = response.read1(min(1 << 18, source.size - have))
                except (OSError, http.client.HTTPException) as error:
                    return error
                if not chunk:
                    return None
                file.write(chunk)
                have += len(chunk)
                bar.update(len(chunk))
    return None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
