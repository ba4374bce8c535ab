"""What README.md and its companions say, held against what they speak of."""

import io
import json
import re
import shlex
import statistics
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pictures
import pytest
import yaml
from browser import needs_browser
from PIL import Image

from gmlp.checks.core import registry
from gmlp.cli import parser

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
COMMANDS = (ROOT / "docs/commands.md").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
SITE = "https://gmlp-course.github.io/gmlp-course/"


def result(name):
    return json.loads((ROOT / f"benchmarks/results/{name}.json").read_text("utf-8"))


# ---- pictures ----


def shown():
    """``{path: alt text}`` of the pictures in README.md."""
    found = {path: alt for alt, path in re.findall(r"!\[([^\]]*)\]\(([^)]*)\)", README)}
    for tag in re.findall(r"<img [^>]*>", README):
        found[re.search('src="([^"]*)"', tag)[1]] = re.search('alt="([^"]*)"', tag)[1]
    return found


def test_the_pictures_are_those_of_the_script_small_and_described():
    assert set(shown()) == {f"docs/pictures/{name}.png" for name in pictures.DRAWN}
    assert {path.stem for path in (ROOT / "docs/pictures").iterdir()} == set(pictures.DRAWN)
    for path, alt in shown().items():
        assert (ROOT / path).stat().st_size <= 150_000
        assert 80 < len(alt) < 400, f"{path}: say in a sentence or two what it shows"


def test_the_map_is_that_of_chapter_00():
    assert looks_like("map", pictures.course_map(), closely=True)


@needs_browser
def test_the_figure_is_that_of_today():
    """Letters differ from machine to machine; sizes and colours do not."""
    assert looks_like("leak", pictures.leak())


def looks_like(name, png, closely=False):
    committed, made = (
        Image.open(file).convert("RGBA")
        for file in (ROOT / f"docs/pictures/{name}.png", io.BytesIO(png))
    )
    assert abs(committed.height - made.height) <= 0.05 * made.height
    assert committed.width == made.width
    small = None if closely else (40, 30)
    pair = [np.asarray(one.resize(small) if small else one, float) for one in (committed, made)]
    away = np.abs(pair[0] - pair[1]).mean()
    assert away < (1 if closely else 4), f"{name}.png is old: python tools/pictures.py"
    return True


# ---- numbers ----

ROWS = {  # of the table: how it begins, the row of the benchmark, and its work
    "a training step on 16,384 tokens": ("recipe_16k", "training step"),
    "peak memory": ("recipe_16k", "peak resident memory of the process"),
    "parameters": ("recipe_16k", "parameters"),
    "a training step on 1,024 tokens": ("recipe_first", "training step, 20000 tokens"),
    "the same with 256 values": ("recipe_first", "training step, 256 tokens"),
    "`CausalSGU`": ("causal_sgu", "forward + backward, heads 1"),
    "the same with 4 heads": ("causal_sgu", "forward + backward, heads 4"),
    "`CausalLocalSGU`": ("causal_local_sgu", "forward + backward, heads 1"),
    "the same with 4 heads of it": ("causal_local_sgu", "forward + backward, heads 4"),
    "writing 700 tokens": ("generation", "700 tokens after 64"),
}
UNITS = {"s": 1, "ms": 1e-3, "GB": 1e9, "M": 1e6, "": 1}


def is_rounded(said, value):
    """Whether ``said``, such as "25.3 s", is ``value`` to the digits that it has."""
    number, _, unit = said.partition(" ")
    digits = len(number.partition(".")[2])
    return f"{value / UNITS[unit]:.{digits}f}" == number


def test_rounding_is_by_the_digits_that_are_said():
    assert is_rounded("25.3 s", 25.28) and is_rounded("71 ms", 0.0712) and is_rounded("9.3", 9.28)
    assert not is_rounded("25.2 s", 25.28) and not is_rounded("0.07 ms", 0.0712)


def test_the_table_beside_the_research_code_is_what_was_measured():
    _, table = README.split("| work | AMD | ratio | Intel | ratio |\n|---|---|---|---|---|\n")
    lines = table.partition("\n\n")[0].splitlines()
    measured = []
    for maker in ("AMD", "Intel"):
        one = result(f"original_{maker.lower()}")
        machine = one["machine"]
        assert maker in machine["cpu"] and f"{machine['threads']} threads" in README
        assert re.sub(r"\(R\)| Processor", "", machine["cpu"]) in README
        assert f"[{maker}](benchmarks/results/original_{maker.lower()}.json)" in README
        measured.append({(row["row"], row["work"]): row for row in one["measures"]})
    assert len(lines) == len(ROWS)
    for line, (words, key) in zip(lines, ROWS.items(), strict=True):
        work, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        assert work.startswith(words.removesuffix(" of it"))
        for measures, said, ratio in zip(measured, cells[::2], cells[1::2], strict=True):
            one = measures[key]
            numbers, _, unit = said.rpartition(" ")
            theirs, ours = numbers.split(" → ")
            assert is_rounded(f"{theirs} {unit}", one["original"]), f"{work}: {said}"
            assert is_rounded(f"{ours} {unit}", one["ours"]), f"{work}: {said}"
            assert is_rounded(ratio, one["original"] / one["ours"]), f"{work}: {ratio}"


def test_the_sentences_beside_a_transformer_are_what_was_measured():
    best = result("learning")["best"]
    ours, theirs = best["gMLP"], best["Transformer"]
    said = (
        f"of {ours['parameters']:,} parameters ends at {ours['valid_nats']:.3f} nats a character "
        f"after {ours['cpu_seconds']:.0f} CPU seconds, the Transformer of "
        f"{theirs['parameters']:,} at {theirs['valid_nats']:.3f} after "
        f"{theirs['cpu_seconds']:.0f}."
    )
    assert said in README.replace("\n", " ")
    for run in result("learning_rates")["runs"]:
        assert f"{run['parameters']:,}" in README


