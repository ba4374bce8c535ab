"""Runs inside the sandbox: executes a learner's code on given inputs and sends back what it did.

This file is started as a program, without the package around it. It holds no expected value and no
other learner's work, and takes no decision: what leaves it are numbers, which its parent compares.

The first process imports PyTorch once. For every job that it is sent it forks a child, which closes
the doors behind it, runs the code and answers once. Where there are no doors to close, as on macOS
and Windows, `worker.py once` does a single job, in a process of its own.
"""

import builtins
import ctypes
import json
import os
import platform
import select
import signal
import socket
import struct
import sys
import traceback
from typing import Any

if os.name == "posix":
    import resource

NEW_USER = 0x10000000
NAMESPACES = 0x20000000 | 0x00020000 | 0x08000000 | 0x40000000  # pid, mount, ipc, network
LIBC = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None


def receive(channel: socket.socket, most: int = 1 << 30) -> bytes:
    """One message: eight bytes of length, then so many."""

    def exactly(count: int) -> bytes:
        parts = b""
        while len(parts) < count:
            part = channel.recv(min(1 << 20, count - len(parts)))
            if not part:
                raise EOFError
            parts += part
        return parts

    (length,) = struct.unpack("<Q", exactly(8))
    if length > most:
        raise ValueError(f"a message of {length} bytes; at most {most} are read")
    return exactly(length)


def send(channel: socket.socket, message: bytes) -> None:
    channel.sendall(struct.pack("<Q", len(message)) + message)


def system(call: str, *arguments: Any) -> None:
    """A call of the C library; raises OSError with its name if it fails."""
    if getattr(LIBC, call)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")


def serve() -> None:
    """Fork a child for every job; a job is one byte with the socket on which to talk to it."""
    control = socket.socket(fileno=int(sys.argv[1]))  # where jobs arrive
    system("prctl", 4, 0, 0, 0, 0)  # PR_SET_DUMPABLE: nobody reads this process's memory
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are reaped by the kernel
    send(control, b"ready")
    while True:
        message, handles, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            return
        if os.fork() == 0:
            control.close()
            try:
                jail(socket.socket(fileno=handles[0]))
            except BaseException:
                traceback.print_exc()  # of ours: a learner's code has no stderr
            finally:
                os._exit(0)
        os.close(handles[0])


