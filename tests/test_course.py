"""course.py, run for real: real environments and a real pip, without a network.

A set-up installs a small stand-in for the course, whose build backend lies beside it and needs
nothing; JupyterLab is the real one.
"""

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib import metadata
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[1]
BASE = sys._base_executable  # the Python behind the environment in which the tests run

PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[tool.ruff]
line-length = 100
extend-exclude = ["backend.py", "chapters", "exercises"]
[tool.mypy]
files = ["wrong.py"]
[project]
name = "stand-in"
"""

BACKEND = """
import zipfile

METADATA = '''Metadata-Version: 2.1
Name: stand-in
Version: 1
Provides-Extra: course
Provides-Extra: test
Requires-Dist: torch>=2.5 ; extra == "test"
'''

def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "stand_in-1-py3-none-any.whl"
    files = {
        "stand_in.py": "",
        "stand_in-1.dist-info/METADATA": METADATA,
        "stand_in-1.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true",
        "stand_in-1.dist-info/RECORD": "",
    }
    with zipfile.ZipFile(folder + "/" + name, "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    return name
"""


STAMP = "gmlp-course.json"
OVERRIDES = "share/jupyter/lab/settings/overrides.json"  # of Lab: Markdown opens as a page

posix = pytest.mark.skipif(os.name == "nt", reason="needs signals and locks of POSIX")


@pytest.fixture
def project(tmp_path):
    """A folder with course.py and the stand-in; its name has a space and a letter beyond ASCII."""
    folder = tmp_path / "the course é"
    folder.mkdir()
    shutil.copy(ROOT / "course.py", folder)
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "backend.py").write_text(BACKEND)
    (folder / "constraints.txt").write_text("torch==2.13.0\n")
    for name in ("chapters/00_welcome.ipynb", "exercises/01_gates.ipynb"):
        (folder / name).parent.mkdir()
        (folder / name).write_text('{"cells": [], "metadata": {}, "nbformat": 4}')
    return folder


@pytest.fixture
def active(tmp_path):
    """A virtual environment that someone else made; pip is copied, as installing it takes long."""
    environment = tmp_path / "mine"
    make_venv(environment)
    pip = metadata.distribution("pip").locate_file("pip")  # importing it here changes distutils
    shutil.copytree(str(pip), packages_of(environment) / "pip")
    return environment


def make_venv(environment):
    command = [BASE, "-m", "venv", "--without-pip", environment]
    subprocess.run(command, check=True, env=clean_env())


def clean_env(**more):
    """No environment is active, and pip has neither a network nor settings nor a cache."""
    strange = ("PIP_", "CONDA_", "COLAB_", "VIRTUAL_ENV", "PYTHON", "JUPYTER", "COV_CORE")
    strange += ("GMLP_", "OMP_")  # set by the `course.py test` that runs these tests
    env = {name: value for name, value in os.environ.items() if not name.startswith(strange)}
    env |= {"PIP_NO_INDEX": "1", "PIP_NO_CACHE_DIR": "1", "PIP_CONFIG_FILE": os.devnull}
    return env | {"PYTHONUTF8": "1"} | more


def course(project, *words, python=BASE, **env):
    command = [python, project / "course.py", *words]
    return run(command, env=clean_env(**env), cwd=project.parent)


def run(command, **more):
    return subprocess.run(command, check=False, capture_output=True, text=True, **more)


def succeeds(result):
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def python_of(environment):
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def packages_of(environment):
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    found = subprocess.run([python_of(environment), "-c", ask], capture_output=True, check=True)
    return Path(os.fsdecode(found.stdout).strip())


def forbid_pip(environment):
    """From now on pip leaves a trace and fails."""
    main = packages_of(environment) / "pip/__main__.py"
    main.write_text("import sys; open(sys.prefix + '/pip-ran', 'w'); sys.exit('pip was called')")
    return environment / "pip-ran"


def imports_the_stand_in(environment):
    command = [python_of(environment), "-c", "import stand_in"]
    return run(command).returncode == 0


def test_a_half_finished_environment_is_made_anew_and_a_finished_one_left_alone(project):
    venv = project / ".venv"
    left_over = venv / "half a package"
    left_over.mkdir(parents=True)

    assert "half-finished" in succeeds(course(project, "setup"))
    assert not left_over.exists()
    assert imports_the_stand_in(venv)
    settings = json.loads((venv / OVERRIDES).read_text("utf-8"))
    assert "Preview" in str(settings)
    assert settings["@jupyterlab/apputils-extension:notification"]["fetchNews"] == "false"

    # Complete: pip is not even started.
    trace = forbid_pip(venv)
    succeeds(course(project, "setup"))
    assert not trace.exists()

    # A change of pyproject.toml is a reason to call pip again, not to begin from nothing. When
    # that fails, the environment is no longer trusted.
    (project / "pyproject.toml").write_text(PYPROJECT + "version = '1'\n")
    failed = course(project, "setup")
    assert failed.returncode == 1
    assert "pip was called" in failed.stdout
    assert "Traceback" not in failed.stderr
    assert trace.exists()
    assert not (venv / STAMP).exists()


@posix
def test_an_environment_is_made_anew_when_its_python_is_gone_and_ctrl_c_ends_that(project):
    venv = project / ".venv"
    python_of(venv).parent.mkdir(parents=True)
    python_of(venv).symlink_to("an uninstalled python")
    (venv / STAMP).write_text('{"of": "what it was", "extras": ["course"]}')
    first = start(project)
    first.stdout.readline()  # which environment
    assert "no longer runs" in first.stdout.readline()
    wait_for(lambda: python_of(venv).exists())
    os.killpg(first.pid, signal.SIGINT)
    _, errors = first.communicate(timeout=20)
    assert first.returncode == 130
    assert errors.strip() == "Stopped."
    assert not (venv / STAMP).exists()


def test_the_active_environment_is_used_and_what_is_in_it_is_kept(project, active):
    torch = packages_of(active) / "torch-2.6.0.dist-info"  # not the version in constraints.txt
    torch.mkdir()
    (torch / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.6.0\n")
    (torch / "INSTALLER").write_text("pip\n")

    # The linters are not installed, so `test` fails, but not before it has set up.
    tested = course(project, "test", python=python_of(active))
    assert "Set up in" in tested.stdout, tested.stdout + tested.stderr
    assert str(active) in tested.stdout
    assert not (active / OVERRIDES).exists()  # its owner's choice
    assert imports_the_stand_in(active)
    assert torch.exists()
    assert not (project / ".venv").exists()

    # Its extras include those that `setup` wants.
    trace = forbid_pip(active)
    succeeds(course(project, "setup", python=python_of(active)))
    assert not trace.exists()

    # Nothing is cleared, even when the set-up is known to be half-finished.
    (active / STAMP).unlink()
    assert course(project, "setup", python=python_of(active)).returncode == 1
    assert trace.exists()
    assert torch.exists()


@pytest.mark.parametrize(
    ("index", "advised"),
    [
        ({"PIP_NO_INDEX": "1"}, "Try another one"),  # an index without a torch that would do
        ({"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_RETRIES": "1"}, "Check the network"),
    ],
)
def test_a_failed_installation_shows_why_and_says_what_to_do(project, active, index, advised):
    """`test` wants torch, and there is no network."""
    env = {"PIP_NO_INDEX": "0", **index}
    failed = course(project, "test", python=python_of(active), **env)
    assert failed.returncode == 1
    assert "torch==2.13.0" in failed.stdout
    assert advised in failed.stderr
    assert "Traceback" not in failed.stdout + failed.stderr
    assert not (active / STAMP).exists()


@posix
def test_two_set_ups_take_turns_even_if_the_first_one_is_killed(project, active):
    """pip goes on when course.py is killed; the second set-up waits for it to end."""
    backend = project / "backend.py"
    hangs, go_on = project / "hangs", project / "go on"
    backend.write_text(
        f"import os, time\nopen({str(hangs)!r}, 'w').close()\n"
        f"while not os.path.exists({str(go_on)!r}): time.sleep(0.05)\n{BACKEND}"
    )
    first = start(project, python_of(active))
    wait_for(hangs.exists)
    backend.write_text(BACKEND)
    second = start(project, python_of(active))
    try:
        second.stdout.readline()  # which environment
        assert "waiting" in second.stdout.readline()
        first.kill()
        first.communicate()
        says_more, _, _ = select.select([second.stdout], [], [], 1.0)
        assert not says_more
    finally:
        go_on.touch()
        output, errors = second.communicate(timeout=60)
    assert second.returncode == 0, output + errors
    assert "Set up in" in output


def start(project, python=BASE):
    """`course.py setup`, with which the test goes on talking; a process group of its own."""
    return subprocess.Popen(
        [python, project / "course.py", "setup"],
        env=clean_env(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(something, seconds=30.0):
    end = time.monotonic() + seconds
    while not something():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.mark.parametrize("version", [(3, 6, 15), (3, 10, 13)])
def test_an_old_python_gets_one_line(version):
    """Under a false version, as few machines have the real ones."""
    pretend = "import sys, runpy; sys.version_info = {}; sys.version = '{}.{}.{} old'; "
    call = f"runpy.run_path({str(ROOT / 'course.py')!r}, run_name='__main__')"
    program = pretend.format(version, *version) + call
    result = run([sys.executable, "-c", program])
    check_old(result, "{}.{}.{}".format(*version))


def check_old(result, version):
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "needs Python 3.11 or newer" in result.stderr
    assert f"Python {version} " in result.stderr


def test_a_really_old_python_gets_the_same_line():
    """Proves that the file can be read by it at all."""
    found = {}
    homes = Path.home() / ".pyenv/versions"
    for name in ("3.6", "3.7", "3.8", "3.9", "3.10"):
        candidates = [*homes.glob(f"{name}.*/bin/python"), shutil.which(f"python{name}")]
        for python in filter(None, candidates):
            ask = [python, "-c", "import sys; print(sys.version.split()[0])"]
            version = run(ask).stdout.strip()
            if version.startswith(name):
                found[version] = python
    if not found:
        pytest.skip("no Python from 3.6 to 3.10 here")
    for version, python in found.items():
        result = run([python, ROOT / "course.py"])
        check_old(result, version)


def test_a_wrong_command_is_told_what_is_meant():
    result = course(ROOT, "tset")
    assert result.returncode == 2
    assert "did you mean: test?" in result.stderr


# In the rest, the environment is complete from the start: a link to the one the tests run in.


@pytest.fixture
def ready(project):
    """The project with a .venv that sees this environment's packages, and a valid stamp."""
    venv = project / ".venv"
    make_venv(venv)
    here = Path(psutil.__file__).parents[1]
    (packages_of(venv) / "link.pth").write_text(str(here), "utf-8")
    stamp = (
        "import json, course; place = course.choose_environment(); "
        "made = {'of': place.fingerprint(), 'extras': ['course', 'site', 'test']}; "
        "place.stamp.write_text(json.dumps(made))"
    )
    subprocess.run([BASE, "-c", stamp], check=True, cwd=project, env=clean_env())
    return project


def test_notebooks_are_copied_once_and_never_overwritten(ready):
    (ready / "docs").mkdir()
    (ready / "docs/glossary.md").write_text("# Glossary")
    assert "3 new" in succeeds(course(ready, "setup"))
    assert (ready / "work/docs/glossary.md").read_text() == "# Glossary"
    mine = ready / "work/chapters/00_welcome.ipynb"
    source = ready / "chapters/00_welcome.ipynb"
    assert mine.read_bytes() == source.read_bytes()

    mine.write_text("my notes")
    output = succeeds(course(ready, "setup"))
    assert "0 new" in output
    assert "newer" not in output

    source.write_text("a new edition")
    output = succeeds(course(ready, "setup"))
    assert mine.read_text() == "my notes"
    assert "newer" in output
    assert "work/chapters/00_welcome.ipynb" in output

    mine.unlink()
    output = succeeds(course(ready, "setup"))
    assert mine.read_text() == "a new edition"
    assert "1 new" in output
    assert "newer" not in output


def test_every_stage_of_the_tests_runs_and_the_summary_closes(ready):
    (ready / "tests").mkdir()
    (ready / "tests/nbval_sanitize.cfg").write_text("[none]\nregex: x^\nreplace: x\n")
    (ready / "tests/test_it.py").write_text(
        'import os\n\n\ndef test_it():\n    assert os.environ["OMP_NUM_THREADS"] == "1"\n'
        '    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"\n\n\n'
        'def test_all():\n    assert "GMLP_TEST_ALL" in os.environ\n'
    )
    (ready / "solutions").mkdir()
    (ready / "wrong.py").write_text("import os\n")  # unused: a linter's business

    result = course(ready, "test")
    assert result.returncode == 1
    assert "1 failed, 1 passed" in result.stdout, result.stdout + result.stderr
    closing = [line.rsplit(maxsplit=3)[:2] for line in result.stdout.splitlines()[-4:]]
    assert [name.strip() for name, _ in closing] == ["ruff check", "ruff format", "mypy", "pytest"]
    assert "F401" in result.stdout  # the linter itself has spoken
    assert [verdict for _, verdict in closing] == ["FAILED", "ok", "ok", "FAILED"]

    # Words for pytest: it runs alone, on what they name.
    result = course(ready, "test", "--all", "tests/test_it.py", "-k", "it or all", "-n", "0")
    assert "2 passed" in succeeds(result)
    assert "== ruff" not in result.stdout


def test_the_site_is_made_where_the_reader_of_the_command_stands(ready):
    """By tools/publish.py, here a stand-in that says what it was told."""
    (ready / "tools").mkdir()
    told = ready / "told"
    tool = f"import sys; open({str(told)!r}, 'w').write(' '.join(sys.argv[1:])); sys.exit(3)"
    (ready / "tools/publish.py").write_text(tool)
    assert course(ready, "site").returncode == 3
    assert told.read_text() == ""
    course(ready, "site", "--out", "pages")
    assert told.read_text() == f"--out {ready.parent / 'pages'}"


def test_lab_answers_here_only_and_asks_for_its_token(ready, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = course(ready, "lab", "--no-browser", "--port", str(port))
    assert refused.returncode == 1
    assert f"Port {port} is taken" in refused.stderr

    # Lab finds its own files by these, as it is not installed in the .venv proper.
    env = clean_env(
        JUPYTERLAB_DIR=f"{sys.prefix}/share/jupyter/lab",
        JUPYTER_PATH=f"{sys.prefix}/share/jupyter",
        JUPYTER_CONFIG_DIR=str(tmp_path / "config"),
        JUPYTER_DATA_DIR=str(tmp_path / "data"),
        JUPYTER_RUNTIME_DIR=str(tmp_path / "runtime"),
    )
    log = tmp_path / "log"
    command = [BASE, ready / "course.py", "lab", "--no-browser", "--port", str(port)]
    with log.open("w") as file:
        lab = subprocess.Popen(command, env=env, stdout=file, stderr=file, stdin=subprocess.DEVNULL)
    try:
        wait_for(lambda: lab.poll() is not None or status(port, "/api") == 200, 20)
        assert lab.poll() is None, log.read_text()

        tree = [psutil.Process(lab.pid), *psutil.Process(lab.pid).children(recursive=True)]
        doors = [door for one in tree for door in one.net_connections("inet")]
        assert {door.laddr.ip for door in doors if door.status == "LISTEN"} == {"127.0.0.1"}

        assert status(port, "/api/contents") == 403
        wait_for(lambda: "token=" in log.read_text())
        address = next(word for word in log.read_text().split() if "token=" in word)
        token = address.partition("token=")[2]
        assert address.startswith(f"http://127.0.0.1:{port}/lab/tree/work/chapters/00_welcome")
        assert status(port, f"/api/contents/work/chapters/00_welcome.ipynb?token={token}") == 200

        # Neither news nor updates are looked up, and no option of ours is unknown to this Lab.
        with urllib.request.urlopen(address) as page:
            assert b'"news": {"disabled": true}' in page.read()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/lab/api/update?token={token}") as one:
            assert json.load(one) == {"notification": None}
        assert "nrecognized" not in log.read_text()
        # Of Lab's own messages only those that matter, such as what this test did wrong.
        assert "[I " not in log.read_text()
    finally:
        for process in [*psutil.Process(lab.pid).children(recursive=True), lab]:
            process.terminate()
        lab.wait(20)


def status(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None
