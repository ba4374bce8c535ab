"""The sandbox, from outside: starts it, hands it code and inputs, and reads back what came of them.

Only numbers return. Expected values, verdicts and other people's work are never where a learner's
code runs.
"""

import builtins
import contextlib
import importlib.util
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import gmlp.checks
from gmlp.checks.core import Exercise
from gmlp.checks.run import Outcome

HERE = Path(__file__).parent
MOST_REPLY = 64 << 20  # bytes that one reply may have
MOST_HEAD = 1 << 20  # bytes of it that may be JSON
START = 20.0  # seconds that a process of its own gets to import PyTorch


@dataclass(frozen=True)
class Limits:
    """What one exercise of one learner may use."""

    seconds: float = 20.0
    memory: int = 1 << 30  # bytes of address space for each process, beyond what PyTorch has mapped
    disk: int = 32 << 20  # bytes of scratch space
    processes: int = 16  # threads included


class SandboxError(OSError):
    """The sandbox itself does not work here; the text says why and what to do."""


class Lost(Exception):
    """An exercise's process gave no reply: it timed out, crashed or was ended."""


@dataclass(frozen=True)
class Containment:
    """What holds a learner's code on this machine."""

    full: bool
    sentence: str


def containment() -> Containment:
    """What is, and what is not, contained here."""
    if not sys.platform.startswith("linux"):
        return Containment(
            False,
            f"{sys.platform} has no namespaces: a process of its own keeps verdicts and expected "
            "values out of reach, but files, network and memory are NOT contained. Grade on Linux, "
            "in a container or a virtual machine, where submissions may be hostile.",
        )
    if shutil.which("bwrap") is None:
        return Containment(
            False,
            "bubblewrap is missing, so files and network are NOT contained. On Debian or Ubuntu: "
            "sudo apt install bubblewrap",
        )
    return Containment(
        True,
        "Contained: processes, network, files (read-only system, 32 MB of scratch), memory, time. "
        "Not contained: what a hole in the Linux kernel or in PyTorch would allow.",
    )


