"""The course, in two commands:

    python3 course.py         set everything up and open JupyterLab at chapter 00
    python3 course.py test    set up what is missing and run every test

`python3 course.py --help` lists the rest. This file needs nothing but Python 3.11 or newer.
"""

import argparse
import contextlib
import difflib
import hashlib
import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

PYTHON = sys.version.split()[0]

# All of this file must parse on Python 3.6, and all above must run there: only then does an old
# Python print this line instead of a SyntaxError.
if sys.version_info < (3, 11):  # noqa: UP036
    sys.stderr.write(
        f"The course needs Python 3.11 or newer; this is Python {PYTHON} ({sys.executable}). "
        "Install a newer one, for example from https://www.python.org/downloads, and start again "
        "with it: python3.13 course.py\n"
    )
    sys.exit(2)

ROOT = Path(__file__).resolve().parent
WORK = ROOT / "work"
VENV = ROOT / ".venv"


class Failure(Exception):
    """Ends the program with exit code 1 and its text, which tells the user what to do."""


def say(text):
    print(text, flush=True)


def write_whole(path, content):
    """Writes a file that is either there in full or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_bytes(content)
    os.replace(part, path)


def read_json(path):
    """What a JSON file holds; an empty dictionary if it is missing or damaged."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def run_quietly(doing, command):
    """Runs a command, showing only what it is for and the seconds; its output only if it fails."""
    started = time.monotonic()
    print(f"  {doing} ...", end="", flush=True)
    with tempfile.TemporaryFile() as log:
        # The lock of `one_at_a_time` goes to the child (close_fds=False): should this process be
        # killed, the next set-up still waits until the child has stopped writing.
        child = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, close_fds=False
        )
        try:
            while child.poll() is None:
                time.sleep(0.1)
                if sys.stdout.isatty():
                    seconds = time.monotonic() - started
                    print(f"\r  {doing} ... {seconds:.0f} s", end="", flush=True)
        finally:  # Ctrl-C
            child.terminate()
            child.wait()
        log.seek(0)
        output = log.read().decode("utf-8", "replace").strip()
    say("" if sys.stdout.isatty() else f" {time.monotonic() - started:.0f} s")
    if child.returncode:
        say("\n".join(output.splitlines()[-30:]))
        advice = next(text for pattern, text in ADVICE if re.search(pattern, output))
        raise Failure(f"{doing}: this did not work. {advice}")


ADVICE = (  # what a failed command may have printed, and what to do about it
    ("No space left|not enough space", "The disk is full: the course takes 2 GB, 8 GB with CUDA."),
    ("connection broken|timed out", "Check the network and, behind a proxy, set HTTPS_PROXY."),
    (
        r"for torch\b|\(constraint\) torch",
        "PyTorch lacks a build for this Python? Try another one.",
    ),
    ("", "The lines above say why; when that is mended, start again."),
)


def stream(command, env):
    """Runs a command on our own terminal; its exit code. Ctrl-C reaches it too: we wait for it."""
    child = subprocess.Popen(command, cwd=ROOT, env=env)
    interrupted = False
    while child.poll() is None:
        try:
            child.wait()
        except KeyboardInterrupt:
            interrupted = True
    if interrupted:
        raise KeyboardInterrupt
    return child.returncode


class Environment(NamedTuple):
    """Where the packages live. `ours`: the .venv beside this file, which we may clear."""

    prefix: Path
    python: str
    ours: bool
    why: str

    @property
    def stamp(self):
        """The file that is there when a set-up is complete, and only then."""
        return self.prefix / "gmlp-course.json"

    def fingerprint(self):
        """Changes with all that a set-up depends on; None if the environment's Python is dead."""
        ask = [self.python, "-I", "-S", "-c", "import sys; print(sys.version)"]
        try:
            version = subprocess.run(ask, check=True, capture_output=True).stdout
        except (OSError, subprocess.CalledProcessError):
            return None
        files = [(ROOT / name).read_bytes() for name in ("pyproject.toml", "constraints.txt")]
        return hashlib.sha256(b"\n".join([os.fsencode(ROOT), version, *files])).hexdigest()

    def is_ready(self, extras):
        stamp = read_json(self.stamp)
        return extras <= set(stamp.get("extras", [])) and stamp.get("of") == self.fingerprint()

    def variables(self):
        """The process environment in which this environment's programs and kernels come first."""
        path = os.path.dirname(self.python) + os.pathsep + os.environ.get("PATH", "")
        # PyTorch's threads sleep while they wait for each other, instead of keeping a core busy:
        # beside other busy programs, small networks are otherwise ten times as slow and more.
        return {"OMP_WAIT_POLICY": "PASSIVE"} | dict(
            os.environ, PATH=path, JUPYTER_PREFER_ENV_PATH="1"
        )