def test_the_sentences_about_a_gpu_are_what_was_measured():
    rows = result("gpu")["rows"]
    text = README.replace("\n", " ")
    assert all(f"On one {row['device']}" in text for row in rows.values())

    step = rows["recipe_16k"]

    def took(precision, side):
        return f"{1000 * step[precision]['seconds'][side]:.0f} ms"

    def peak(side):
        return f"{step['float32']['peak_bytes'][side] / 1e9:.1f} GB"

    assert (
        f"takes {took('float32', 'ours')} and {peak('ours')} in float32, the research code "
        f"{took('float32', 'original')} and {peak('original')}; with bfloat16 it is "
        f"{took('bfloat16', 'ours')} and {took('bfloat16', 'original')}."
    ) in text

    runs = rows["learning"]["runs"]
    theirs = [run for run in runs if run["model"] == "Transformer"]
    ours = [run for run in runs if run["model"] == "gMLP"]
    best = min(ours, key=lambda run: run["best_nats"])
    lowest = statistics.median(run["best_nats"] for run in theirs)
    assert len(theirs) == 3 and len(ours) == 9 and "best of nine" in text
    for nats, run in ((lowest, theirs[0]), (best["best_nats"], best)):
        assert f"{round(nats, 3):.3f}" in text
        assert f"{run['parameters'] / 1e6:.1f} M parameters" in text
    assert lowest < best["best_nats"] and "there the Transformer is ahead" in text


def test_the_exercises_are_counted():
    exercises = [entry.exercise for entry in registry().values()]
    code = sum(exercise.kind != "predict" for exercise in exercises)
    mistakes = sum(len(exercise.misconceptions) for exercise in exercises)
    assert f"There are {len(exercises)} exercises, {code} of them code" in README
    assert f"About {round(mistakes, -2):,} known mistakes" in README
    assert f"{len(exercises)} exercises" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_the_sample_is_one_that_the_small_model_has_written():
    card = (ROOT / "gmlp/assets/tiny.md").read_text("utf-8")
    sample = README.partition("```text\n")[2].partition("\n```")[0]
    assert len(sample) > 80 and sample in card
    assert re.search(r"[\d,]+ parameters", README)[0] in card


# ---- commands and addresses ----


def in_code(text):
    """Commands in blocks of code, continued lines and comments cut off."""
    for block in re.findall(r"```sh\n(.*?)```", text, re.S):
        yield from (shlex.split(line, comments=True) for line in block.splitlines() if line.strip())


def known_to(command):
    if command[:2] == ["python3", "course.py"]:
        words = command[2:]
        program = "import course, sys; course.parse(sys.argv[1:])"
        run = subprocess.run([sys.executable, "-c", program, *words], cwd=ROOT, check=False)
        return run.returncode == 0
    if "gmlp" in command[:6]:
        try:
            parser().parse_args(command[command.index("gmlp") + 1 :])
        except SystemExit:
            return False
        return True
    if command[0] == "python":
        return (ROOT / command[1]).exists() or (
            ROOT / f"{command[2].replace('.', '/')}.py"
        ).exists()
    return command[0] == "git"


def test_known_to_tells_right_commands_from_wrong_ones():
    assert known_to(["gmlp", "progress"]) and known_to(["python3", "course.py", "setup", "--cpu"])
    assert known_to(["torchrun", "--nproc-per-node", "2", "-m", "gmlp", "train", "--out", "x"])
    assert not known_to(["gmlp", "progres"]) and not known_to(["python3", "course.py", "lap"])
    assert not known_to(["python", "tools/picture.py", "x"])


@pytest.mark.parametrize("text", [README, COMMANDS], ids=["README.md", "commands.md"])
def test_commands_in_the_guides_are_commands(text):
    commands = list(in_code(text))
    assert commands
    for command in commands:
        assert known_to(command), shlex.join(command)


def test_addresses_are_one():
    """The repository's, the site's, and those that are made from them."""
    repository = PROJECT["urls"]["Repository"]
    owner = repository.removeprefix("https://github.com/")
    assert f"https://{owner.replace('/', '.github.io/')}/" == SITE
    assert f"git clone {repository} " in README and SITE in README
    start = "lab/tree/chapters/00_welcome.ipynb"
    assert f"https://mybinder.org/v2/gh/{owner}/main?urlpath={start}" in README
    assert f"https://codespaces.new/{owner}" in README
    colab = "https://colab.research.google.com/github"
    assert f"{colab}/{owner}/blob/main/chapters/00_welcome.ipynb" in README


# ---- citation and changes ----


def test_the_citation_is_valid_and_says_what_the_project_says():
    path = ROOT / "CITATION.cff"
    command = [sys.executable, "-m", "check_jsonschema"]
    command += ["--builtin-schema", "vendor.citation-file-format", path]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    cited = yaml.safe_load(path.read_text("utf-8"))
    assert str(cited["version"]) == PROJECT["version"]
    assert cited["repository-code"] == PROJECT["urls"]["Repository"]
    assert cited["url"] == SITE
    assert cited["authors"] == PROJECT["authors"]
    assert cited["license"] in PROJECT["license"]
    assert f"version {PROJECT['version']}" in README.replace("\n", " ")


def test_the_changelog_begins_with_this_version_and_has_every_lesson():
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert re.findall(r"(?m)^## \[([^\]]+)\]", text)[0] == PROJECT["version"]
    for path in (ROOT / "chapters").glob("*.ipynb"):
        number, _, name = path.stem.partition("_")
        assert f"{number} {name.replace('_', ' ')}:" in text.replace("\n  ", " "), path.stem
