"""``gmlp doctor``: what works on this machine, and how to mend what does not."""

import hashlib
import importlib.util
import json
import os
import shutil
import sys
import tempfile
import textwrap
import webbrowser
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import torch

from gmlp import __version__
from gmlp.checks import progress
from gmlp.checks.notebook import workplace
from gmlp.checks.verify import PACKAGED, course_folder
from gmlp.corpus import cache_dir, cached, load_corpus
from gmlp.grading.sandbox import containment, refusal

WIDTH = 100  # columns of the screen
COURSE, CLASSROOM = (f'pip install "gmlp-course[{extra}]"' for extra in ("course", "classroom"))


class Answer(NamedTuple):
    """What a look at one thing came to.

    ``state`` is ok, note (something is missing, the course goes on), or problem (it does not).
    """

    state: str
    found: str
    mend: str = ""


def examine() -> list[dict[str, str]]:
    """Look at everything; a finding for each, in the order of the screen.

    Every look tries the thing itself: it writes, reads, computes or starts it. One that fails in a
    way nobody thought of is a finding, too.
    """
    findings = []
    for name, look in LOOKS.items():
        try:
            answer = look()
        except Exception as error:  # whatever is broken here, the rest is still worth knowing
            answer = Answer("note", f"the look at it failed: {type(error).__name__}: {error}")
        findings.append({"name": name, **answer._asdict()})
    return findings


def screen(findings: Sequence[dict[str, str]]) -> str:
    """The findings for a person: a line for each, and below it how to mend it."""
    width = max(map(len, LOOKS)) + 2
    lines = [f"gmlp {__version__}: what works here"]
    for finding in findings:
        start = f"{finding['state']:8} {finding['name']:{width}}"
        lines += _wrapped(start, finding["found"])
        if finding["mend"]:
            lines += _wrapped(" " * len(start), f"To mend it: {finding['mend']}")
    stops = [finding["name"] for finding in findings if finding["state"] == "problem"]
    verdict = f"The course does not work yet: {', '.join(stops)}." if stops else "The course works."
    return "\n".join([*lines, verdict])


def _wrapped(start: str, text: str) -> list[str]:
    rest = " " * len(start)
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=start,
        subsequent_indent=rest,
        break_on_hyphens=False,
    )


def _short(path: Path | str) -> str:
    """A path with ~ for the home folder, and without its middle if it is long."""
    text, home = str(path), os.path.expanduser("~")
    if text.startswith(home + os.sep):
        text = "~" + text[len(home) :]
    return text if len(text) <= 60 else f"{text[:20]}…{text[-39:]}"


def _there(path: Path) -> Path:
    """The path, or the nearest above it that exists."""
    return next(one for one in (path, *path.absolute().parents) if os.path.lexists(one))


def _unwritable(folder: Path) -> str:
    """Why nothing can be written to a folder, or where it would have to be made; "" if it can."""
    try:
        with tempfile.TemporaryFile(dir=_there(folder)) as file:
            file.write(bytes(1 << 16))
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


# ---------------------------------------------------------------- the looks


def python() -> Answer:
    version = sys.version.split()[0]
    found = f"{version}, {_short(sys.executable)}"
    if sys.version_info < (3, 11):  # noqa: UP036 - pip refuses that, other ways in do not
        return Answer("problem", found, "the course needs Python 3.11 or newer")
    return Answer("ok", found)


