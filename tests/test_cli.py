"""The commands, as users type them: real processes where being one matters."""

import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file

from gmlp import __version__, decode, encode, generate
from gmlp.cli import load_run, main
from gmlp.training import read_notes

TEXT = "the quick brown fox jumps over the lazy dog. où est le café? " * 40
SMALL = "--dim 16 --depth 3 --seq-len 16 --window 4,4x2,none --attn-dim 8,none,8 --batch-size 4"
SMALL += " --warmup 3 --steps 12 --eval-every 4 --device cpu"
RANDOM = "--dropout 0.2 --prob-survival 0.5"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "fox.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def trained(corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "a run"
    assert main(train_words(corpus, out)) == 0
    return out


def train_words(corpus, out, more=""):
    return ["train", "--corpus", str(corpus), "--out", str(out), *f"{SMALL} {more}".split()]


def started(words, program=("-m", "gmlp"), **settings):
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, *program, *words], env=env, stdout=pipe, stderr=pipe, **settings
    )


def wait_for_steps(process, out, steps):
    """Until the checkpoint has so many."""
    while True:
        assert process.poll() is None, process.communicate()
        path = out / "checkpoint.safetensors"
        if path.exists() and read_notes(path)["step"] >= steps:
            return
        time.sleep(0.01)


def same_model(one, two):
    a, b = (load_file(folder / "model.safetensors") for folder in (one, two))
    assert a.keys() == b.keys()
    return all(torch.equal(a[name], b[name]) for name in a)


def rows(out):
    """The log, without the seconds."""
    with (out / "log.csv").open(newline="") as file:
        return [list(row.values())[:3] for row in csv.DictReader(file)]


def failed(capsys, words):
    """The one line on stderr."""
    try:
        code = main(words)
    except SystemExit as stopped:
        code = stopped.code
    captured = capsys.readouterr()
    assert code == 2
    assert captured.err.startswith("gmlp") and captured.err.count("\n") == 1, captured.err
    return captured.err


