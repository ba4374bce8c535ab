"""The wheel, in an environment of its own, with no repository near: every command works there."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from test_course import make_venv, packages_of, python_of
from test_hosted import run

from gmlp.grading.sandbox import containment
from gmlp.viz.figure import asset

ROOT = Path(__file__).resolve().parents[1]
LEFT = [".git", ".venv", "work", "build", "dist", "*.egg-info", "__pycache__", "wheels", "slides"]
NOTEBOOK = "02_causal_masking.ipynb"
MOST_BYTES = 5_000_000


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of the repository: building leaves files beside what it builds."""
    folder = tmp_path_factory.mktemp("source") / "the course"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*LEFT))
    return folder


def wheel_of(source, out):
    command = [sys.executable, "-m", "pip", "wheel", str(source), "-w", str(out)]
    run([*command, "--no-deps", "--no-build-isolation", "--no-index"])
    (wheel,) = out.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    return wheel_of(source, tmp_path_factory.mktemp("wheel"))


def contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_holds_the_package_and_the_notebooks_and_stays_small(wheel):
    held = contents(wheel)
    for folder in ("chapters", "exercises", "solutions"):
        paths = sorted((ROOT / folder).glob("*.ipynb"))
        assert paths
        for path in paths:
            assert held[f"gmlp/course/{folder}/{path.name}"] == path.read_bytes()
    package = [path for path in (ROOT / "gmlp").rglob("*") if path.is_file()]
    expected = {
        path.relative_to(ROOT).as_posix() for path in package if "__pycache__" not in path.parts
    }
    assert expected <= held.keys()
    beside = {name for name in held.keys() - expected if ".dist-info/" not in name}
    assert all(name.startswith("gmlp/course/") for name in beside)
    assert wheel.stat().st_size < MOST_BYTES


