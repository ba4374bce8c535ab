"""Grading a class: hostile submissions gain nothing and harm nobody; nobody's marks are lost."""

import ast
import contextlib
import csv
import html
import inspect
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
from torch import nn

from gmlp.checks.core import Entry, _Judge, prediction, registry
from gmlp.checks.run import Outcome
from gmlp.checks.verify import code_cells
from gmlp.grading import grade
from gmlp.grading import sandbox as sandbox_module
from gmlp.grading.grade import Lesson, grade_class, grade_one, lesson_of
from gmlp.grading.sandbox import Containment, Limits, Lost, Sandbox, _unpacked, containment, pickled
from gmlp.grading.submissions import (
    MOST_BYTES,
    Submission,
    broken_cell,
    find_submissions,
    program,
)

ROOT = Path(__file__).parents[1]
LESSON = "02_causal_masking"

# Where GMLP_NEED_SANDBOX is set, its absence is a failure: see .ci/run.
needs_sandbox = pytest.mark.skipif(
    not containment().full and not os.environ.get("GMLP_NEED_SANDBOX"),
    reason=containment().sentence,
)

HEAD = "import torch\nfrom torch import Tensor, nn\n"
RIGHT = "def mask_weights(weight):\n    return weight.tril()\n"
ONE_OFF = "def mask_weights(weight):\n    return weight.tril(-1)\n"
RIGHT_LEAKS = """
def leaks(model, n, num_tokens):
    base = torch.zeros(n, n, dtype=torch.int64)
    rows = torch.cat([base, base + torch.eye(n, dtype=torch.int64)])
    logits = model(rows)
    moved = (logits[:n] != logits[n:]).any(-1)
    return bool(torch.where(torch.ones(n, n).tril(-1) > 0, moved, False).any())
"""


def student(*cells, name="anna"):
    return Submission(name, Path(f"{name}.ipynb"), "digest", cells)


HONEST = student(HEAD, RIGHT, RIGHT_LEAKS)
MISTAKEN = student(HEAD, ONE_OFF, RIGHT_LEAKS.replace("tril(-1)", "tril()"))


# ---------------------------------------------------------------- hostile code
#
# Each source attacks `mask_weights`. It gives a right answer only where the attack has brought it
# what it should not have, so that a point is a breach.

FORGE = """
import json, os, struct
import safetensors.torch
def forge(head, body=None, end=True):
    head = head if isinstance(head, bytes) else json.dumps(head).encode()
    body = safetensors.torch.save({}) if body is None else body
    message = head + b"\\n" + body
    for handle in range(3, 64):
        try:
            os.write(handle, struct.pack("<Q", len(message)) + message)
        except OSError:
            pass
    if end:
        os._exit(0)
"""

LIBC = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
"""


def body(*lines):
    return "def mask_weights(weight):\n" + "".join(f"    {line}\n" for line in lines)


def forged(reply, body="None"):
    return FORGE + f"def mask_weights(weight):\n    forge({reply}, {body})\n"


def breach(condition, before=""):
    """Right only if the condition holds; an error on the way to it is no breach."""
    return (
        f"{before}\ndef attack(weight):\n    import os, sys\n    return {condition}\n"
        "def mask_weights(weight):\n"
        "    try:\n        found = attack(weight)\n"
        "    except Exception as error:\n        found = print(repr(error))\n"
        "    return weight.tril() if found else weight\n"
    )


HOSTILE = {
    # The comparison.
    "patched comparisons": body(
        "torch.allclose = torch.equal = torch.isclose = lambda *a, **k: True",
        "torch.Tensor.__eq__ = torch.Tensor.allclose = lambda *a, **k: True",
        "return weight",
    ),
    "patched at the top level": "import torch as t\nt.allclose = t.equal = lambda *a, **k: True\n"
    + body("return t.add(weight, 0)"),
    "patched Tensor.tril": body(
        "torch.Tensor.tril = lambda self, k=0: self", "return weight.tril()"
    ),
    "equal to everything": """
class Same:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __getattr__(self, name): return self
    def __call__(self, *a, **k): return self
def mask_weights(weight): return Same()
""",
    "__torch_function__": """
