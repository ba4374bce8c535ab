"""`gmlp doctor`, where things really are missing, damaged, full or closed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gmlp.cli import main
from gmlp.doctor import LOOKS, WIDTH, examine

ROOT = Path(__file__).resolve().parents[1]
BASE = sys._base_executable  # another Python than that of the tests' environment
LESSON = "02_causal_masking.ipynb"

needs_bubblewrap = pytest.mark.skipif(
    shutil.which("bwrap") is None and not os.environ.get("GMLP_NEED_SANDBOX"),
    reason="bubblewrap makes the read-only and the full folders: sudo apt install bubblewrap",
)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A small repository, where we are, and an empty home beside it."""
    folder, home = tmp_path / "a course", tmp_path / "home"
    for kind in ("chapters", "exercises", "solutions"):
        (folder / kind).mkdir(parents=True)
        (folder / kind / LESSON).write_text("{}")
    (folder / "course.py").touch()
    (folder / "constraints.txt").write_bytes((ROOT / "constraints.txt").read_bytes())
    home.mkdir()
    for name in [name for name in os.environ if name.startswith("JUPYTER")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("GMLP_STATE", str(home / "state"))
    monkeypatch.setenv("GMLP_CACHE", str(home / "cache"))
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.chdir(folder)
    return folder


def started(*words, within=()):
    command = [*within, sys.executable, "-m", "gmlp", "doctor", *words]
    return subprocess.run(command, check=False, capture_output=True, text=True, encoding="utf-8")


def findings(within=(), code=0):
    """What it finds, by name: here and now, or as a process of its own within a command."""
    if within:
        ran = started("--json", within=within)
        assert ran.returncode == code, ran.stdout + ran.stderr
        assert ran.stderr == ""
        found = json.loads(ran.stdout)["findings"]
    else:
        found = examine()
        assert json.loads(json.dumps(found)) == found
    for one in found:
        assert one["state"] in ("ok", "note", "problem")
        assert one["found"]
        assert one["mend"] or one["state"] == "ok" or "look at it failed" in one["found"]
    assert any(one["state"] == "problem" for one in found) == bool(code)
    assert [one["name"] for one in found] == list(LOOKS)
    return {one["name"]: one for one in found}


def test_a_screen_in_a_moment_that_says_the_same_as_the_json(place):
    ran = started()
    assert ran.returncode == 0, ran.stdout + ran.stderr
    lines = ran.stdout.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= WIDTH
    assert lines[-1] == "The course works."
    for name, one in findings().items():
        assert any(line.split()[:2] == [one["state"], name] for line in lines)


@pytest.mark.skipif(os.name == "nt", reason="counts CPU seconds, which POSIX gives")
def test_it_takes_less_than_five_seconds(place):
    import resource

    def used():
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        return spent.ru_utime + spent.ru_stime

    before = used()
    started()
    assert used() - before < 5


def test_it_leaves_nothing_behind(place):
    def there():  # but for what Jupyter makes in every home
        return sorted(path for path in place.parent.rglob("*") if path.name != ".ipython")

    before = there()
    findings()
    assert there() == before


def test_another_torch_is_told_from_the_pinned_one(place, tmp_path, monkeypatch):
    assert findings()["PyTorch"]["state"] == "ok"
    info = tmp_path / "other/torch-2.6.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.6.0+cpu\n")
    monkeypatch.syspath_prepend(info.parent)
    found = findings()["PyTorch"]
    assert found["state"] == "note"
    assert found["found"].startswith("2.6.0; the course was made with 2.")