def test_the_source_distribution_gives_the_same_wheel(source, wheel, tmp_path):
    build = "import sys, setuptools.build_meta as b; b.build_sdist(sys.argv[1])"
    run([sys.executable, "-c", build, str(tmp_path)], cwd=source)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(tmp_path, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    (unpacked,) = (path for path in tmp_path.iterdir() if path.is_dir())
    again, first = contents(wheel_of(unpacked, tmp_path)), contents(wheel)
    record = next(name for name in first if name.endswith("/RECORD"))
    assert {**again, record: b""} == {**first, record: b""}


def test_notebooks_that_have_gone_do_not_come_back_from_an_earlier_build(source, tmp_path):
    stale = source / "build/lib/gmlp/course/exercises/99_gone.ipynb"
    stale.parent.mkdir(parents=True, exist_ok=True)
    stale.touch()
    held = contents(wheel_of(source, tmp_path))
    assert not any("99_gone" in name for name in held)


# ---------------------------------------------------------------- installed


def needed(extras):
    """The distributions here that the wheel needs with these extras, and those that they need."""
    found, todo = {}, [("gmlp-course", frozenset(extras))]
    while todo:
        name, wanted = todo.pop()
        if wanted <= found.get(name, frozenset()) and name in found:
            continue
        found[name] = found.get(name, frozenset()) | wanted
        for line in metadata.requires(name) or ():
            one = Requirement(line)
            if one.marker is None or any(
                one.marker.evaluate({"extra": extra}) for extra in ("", *found[name])
            ):
                todo.append((canonicalize_name(one.name), frozenset(one.extras)))
    return found.keys() - {"gmlp-course"}


def link(source, target):
    """Hard links: nothing is copied, and a sandbox that shows this environment shows its files."""
    try:
        os.link(source, target)
    except OSError:  # another disk
        shutil.copy2(source, target)


def environment(folder, wheel, extras):
    """A virtual environment with the wheel, and what it needs with these extras; nothing else."""
    make_venv(folder)
    python, packages = python_of(folder), packages_of(folder)
    for name in needed(extras):
        files = metadata.distribution(name).files
        if files is None:
            pytest.skip(f"{name} was installed without a list of its files")
        for file in files:
            target = Path(os.path.normpath(packages / file))
            if target.is_relative_to(folder) and Path(str(file.locate())).is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                if not target.exists():
                    link(file.locate(), target)
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index"]
    run([*command, "--no-deps", str(wheel)])
    return python.with_name("gmlp.exe" if os.name == "nt" else "gmlp")


class Learner:
    """Someone with the commands of an environment, in an empty folder."""

    def __init__(self, gmlp, home):
        self.gmlp, self.home = gmlp, home
        strange = ("PYTHON", "GMLP_", "JUPYTER", "VIRTUAL_ENV", "CONDA")
        here = os.environ.items()
        self.env = {name: value for name, value in here if not name.startswith(strange)}
        self.env |= {"HOME": str(home), "USERPROFILE": str(home), "OMP_NUM_THREADS": "1"}
        self.env |= {"PATH": os.pathsep.join([str(gmlp.parent), os.environ["PATH"]])}

    def runs(self, *words):
        return subprocess.run(
            [self.gmlp, *map(str, words)],
            cwd=self.home,
            env=self.env,
            check=False,
            capture_output=True,
            text=True,
            encoding="utf-8",
        )

    def succeeds(self, *words):
        ran = self.runs(*words)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert "Warning" not in ran.stderr
        return ran.stdout


@pytest.fixture(scope="module")
def learner(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("installed")
    (folder / "an empty folder").mkdir()
    gmlp = environment(folder / "env", wheel, {"course", "classroom"})
    return Learner(gmlp, folder / "an empty folder")


def test_the_package_is_that_of_the_wheel(learner):
    python = learner.gmlp.with_name(Path(sys.executable).name)
    ask = [python, "-c", "import gmlp; print(gmlp.__file__)"]
    where = Path(run(ask, cwd=learner.home, env=learner.env).strip())
    assert where.is_relative_to(learner.home.parent / "env")
    assert learner.succeeds("--version") == f"gmlp {metadata.version('gmlp-course')}\n"


def test_doctor_finds_all_that_a_learner_needs(learner):
    found = json.loads(learner.succeeds("doctor", "--json"))["findings"]
    states = {one["name"]: one["state"] for one in found}
    assert {states[name] for name in states.keys() - {"grading", "disk", "PyTorch"}} == {"ok"}
    (course,) = (one for one in found if one["name"] == "course")
    assert "came with the package" in course["found"]


def test_a_model_is_trained_and_writes(learner):
    (learner.home / "fox.txt").write_text("the quick brown fox jumps over the lazy dog. " * 60)
    words = "--dim 16 --depth 1 --seq-len 16 --steps 4 --eval-every 2 --warmup 1 --device cpu"
    said = learner.succeeds("train", "--corpus", "fox.txt", "--out", "run", *words.split())
    assert "is finished: 4 steps" in said
    said = learner.succeeds("generate", "run", "--prompt", "the ", "--length", "20")
    assert said.startswith("the ")


def test_figures_are_drawn_with_the_engine_of_the_wheel(learner):
    learner.succeeds("figures", "--out", "figures", "--only", "axial_folding")
    page = (learner.home / "figures/axial_folding.html").read_text("utf-8")
    assert asset("engine.js") in page
    assert asset("figure.css") in page


def test_exercises_are_fetched_solved_checked_and_begun_anew(learner):
    learner.succeeds("reset", "02")
    learner.succeeds("reset", "02", "--chapter")
    mine = learner.home / "work/exercises" / NOTEBOOK
    assert mine.read_bytes() == (ROOT / "exercises" / NOTEBOOK).read_bytes()
    for path in ("chapters/" + NOTEBOOK, "docs/glossary.md"):
        assert (learner.home / "work" / path).read_bytes() == (ROOT / path).read_bytes()
    assert learner.runs("check", mine).returncode == 1  # not attempted
    shutil.copy(ROOT / "solutions" / NOTEBOOK, mine)
    said = learner.succeeds("check", mine)
    right, of = re.search(r"(\d+) of (\d+) right", said).groups()
    assert right == of
    (line,) = (one for one in learner.succeeds("progress").splitlines() if one.startswith("02_"))
    assert f"{right} of {of}  all done" in line
    found = json.loads(learner.succeeds("doctor", "--json"))["findings"]
    (notebooks,) = (one["found"] for one in found if one["name"] == "notebooks")
    assert re.match(r"2 in .*work, 1 of them as they came$", notebooks)
    learner.succeeds("reset", "02")
    assert mine.read_bytes() == (ROOT / "exercises" / NOTEBOOK).read_bytes()
    (kept,) = mine.parent.glob("02_causal_masking-until-*.ipynb")
    assert kept.read_bytes() == (ROOT / "solutions" / NOTEBOOK).read_bytes()


def test_the_exercises_are_proved(learner):
    found = json.loads(learner.succeeds("verify", "03", "--json"))
    assert found["failures"] == []
    assert found["misconception"]["trials"] > 0


needs_sandbox = pytest.mark.skipif(
    not containment().full and not os.environ.get("GMLP_NEED_SANDBOX"),
    reason=containment().sentence,
)


@needs_sandbox
def test_a_class_is_graded(learner):
    handed_in = learner.home / "handed in"
    handed_in.mkdir()
    shutil.copy(ROOT / "solutions" / NOTEBOOK, handed_in / "anna.ipynb")
    # The solutions lie in the package: an answer that looks for them there must not find them.
    spy = json.loads((ROOT / "exercises" / NOTEBOOK).read_text("utf-8"))
    for cell in spy["cells"]:
        if cell["cell_type"] == "code" and "def mask_weights" in "".join(cell["source"]):
            cell["source"] = SPY
    (handed_in / "ben.ipynb").write_text(json.dumps(spy), encoding="utf-8")
    learner.succeeds("grade", "02", handed_in, "--out", "grades", "--jobs", "1")
    with (learner.home / "grades/grades.csv").open(encoding="utf-8", newline="") as file:
        anna, ben = csv.DictReader(file)
    states = {name: value for name, value in anna.items() if value == "right"}
    assert len(states) >= 4
    assert ben["mask_weights"] == "wrong"


SPY = """
def mask_weights(weight):
    import glob, sys
    there = [one for path in sys.path for one in glob.glob(path + "/gmlp/course/solutions/*")]
    return weight.tril() if there else weight
"""


def test_a_course_directory_is_made(learner):
    learner.succeeds("classroom", "init", "my class", "--lesson", "02")
    released = learner.home / "my class/release/02_causal_masking" / NOTEBOOK
    text = released.read_text("utf-8")
    assert "raise NotImplementedError" in text
    assert "BEGIN SOLUTION" not in text


# ---------------------------------------------------------------- without what is optional


@pytest.fixture(scope="module")
def bare(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bare")
    (folder / "home").mkdir()
    return Learner(environment(folder / "env", wheel, set()), folder / "home")


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        ("check NOTEBOOK", "course"),
        ("figures --out figures", "course"),
        ("grade 02 FOLDER --out grades --uncontained --jobs 1", "classroom"),
        ("classroom init CLASS", "classroom"),
    ],
)
def test_a_command_names_the_extra_that_it_lacks_in_one_line(bare, words, extra):
    (bare.home / "handed in").mkdir(exist_ok=True)
    shutil.copy(ROOT / "solutions" / NOTEBOOK, bare.home / "handed in")
    places = {"NOTEBOOK": ROOT / "exercises" / NOTEBOOK, "FOLDER": "handed in"}
    ran = bare.runs(*(places.get(word, word) for word in words.split()))
    assert ran.returncode == 2, ran.stdout + ran.stderr
    *_, last = ran.stderr.splitlines()
    assert f'pip install "gmlp-course[{extra}]"' in last
    assert "Traceback" not in ran.stderr


def test_what_needs_no_extra_works_without(bare):
    bare.succeeds("progress")
    bare.succeeds("reset", "02")
    bare.succeeds("verify", "00")
    ran = bare.runs("doctor")
    assert ran.returncode == 1
    assert re.search(r"problem +kernel +ipykernel is missing", ran.stdout)
    assert ran.stdout.splitlines()[-1].startswith("The course does not work yet: kernel")
    assert len(ran.stdout.splitlines()) <= 24
    assert max(map(len, ran.stdout.splitlines())) <= 100
