"""The course on machines of others: Colab, Binder, Codespaces; and the checks before a commit.

None of those services is here. What they would run is run, with the package as it is in this
checkout and with the packages of the tests' environment in place of a network.
"""

import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import psutil
import pytest
from nbformat import v4
from packaging.requirements import Requirement
from test_course import clean_env, make_venv, packages_of, python_of
from test_project import project_files

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
SOURCE = f"git+{PROJECT['urls']['Repository']}"  # from where Colab installs the course
NOTEBOOKS = [*sorted(ROOT.glob("chapters/*.ipynb")), *sorted(ROOT.glob("exercises/*.ipynb"))]

posix = pytest.mark.skipif(os.name == "nt", reason="what is run on Linux only")
slow = pytest.mark.skipif(not os.environ.get("GMLP_TEST_ALL"), reason="slow: course.py test --all")


def run(command, **more):
    done = subprocess.run(command, check=False, capture_output=True, text=True, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A git repository with what is, or would be, committed."""
    folder = tmp_path_factory.mktemp("hosted") / "the course"
    for path in project_files():
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    for words in ("init -q", "add -A", "-c user.name=a -c user.email=a@b commit -q -m all"):
        run(["git", *words.split()], cwd=folder)
    return folder


def bare_environment(folder):
    """A new environment that sees the packages of the tests' own, but not the course."""
    make_venv(folder)
    site = Path(psutil.__file__).parents[1]
    (packages_of(folder) / "link.pth").write_text(str(site), "utf-8")
    return folder


def environ_of(environment, **more):
    """As if the environment were active; pip builds with the tools that are there."""
    path = os.pathsep.join([str(python_of(environment).parent), os.environ["PATH"]])
    return clean_env(PATH=path, PIP_NO_BUILD_ISOLATION="0", JUPYTER_PREFER_ENV_PATH="1", **more)


# ---- Colab ----


def colab_cell(path):
    notebook = nbformat.read(path, as_version=4)
    cell = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert cell.metadata.get("tags") == ["colab"], path
    return cell.source


def test_every_notebook_begins_with_one_and_the_same_cell_for_colab():
    (cell,) = {colab_cell(path) for path in NOTEBOOKS}
    requirement = Requirement(re.search('%pip install -q "(.*)"', cell)[1])
    assert requirement.name == PROJECT["name"]
    assert requirement.url == SOURCE
    assert requirement.extras <= set(PROJECT["optional-dependencies"])


def test_what_is_installed_on_colab_leaves_its_jupyter_alone():
    """A newer ipykernel or IPython breaks the notebook that is just running there."""
    extras = Requirement(re.search('%pip install -q "(.*)"', colab_cell(NOTEBOOKS[0]))[1]).extras
    wanted = [*PROJECT["dependencies"]]
    for extra in extras:
        wanted += PROJECT["optional-dependencies"][extra]
    names = {Requirement(line).name for line in wanted}
    assert "matplotlib" in names  # the figures
    theirs = {"jupyterlab", "notebook", "ipykernel", "ipython", "tornado", "pyzmq", "jupyter"}
    assert not names & theirs


@pytest.fixture(scope="module")
def colab(tmp_path_factory, checkout):
    """An environment like Colab's before the first cell, and how to run notebooks in it."""
    folder = tmp_path_factory.mktemp("colab")
    environment = bare_environment(folder / "environment")
    (packages_of(environment) / "google/colab").mkdir(parents=True)
    # Colab imports its module before the first cell; here every Python of the environment does.
    (packages_of(environment) / "google/colab/__init__.py").touch()
    (packages_of(environment) / "as_on_colab.pth").write_text("import google.colab\n")
    content = folder / "content"
    content.mkdir()

    def execute(cells):
        """What each code cell prints; the course comes from the checkout in place of GitHub."""
        for cell in cells:
            cell.outputs = []
            cell.source = cell.source.replace(SOURCE, checkout.as_uri())
        nbformat.write(v4.new_notebook(cells=cells), content / "it.ipynb")
        program = "from nbclient.cli import main; main()"
        command = [python_of(environment), "-c", program, "--inplace", "it.ipynb"]
        run(command, cwd=content, env=environ_of(environment))
        done = nbformat.read(content / "it.ipynb", as_version=4)
        return ["".join(o.get("text", "") for o in c.get("outputs", ())) for c in done.cells]

    return execute


def test_on_colab_the_first_cell_installs_and_the_next_ones_work(colab):
    """In the kernel that is running, without a restart."""
    cells = nbformat.read(ROOT / "chapters/00_welcome.ipynb", as_version=4).cells
    cells = [cell for cell in cells if cell.cell_type == "code"][:4]
    assert "load_tiny()" in cells[2].source and "viz." in cells[3].source
    where = "import gmlp, matplotlib; print(gmlp.__file__)"
    *_, sample, _, place = colab([*cells, v4.new_code_cell(where)])
    assert len(sample) > 200
    assert "environment" in Path(place.strip()).parts


@slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_on_colab_every_notebook_finds_what_it_imports(colab, path):
    cells = nbformat.read(path, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    colab(code[:2])


# ---- Binder ----


def test_binder_installs_the_course_with_its_pins_and_pytorch_without_cuda():
    lines = (ROOT / "binder/requirements.txt").read_text("utf-8").splitlines()
    lines = [line for line in lines if line and not line.startswith("#")]
    index, *rest = (line.partition(" #")[0] for line in lines)
    assert rest == ["-c ../constraints.txt", "-e .[course]", "notebook"]
    option, address = index.split()
    setup = (ROOT / "course.py").read_text("utf-8")
    assert f'["{option}", "{address}"]' in setup  # the one that `course.py --cpu` uses
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert (ROOT / "binder/runtime.txt").read_text("utf-8") == f"python-{oldest}\n"


def test_pip_reads_binders_list_and_would_take_the_pinned_versions(checkout, tmp_path):
    """From the folder in which Binder's image runs it: the paths in it are right."""
    environment = bare_environment(tmp_path / "environment")
    command = [python_of(environment), "-m", "pip", "install", "--dry-run", "--no-deps"]
    command += ["-r", "binder/requirements.txt"]
    said = run(command, cwd=checkout, env=environ_of(environment))
    assert f"Would install {PROJECT['name']}-{PROJECT['version']}" in said


@posix
def test_what_binder_runs_last_signs_the_notebooks(checkout, tmp_path):
    script = checkout / "binder/postBuild"
    assert script.stat().st_mode & stat.S_IXUSR
    env = dict(os.environ, JUPYTER_DATA_DIR=str(tmp_path))
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env["PATH"]])
    run(["binder/postBuild"], cwd=checkout, env=env)
    program = (
        "import glob, nbformat, nbformat.sign\n"
        "for path in glob.glob('*s/*.ipynb'):\n"
        "    trusted = nbformat.sign.NotebookNotary().check_signature(nbformat.read(path, 4))\n"
        "    print(path.split('/')[0], trusted)\n"
    )
    said = run([sys.executable, "-c", program], cwd=checkout, env=env).splitlines()
    assert set(said) == {"chapters True", "exercises True", "solutions False"}