class Same(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func.__name__ in ("eq", "equal", "isclose", "allclose"):
            return True
        return super().__torch_function__(func, types, args, kwargs or {})
def mask_weights(weight): return weight.as_subclass(Same)
""",
    "a class that lies": """
class Liar:
    __class__ = property(lambda self: torch.Tensor)
    shape = property(lambda self: (1, 1, 1))
def mask_weights(weight): return Liar()
""",
    "an int that lies": """
class Int(int):
    def __eq__(self, other): return True
    __hash__ = int.__hash__
def mask_weights(weight): return Int(1)
""",
    # Hooks.
    "patched builtins": body(
        "import builtins",
        "builtins.isinstance = lambda *a: True",
        "builtins.len = lambda *a: 0",
        "return weight",
    ),
    "import hook": body(
        "import sys",
        "class Hook:",
        "    def find_spec(self, *a): raise ImportError('no')",
        "sys.meta_path.insert(0, Hook())",
        "for name in [*sys.modules]:",
        "    if name.startswith(('safetensors', 'json')): del sys.modules[name]",
        "return weight",
    ),
    "AST and compile hooks": body(
        "import ast, builtins",
        "ast.parse = builtins.compile = builtins.exec = lambda *a, **k: None",
        "return weight",
    ),
    "trace hook": body(
        "import sys",
        "sys.settrace(lambda frame, *a: frame.f_locals.clear())",
        "sys.setprofile(lambda frame, *a: None)",
        "return weight",
    ),
    "a torch.py beside it": body(
        "import importlib, sys",
        "open('torch.py', 'w').write('def equal(*a): return True')",
        "sys.path.insert(0, '.')",
        "sys.modules.pop('torch')",
        "import torch",
        "return weight",
    ),
    "the worker patched": body(
        "import __main__, sys",
        "__main__.packed = lambda *a: {'state': 'right'}",
        "__main__.told = __main__.line_of = lambda *a: ''",
        "sys.modules['answer_run'].run = lambda *a: None",
        "return weight",
    ),
    "an atexit function and a thread": body(
        "import atexit, threading, time",
        "atexit.register(lambda: time.sleep(60))",
        "threading.Thread(target=time.sleep, args=(60,)).start()",
        "return weight",
    ),
    "no runs at all": body(
        "import sys",
        "frame = sys._getframe()",
        "while 'job' not in frame.f_locals: frame = frame.f_back",
        "frame.f_locals['job']['cases'].clear()",
        "frame.f_locals['replies'].clear()",
        "return weight",
    ),
    # Looking for what is expected.
    "expected values in memory": breach(
        "any(type(one) is torch.Tensor and one.shape == weight.shape and not one.triu(1).any() "
        "for one in gc.get_objects())",
        "import gc",
    ),
    "expected values in the frames above": breach(
        "any(word in repr({**f.f_locals, '__doc__': ''}) for f in frames(sys._getframe(2)) "
        "for word in ('expec' + 'ted', 'solu' + 'tion', 'miscon' + 'ception', 'tar' + 'get'))",
        "def frames(frame):\n    while frame:\n        yield frame\n        frame = frame.f_back",
    ),
    "other modules in memory": breach("any('gmlp.checks.' in name for name in sys.modules)"),
    "the lesson's checks imported": breach(
        "__import__('gmlp.checks.causal_masking').checks.causal_masking.EXERCISES"
    ),
    "the lesson's module imported": breach("__import__('gmlp.causal_masking')"),
    "the course imported from its place": breach(
        "sys.path.insert(0, '@ROOT@') or sys.modules.pop('gmlp', 1) and "
        "__import__('gmlp').CausalSGU"
    ),
    "solutions read": breach("open('@ROOT@/solutions/02_causal_masking.ipynb').read()"),
    "checks read": breach("open('@ROOT@/gmlp/checks/causal_masking.py').read()"),
    "solutions in the sandbox": breach(
        "any('EXERCISES' in open(p, errors='replace').read() for p in "
        "glob.glob('/course/**/*.py', recursive=True))",
        "import glob",
    ),
    "another submission read": breach("open('@FOLDER@/secret.txt').read()"),
    "a folder of the teacher listed": breach(
        "os.listdir('@FOLDER@') or os.listdir('@ROOT@/tests')"
    ),
    "the environment": breach(
        "'GMLP_SECRET' in os.environ or "
        "any(b'GMLP_SECRET' in open(p, 'rb').read() for p in glob.glob('/proc/*/environ'))",
        "import glob",
    ),
    "other processes": breach("len([p for p in os.listdir('/proc') if p.isdigit()]) > 1"),
    # Forged replies.
    "garbage in every file": FORGE
    + body(
        "for handle in range(3, 64):",
        "    try: os.write(handle, os.urandom(4000))",
        "    except OSError: pass",
        "return weight",
    ),
    "a verdict": forged("[{'state': 'right', 'points': 1}] * 3"),
    "a reply of another form": forged("{'mask_weights': 'right'}"),
    "a success": forged("[{'printed': '', 'changed': [], 'value': {'plain': True}}] * 3"),
    "an empty reply": forged("[]"),
    "a reply too short": forged("[{'printed': '', 'changed': [], 'value': {'plain': True}}]"),
    "a reply too long": forged("[{'printed': '', 'changed': [], 'value': {'plain': 1}}] * 9"),
    "a pickled reply": FORGE
    + body("import pickle", "class Evil:", "    def __reduce__(self):")
    + "            return os.system, ('touch @FOLDER@/written',)\n"
    + "    forge(pickle.dumps(Evil()), b'')\n",
    "a reply nested deeply": forged("b'[' * 900_000 + b']' * 900_000"),
    "a reply of a million lists": forged("b'[' + b'[],' * 12_000_000 + b'[]]'"),
    "a reply that never ends": FORGE
    + body("for h in range(3, 64):", "    try: os.write(h, b'\\xff' * 8)")
    + "        except OSError: pass\n    while True: pass\n",
    "an array of no numbers": forged(
        "[{'printed': '', 'changed': [], 'value': {'tensor': '', 'dtype': 'torch.float32',"
        " 'shape': [-1, 2**70]}}] * 3"
    ),
    "a type that is none": forged(
        "[{'printed': '', 'changed': [], 'value': {'tensor': '', 'dtype': 'torch.load',"
        " 'shape': ['x']}}] * 3"
    ),
    "gradients of no shape": FORGE
    + body(
        "value = {'tensor': 'v', 'dtype': 'torch.float32'}",
        "one = {'printed': '', 'changed': [], 'value': value, 'gradients': {'weight': True}}",
        "parts = {'v': weight.detach().contiguous()}",
        "for i in range(3): parts[f'{i}.gradient.weight'] = torch.zeros(())",
        "forge([one] * 3, safetensors.torch.save(parts))",
    ),
    "an exit that says well": forged(
        "[{'error': ['SystemExit', '0'], 'printed': '', 'changed': [], 'where': ''}] * 3"
    ),
    "a reply, and going on in secret": FORGE
    + body(
        "forge([{'error': ['E', ''], 'printed': '', 'changed': [], 'where': ''}], end=False)",
        "import time",
        "while True: time.sleep(1)",
    ),
    # Ending, and not ending.
    "os._exit": body("import os", "os._exit(0)"),
    "sys.exit": body("raise SystemExit(0)"),
    "an exception of its own": body("class X(BaseException): pass", "raise X"),
    "an exception that cannot be told": body(
        "class X(Exception):", "    def __str__(self): raise self", "raise X"
    ),
    "an error with the name of a diagnosis": body("class right(Exception): pass", "raise right"),
    "abort": body("import os", "os.abort()"),
    "segmentation fault": body("import ctypes", "ctypes.string_at(0)"),
    "endless loop": body("while True: pass"),
    "endless loop at the top level": "import itertools\nx = [1 for _ in itertools.count()]\n"
    + body("return x"),
    "deaf endless loop": body(
        "import signal, time",
        "for number in range(1, 65):",
        "    try: signal.signal(number, signal.SIG_IGN)",
        "    except (OSError, ValueError): pass",
        "while True:",
        "    try: time.sleep(100)",
        "    except BaseException: pass",
    ),
    "stopped": body("import os, signal", "os.kill(os.getpid(), signal.SIGSTOP)", "while 1: pass"),
    "infinite recursion": body("return mask_weights(weight)"),
    "recursion without a limit": body(
        "import sys",
        "sys.setrecursionlimit(2**31 - 1)",
        "def f(x): return f([x].__class__(map(f, [x])))",
        "return f(1)",
    ),
    # Using up.
    "fork bomb": body("import os", "while True:", "    try: os.fork()", "    except OSError: pass"),
    "memory hog": breach("bytearray(3 << 30)"),
    "memory hog in tensors": breach("[torch.empty(1 << 26) for _ in range(16)]"),
    "memory in no process": breach(
        "libc.memfd_create(b'', 0) >= 0 or libc.shmget(0, 1 << 30, 0o1777) >= 0", LIBC
    ),
    "disk hog": breach("[open(f'/tmp/{i}', 'wb').write(bytes(1 << 20)) for i in range(99)]"),
    "output flood": body(
        "import os, sys",
        "for _ in range(20_000):",
        "    print('x' * 1000)",
        "    sys.stderr.write('x' * 1000)",
        "    os.write(1, b'x' * 1000)",
        "return weight",
    ),
    "a daemon left behind": body(
        "import os, time",
        "if os.fork() == 0:",
        "    os.setsid()",
        "    if os.fork() == 0:",
        "        time.sleep(600)",
        "    os._exit(0)",
        "return weight",
    ),
    # Reaching out.
    "network": breach("socket.create_connection(('127.0.0.1', @PORT@), 1)", "import socket"),
    "network device": breach("[n for _, n in socket.if_nameindex() if n != 'lo']", "import socket"),
    "abstract socket": breach(
        "socket.socket(socket.AF_UNIX).connect('\\0gmlp-@PORT@') is None", "import socket"
    ),
    "written outside": breach("open('@FOLDER@/written', 'w').write('x')"),
    "written elsewhere": breach(
        "any(writes(place) for place in ('/', '/dev', '/dev/shm', '/usr', '/course', '/proc', "
        "'/var/tmp', sys.prefix, os.path.dirname(torch.__file__)))",
        "def writes(place):\n    try:\n        return open(place + '/x', 'w').write('x')\n"
        "    except OSError:\n        return False",
    ),
    "new user": breach("libc.unshare(0x10000000) == 0", LIBC),
    "new mounts": breach("libc.unshare(0x20000) == 0", LIBC),
    "new user by clone": breach(
        "libc.syscall({'x86_64': 56, 'aarch64': 220}[os.uname().machine], 0x10000011, 0, 0, 0, 0)"
        " >= 0",
        LIBC,
    ),
    "mount": breach("libc.mount(b'tmpfs', b'/tmp', b'tmpfs', 0, None) == 0", LIBC),
    "umount": breach("libc.umount2(b'/tmp', 2) == 0 or libc.umount2(b'/proc', 2) == 0", LIBC),
    "ptrace": breach("libc.ptrace(0, 0, 0, 0) == 0 or libc.ptrace(16, 1, 0, 0) == 0", LIBC),
    "another process's memory": breach("open('/proc/2/mem', 'rb').read(1)"),
    "setuid": breach("os.setuid(0) is None and os.getuid() == 0 or os.setuid(1) is None"),
    "chroot": breach("os.chroot('/tmp') is None"),
    "a program that raises rights": breach(
        "os.WEXITSTATUS(os.system('su -c true || mount -t tmpfs x /tmp')) == 0"
    ),
    "kill them all": body(
        "import os, signal",
        "for target in (-1, 0, os.getppid(), 1, 2, 3):",
        "    try: os.kill(target, signal.SIGKILL)",
        "    except OSError: pass",
        "return weight",
    ),
    # Answers.
    "huge tensor": body("return torch.zeros(1 << 24)"),
    "expanded tensor": body("return torch.zeros(1).expand(1 << 40)"),
    "meta tensor": body("return weight.to('meta')"),
    "sparse tensor": body("return weight.to_sparse()"),
    "quantized tensor": body(
        "return torch.quantize_per_tensor(weight.detach(), 0.1, 0, torch.quint8)"
    ),
    "complex tensor": body("return torch.complex(weight, weight)"),
    "nested tensor": body("return torch.nested.nested_tensor([weight[0], weight[0, :2]])"),
    "generator": body("yield weight"),
    "coroutine": "async " + body("return weight"),
    "a list in itself": body("a = []", "a.append(a)", "return a"),
    "nested tuples": body("a = ()", "for _ in range(5000): a = (a,)", "return a"),
    "very many": body("return [weight] * 10_000_000"),
    "half a character": body("print('\\ud800')", "return '\\ud800'"),
    "a number too long": body("return 10**400"),
    "text too long": body("return 'x' * 10**8"),
    "script": body("raise ValueError('</code><script>alert(1)</script>')"),
    "script in a name": body("raise type('<script>alert(1)</script>', (Exception,), {})"),
    # Cells.
    "an error at the top level": "weight = 1 / 0\nraise ValueError\n" + body("return weight"),
    "exit at the top level": "import sys\nx = sys.exit(0)\n" + body("return x"),
    "reads its own source": breach("'tril(' in open('/course/worker.py').read()"),
}
ENDLESS = {
    "a reply that never ends",
    "a reply, and going on in secret",
    "very many",
    "endless loop",
    "endless loop at the top level",
    "deaf endless loop",
    "stopped",
    "fork bomb",
}


@pytest.fixture(scope="module")
def lesson():
    return replace(lesson_of(ROOT, LESSON), exercises=("mask_weights", "leaks"))


@pytest.fixture(scope="module")
def sandbox(lesson):
    os.environ["GMLP_SECRET"] = "x"
    with Sandbox(lesson.modules) as sandbox:
        yield sandbox
    del os.environ["GMLP_SECRET"]


@pytest.fixture(scope="module")
def honest(sandbox, lesson):
    """Marks of honest submissions, from before anything hostile was run."""
    yield (marks := [grade_one(sandbox, lesson, one, 0) for one in (HONEST, MISTAKEN)])
    assert [grade_one(sandbox, lesson, one, 0) for one in (HONEST, MISTAKEN)] == marks


@pytest.fixture(scope="module")
def reachable(tmp_path_factory):
    """A folder and sockets of the teacher's, which a submission should not reach."""
    folder = tmp_path_factory.mktemp("teacher")
    folder.chmod(0o777)
    (folder / "secret.txt").write_text("x")
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as local:
        port = server.getsockname()[1]
        local.bind(f"\0gmlp-{port}")
        local.listen()
        yield {"@ROOT@": str(ROOT), "@FOLDER@": str(folder), "@PORT@": str(port)}
    assert sorted(path.name for path in folder.iterdir()) == ["secret.txt"]


def descendants(pid):
    """All processes below one."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            parents.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found, todo = set(), [pid]
    while todo:
        children = parents.get(todo.pop(), [])
        found.update(children)
        todo += children
    return found


AT_REST = 2  # bubblewrap's first process, and the worker that waits for jobs


def eventually(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


@needs_sandbox
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_submission_gains_nothing_and_harms_nobody(
    name, sandbox, lesson, honest, reachable, monkeypatch
):
    source = HOSTILE[name]
    for word, place in reachable.items():
        source = source.replace(word, place)
    if name in ENDLESS:
        monkeypatch.setattr(sandbox, "limits", Limits(seconds=2))
    started = time.monotonic()
    mark, beside = grade_one(sandbox, lesson, student(HEAD, source, RIGHT_LEAKS), 0)
    assert mark.points == 0
    assert mark.state in ("wrong", "raised", "lost")
    assert "could not be compared" not in mark.text
    assert "<script" not in mark.page
    assert time.monotonic() - started < 15
    assert beside == honest[0][1]  # an attack costs its own exercise only
    assert eventually(lambda: len(descendants(sandbox.process.pid)) == AT_REST), "a process is left"
    # Each honest one comes after an attack, and before the next.
    (after,) = grade_one(sandbox, replace(lesson, exercises=("mask_weights",)), HONEST, 0)
    assert after == honest[0][0]


@needs_sandbox
def test_honest_marks_are_those_of_the_notebook(honest):
    (right, wrong) = honest
    assert [(mark.state, mark.points) for mark in right] == [("right", 1), ("right", 1)]
    assert [mark.state for mark in wrong] == ["wrong", "wrong"]
    assert wrong[0].diagnosis == "diagonal hidden"
    assert wrong[1].diagnosis == "own position counts"


@needs_sandbox
def test_nothing_passes_from_one_answer_to_the_next(sandbox, lesson):
    leave = body(
        "import os, pathlib, socket, sys, threading, time",
        "for place in ('/tmp', '/dev/shm', '/', '/course', os.path.expanduser('~')):",
        "    try: pathlib.Path(place, 'left').write_text('x')",
        "    except OSError: pass",
        "os.environ['LEFT'] = torch.left = sys.left = 'x'",
        "torch.manual_seed(3)",
        "torch.set_default_dtype(torch.float64)",
        "if os.fork() == 0:",
        "    s = socket.socket(socket.AF_UNIX); s.bind('\\0left'); s.listen(); time.sleep(60)",
        "return weight",
    )
    find = breach(
        "any(os.path.exists(p + '/left') for p in ('/tmp', '/dev/shm', '', '/course'))"
        " or 'LEFT' in os.environ or hasattr(torch, 'left') or hasattr(sys, 'left')"
        " or torch.get_default_dtype() is torch.float64"
        " or socket.socket(socket.AF_UNIX).connect('\\0left') is None",
        "import socket",
    )
    for one in (leave, find, leave.replace("return weight", "os._exit(0)"), find):
        assert grade_one(sandbox, lesson, student(HEAD, one), 0)[0].points == 0


@needs_sandbox
def test_a_sandbox_that_was_ended_is_started_again_and_closing_leaves_nothing(lesson, honest):
    sandbox = Sandbox(lesson.modules)
    os.killpg(sandbox.process.pid, signal.SIGKILL)
    assert grade_one(sandbox, lesson, HONEST, 0) == honest[0]
    pids = {sandbox.process.pid, *descendants(sandbox.process.pid)}
    assert len(pids) > 1
    sandbox.close()
    assert eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    assert not Path(sandbox.folder.name).exists()


class Answering:
    """In the place of a sandbox: answers every job with the same outcomes."""

    def __init__(self, *outcomes):
        self.run = lambda *job: [*outcomes]


@pytest.mark.parametrize("value", [10**400, -(10**400), float("nan"), 3.5, "3", None])
def test_a_number_that_cannot_be_compared_costs_its_own_exercise_only(value, monkeypatch):
    exercise = prediction(
        "how_many", "xx", lambda: 3.0, because="", misconceptions=(), hints=("", "", "")
    )
    monkeypatch.setitem(registry(), "how_many", Entry(exercise))
    lesson = Lesson("xx", ("how_many",), {"how_many": 1.0}, (), {})
    one = student("def how_many():\n    return 3.0")
    for outcomes, points in ([Outcome(value)], 0), ([Outcome(3.0)], 1), ([Outcome(value)] * 2, 0):
        (mark,) = grade_one(Answering(*outcomes), lesson, one, 0)
        assert mark.points == points


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"\n",
        b"[",
        b"{}",
        b"null\n",
        b"[1]\n",
        b"[{}]\n",
        b'[{"undefined": 3}]\n',
        b"\xff" * 99,
    ],
)
def test_a_reply_that_is_none_is_a_lost_exercise(reply):
    with pytest.raises(Lost, match="cannot be read"):
        _unpacked(reply)


def test_where_nothing_contains_it_an_answer_runs_in_a_process_of_its_own(monkeypatch):
    """As on macOS and Windows: no forged points and no crash, though files are within reach."""
    monkeypatch.setattr(sandbox_module, "containment", lambda: Containment(False, "not here"))
    monkeypatch.setattr(sandbox_module, "START", 10.0)
    lesson = replace(lesson_of(ROOT, LESSON), exercises=("mask_weights",))
    endless = "def mask_weights(weight):\n    while True: pass\n"
    gone = "import os\ndef mask_weights(weight):\n    os._exit(0)\n"
    forged = "print('[]')\ndef mask_weights(weight):\n    print('[]')\n    return weight\n"
    with Sandbox(lesson.modules, Limits(seconds=1)) as plain:
        assert not plain.contained
        marks = [
            grade_one(plain, lesson, student(HEAD, code), 0)[0]
            for code in (RIGHT, ONE_OFF, gone, forged, endless)
        ]
    assert [mark.state for mark in marks] == ["right", "wrong", "lost", "wrong", "lost"]
    assert marks[1].diagnosis == "diagonal hidden"
    assert "did not end in time" in marks[4].text


# ---------------------------------------------------------------- notebooks


def notebook(*cells, **metadata):
    cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    return nbformat.writes(nbformat.v4.new_notebook(cells=cells, metadata=metadata))


def defined(name, *cells, given=()):
    """What the code cut out of a notebook defines, run as the sandbox runs it."""
    sys.path.insert(0, str(ROOT / "gmlp/grading"))
    try:
        from worker import define
    finally:
        sys.path.pop(0)
    parts = program(name, cells, given)
    return None if parts is None else define(parts, name)


GIVEN = code_cells(ROOT / f"exercises/{LESSON}.ipynb")
ANSWER = "def f(x):\n    return torch.add(x, 1)\n"

SAME = {
    "as it was": [HEAD, ANSWER],
    "cells moved": [ANSWER, HEAD],
    "in one cell": [HEAD + ANSWER],
    "cells added": ["raise ValueError", HEAD, "while True: pass", ANSWER, "1 / 0"],
    "import cell deleted": [ANSWER],
    "import within": ["def f(x):\n    import torch\n    return torch.add(x, 1)\n"],
    "own import": ["import torch as t", "def f(x):\n    return t.add(x, 1)\n"],
    "star import": ["from torch import *", "def f(x):\n    return add(x, 1)\n"],
    "an import that is missing": ["import no_such_module, torch\nimport torch\n", ANSWER],
    "helper": ["def g(x):\n    return torch.add(x, 1)", "def f(x):\n    return g(x)"],
    "helper below": ["def f(x):\n    return g(x)", "def g(x):\n    return torch.add(x, 1)"],
    "helper of a helper": [
        "ONE = 1",
        "def h(x):\n    return x + ONE",
        "class G:\n    def call(self, x):\n        return h(x)",
        "def f(x):\n    return G().call(x)",
    ],
    "helper in an if": [
        "if True:\n    def g(x):\n        return x + 1\n",
        "def f(x):\n    return g(x)",
    ],
    "helper in a try": [
        "try:\n    g = abs\nexcept E:\n    g = 0",
        "def f(x):\n    return g(x) + 1",
    ],
    "a table filled later": ["t = {}", "t[1] = 1", "def f(x):\n    return x + t[1]"],
    "a table filled in a loop": [
        "t = []\nfor i in [1]:\n    t = t + [i]",
        "def f(x): return x + t[0]",
    ],
    "lambda": ["f = lambda x: x + 1"],
    "annotated": ["from typing import Any\nf: Any = lambda x: x + 1"],
    "two names": ["f = g = lambda x: x + 1"],
    "decorated": ["import functools", "@functools.cache\ndef f(x):\n    return x + 1"],
    "on one line": ["import torch; one = 1; f = lambda x: torch.add(x, one)"],
    "defined twice": ["def f(x):\n    return 0", "def f(x):\n    return x + 1"],
    "an unfinished draft": ["def f(x):\n    return x +", ANSWER],
    "scratch with the name of an argument": [ANSWER, "x = f(3) + nothing", "x.y()"],
    "a failing line above": ["one = 1\none = nothing", "def f(x):\n    return x + one"],
    "checks that are not there": [ANSWER, "from gmlp.checks import check\ncheck(f)"],
    "annotations of names that are not there": [
        "from __future__ import annotations",
        "def f(x: Tensr) -> Nothing:\n    return x + 1",
    ],
    "cell magic": ["%%time\n" + ANSWER],
    "line magics": ["%matplotlib inline\n!pip install x\n" + ANSWER + "\n%timeit f(1)"],
    "magics assigned": ["files = !ls\nt = %timeit -o f(1)\n" + ANSWER],
    "questions": [ANSWER + "\nf?\ntorch.add??\n?f"],
    "a remainder at the start of a line": ["def f(x):\n    return (x + 1\n        % 100)"],
    "a magic in a text": ['def f(x):\n    """\n%time\n    """\n    return x + 1'],
    "Windows lines": ["def f(x):\r\n    return x + 1\r\n"],
    "tabs": ["def f(x):\n\treturn x + 1"],
    "Unicode": ["def f(x):\n    β = 1\n    return x + β  # ä"],
}


@pytest.mark.parametrize("name", SAME)
def test_an_answer_is_found_however_the_notebook_was_rearranged(name):
    assert defined("f", *SAME[name], given=["import torch", "x = 1 / 0"])(1) == 2


@pytest.mark.parametrize(
    "cells",
    [
        [],
        [HEAD],
        ["g = 1"],
        ["def f(x) return x"],
        ["check(f)"],
        ["# def f(x): pass"],
        ["def g():\n    def f(x): return 1"],
        ["x = '''\ndef f(x): return 1\n'''"],
        ["f(" * 5000],
        ["-" * 100_000 + "f"],
        ["f = a" + ".b" * 90_000],
        ["f = '\ud800'"],
        ["f\0"],
    ],
)
def test_a_notebook_without_the_answer_has_none(cells):
    assert program("f", cells, GIVEN) is None


def test_what_the_notebook_gave_is_taken_only_where_it_is_missing():
    given = ["import torch", "def helper(x):\n    return 1\n"]
    answer = "def f(x):\n    return helper(x)\n"
    assert defined("f", answer, given=given)(5) == 1
    assert defined("f", "def helper(x):\n    return 2", answer, given=given)(5) == 2
    assert defined("f", answer, given=[]).__name__ == "f"


def test_an_error_names_the_line_that_the_student_sees():
    (part,) = program("f", ["a = 1\n%time\n\ndef f(x):\n    return no\n\nb = 2"], [])
    assert part.split("\n") == ["", "", "", "def f(x):", "    return no", "", ""]
    assert broken_cell("f", ["x", "\ndef f(x)\n    return"]) == (
        "SyntaxError: expected ':', line 2 of your code"
    )
    assert broken_cell("f", ["def g(x)", "def f(x): pass"]) == ""


def test_long_notebooks_are_cut_in_little_time():
    started = time.monotonic()
    chain = "\n".join(f"a{i}=a{i + 1}" for i in range(15_000)) + "\ndef a15000(): pass\n"
    again = "a0 = 1\n" * 25_000
    parts = program("a0", [chain, again], [])
    assert sum(map(len, parts)) < 500_000
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("colab", [True, False])
def test_metadata_of_colab_and_vs_code_is_not_looked_at(tmp_path, colab):
    path = tmp_path / "anna.ipynb"
    found = json.loads(notebook(HEAD, ANSWER, colab={"provenance": []}, accelerator="GPU"))
    for number, cell in enumerate(found["cells"]):
        if colab:
            cell["id"], cell["metadata"] = f"x{number}", {"id": "x", "outputId": "y", "cellView": 1}
            assert isinstance(cell["source"], list)
        else:
            del cell["id"], cell["metadata"], cell["execution_count"], cell["outputs"]
            cell["source"] = "".join(cell["source"])
    found["cells"].append({"cell_type": "markdown", "source": ["def f(x)"]})
    path.write_text(json.dumps(found))
    (one,) = find_submissions(tmp_path, ["f"])
    assert (one.student, one.problem, one.cells) == ("anna", "", (HEAD, ANSWER))


BAD_FILES = {
    "empty": b"",
    "not JSON": b"hello",
    "binary": bytes(range(256)) * 9,
    "a list": b"[]",
    "a number": b"3",
    "no cells": b"{}",
    "cells that are none": b'{"cells": 3}',
    "a cell that is none": b'{"cells": [3]}',
    "a cell without source": b'{"cells": [{"cell_type": "code"}]}',
    "source that is a number": b'{"cells": [{"cell_type": "code", "source": 3}]}',
    "source of numbers": b'{"cells": [{"cell_type": "code", "source": [3]}]}',
    "nested deeply": b"[" * 200_000,
    "nested deeply in it": b'{"cells":' + b'{"a":' * 200_000 + b"1" + b"}" * 200_001,
    "a number without end": b'{"cells": ' + b"9" * 100_000 + b"}",
    "much code": json.dumps(
        {"cells": [{"cell_type": "code", "source": "x = 1\n" * 99_999}]}
    ).encode(),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_is_no_notebook_is_listed_with_its_problem(name, tmp_path):
    (tmp_path / "anna.ipynb").write_bytes(BAD_FILES[name])
    (one,) = find_submissions(tmp_path, ["f"])
    assert one.student == "anna"
    assert one.problem
    assert one.cells == ()


def test_links_pipes_folders_and_huge_files_are_not_read(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.ipynb").write_text(notebook(ANSWER))
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "link.ipynb").symlink_to(outside / "secret.ipynb")
    (folder / "loop.ipynb").symlink_to("loop.ipynb")
    (folder / "linked").symlink_to(outside)
    (folder / "folder.ipynb").mkdir()
    os.mkfifo(folder / "pipe.ipynb")
    (folder / "nothing").mkdir()
    (folder / "nothing" / "answer.docx").touch()
    with (folder / "huge.ipynb").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with (folder / "sparse.ipynb").open("wb") as file:
        file.truncate(1 << 40)
    found = {one.student: one for one in find_submissions(folder, ["f"])}
    assert all(one.problem and not one.cells for one in found.values())
    wanted = {"link", "loop", "linked", "folder", "pipe", "nothing", "huge", "sparse"}
    assert {student.removesuffix(".ipynb") for student in found} == wanted
    assert len(found) == len(wanted)
    assert "TB" in found["sparse"].problem or "MB" in found["sparse"].problem


def test_of_several_notebooks_the_one_with_most_exercises_counts(tmp_path):
    for path, text in {
        "anna/02/a.ipynb": notebook("x = 1"),
        "anna/02/b.ipynb": notebook(RIGHT, RIGHT_LEAKS),
        "anna/02/c.ipynb": "damaged",
        "anna/02/.ipynb_checkpoints/b.ipynb": notebook(RIGHT, RIGHT_LEAKS, RIGHT),
        "ben.ipynb": notebook(RIGHT),
        ".hidden/x.txt": "",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    anna, ben = find_submissions(tmp_path, ["mask_weights", "leaks"])
    assert (anna.student, anna.path.name, ben.student) == ("anna", "b.ipynb", "ben")


def test_a_folder_without_notebooks_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no notebook"):
        find_submissions(tmp_path, [])
    with pytest.raises(ValueError, match="not a folder"):
        find_submissions(tmp_path / "missing", [])


# ---------------------------------------------------------------- a class

ALL_POINTS = sum(lesson_of(ROOT, LESSON).points.values())
CLASS = {  # by name of the file: the notebook, and the points that it should get
    "anna.ipynb": (notebook(HEAD, RIGHT, RIGHT_LEAKS), 2),
    "ben/02/02_causal_masking.ipynb": (notebook(HEAD, ONE_OFF, RIGHT_LEAKS), 1),
    "ben/02/other.ipynb": (notebook("x = 1"), None),
    "caro.ipynb": ((ROOT / f"exercises/{LESSON}.ipynb").read_text(encoding="utf-8"), 0),
    "dan.ipynb": ((ROOT / f"solutions/{LESSON}.ipynb").read_text(encoding="utf-8"), ALL_POINTS),
    "other lesson.ipynb": ((ROOT / "solutions/03_residual_blocks.ipynb").read_text("utf-8"), 0),
    "empty.ipynb": (notebook(), 0),
    "damaged.ipynb": ("[" * 200_000, 0),
    "syntax.ipynb": (notebook(HEAD, "def mask_weights(weight)\n    return 1", RIGHT_LEAKS), 1),
    "crash.ipynb": (notebook(HEAD, RIGHT, "def leaks(*a):\n    import os\n    os._exit(0)"), 1),
    "forged.ipynb": (notebook(HEAD, HOSTILE["an empty reply"], RIGHT_LEAKS), 1),
    "script.ipynb": (notebook(HEAD, HOSTILE["script"]), 0),
    "name.ipynb": (notebook(HEAD, HOSTILE["script in a name"]), 0),
    "half.ipynb": (notebook(HEAD, HOSTILE["half a character"]), 0),
    "long number.ipynb": (notebook(HEAD, "def leaks(m, n, v):\n    return 10**400"), 0),
    # Names.
    "=cmd|' /C calc'!A0.ipynb": (notebook(HEAD, RIGHT), 1),
    "@SUM(A1).ipynb": (notebook(HEAD, RIGHT), 1),
    " =1+1.ipynb": (notebook(HEAD, RIGHT), 1),
    'new\nline,"quoted".ipynb': (notebook(HEAD, RIGHT), 1),
    "<img src=x onerror=alert(1)>.ipynb": (notebook(HEAD, ONE_OFF), 0),
    "..ipynb": (notebook(HEAD, RIGHT), 1),
    "...ipynb": (notebook(HEAD, RIGHT), 1),
    "a b.ipynb": (notebook(HEAD, RIGHT), 1),
    "a-b.ipynb": (notebook(HEAD, ONE_OFF), 0),
    "ä" * 100 + ".ipynb": (notebook(HEAD, RIGHT), 1),
    os.fsdecode(b"\xff.ipynb"): (notebook(HEAD, RIGHT), 1),
}


@pytest.fixture
def shared(sandbox, monkeypatch):
    """One sandbox for every class that is graded: to start one takes seconds."""
    monkeypatch.setattr(grade, "Sandbox", lambda *a: contextlib.nullcontext(sandbox))


def hand_in(folder, submissions):
    for name, (text, _) in submissions.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def scores(out):
    with (out / "grades.csv").open(encoding="utf-8", newline="") as file:
        return [(row["student"], row["score"]) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """A class, graded once: its folder, what was written, and the summary."""
    folder, out = tmp_path_factory.mktemp("class"), tmp_path_factory.mktemp("out")
    hand_in(folder, CLASS)
    return folder, out, grade_class(ROOT, LESSON, folder, out)


@needs_sandbox
def test_every_student_of_a_class_gets_a_row_with_the_right_score(graded):
    _, out, summary = graded
    expected = {
        (name.split("/")[0] if "/" in name else name.removesuffix(".ipynb")): points
        for name, (_, points) in CLASS.items()
        if points is not None
    }
    got = dict(zip(sorted(expected), [float(score) for _, score in scores(out)], strict=True))
    assert got == expected
    assert summary["students"] == len(expected)
    assert sum(summary["scores"].values()) == len(expected)
    assert summary["states"]["mask_weights"]["right"] > 5
    known = {(m["exercise"], m["diagnosis"]): m["students"] for m in summary["misconceptions"]}
    assert known["mask_weights", "diagonal hidden"] == 3
    assert summary["states"]["leaks"]["lost"] >= 1
    page = (out / "summary.html").read_text("utf-8")
    assert "mask_weights: diagonal hidden" in page


@needs_sandbox
def test_the_table_holds_no_formula(graded):
    _, out, _ = graded
    text = (out / "grades.csv").read_text(encoding="utf-8")
    assert text.count("\n") == len(scores(out)) + 1
    for row in csv.reader(text.splitlines()):
        for cell in row:
            assert not re.match(r"\s*[=+@-]", cell), cell
    remarks = {row["student"]: row["remark"] for row in csv.DictReader(text.splitlines())}
    assert remarks["damaged"] == "it is not a notebook, or a damaged one"
    assert remarks["anna"] == ""


@needs_sandbox
def test_feedback_is_a_page_for_each_student_and_runs_no_script(graded):
    _, out, summary = graded
    pages = [path.read_text("utf-8") for path in (out / "feedback").iterdir()]
    assert len(pages) == summary["students"]
    assert sorted(path.name for path in out.iterdir()) == [
        "feedback",
        "grades.csv",
        "marks.jsonl",
        "summary.html",
    ]
    for page in [*pages, (out / "summary.html").read_text("utf-8")]:
        assert "<script" not in page
        assert "<img" not in page
        assert not re.search(r"<[^>]*\bon\w+=", page)
        page.encode()
    (ben,) = (page for page in pages if ">ben:" in page)
    assert f"1 of {ALL_POINTS:g} points" in ben
    assert "Your mask hides the diagonal" in ben
    assert "<svg" in ben
    (one,) = (page for page in pages if "alert(1)" in page and ">script:" in page)
    assert html.escape("</code><script>alert(1)</script>") in one
    (crash,) = (page for page in pages if ">crash:" in page)
    assert "its process ended without an answer" in crash


@needs_sandbox
def test_two_jobs_find_what_one_finds(graded, tmp_path):
    folder, out, summary = graded
    assert grade_class(ROOT, LESSON, folder, tmp_path, jobs=2) == summary
    written = [path.relative_to(out) for path in out.rglob("*.*") if path.suffix != ".jsonl"]
    assert len(written) > 20
    for path in written:
        assert (tmp_path / path).read_bytes() == (out / path).read_bytes(), path
    lines = [sorted((place / "marks.jsonl").read_text().splitlines()) for place in (out, tmp_path)]
    assert lines[0] == lines[1]


@needs_sandbox
def test_another_seed_gives_the_same_scores_and_the_same_has_nothing_to_do(
    graded, tmp_path, shared
):
    folder, out, summary = graded
    again: list[str] = []
    assert (
        grade_class(ROOT, LESSON, folder, out, on_student=lambda name, number: again.append(name))
        == summary
    )
    assert again == []
    grade_class(ROOT, LESSON, folder, tmp_path, seed=1)
    assert scores(tmp_path) == scores(out)


GRADE = """
import sys
from pathlib import Path
from gmlp.grading.grade import grade_class
root, lesson, folder, out = sys.argv[1:]
grade_class(Path(root), lesson, Path(folder), Path(out),
            on_student=lambda name, number: print(name, flush=True))
"""


@needs_sandbox
def test_what_is_graded_stays_graded_when_the_grader_is_killed(tmp_path, shared):
    folder, out = tmp_path / "in", tmp_path / "out"
    slow = "import time\nx = time.sleep(0.3)\ndef mask_weights(weight):\n    return x"
    students = [f"{i}.ipynb" for i in range(6)]
    hand_in(folder, {name: (notebook(HEAD, slow), 0) for name in students})
    command = [sys.executable, "-c", GRADE, ROOT, LESSON, folder, out]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert [process.stdout.readline() for _ in range(2)] == ["0\n", "1\n"]
    below = descendants(process.pid)
    process.kill()
    process.communicate()
    assert eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below))
    with (out / "marks.jsonl").open("a") as file:
        file.write('{"key": "half a li')  # the moment at which it may also be killed
    noted = (out / "marks.jsonl").read_text().count("\n")
    assert noted >= 2
    again: list[str] = []
    for _ in range(2):
        grade_class(ROOT, LESSON, folder, out, on_student=lambda name, number: again.append(name))
        assert len(again) == len(students) - noted
    marks = []
    for line in (out / "marks.jsonl").read_text().splitlines():
        try:
            marks.append(json.loads(line))
        except ValueError:
            assert line == '{"key": "half a li'
    assert [one["student"] for one in marks] == [str(i) for i in range(6)]
    assert len({one["key"] for one in marks}) == len(students)


@needs_sandbox
def test_a_changed_submission_is_graded_anew_and_no_other(tmp_path, shared):
    hand_in(tmp_path / "in", {name: CLASS[name] for name in ("anna.ipynb", "a-b.ipynb")})
    again: list[str] = []
    for text in (None, RIGHT):
        if text:
            (tmp_path / "in/a-b.ipynb").write_text(notebook(HEAD, RIGHT, RIGHT_LEAKS))
        grade_class(
            ROOT,
            LESSON,
            tmp_path / "in",
            tmp_path / "out",
            on_student=lambda name, number: again.append(name),
        )
    assert again == ["a-b", "anna", "a-b"]
    assert scores(tmp_path / "out") == [("a-b", "2"), ("anna", "2")]


# ---------------------------------------------------------------- every exercise


def codes_of(code):
    """The bytecode of a function, class, method or module, and of the functions in it."""
    if isinstance(code, nn.Module):
        code = type(code)
    if isinstance(code, type):
        return [one for part in vars(code).values() for one in codes_of(part)]
    if not inspect.isfunction(code := inspect.unwrap(code)):
        return []
    found, todo = [], [code.__code__]
    while todo:
        found.append(todo.pop())
        inner = filter(inspect.iscode, found[-1].co_consts)
        todo += [one for one in inner if not one.co_name.startswith("<")]  # [x.sum() for x in y]
    return [one.co_code for one in found]


EVERY = list(registry())


@pytest.mark.parametrize("name", EVERY)
def test_no_right_answer_is_sent_into_the_sandbox(name):
    exercise = registry()[name].exercise
    one = _Judge(exercise, 0)
    payload = pickled({"cases": one.cases, "use": exercise.use, "names": one.names})
    for code in (exercise.solution, *exercise.alternatives):
        for bytecode in codes_of(code):
            assert bytecode not in payload, code
    lesson = lesson_of(ROOT, exercise.lesson)
    for code in (exercise.solution, *exercise.alternatives):
        try:
            source = inspect.getsource(code)
        except (OSError, TypeError):
            continue
        for path, text in lesson.modules.items():
            assert source not in text, path


@pytest.fixture(scope="module")
def any_sandbox():
    with Sandbox({}) as sandbox:
        yield sandbox


@needs_sandbox
@pytest.mark.parametrize("name", EVERY)
def test_the_solution_is_right_in_the_sandbox_too(name, any_sandbox):
    exercise = registry()[name].exercise
    lesson = replace(lesson_of(ROOT, exercise.lesson), exercises=(name,))
    for path, text in lesson.modules.items():  # children import what lies there when they run
        place = Path(any_sandbox.folder.name, path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    for kind, state in (("solutions", "right"), ("exercises", "not attempted")):
        cells = code_cells(ROOT / f"{kind}/{exercise.lesson}.ipynb")
        (mark,) = grade_one(any_sandbox, lesson, student(*cells), 1)
        assert (mark.state, mark.diagnosis) == (state, None), mark.text


@needs_sandbox
@pytest.mark.parametrize("name", [name for name in EVERY if name in ("mask_weights", "leaks")])
def test_a_mistake_has_the_same_diagnosis_in_the_sandbox(name, sandbox):
    exercise = registry()[name].exercise
    for known in exercise.misconceptions:
        try:
            source = inspect.getsource(known.wrong_implementation)
        except OSError:
            continue
        if not source.startswith("def"):
            continue
        tree = ast.parse(source)
        tree.body[0].name = name
        module = inspect.getsource(sys.modules[known.wrong_implementation.__module__])
        module = "\n".join(
            ast.unparse(node)
            for node in ast.parse(module).body
            if isinstance(node, ast.FunctionDef)
        )
        lesson = replace(lesson_of(ROOT, LESSON), exercises=(name,))
        cells = ("from typing import Any, Callable", HEAD, module, ast.unparse(tree))
        (mark,) = grade_one(sandbox, lesson, student(*cells), 0)
        assert (mark.state, mark.diagnosis) == ("wrong", known.name)