def refusal() -> str:
    """Why bubblewrap does not start this Python here; an empty text if it does, or is missing.

    This takes a tenth of a second: PyTorch is not imported, and no code of anybody is run.
    """
    if not containment().full:
        return ""
    with tempfile.TemporaryDirectory(prefix="gmlp-sandbox-") as view:
        command = [*_wrapper(Path(view)), _seen(sys.executable), "-I", "-S", "-c", ""]
        try:
            ran = subprocess.run(command, check=False, capture_output=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
    told = ran.stderr.decode("utf-8", "replace").strip()
    return "" if ran.returncode == 0 else told or f"bwrap ended with {ran.returncode}"


class Sandbox:
    """A process that has imported PyTorch and forks a jailed child for every exercise.

    Args:
        modules: files of the package that exercises may import, by their place in it.
        limits: for each exercise.
    """

    def __init__(self, modules: dict[str, str], limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.contained = containment().full
        self.folder = tempfile.TemporaryDirectory(prefix="gmlp-sandbox-")
        view = Path(self.folder.name)
        view.chmod(0o755)
        for name, text in modules.items():
            path = view / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        run = (HERE.parent / "checks/run.py").read_text(encoding="utf-8")
        (view / "answer_run.py").write_text(run, encoding="utf-8")
        (view / "worker.py").write_text((HERE / "worker.py").read_text("utf-8"), encoding="utf-8")
        self.jobs = 0
        if self.contained:
            self._start()

    def _start(self) -> None:
        view = Path(self.folder.name)
        ours, theirs = socket.socketpair()
        self.control = ours
        command = [*_wrapper(view), _seen(sys.executable), "-s", "-B", f"{_INSIDE}/worker.py"]
        command.append(str(theirs.fileno()))
        self.process = subprocess.Popen(
            command,
            env={"PATH": "/usr/bin:/bin", "HOME": "/tmp", "PYTHONPATH": _INSIDE, **_SETTINGS},
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        theirs.close()
        try:
            _receive(self.control, 1 << 10, time.monotonic() + 120)
            reply = self._ask({"cells": ["def answer(): ..."], "name": "answer", "cases": []}, 120)
            if json.loads(reply.partition(b"\n")[0]) != []:
                raise Lost
        except (Lost, OSError):
            time.sleep(0.2)  # let it say what is wrong
            self.process.kill()
            _, errors = self.process.communicate()
            told = errors.decode("utf-8", "replace").strip()[-2000:]
            raise SandboxError(
                f"the sandbox did not start: {told or 'no message'}. Does this machine allow user "
                "namespaces? A container needs --security-opt seccomp=unconfined"
            ) from None

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the sandbox and all that it started."""
        if self.contained:
            self._stop()
        self.folder.cleanup()

    def _stop(self) -> None:
        self.control.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()

    def run(
        self,
        cells: Sequence[str],
        exercise: Exercise,
        names: Sequence[str],
        cases: Sequence[Sequence[Any]],
        seed: int,
        grad: bool = True,
    ) -> list[Outcome]:
        """Run an answer on every case, in a fresh child; as many outcomes as it came to.

        Raises:
            Lost: the child gave no reply, or one that cannot be read; the text says which.
        """
        job = {
            "cells": [*cells],
            "name": exercise.name,
            "names": [*names],
            "cases": [*cases],
            "seed": seed,
            "use": exercise.use,
            "grad": grad,
        }
        try:
            reply = self._ask(job, self.limits.seconds)
        except (Lost, OSError) as trouble:
            if not self.contained:
                raise
            try:
                self.process.wait(0.3)
            except subprocess.TimeoutExpired:
                raise trouble from None
            # The sandbox itself was ended, most likely because memory ran out. Once more.
            self._stop()
            self._start()
            reply = self._ask(job, self.limits.seconds)
        outcomes = _unpacked(reply)
        # An answer that cannot be run, or was not begun, ends the runs; nothing else does.
        if len(outcomes) != len(cases) and not (
            0 < len(outcomes) < len(cases) and outcomes[-1].error is not None
        ):
            raise Lost("its reply is about another number of runs")
        return outcomes

    def _ask(self, job: dict[str, Any], seconds: float) -> bytes:
        """The reply of a fresh child to a job."""
        if not self.contained:
            return self._ask_uncontained(job, seconds)
        self.jobs += 1
        limits = {
            "seconds": seconds + 1,
            "memory": self.limits.memory,
            "cpu": int(seconds) + 1,
            "disk": self.limits.disk,
            "processes": self.limits.processes,
            # As root, each child is another user, so that its processes are counted as its own.
            "uid": _USERS[(97 * self.process.pid + self.jobs) % len(_USERS)]
            if _other_users()
            else None,
        }
        message = json.dumps(limits).encode() + b"\n" + pickled(job)
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                socket.send_fds(self.control, [b"j"], [theirs.fileno()])
            deadline = time.monotonic() + seconds
            try:
                ours.settimeout(seconds)
                ours.sendall(len(message).to_bytes(8, "little") + message)
            except OSError:
                raise Lost("its process ended before it had begun") from None
            return _receive(ours, MOST_REPLY, deadline)

    def _ask_uncontained(self, job: dict[str, Any], seconds: float) -> bytes:
        """The same from a process of its own, which nothing holds but its time.

        It imports PyTorch anew, which takes seconds; they do not count.
        """
        view = self.folder.name
        command = [sys.executable, "-s", "-B", str(Path(view, "worker.py")), "once"]
        kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
        child = subprocess.Popen(
            command,
            env={"HOME": view, "PYTHONPATH": view, **kept, **_SETTINGS},
            cwd=view,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            reply, _ = child.communicate(pickled(job), timeout=seconds + START)
        except subprocess.TimeoutExpired:
            raise Lost("it did not end in time") from None
        finally:
            child.kill()
            child.wait()
        if len(reply) > MOST_REPLY or not reply:
            raise Lost("its process ended without an answer")
        return reply


_SETTINGS = {"OMP_NUM_THREADS": "1", "LANG": "C.UTF-8"}
_INSIDE = "/course"
_USERS = range(61184, 65520)  # no person has these numbers; see systemd's DynamicUser


def _other_users() -> bool:
    """Whether we may become another user: as root, unless this is a container with few users."""
    if os.geteuid() != 0:
        return False
    ranges = Path("/proc/self/uid_map").read_text().splitlines()
    return sum(int(one.split()[2]) for one in ranges) >= _USERS.stop


def pickled(job: Any) -> bytes:
    """A job for the worker. What is of ``gmlp.checks`` travels as itself: it is not there."""
    import cloudpickle  # type: ignore[import-untyped]

    cloudpickle.register_pickle_by_value(gmlp.checks)
    return cloudpickle.dumps(job)


def _seen(path: str) -> str:
    """Where a file of the environment is inside: /tmp is scratch there, and hides what it held."""
    return f"/environment{path}" if path.startswith("/tmp/") else path


def _wrapper(view: Path) -> list[str]:
    """bubblewrap's command line: a read-only system, nothing of the user's, no network."""
    words = ["bwrap", "--die-with-parent", "--unshare-pid", "--unshare-net", "--unshare-ipc"]
    words += ["--unshare-uts", "--unshare-cgroup-try", "--new-session"]
    if _other_users():
        for right in ("SETUID", "SETGID", "SYS_ADMIN", "SETPCAP", "KILL"):
            words += ["--cap-add", f"CAP_{right}"]
    else:
        words += ["--unshare-user"]
    for path in ("/usr", "/lib", "/lib64", "/bin", "/etc/alternatives", "/etc/ld.so.cache"):
        if Path(path).is_symlink():
            words += ["--symlink", os.readlink(path), path]
        elif Path(path).exists():
            words += ["--ro-bind", path, path]
    for prefix in dict.fromkeys((sys.base_prefix, sys.prefix)):
        if not prefix.startswith("/usr/"):
            for parent in reversed(Path(_seen(prefix)).parents[:-1]):
                words += ["--perms", "0755", "--dir", str(parent)]  # else they are for root only
            words += ["--ro-bind", prefix, _seen(prefix)]
    found = importlib.util.find_spec("gmlp")
    for place in found.submodule_search_locations or () if found else ():
        if place.startswith((sys.prefix, sys.base_prefix)):  # installed: solutions and all
            words += ["--tmpfs", _seen(place), "--remount-ro", _seen(place)]
    words += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    words += ["--ro-bind", str(view), _INSIDE, "--chdir", "/tmp"]
    return [*words, "--remount-ro", "/dev", "--remount-ro", "/"]


def _receive(channel: socket.socket, most: int, deadline: float) -> bytes:
    """One message from a process that may be hostile."""
    head = _exactly(channel, 8, deadline)
    length = int.from_bytes(head, "little")
    if length > most:
        raise Lost(f"it sent {length} bytes; at most {most} are read")
    return _exactly(channel, length, deadline)


def _exactly(channel: socket.socket, count: int, deadline: float) -> bytes:
    parts: list[bytes] = []
    while count:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([channel], [], [], left)[0]:
            raise Lost("it did not end in time")
        try:
            part = channel.recv(min(1 << 20, count))
        except OSError:
            part = b""
        if not part:
            raise Lost("its process ended without an answer")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _unpacked(reply: bytes) -> list[Outcome]:
    """Outcomes from a reply, of which nothing is believed but its form."""
    import safetensors.torch

    try:
        head, _, body = reply.partition(b"\n")
        if len(head) > MOST_HEAD:
            raise ValueError("too much JSON")
        replies = json.loads(head)
        tensors = safetensors.torch.load(body)
        return [_outcome(one, tensors, f"{number}") for number, one in enumerate(replies)]
    except Exception:  # whatever a forged reply breaks
        raise Lost("its reply cannot be read") from None


def _outcome(one: dict[str, Any], tensors: dict[str, torch.Tensor], key: str) -> Outcome:
    if "undefined" in one:
        return Outcome(error=_error(one["undefined"]), where=str(one["line"])[:400])
    printed, changed = str(one["printed"])[:4000], tuple(map(str, one["changed"]))
    if "error" in one:
        error = _error(one["error"])
        return Outcome(error=error, changed=changed, printed=printed, where=str(one["where"])[:400])
    gradients = None
    if "gradients" in one:
        gradients = {
            str(name): tensors[f"{key}.gradient.{name}"] if there else None
            for name, there in one["gradients"].items()
        }
    backward = _error(one["backward_error"]) if "backward_error" in one else None
    value = _value(one["value"], tensors)
    return Outcome(
        value,
        None,
        gradients,
        backward if isinstance(backward, Exception) else None,
        changed,
        printed,
    )


def _value(packed: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Any:
    if "tensor" in packed:
        if packed["tensor"] in tensors:
            return tensors[packed["tensor"]]
        shape = [int(size) for size in packed["shape"]]
        return torch.empty(
            shape, device="meta", dtype=getattr(torch, packed["dtype"].split(".")[1])
        )
    for kind in (list, tuple):
        if kind.__name__ in packed:
            return kind(_value(part, tensors) for part in packed[kind.__name__])
    if "plain" in packed:
        value = packed["plain"]
        if value is None or isinstance(value, bool | int | float | str):
            return value
    return type(str(packed.get("other", "object"))[:40], (), {})()


def _error(told: Sequence[str]) -> BaseException:
    """An exception of the name and text that a child told."""
    name, text = str(told[0])[:80], str(told[1])[:2000]
    kind = getattr(builtins, name, None)
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        kind = type(name if name.isidentifier() else "Error", (Exception,), {})
    try:
        return kind(text) if text else kind()
    except TypeError:  # UnicodeDecodeError and the like want more
        return RuntimeError(text)