def choose_environment():
    conda = os.environ.get("CONDA_PREFIX") == sys.prefix
    if sys.prefix != sys.base_prefix:
        why = "the virtual environment that this Python belongs to"
    elif conda and os.environ.get("CONDA_DEFAULT_ENV") != "base":
        why = "the active conda environment"
    elif "COLAB_RELEASE_TAG" in os.environ:
        why = "the one that Colab's notebooks run in"
    else:
        python = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        return Environment(VENV, str(python), True, "the course's own, as no other is active")
    return Environment(Path(sys.prefix), sys.executable, False, why)


def set_up(extras, cpu=False):
    """The environment with everything in it that these extras of pyproject.toml name."""
    place = choose_environment()
    say(f"Environment: {place.prefix} ({place.why})")
    if not place.is_ready(extras):
        with one_at_a_time():
            if not place.is_ready(extras):  # the set-up that we waited for may have done it
                install(place, extras, cpu)
    elif cpu:
        say("  It is complete, so --cpu changes nothing; to begin anew, delete it.")
    return place


@contextlib.contextmanager
def one_at_a_time():
    """One set-up at a time (on Windows, two writers of one file fail without our help)."""
    WORK.mkdir(exist_ok=True)
    with open(WORK / ".lock", "w") as file:
        if os.name == "posix":
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("  Another set-up is running in this folder: waiting for it.")
                fcntl.flock(file, fcntl.LOCK_EX)
            os.set_inheritable(file.fileno(), True)
        yield


def install(place, extras, cpu):
    import tomllib  # not at the top: Python 3.10 has none

    started = time.monotonic()
    before = read_json(place.stamp)
    if place.ours and not (before and place.fingerprint()):
        if importlib.util.find_spec("ensurepip") is None:
            raise Failure("Python's venv is missing. On Debian: `sudo apt install python3-venv`.")
        if VENV.exists():
            say("  It is half-finished, or its Python no longer runs: making it anew.")
        venv = [sys.executable, "-m", "venv", "--clear", "--without-pip", str(VENV)]
        run_quietly("Making it", venv)  # pip is added below to any environment that lacks it
        before = {}
    extras = extras.union(before.get("extras", []))
    place.stamp.unlink(missing_ok=True)

    pip = [place.python, "-m", "pip"]
    if subprocess.call([place.python, "-c", "import pip"], stderr=subprocess.DEVNULL):
        run_quietly("Adding pip", [place.python, "-m", "ensurepip", "--default-pip"])
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder, "constraints.txt")
        pins.write_text(constraints(place), "utf-8")
        pip += ["install", "--no-input", "--disable-pip-version-check", "-c", str(pins)]
        if cpu and sys.platform == "linux":
            pip += ["--extra-index-url", "https://download.pytorch.org/whl/cpu"]
        elif cpu:
            say("  --cpu is not needed here: PyTorch's usual build for this system has no CUDA.")
        # The build tools go into the environment too. By default pip fetches them anew, to a place
        # of their own, at every install; that would need the network even when all is here.
        tools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["build-system"]
        if tools["requires"]:
            run_quietly("Installing build tools", [*pip, *tools["requires"]])
        run_quietly(
            "Installing the course and what it needs (2 to 5 minutes the first time)",
            [*pip, "--no-build-isolation", "-e", f".[{','.join(sorted(extras))}]"],
        )
    if place.ours:
        for name, settings in SETTINGS.items():
            write_whole(place.prefix / name, json.dumps(settings).encode())
    stamp = {"of": place.fingerprint(), "extras": sorted(extras)}
    write_whole(place.stamp, json.dumps(stamp).encode())
    say(f"  Set up in {time.monotonic() - started:.0f} s.")