def pytorch() -> Answer:
    version = metadata.version("torch").partition("+")[0]
    pins = (course_folder() / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = next(pin.partition("==")[2] for pin in pins if pin.startswith("torch=="))
    if version != pinned:
        found = f"{version}; the course was made with {pinned}, so last digits may differ"
        return Answer("note", found, f"only if that matters: pip install torch=={pinned}")
    return Answer("ok", f"{version}, with which the course was made")


def devices() -> Answer:
    threads = torch.get_num_threads()
    found, broken = [f"CPU with {threads} thread{'s' * (threads > 1)}"], list[str]()
    names = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    names += ["mps"] * torch.backends.mps.is_available()
    for name in names:
        title = torch.cuda.get_device_name(name) if name != "mps" else "Apple's GPU"
        try:
            ones = torch.ones(8, 8, device=name)
            right = (ones @ ones).sum().item() == 512
            trouble = "" if right else "a sum came out wrong"
        except RuntimeError as error:  # of the driver as of PyTorch
            trouble = str(error)
        if trouble:
            broken.append(f"{name} {title} FAILS: {trouble}")
        else:
            found.append(f"{name} {title}")
    said = "; ".join([*found, *broken] if names else [*found, "no GPU that PyTorch can use"])
    return Answer("note" if broken else "ok", said, "--device cpu" if broken else "")


def compiler() -> Answer:
    found = next(filter(shutil.which, ("g++", "clang++", "cl")), "")
    if not found:
        advice = "install one; on Debian: sudo apt install g++, on a Mac: xcode-select --install"
        return Answer("note", "none of C++, which torch.compile in lesson 12 needs", advice)
    if " " in sys.prefix:
        found = f"{found}; but torch.compile stumbles at the space in {_short(sys.prefix)}"
        return Answer("note", found, "for one cell of lesson 12: a folder without a space")
    return Answer("ok", f"{found}, for torch.compile in lesson 12")


def jupyterlab() -> Answer:
    try:
        lab = metadata.distribution("jupyterlab")
    except metadata.PackageNotFoundError:
        return Answer("note", "missing; the notebooks then need another editor", COURSE)
    pages = [one for one in lab.files or () if one.match("static/index.html")]
    if not pages or not Path(str(pages[0].locate())).is_file():
        again = f"pip install --force-reinstall --no-deps jupyterlab=={lab.version}"
        return Answer("note", f"{lab.version}, but its page is missing", again)
    return Answer("ok", lab.version)


def kernel() -> Answer:
    for name in ("ipykernel", "jupyter_client"):
        if importlib.util.find_spec(name) is None:
            return Answer("problem", f"{name} is missing: no notebook can run", COURSE)
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    ours = f'"{sys.executable}" -m ipykernel install --sys-prefix'
    try:
        spec = KernelSpecManager().get_kernel_spec("python3")
    except NoSuchKernel:
        return Answer("problem", "there is none called python3", ours)
    program = spec.argv[0]
    if not os.path.dirname(program):  # Jupyter then takes the Python that it runs in
        return Answer("ok", "python3 is this Python")
    if not os.path.exists(program):
        return Answer("problem", f"python3 wants {_short(program)}, which is gone", ours)
    if not os.path.samefile(os.path.dirname(program), os.path.dirname(sys.executable)):
        advice = "start with course.py, or set JUPYTER_PREFER_ENV_PATH=1"
        return Answer("note", f"python3 is another one: {_short(program)}", advice)
    return Answer("ok", "python3 is this Python")


def figures() -> Answer:
    if importlib.util.find_spec("matplotlib") is None:
        return Answer("problem", "matplotlib is missing: no chapter can draw", COURSE)
    for name in ("engine.js", "figure.css"):
        if not (Path(__file__).parent / "viz" / name).read_text(encoding="utf-8").strip():
            return Answer("note", f"{name} is empty: they are still pictures", "install anew")
    try:
        browser = f"a browser opens here ({webbrowser.get().name})"
    except webbrowser.Error:
        browser = "no browser opens from here (course.py lab --no-browser)"
    return Answer("ok", f"can be touched; {browser}")


def course() -> Answer:
    folder = course_folder()
    for kind in ("chapters", "exercises", "solutions"):
        if not any((folder / kind).glob("*.ipynb")):
            return Answer("note", f"{_short(folder)} has no notebooks in {kind}/", "fetch it anew")
    if folder == PACKAGED:
        return Answer("ok", "the notebooks that came with the package")
    return Answer("ok", _short(folder))


def notebooks() -> Answer:
    root = course_folder()
    work = workplace(root)
    if why := _unwritable(work):
        advice = "copy the course, or go, to a folder that is yours, with space on its disk"
        return Answer("problem", f"nothing can be saved in {_short(work)}: {why}", advice)
    try:
        made_from = json.loads((work / ".copied.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        made_from = {}
    untouched, older = 0, []
    paths = [
        path for kind in ("chapters", "exercises") for path in sorted((root / kind).glob("*.ipynb"))
    ]
    copies = [(path, work / path.parent.name / path.name) for path in paths]
    copies = [(path, copy) for path, copy in copies if copy.exists()]
    for path, copy in copies:
        now, here = (hashlib.sha256(one.read_bytes()).hexdigest() for one in (path, copy))
        untouched += here == now
        if here != now != made_from.get(f"{path.parent.name}/{path.name}", now):
            older.append(f"{path.parent.name}/{path.stem[:2]}")
    if not copies:
        how = "gmlp reset NN" if root == PACKAGED else "python3 course.py"
        return Answer("ok", f"none in {_short(work)} yet; {how} brings them")
    found = f"{len(copies)} in {_short(work)}, {untouched} of them as they came"
    if older:
        found += f"; of {len(older)} there is a newer one: {', '.join(older[:8])}"
        found += ", …" * (len(older) > 8)
        return Answer("note", found, "gmlp reset NN brings it, and keeps yours")
    return Answer("ok", found)


def record() -> Answer:
    folder = progress.folder()
    if why := _unwritable(folder):
        found = f"cannot be noted in {_short(folder)}: {why}"
        return Answer("note", found, "name another folder in the environment variable GMLP_STATE")
    return Answer("ok", f"is noted in {_short(folder)}")


def corpora() -> Answer:
    try:
        found = f"pydocs {_size(len(load_corpus('pydocs')))}, from Python itself"
    except FileNotFoundError as error:
        return Answer("problem", str(error), "a complete Python; on Debian: apt install python3")
    damaged = []
    for name, (path, whole) in cached().items():
        found += f"; {name} {_size(path.stat().st_size)}, {'whole' if whole else 'DAMAGED'}"
        damaged += [] if whole else [_short(path)]
    if damaged:
        return Answer("note", found, f"delete {', '.join(damaged)}; it is then fetched again")
    if why := _unwritable(cache_dir()):
        found += f"; no other can be kept in {_short(cache_dir())}: {why}"
        return Answer("note", found, "name another folder in the environment variable GMLP_CACHE")
    return Answer("ok", found)


def disk() -> Answer:
    places = {"for your work": workplace(course_folder()), "for fetched texts": cache_dir()}
    free = {what: shutil.disk_usage(_there(place)).free for what, place in places.items()}
    found = ", ".join(f"{_size(count)} free {what}" for what, count in free.items())
    if free["for your work"] < 50e6:
        return Answer("problem", found, "make room: notebooks cannot be saved on a full disk")
    if min(free.values()) < 1e9:
        return Answer("note", found, "make room before you train: checkpoints are written there")
    return Answer("ok", found)


def grading() -> Answer:
    if importlib.util.find_spec("cloudpickle") is None:
        return Answer("ok", f"not installed; only teachers need it: {CLASSROOM}")
    held = containment()
    if not held.full:
        found, _, advice = held.sentence.partition(". ")
        return Answer("note", f"{found} (only teachers need it)", advice)
    if why := refusal():
        advice = "allow user namespaces; a container needs --security-opt seccomp=unconfined"
        return Answer("note", f"bubblewrap is there and does not start: {why}", advice)
    return Answer("ok", held.sentence.partition(". ")[0])


LOOKS = {
    "Python": python,
    "PyTorch": pytorch,
    "devices": devices,
    "compiler": compiler,
    "JupyterLab": jupyterlab,
    "kernel": kernel,
    "figures": figures,
    "course": course,
    "notebooks": notebooks,
    "progress": record,
    "corpora": corpora,
    "disk": disk,
    "grading": grading,
}