def jail(channel: socket.socket) -> None:
    """Enter namespaces of one's own, give up every right, and work."""
    job = receive(channel)
    head, _, payload = job.partition(b"\n")
    limits = json.loads(head)
    root = limits["uid"] is not None
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    system("prctl", 1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG: no orphan outlives the first
    system("prctl", 4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: /proc/self may be written to again
    uid, gid = os.geteuid(), os.getegid()
    system("unshare", NAMESPACES if root else NAMESPACES | NEW_USER)
    if not root:  # maps itself to itself, so that files stay readable
        write("/proc/self/setgroups", "deny")
        write("/proc/self/uid_map", f"{uid} {uid} 1")
        write("/proc/self/gid_map", f"{gid} {gid} 1")
    child = os.fork()  # the first process of its own: when it ends, so does all that it started
    if child:
        watch(child, channel, limits["seconds"])
        os._exit(0)
    write("/proc/self/oom_score_adj", "1000")  # if memory runs out, this one goes first
    with open("/proc/self/statm") as file:  # what PyTorch has mapped is not the learner's
        memory = limits["memory"] + int(file.read().split()[0]) * resource.getpagesize()
    none = ctypes.c_char_p(None)
    system("mount", none, b"/", none, ctypes.c_ulong(0x44000), none)  # private, recursively
    scratch = f"size={limits['disk']},mode=1777".encode()
    system("mount", b"tmpfs", b"/tmp", b"tmpfs", ctypes.c_ulong(6), scratch)
    try:
        system("mount", b"proc", b"/proc", b"proc", ctypes.c_ulong(14), none)
    except OSError:  # then nobody's processes are to be seen there
        system("mount", b"tmpfs", b"/proc", b"tmpfs", ctypes.c_ulong(15), b"size=4k")
    os.chdir("/tmp")
    os.environ["HOME"] = "/tmp"
    for name, value in (
        ("RLIMIT_AS", memory),
        ("RLIMIT_CPU", limits["cpu"]),
        ("RLIMIT_FSIZE", limits["disk"]),
        ("RLIMIT_NPROC", limits["processes"]),
        ("RLIMIT_NOFILE", 64),
        ("RLIMIT_CORE", 0),
    ):
        resource.setrlimit(getattr(resource, name), (value, value))
    if root:
        os.setgroups([])
        os.setresgid(limits["uid"], limits["uid"], limits["uid"])
        os.setresuid(limits["uid"], limits["uid"], limits["uid"])
    drop_rights()
    refuse_calls()
    be_silent()
    send(channel, work(payload))


def be_silent() -> None:
    """Nothing to read from, and nobody who listens."""
    silence = os.open(os.devnull, os.O_RDWR)
    for handle in (0, 1, 2):
        os.dup2(silence, handle)


def once() -> None:
    """One job from standard input, its reply to standard output."""
    payload = sys.stdin.buffer.read()
    with os.fdopen(os.dup(1), "wb") as reply:
        be_silent()
        reply.write(work(payload))
    os._exit(0)  # whatever else was started


def watch(child: int, channel: socket.socket, seconds: float) -> None:
    """Wait for the end of the child, of its time, or of the grader's patience; then end the rest.

    Whoever has sent an answer and goes on in secret ends here too.
    """
    events = select.poll()
    events.register(os.pidfd_open(child), select.POLLIN)
    events.register(channel, select.POLLRDHUP)
    events.poll(1000 * seconds)
    os.kill(child, signal.SIGKILL)  # not yet waited for, so the number is still its own
    os.waitpid(child, 0)


def drop_rights() -> None:
    """No capability, and none to be had by starting a program either."""
    system("prctl", 38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    system("capset", ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)()))


# Calls of the kernel that no exercise needs: they make namespaces, look into processes, or take
# memory that no limit counts. Their numbers on x86-64 and on 64-bit ARM.
REFUSED = {
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "perf_event_open": (298, 241),
    "memfd_create": (319, 279),
    "shmget": (29, 194),
    "io_uring_setup": (425, 425),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "memfd_secret": (447, 447),
}
MACHINES = {"x86_64": (0, 0xC000003E, 56), "aarch64": (1, 0xC00000B7, 220)}  # column, mark, clone
CLONE_NEW = 0x7E020000  # the flags that ask for a namespace


def refuse_calls() -> None:
    """A seccomp filter; on other machines than the two, there is none."""
    if platform.machine() not in MACHINES:
        return
    column, mark, clone = MACHINES[platform.machine()]
    load, equal, at_least, any_bit, end = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, refuse, unknown, kill = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000
    # Each: code, steps to skip if true, if false, operand. From the kernel's seccomp_data it reads
    # the machine at byte 4, the call at 0, and the low half of the first argument at 16.
    steps = [(load, 0, 0, 4), (equal, 1, 0, mark), (end, 0, 0, kill), (load, 0, 0, 0)]
    steps += [(at_least, 0, 1, 1 << 30), (end, 0, 0, refuse)]  # x86-64's other set of numbers
    for numbers in REFUSED.values():
        steps += [(equal, 0, 1, numbers[column]), (end, 0, 0, refuse)]
    steps += [(equal, 0, 1, 435), (end, 0, 0, unknown)]  # clone3: libraries then take clone
    steps += [(equal, 0, 3, clone), (load, 0, 0, 16), (any_bit, 0, 1, CLONE_NEW)]
    steps += [(end, 0, 0, refuse), (end, 0, 0, allow)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *step) for step in steps))
    program = struct.pack("@HP", len(steps), ctypes.addressof(code))
    system("prctl", 22, 2, program, 0, 0)  # PR_SET_SECCOMP