SETTINGS = {  # of the programs in an environment of ours
    "share/jupyter/lab/settings/overrides.json": {
        # The glossary opens as a page, not as its source.
        "@jupyterlab/docmanager-extension:plugin": {
            "defaultViewers": {"markdown": "Markdown Preview"}
        },
        # Otherwise a question about news covers the first page.
        "@jupyterlab/apputils-extension:notification": {
            "fetchNews": "false",
            "checkForUpdates": False,
        },
    },
    # Errors only. Each kernel warns that it is reached without encryption; from here alone it is.
    "etc/ipython/ipython_kernel_config.json": {"IPKernelApp": {"log_level": 40}},
}


def constraints(place):
    """The pins to install with: constraints.txt; in an environment of someone else, most of it.

    There torch is often the one build that fits the machine's GPU, and what conda installed is
    conda's to replace. Unpinned, pip keeps them as long as pyproject.toml's ranges allow it.
    """
    pins = (ROOT / "constraints.txt").read_text("utf-8")
    if place.prefix == VENV:
        return pins
    from importlib import metadata  # not at the top: Python 3.7 has none

    theirs = {
        found.name.lower().replace("_", "-")
        for found in metadata.distributions()
        if found.name == "torch" or (found.read_text("INSTALLER") or "pip").strip() != "pip"
    }
    return "\n".join(pin for pin in pins.splitlines() if pin.split("==")[0] not in theirs)


def copy_notebooks():
    """Puts what learners read into work/; what is there already is the learner's and stays."""
    note = WORK / ".copied.json"  # what each copy was made from
    made_from = read_json(note)
    new, newer = 0, []
    for source in sorted(
        path
        for pattern in ("chapters/*.ipynb", "exercises/*.ipynb", "docs/glossary.md")
        for path in ROOT.glob(pattern)
    ):
        name = f"{source.parent.name}/{source.name}"
        content = source.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if not (WORK / name).exists():
            write_whole(WORK / name, content)
            made_from[name] = digest
            new += 1
        elif made_from.get(name, digest) != digest:
            newer.append(f"work/{name}")
    write_whole(note, json.dumps(made_from, indent=1).encode())
    say(f"In {WORK}: {new} new files; what was there is left as it is.")
    if newer:
        say(f"  There are newer versions. Rename or delete yours to get them: {', '.join(newer)}")


def sign_notebooks(place):
    """Tells Jupyter that the copies which are still as we made them may run their figures."""
    made_from = read_json(WORK / ".copied.json")
    ours = [
        str(WORK / name)
        for name, digest in made_from.items()
        if name.endswith(".ipynb")
        and (WORK / name).exists()
        and hashlib.sha256((WORK / name).read_bytes()).hexdigest() == digest
    ]
    sign = [place.python, "-m", "nbformat.sign", *ours]
    signed = subprocess.run(sign, env=place.variables(), capture_output=True, check=False)
    if signed.returncode:
        say("  Figures will be still pictures until their cells are run: signing did not work.")


def command_setup(arguments):
    place = set_up({"course"}, arguments.cpu)
    copy_notebooks()
    say(f"Ready. `course.py lab` opens JupyterLab. The kernel for other editors: {place.python}")
    gmlp = Path(place.python).with_name("gmlp")
    say(f'What works here, and how to mend what does not: "{gmlp}" doctor')
    return 0


def command_lab(arguments):
    port = arguments.port
    if port is not None:
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except (OSError, OverflowError):
            raise Failure(f"Port {port} is taken or not allowed: name another, or none.") from None
    place = set_up({"course"}, arguments.cpu)
    copy_notebooks()
    sign_notebooks(place)
    # Reachable from this machine only, with the token that Jupyter makes by default; and no
    # look-ups of news and updates on the network.
    options = "--log-level=WARN --LabApp.log_level=WARN --ServerApp.ip=127.0.0.1"
    options += " --LabApp.news_url=None"
    options += " --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"
    options += " --LabApp.default_url=/lab/tree/work/chapters/00_welcome.ipynb"
    if port is not None:
        options += f" --ServerApp.port={port} --ServerApp.port_retries=0"
    if arguments.no_browser:
        options += " --no-browser"
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options += " --allow-root"
    lab = [place.python, "-m", "jupyterlab", f"--ServerApp.root_dir={ROOT}", *options.split()]
    say("In a terminal of JupyterLab (File, New, Terminal): gmlp doctor, gmlp progress, ...")
    say("Starting JupyterLab. Its address follows in a few seconds; Ctrl-C here ends it.")
    if os.name == "nt":
        return stream(lab, place.variables())
    os.chdir(ROOT)
    return os.execve(place.python, lab, place.variables())  # signals then go to Jupyter itself