def test_a_run_leaves_its_files_and_the_plain_rights_on_them(trained):
    names = {"checkpoint.safetensors", "model.safetensors", "log.csv", "loss.png"}
    assert {path.name for path in trained.iterdir()} - {".lock"} == names
    assert (trained / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert [row[0] for row in rows(trained)] == ["4", "8", "12"]
    modes = {path.suffix: path.stat().st_mode for path in trained.iterdir()}
    assert modes[".safetensors"] == modes[".csv"], "safetensors would keep others from reading"


def test_a_killed_run_goes_on_to_the_same_end(corpus, tmp_path, capsys):
    more = f"{RANDOM} --steps 160 --eval-every 40 --checkpoint-every 10"
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert main(train_words(corpus, undisturbed, more)) == 0
    for steps in (10, 60):
        process = started(train_words(corpus, killed, more))
        wait_for_steps(process, killed, steps)
        process.kill()
        process.communicate()
        assert process.returncode not in (0, None)
        assert steps <= read_notes(killed / "checkpoint.safetensors")["step"] < 160
    assert not (killed / "model.safetensors").exists()
    capsys.readouterr()
    assert main(train_words(corpus, killed, more)) == 0
    assert "killed is finished: 160 steps" in capsys.readouterr().out
    assert same_model(killed, undisturbed)
    assert rows(killed) == rows(undisturbed)


def test_a_run_goes_on_from_the_last_step_of_ctrl_c(corpus, tmp_path):
    if os.name == "nt":
        pytest.skip("Windows sends no SIGINT to one process")
    more = f"{RANDOM} --steps 120 --eval-every 60 --checkpoint-every 20 --reversible"
    stopped, undisturbed = tmp_path / "stopped", tmp_path / "undisturbed"
    process = started(train_words(corpus, stopped, more))
    wait_for_steps(process, stopped, 20)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    step = read_notes(stopped / "checkpoint.safetensors")["step"]
    expected = f"gmlp: stopped after {step} of 120 steps; the same command goes on from there\n"
    assert (process.returncode, err.decode()) == (130, expected)
    for out in (stopped, undisturbed):
        assert main(train_words(corpus, out, more)) == 0
    assert same_model(stopped, undisturbed)


def test_torchrun_trains_as_one_process_does(corpus, tmp_path):
    more = "--reversible --prob-survival 0.5 --accumulate 2"
    one, two = tmp_path / "one", tmp_path / "two"
    program = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    process = started(train_words(corpus, two, more), (*program, "-m", "gmlp"))
    out, err = process.communicate()
    assert process.returncode == 0, err.decode()
    assert out.decode().count("is finished") == 1, "only one process may print"
    assert main(train_words(corpus, one, more)) == 0
    for a, b in zip(rows(one), rows(two), strict=True):
        assert list(map(float, a)) == pytest.approx(list(map(float, b)), abs=1e-4)


def test_a_finished_run_says_so(trained, corpus, capsys):
    before = (trained / "checkpoint.safetensors").read_bytes()
    assert main(train_words(corpus, trained)) == 0
    assert "a run was finished before: 12 steps" in capsys.readouterr().out
    assert (trained / "checkpoint.safetensors").read_bytes() == before


def test_a_run_with_other_settings_is_refused_and_says_which(trained, corpus, capsys):
    message = failed(capsys, train_words(corpus, trained, "--dim 32 --peak 1e-3"))
    assert "(dim 16 there, 32 here, peak 0.004 there, 0.001 here)" in message
    text = corpus.read_text(encoding="utf-8")
    try:
        corpus.write_text(text + "!", encoding="utf-8")
        assert "corpus_sha256" in failed(capsys, train_words(corpus, trained))
    finally:
        corpus.write_text(text, encoding="utf-8")


def test_two_runs_do_not_share_a_folder(trained, corpus, capsys):
    with FileLock(trained / ".lock"):
        assert "another process is training" in failed(capsys, train_words(corpus, trained))


def test_a_loss_that_is_not_a_number_is_told_in_one_line(corpus, tmp_path, capsys):
    assert main(train_words(corpus, tmp_path, "--peak 1e30 --checkpoint-every 1")) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "Try a lower peak (it was 1e+30)" in err
    assert "checkpoint.safetensors, after " in err


def test_without_matplotlib_a_run_ends_well(trained, corpus, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(train_words(corpus, trained)) == 0
    assert "pip install matplotlib" in capsys.readouterr().out


def written(folder, prompt, length, **settings):
    generator = torch.Generator().manual_seed(3)
    return decode(
        generate(load_run(folder), encode(prompt), length, generator=generator, **settings)
    )


def test_generate_streams_what_the_library_writes(trained, monkeypatch, capsys):
    pieces = []
    monkeypatch.setattr(sys.stdout, "write", pieces.append)
    words = ["generate", str(trained), "--prompt", "où ", "--length", "50", "--seed", "3"]
    assert main([*words, "--temperature", "1", "--top-k", "60", "--top-p", "0.99"]) == 0
    expected = written(trained, "où ", 50, temperature=1, top_k=60, top_p=0.99)
    assert "".join(pieces) == expected + "\n"
    assert max(map(len, pieces)) <= 4 and len(pieces) > 20, "it must come as it is written"


def test_generate_stops_after_a_text(trained, capsys):
    words = ["generate", str(trained), "--prompt", "the", "--length", "600", "--seed", "3"]
    words += ["--temperature", "2"]
    assert main(words) == 0
    whole = capsys.readouterr().out
    for stop in (whole[(at := re.search(r"[ -~]{2}", whole[9:]).start() + 9) : at + 2], "\n"):
        assert main([*words, f"--stop={stop}".replace("\n", r"\n")]) == 0
        end = whole.index(stop, 3) + len(stop)
        assert capsys.readouterr().out == whole[:end] + "\n"
    assert end < len(whole), "no new line was written"


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "model.safetensors"])
def test_generate_needs_one_of_both_files(trained, tmp_path, capsys, name):
    (tmp_path / name).write_bytes((trained / name).read_bytes())
    words = ["--prompt", "the", "--length", "20", "--temperature", "0"]
    assert main(["generate", str(tmp_path), *words]) == 0
    assert capsys.readouterr().out == written(trained, "the", 20, temperature=0) + "\n"