def test_a_compiler_is_missed_found_or_of_no_use(place, tmp_path, monkeypatch):
    tools = tmp_path / "bin"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setattr(sys, "prefix", "/home/me/course/.venv")
    found = findings()["compiler"]
    assert found["state"] == "note" and "install one" in found["mend"]
    tool = tools / ("clang++.exe" if os.name == "nt" else "clang++")
    tool.touch(0o755)
    assert findings()["compiler"]["found"].startswith("clang++, for torch.compile")
    monkeypatch.setattr(sys, "prefix", "/home/me/my course/.venv")
    found = findings()["compiler"]
    assert found["state"] == "note" and "my course/.venv" in found["found"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no bubblewrap")
def test_without_bubblewrap_it_says_what_is_not_contained(place, tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    found = findings()["grading"]
    assert found["state"] == "note"
    assert "NOT contained" in found["found"]
    assert "apt install bubblewrap" in found["mend"]


@needs_bubblewrap
def test_a_bubblewrap_that_does_not_start_is_no_sandbox(place):
    outer = ["bwrap", "--unshare-user", "--disable-userns", "--dev-bind", "/", "/"]
    found = findings(outer)["grading"]
    assert found["state"] == "note"
    assert "does not start" in found["found"]
    assert "user namespaces" in found["mend"]


@needs_bubblewrap
def test_folders_that_are_read_only_or_full(place):
    home = place.parent / "home"
    (home / "state").mkdir()
    (home / "cache").mkdir()
    outer = ["bwrap", "--dev-bind", "/", "/", "--ro-bind", str(home / "state"), str(home / "state")]
    outer += ["--size", "4096", "--tmpfs", str(home / "cache")]
    found = findings(outer)
    assert found["progress"]["state"] == found["corpora"]["state"] == "note"
    assert "Read-only" in found["progress"]["found"]
    assert "GMLP_STATE" in found["progress"]["mend"]
    assert "No space" in found["corpora"]["found"]
    assert "GMLP_CACHE" in found["corpora"]["mend"]
    assert found["disk"]["state"] == "note"

    # Where the notebooks are, it stops the course.
    outer = ["bwrap", "--dev-bind", "/", "/", "--ro-bind", str(place), str(place)]
    found = findings(outer, code=1)
    assert found["notebooks"]["state"] == "problem"
    assert "Read-only" in found["notebooks"]["found"]


def test_a_file_where_a_folder_should_be_is_no_crash(place):
    (place.parent / "home/state").write_text("not a folder")
    found = findings()["progress"]
    assert found["state"] == "note"


def kernel_of(folder, python):
    spec = folder / "kernels/python3/kernel.json"
    spec.parent.mkdir(parents=True, exist_ok=True)
    argv = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec.write_text(json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"}))


def test_a_kernel_of_another_python_is_seen(place, tmp_path, monkeypatch):
    assert findings()["kernel"]["state"] == "ok"
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share"))
    kernel_of(tmp_path / "share", str(tmp_path / "gone/bin/python"))
    found = findings(code=1)["kernel"]
    assert found["state"] == "problem"
    assert "is gone" in found["found"]
    kernel_of(tmp_path / "share", BASE)
    found = findings()["kernel"]
    assert found["state"] == "note"
    assert "another" in found["found"]


def test_a_damaged_text_in_the_cache_is_named(place):
    kept = place.parent / "home/cache/tinyshakespeare.txt"
    kept.parent.mkdir()
    kept.write_text("First Citizen: half a download")
    found = findings()["corpora"]
    assert found["state"] == "note"
    assert "tinyshakespeare 0.0 MB, DAMAGED" in found["found"]
    assert "delete" in found["mend"]
    assert kept.exists()


def test_notebooks_are_untouched_changed_or_of_an_earlier_edition(place):
    assert main(["reset", "02"]) == main(["reset", "02", "--chapter"]) == 0

    def notebooks():
        return findings()["notebooks"]

    assert notebooks()["found"].endswith("work, 2 of them as they came")
    (place / "work/exercises" / LESSON).write_text("mine")
    found = notebooks()
    assert found["state"] == "ok"
    assert found["found"].endswith("work, 1 of them as they came")
    (place / "exercises" / LESSON).write_text("a new edition")
    found = notebooks()
    assert found["state"] == "note"
    assert "of 1 there is a newer one: exercises/02" in found["found"]
    assert "gmlp reset NN" in found["mend"]


def test_a_course_with_holes_is_no_crash(place):
    (place / "constraints.txt").unlink()
    shutil.rmtree(place / "solutions")
    found = findings()
    assert found["PyTorch"]["state"] == "note"
    assert "FileNotFoundError" in found["PyTorch"]["found"]
    assert "no notebooks in solutions/" in found["course"]["found"]