def command_test(arguments):
    place = set_up({"course", "test"})
    # Two processes of one thread each: as fast on two cores, and sums in a fixed order.
    env = dict(place.variables(), OMP_NUM_THREADS="1")
    if arguments.all:
        env["GMLP_TEST_ALL"] = "1"
    pytest, targets = "pytest -n 2 --dist loadscope", "tests"
    if sys.platform == "linux":  # the outputs of notebooks are compared where they were made
        pytest += " --nbval --nbval-current-env --nbval-cell-timeout=120"
        pytest += " --nbval-sanitize-with tests/nbval_sanitize.cfg"
        targets += " chapters solutions"
    if any((ROOT / word.split("::")[0]).exists() for word in arguments.pytest):
        targets = ""
    stages = [f"{pytest} {targets}"]
    if not arguments.pytest:  # otherwise someone is after a few tests
        stages = ["ruff check .", "ruff format --check .", "mypy", *stages]

    summary, codes = "", []
    for stage in stages:
        say(f"\n== {stage} ==")
        started = time.monotonic()
        more = arguments.pytest if stage.startswith("pytest") else []
        codes.append(stream([place.python, "-m", *stage.split(), *more], env))
        verdict = "FAILED" if codes[-1] else "ok"
        name = re.split(r" [-.]", stage)[0]
        summary += f"\n{name:12} {verdict:6} {time.monotonic() - started:6.1f} s"
    say(summary)
    return int(any(codes))


def command_build(arguments):
    place = set_up({"course", "test"})
    words = arguments.lessons + ["--" + arguments.only] * bool(arguments.only)
    return stream([place.python, "tools/build.py", *words], place.variables())


def command_site(arguments):
    place = set_up({"course", "site"})
    out = ["--out", str(arguments.out.resolve())] if arguments.out else []
    say("Making the site from the committed notebooks, in half a minute or so ...")
    return stream([place.python, "tools/publish.py", *out], place.variables())


def parse(words):
    parser = argparse.ArgumentParser(
        prog="course.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(title="commands", metavar="command", dest="command")

    def add(name, run, text, **more):
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False, **more)
        command.set_defaults(run=run)
        return command.add_argument

    lab = add("lab", command_lab, "set up, then open JupyterLab at chapter 00 (the default)")
    lab("--no-browser", action="store_true", help="only print the address")
    lab("--port", type=int, help="this port and no other; otherwise 8888 or the next free one")
    setup = add("setup", command_setup, "make the environment and copy the notebooks to work/")
    for option in (lab, setup):
        option("--cpu", action="store_true", help="PyTorch without CUDA: a far smaller download")
    more = "Other words go to pytest, which then runs alone: test tests/test_corpus.py -k resume"
    test = add("test", command_test, "set up, then run the linters and every test", epilog=more)
    test("--all", action="store_true", help="the slow ones too, with more draws")
    build = add("build", command_build, "make the notebooks anew from lessons/")
    build("lessons", nargs="*", metavar="NN", help="lesson numbers; none means all")
    for only, text in (
        ("check", "only say whether they are up to date"),
        ("exercises", "run the solutions; chapters keep their outputs"),
        ("no-execute", "run nothing: for a change of text"),
    ):
        build(f"--{only}", action="store_const", dest="only", const=only, help=text)

    site = add("site", command_site, "make the published course, to be read in a browser")
    site("--out", type=Path, metavar="DIR", help="where to; otherwise site/_build/html")

    known = [*commands.choices, "-h", "--help"]
    if not words or (words[0].startswith("-") and words[0] not in known):
        words = ["lab", *words]
    elif words[0] not in known:
        close = difflib.get_close_matches(words[0], known) or [", ".join(commands.choices)]
        parser.error(f"no command {words[0]!r}; did you mean: {close[0]}?")
    arguments, rest = parser.parse_known_args(words)
    if rest and arguments.command != "test":
        parser.error(f"{arguments.command} does not know {' '.join(rest)}")
    arguments.pytest = rest
    return arguments


def main():
    for out in (sys.stdout, sys.stderr):
        out.reconfigure(errors="replace")  # a path the terminal cannot spell is no reason to stop
    arguments = parse(sys.argv[1:])
    try:
        return arguments.run(arguments)
    except Failure as failure:
        print(f"\n{failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
