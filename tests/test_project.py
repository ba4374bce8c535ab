"""The promises that hold the repository together: who imports whom, what is pinned, what exists."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = PYPROJECT["project"]

# The modules of the model in the order of the lessons; a module may import those before it.
ORDER = [
    "ops",
    "corpus",
    "spatial_gating",
    "causal_masking",
    "residual_blocks",
    "training",
    "generation",
    "tasks",
    "tiny_attention",
    "local_windows",
    "axial_folding",
    "layer_dropout",
    "reversible_layers",
    "full_model",
    "capstone",
]
# These read files and draw progress bars; the others are mathematics.
PRACTICAL = {"corpus", "training", "generation", "capstone"}
LIGHT = {"numpy", "tqdm", "platformdirs", "filelock", "safetensors"}
PLAIN = {"typing", "collections.abc", "contextlib", "warnings", "os"}  # of the standard library

# The parts of the package that are not the model, and which of them each may import.
PARTS = {
    "viz": set(),
    "checks": set(),
    "grading": {"checks"},
    "doctor": {"checks", "grading"},
    "cli": {"viz", "checks", "grading", "doctor"},
    "__main__": {"cli"},
}


def project_files():
    """What is, or would be, committed."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.decode().split("\0") if name and (ROOT / name).is_file()]


def imports(path):
    """The modules that a file imports anywhere, in functions too, by their full names."""
    package = list(path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            source = ".".join([*base, *filter(None, [node.module])])
            # "from gmlp import corpus" names a module, "from torch import nn" need not.
            yield from (f"{source}.{name.name}" for name in node.names if source == "gmlp")
            if source != "gmlp":
                yield source


def model_modules():
    return [path for path in sorted((ROOT / "gmlp").glob("*.py")) if path.stem not in PARTS]


def allowed_in_model(module, name):
    top, _, rest = name.partition(".")
    if top == "gmlp":
        return rest in ORDER[: ORDER.index(module)]
    if module in PRACTICAL and (top in LIGHT or top in sys.stdlib_module_names):
        return True
    return top in ("torch", "einops") or name in PLAIN


def test_a_module_of_the_model_imports_only_torch_einops_and_earlier_lessons():
    modules = [path for path in model_modules() if path.stem != "__init__"]
    assert modules
    for path in modules:
        assert path.stem in ORDER, f"{path.name}: add it to ORDER, where its lesson stands"
        for name in imports(path):
            assert allowed_in_model(path.stem, name), f"{path.name} may not import {name}"
    for name in imports(ROOT / "gmlp/__init__.py"):
        assert name.removeprefix("gmlp.") in ORDER, f"gmlp/__init__.py may not import {name}"


def test_figures_checks_and_grading_know_only_what_they_may():
    for part, others in PARTS.items():
        for path in [*(ROOT / "gmlp" / part).rglob("*.py"), *(ROOT / "gmlp").glob(f"{part}.py")]:
            for name in imports(path):
                words = name.split(".")
                if words[0] == "gmlp" and len(words) > 1 and words[1] in PARTS:
                    allowed = words[1] in {part, *others}
                    assert allowed, f"{path.relative_to(ROOT)} may not import {name}"


def test_importing_the_package_loads_torch_einops_and_the_standard_library_only():
    program = (
        "import sys, json, torch, einops; before = set(sys.modules); import gmlp; "
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, cwd=ROOT)
    loaded = json.loads(run.stdout)
    assert "gmlp.corpus" in loaded
    welcome = {"torch", "einops", *sys.stdlib_module_names}
    extra = [name for name in loaded if name.partition(".")[0] not in welcome]
    assert {name for name in extra if not re.match(r"gmlp(\.|$)", name)} == set()
    assert {name for name in extra if name.removeprefix("gmlp.") in PARTS} == set()
    assert "torch._dynamo" not in loaded  # seconds


def named_in(text):
    """Paths that a text names in `code`; those with a placeholder name nothing."""
    for word in re.findall(r"`([^`\s]+)`", re.sub(r"```.*?```", "", text, flags=re.S)):
        like_a_path = re.fullmatch(r"[\w.-]+(/[\w.-]+)*/?", word)
        suffix = re.search(r"\.(py|md|txt|toml|yml|ipynb|cfg)$", word)
        if like_a_path and ("/" in word or suffix) and not re.search(r"NN|(^|[/_])name\b", word):
            yield word


def test_named_in_finds_the_paths():
    text = "`a/b.py` `c.md` `docs/` `--all` `torch>=2.5` `x.y` `a/NN_name.py` `a/test_name.py`"
    assert list(named_in(text)) == ["a/b.py", "c.md", "docs/"]


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_files_named_in_the_guides_exist(document):
    ignored = {"work", ".venv"}  # git ignores them, and they come into being with use
    for name in named_in((ROOT / document).read_text("utf-8")):
        if name.split("/")[0] not in ignored:
            assert (ROOT / name).exists(), f"{document} names {name}"


def test_relative_links_lead_somewhere():
    documents = [path for path in project_files() if path.suffix == ".md"]
    assert ROOT / "CONTRIBUTING.md" in documents
    documents.remove(ROOT / "site/index.md")  # at home in the site: test_site.py follows its links
    for path in documents:
        text = re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.S)
        for link in re.findall(r"\]\(([^)\s]+)", text) + re.findall(
            r'(?:src|href)="([^"]+)"', text
        ):
            target = link.partition("#")[0]
            if target and not re.match(r"[a-z]+:", target):
                where = f"{path.relative_to(ROOT)} links to {link}"
                assert (path.parent / target).exists(), where