def write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def work(payload: bytes) -> bytes:
    """Run the code of one exercise on every case; the reply."""
    import pickle

    job = pickle.loads(payload)  # our own parent's
    replies: list[dict[str, Any]] = []
    tensors: dict[str, Any] = {}
    try:
        answer = define(job["cells"], job["name"])
    except BaseException as error:
        replies.append({"undefined": told(error), "line": line_of(error, job["cells"])})
    else:
        for number, inputs in enumerate(job["cases"]):
            try:
                how = job["seed"], job["use"], job["grad"]
                outcome = run(answer, job["names"], inputs, *how)
                replies.append(packed(outcome, tensors, f"{number}"))
                if isinstance(outcome.error, NotImplementedError):
                    break
            except BaseException as error:  # not an Exception, or an answer that cannot be sent
                line = line_of(error, job["cells"])
                replies.append({"printed": "", "changed": [], "error": told(error), "where": line})
    import safetensors.torch

    return json.dumps(replies).encode() + b"\n" + safetensors.torch.save(tensors)


def define(cells: list[str], name: str) -> Any:
    """What the cells define under the name of the exercise.

    Each statement runs by itself, whatever became of the one before it.
    """
    import ast
    import codeop
    import linecache

    space: dict[str, Any] = {"__name__": "notebook", "__builtins__": builtins}
    module = type(sys)("notebook")
    module.__dict__.update(space)
    sys.modules["notebook"] = module
    compiled = codeop.Compile()  # remembers `from __future__ import ...`, as Jupyter does
    trouble: BaseException = NameError(f"name {name!r} is not defined")
    for number, cell in enumerate(cells, 1):
        file = f"cell {number}"
        linecache.cache[file] = (len(cell), None, cell.splitlines(keepends=True), file)
        for statement in ast.parse(cell, file).body:
            try:
                code: Any = ast.Module([statement], [])
                exec(compiled(code, file, "exec"), module.__dict__)
            except BaseException as error:
                trouble = error
    if name not in module.__dict__:
        raise trouble
    return module.__dict__[name]


def told(error: BaseException) -> list[str]:
    return [type(error).__name__, str(error)[:2000]]


def line_of(error: BaseException, cells: list[str]) -> str:
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.startswith("cell "):
            return f"Line {frame.lineno} of your code: `{frame.line}`"
    return ""


def packed(outcome: Any, tensors: dict[str, Any], key: str) -> dict[str, Any]:
    """An outcome as plain data; its tensors go to ``tensors``, named from ``key``."""

    def plain(value: Any, key: str, depth: int = 0) -> Any:
        import torch

        if isinstance(value, torch.Tensor):
            facts = {
                "tensor": key,
                "dtype": str(value.dtype),
                "device": str(value.device),
                "layout": str(value.layout),
                "shape": list(value.shape),
                "grad": value.requires_grad,
            }
            if value.layout is torch.strided and value.device.type == "cpu":
                if value.numel() > 1 << 20:
                    raise ValueError(f"a tensor of {value.numel()} numbers is too large")
                tensors[key] = value.detach().clone().contiguous()
            return facts
        if isinstance(value, list | tuple) and depth < 3 and len(value) < 100:
            kind = "list" if isinstance(value, list) else "tuple"
            parts = [plain(one, f"{key}.{i}", depth + 1) for i, one in enumerate(value)]
            return {kind: parts}
        if value is None or isinstance(value, bool | int | float | str):
            return {"plain": value if not isinstance(value, str) else value[:10_000]}
        if type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0:
            number = value.item()
            return {"plain": number} if not isinstance(number, bool) else {"other": "numpy.bool"}
        return {"other": type(value).__name__}

    reply: dict[str, Any] = {"printed": outcome.printed, "changed": list(outcome.changed)}
    if outcome.error is not None:
        return reply | {"error": told(outcome.error), "where": outcome.where}
    reply["value"] = plain(outcome.value, f"{key}.value")
    if outcome.backward_error is not None:
        reply["backward_error"] = told(outcome.backward_error)
    if outcome.gradients is not None:
        reply["gradients"] = {}
        for name, gradient in outcome.gradients.items():
            reply["gradients"][name] = gradient is not None
            if gradient is not None:
                tensors[f"{key}.gradient.{name}"] = gradient.detach().clone().contiguous()
    return reply


if __name__ == "__main__":
    import torch
    import torch._dynamo  # torch.optim wants it, and takes seconds in every child otherwise
    from answer_run import run  # type: ignore[import-not-found]  # gmlp/checks/run.py, under the name that the sandbox gives it

    torch.set_num_threads(1)
    once() if sys.argv[1] == "once" else serve()