def test_generate_ends_quietly_when_nobody_reads_on(trained):
    process = started(["generate", str(trained), "--prompt", "the", "--length", "5000"])
    assert process.stdout.read(3) == b"the"
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "COMMAND"),
        ("fly", "invalid choice: 'fly'"),
        ("train", "--out"),
        ("train --out OUT --corpus enwik", "did you mean 'enwik8'?"),
        ("train --out OUT --corpus no/such/file.txt", "no file at"),
        ("train --out FILE", "is a file; give the name of a folder"),
        ("train --out OUT --window 128,ten", "128,128,2048x2; got '128,ten'"),
        ("train --out OUT --window 128,64", "one entry for each of depth=4"),
        ("train --out OUT --window 0", "at least 1, or None; got 0"),
        ("train --out OUT --window 4x0", "a fold must be at least 1"),
        ("train --out OUT --attn-dim x", "32 or 32,none; got 'x'"),
        ("train --out OUT --heads 3", "heads must divide"),
        ("train --out OUT --dim 0", "dim must be at least 1"),
        ("train --out OUT --act relu", "invalid choice: 'relu'"),
        ("train --out OUT --prob-survival 0", "(0, 1]"),
        ("train --out OUT --dropout 1", "[0, 1)"),
        ("train --out OUT --precision half", "invalid choice: 'half'"),
        ("train --out OUT --steps 0", "steps must be at least 1"),
        ("train --out OUT --steps ten", "invalid int value: 'ten'"),
        ("train --out OUT --batch-size 6 --accumulate 4", "multiple of 4"),
        ("train --out OUT --seq-len 4000", "the byte after it"),
        ("train --out OUT --valid-bytes 9", "more than --seq-len 128; got 9"),
        ("train --out OUT --peak -1", "nvalid learning rate"),
        ("train --out OUT --seed -1", "from 0 to 4294967295; got '-1'"),
        ("train --out OUT --device tpu", "invalid choice: 'tpu'"),
        ("generate OUT", "--prompt"),
        ("generate OUT --prompt x", "to make one: gmlp train --out"),
        ("generate RUN --prompt=", "--prompt is empty"),
        ("generate RUN --prompt x --temperature -1", "temperature must be 0"),
        ("generate RUN --prompt x --top-k 0", "top_k must be at least 1"),
        ("generate RUN --prompt x --top-p 2", "top_p must lie in (0, 1]"),
        ("generate RUN --prompt x --length -1", "length must be 0 or more"),
        ("figures", "--out"),
        ("figures --out OUT --only jacobi", "no figure is called jacobi; there are causal_probe"),
    ],
)
def test_every_mistake_costs_one_line(words, message, trained, corpus, tmp_path, capsys):
    places = {"OUT": str(tmp_path / "out"), "FILE": str(corpus), "RUN": str(trained)}
    given = [places.get(word, word) for word in words.split()]
    if given[:1] == ["train"] and "--corpus" not in given:
        given += ["--corpus", str(corpus)]
    assert message in failed(capsys, given)


@pytest.mark.skipif(torch.cuda.is_available(), reason="here there is one")
def test_a_device_that_is_not_there_is_named(corpus, tmp_path, capsys):
    words = train_words(corpus, tmp_path, "--device cuda")
    assert "--device cuda: PyTorch finds none here" in failed(capsys, words)


def test_files_that_are_no_run_are_named(trained, tmp_path, corpus, capsys):
    for name in ("checkpoint.safetensors", "model.safetensors"):
        out = tmp_path / name
        out.mkdir()
        (out / name).write_bytes((trained / name).read_bytes()[:-9])
        message = failed(capsys, ["generate", str(out), "--prompt", "x"])
        assert f"{name} is damaged" in message
    out = tmp_path / "checkpoint.safetensors"
    assert "is damaged" in failed(capsys, train_words(corpus, out))
    tiny = Path(__file__).parents[1] / "gmlp" / "assets" / "tiny.safetensors"
    (out / "checkpoint.safetensors").write_bytes(tiny.read_bytes())
    assert "no note 'settings'" in failed(capsys, ["generate", str(out), "--prompt", "x"])


def test_figures_are_pages_of_their_own(tmp_path, capsys):
    out = tmp_path / "for slides"
    assert main(["figures", "--out", str(out), "--only", "local_windows,axial_folding"]) == 0
    written = [out / "local_windows.html", out / "axial_folding.html"]
    assert capsys.readouterr().out.split("\n")[:2] == [str(path) for path in written]
    assert sorted(out.iterdir()) == sorted(written)
    assert all("gmlp-viz" in path.read_text("utf-8") for path in written)


def test_help_and_version(capsys):
    for words, expected in (
        (["--version"], f"gmlp {__version__}\n"),
        (["--help"], "generate"),
        (["train", "--help"], "(default: pydocs)"),
        (["generate", "--help"], "(default: 0.8)"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(words)
        out = capsys.readouterr().out
        assert stopped.value.code == 0 and expected in out
        assert "default: None" not in out and "default: False" not in out
    ran = started(["--version"])
    assert ran.communicate() == (f"gmlp {__version__}\n".encode(), b"")