def test_no_file_is_larger_than_a_megabyte():
    large = {str(path): path.stat().st_size for path in project_files()}
    assert {name for name, size in large.items() if size > 1_000_000} == set()


def test_the_version_is_one():
    namespace = ast.parse((ROOT / "gmlp/__init__.py").read_text("utf-8"))
    versions = [
        node.value.value
        for node in namespace.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__"
    ]
    assert versions == [PROJECT["version"]] == [metadata.version(PROJECT["name"])]


def test_the_oldest_python_is_one():
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert PYPROJECT["tool"]["mypy"]["python_version"] == oldest
    assert PYPROJECT["tool"]["ruff"]["target-version"] == "py" + oldest.replace(".", "")
    setup = (ROOT / "course.py").read_text("utf-8")
    assert f"sys.version_info < ({oldest.replace('.', ', ')})" in setup
    assert f"needs Python {oldest} or newer" in setup
    for document in ("README.md", "CONTRIBUTING.md"):
        said = re.findall(r"Python (3\.\d+)", (ROOT / document).read_text("utf-8"))
        assert oldest in said, f"{document} does not say which Python it needs"


def requirements():
    """All that pyproject.toml asks for, but itself."""
    everything = [*PROJECT["dependencies"], *PYPROJECT["build-system"]["requires"]]
    for extra in PROJECT["optional-dependencies"].values():
        everything += extra
    return [wanted for wanted in map(Requirement, everything) if wanted.name != PROJECT["name"]]


def pins():
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_each_package_is_pinned_within_its_range():
    pinned = {}
    for pin in pins():
        (exact,) = pin.specifier
        assert exact.operator == "==" and "*" not in exact.version, pin
        pinned.setdefault(canonicalize_name(pin.name), []).append(exact.version)
    for wanted in requirements():
        versions = pinned.get(canonicalize_name(wanted.name))
        assert versions, f"constraints.txt does not pin {wanted.name}"
        for version in versions:
            assert wanted.specifier.contains(version), f"{wanted} is not {version}"


def test_the_pins_fit_every_machine():
    """No address, and nothing for one maker's GPU: that is for each machine's torch to ask."""
    assert "://" not in (ROOT / "constraints.txt").read_text("utf-8")
    for pin in pins():
        assert pin.url is None
        assert not re.search("nvidia|cuda|triton", pin.name), pin


def test_conda_gives_python_torch_and_pip_and_pyproject_the_rest():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
    assert environment["channels"] == ["conda-forge"]
    *conda, pip = environment["dependencies"]
    assert pip == {"pip": ["-e .[course]"]}
    wanted = {Requirement(line).name: Requirement(line).specifier for line in conda}
    assert set(wanted) == {"python", "pytorch", "pip"}
    assert wanted["python"] == SpecifierSet(PROJECT["requires-python"])
    (torch,) = (one for one in requirements() if one.name == "torch")
    assert wanted["pytorch"] == torch.specifier


def workflows():
    return sorted((ROOT / ".github/workflows").glob("*.yml"))


def test_workflows_are_valid():
    command = [sys.executable, "-m", "check_jsonschema"]
    command += ["--builtin-schema", "vendor.github-workflows", *map(str, workflows())]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_workflows_cover_the_systems_and_run_what_users_run():
    jobs = {
        path.stem: yaml.safe_load(path.read_text("utf-8"))["jobs"].values() for path in workflows()
    }
    (tests,) = jobs["tests"]
    assert tests["strategy"]["matrix"]["os"] == [
        "ubuntu-latest",
        "macos-latest",
        "windows-latest",
    ]
    pythons = tests["strategy"]["matrix"]["python"]
    assert pythons[0] == PROJECT["requires-python"].removeprefix(">=")
    assert "python course.py test" in [step.get("run") for step in tests["steps"]]
    (conda,) = jobs["weekly"]
    assert "environment.yml" in [
        step.get("with", {}).get("environment-file") for step in conda["steps"]
    ]
    assert "python3 course.py test" in (ROOT / "README.md").read_text("utf-8")
    assert "python3 course.py test" in (ROOT / ".ci/run").read_text("utf-8")


def lessons(ending=""):
    names = [path.stem for path in (ROOT / "lessons").glob("[0-9][0-9]_*.py")]
    exercises = {name for name in names if name.endswith("_exercises")}
    if ending:
        return {name.removesuffix(ending) for name in exercises}
    return set(names) - exercises


def notebooks(folder):
    return {path.stem for path in (ROOT / folder).glob("*.ipynb")}


def test_a_lesson_has_one_name_everywhere():
    """A source without its notebook, a notebook without its source: both are mistakes."""
    assert lessons()
    assert notebooks("chapters") == lessons()
    with_exercises = lessons("_exercises")
    assert with_exercises <= lessons()
    assert notebooks("exercises") == notebooks("solutions") == with_exercises
    modules = {path.stem for path in model_modules()}
    assert {name[:2] for name in lessons()} == {f"{n:02}" for n in range(len(lessons()))}
    for lesson in lessons():
        number, _, name = lesson.partition("_")
        module = "corpus" if number == "00" else name
        if module in ORDER:
            assert module in modules, f"lesson {lesson} has no gmlp/{module}.py"
    for module in modules - {"__init__"}:
        assert (ROOT / f"tests/test_{module}.py").exists(), f"gmlp/{module}.py has no test"