@posix
def test_repo2docker_would_run_just_that(checkout):
    repo2docker = shutil.which("jupyter-repo2docker")
    if repo2docker is None:
        pytest.skip("no repo2docker here: pip install jupyter-repo2docker")
    command = [repo2docker, "--no-build", "--debug", "."]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True)
    steps = re.findall(r"(?m)^(?:RUN|COPY --chown=0:0) (.*)", done.stdout + done.stderr)
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert f"environment.py-{oldest}" in (done.stdout + done.stderr).replace("-2d", "-").replace(
        "-2e", "."
    )
    copied = next(i for i, step in enumerate(steps) if step.startswith("src/ "))
    installed = steps[copied + 1 :]
    assert installed[0].endswith('/pip install --no-cache-dir -r "binder/requirements.txt"')
    assert installed[-1] == "./binder/postBuild"


# ---- Codespaces and other development containers ----


def test_the_container_sets_the_course_up_and_shows_vs_code_its_kernel():
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text("utf-8"))
    image, _, tag = container["image"].partition(":")
    assert image == "mcr.microsoft.com/devcontainers/python"
    assert tag == PROJECT["requires-python"].removeprefix(">=")
    assert container["forwardPorts"] == [8888]
    code = container["customizations"]["vscode"]
    assert {"ms-python.python", "ms-toolsai.jupyter"} <= set(code["extensions"])
    kernel = code["settings"]["python.defaultInterpreterPath"]
    assert kernel == "${containerWorkspaceFolder}/.venv/bin/python"
    command = shlex.split(container["postCreateCommand"])
    program = "import course, sys; course.parse(sys.argv[1:])"
    assert command[:2] == ["python3", "course.py"] and "--cpu" in command
    run([sys.executable, "-c", program, *command[2:]], cwd=ROOT)


# ---- before a commit ----


def pre_commit(checkout, tmp_path):
    environment = Path(sys.executable).parent
    env = dict(os.environ, PRE_COMMIT_HOME=str(tmp_path / "home"), PIP_NO_INDEX="1")
    env["PATH"] = os.pathsep.join([str(environment), env["PATH"]])
    env["https_proxy"] = env["http_proxy"] = "http://127.0.0.1:9"  # no network
    command = [sys.executable, "-m", "pre_commit", "run", "--all-files", "--color=never"]
    done = subprocess.run(
        command, cwd=checkout, env=env, capture_output=True, text=True, check=False
    )
    hooks = re.findall(r"(?m)^(\S.*?)\.{3,}(?:\(.*\))?(Passed|Failed|Skipped)$", done.stdout)
    return dict(hooks), done


def test_the_checks_before_a_commit_pass_without_network_and_each_finds_its_mistake(
    checkout, tmp_path
):
    hooks, done = pre_commit(checkout, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(hooks) == 5 and set(hooks.values()) == {"Passed"}

    mistakes = {
        "gmlp/ops.py": "import os\n",
        "tests/conftest.py": "x = [1,2]\n",
        "lessons/00_welcome.py": "\n# %% [markdown]\n# One more thing.\n",
        ".github/workflows/tests.yml": "\nnonsense: 1\n",
        "CITATION.cff": "\nnonsense: 1\n",
    }
    before = {name: (checkout / name).read_bytes() for name in mistakes}
    for name, mistake in mistakes.items():
        (checkout / name).write_bytes(before[name] + mistake.encode())
    try:
        hooks, done = pre_commit(checkout, tmp_path)
    finally:
        for name, content in before.items():
            (checkout / name).write_bytes(content)
    assert done.returncode == 1
    assert len(hooks) == 5 and set(hooks.values()) == {"Failed"}, done.stdout
