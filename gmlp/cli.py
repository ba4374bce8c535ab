"""The commands ``gmlp …``: train and write, figures, and a learner's exercises."""

import argparse
import codecs
import contextlib
import hashlib
import io
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import nn

from gmlp import __version__, encode, gMLPGPT, load_corpus, split_corpus, stream, train
from gmlp.training import PRECISIONS, Record, load_weights, read_notes, save_tensors

CHECKPOINT, MODEL, LOG, PLOT = "checkpoint.safetensors", "model.safetensors", "log.csv", "loss.png"
ACTS = {"identity": nn.Identity, "tanh": nn.Tanh}
SHAPE = (  # arguments of the model; each is an option
    "dim",
    "depth",
    "seq_len",
    "heads",
    "ff_mult",
    "window",
    "attn_dim",
    "act",
    "reversible",
    "prob_survival",
    "dropout",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 1 trouble, 2 a mistake of the user's, 130 stopped.

    A mistake costs one line on stderr, never a traceback.
    """
    arguments = parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal may lack a character
    try:
        return arguments.run(arguments) or 0
    except KeyboardInterrupt as stopped:
        return complain(f"{stopped or 'stopped'}; the same command goes on from there", 130)
    except FloatingPointError as error:
        return complain(error, 1)
    except ModuleNotFoundError as error:
        if not arguments.needs:
            raise
        extra = f"gmlp-course[{arguments.needs}]"
        return complain(f'this needs {error.name}, which is missing: pip install "{extra}"', 2)
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, OSError) as error:
        return complain(error, 2)
    except torch.OutOfMemoryError:
        advice = "try --accumulate 4, --reversible, a smaller --batch-size or a smaller model"
        return complain(f"the device has too little memory; {advice}", 1)
    except RuntimeError as error:
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        return complain(f"torch.compile failed ({error}); leave out --compile", 1)


def complain(what: object, code: int) -> int:
    if os.environ.get("RANK", "0") == "0":  # several processes make the same mistake
        print("gmlp:", " ".join(str(what).split()), file=sys.stderr)
    return code


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


class Help(argparse.ArgumentDefaultsHelpFormatter):
    def _get_help_string(self, action: argparse.Action) -> str | None:
        unset = action.default is None or action.default is False
        return action.help if unset else super()._get_help_string(action)


def parser() -> argparse.ArgumentParser:
    top = Parser(prog="gmlp", description="Train a causal gMLP on text, and let it write.")
    top.add_argument("--version", action="version", version=f"gmlp {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str,
        run: Callable[[argparse.Namespace], int | None],
        about: str,
        group: Any = commands,
        needs: str = "",  # the extra of pyproject.toml with what it imports
    ) -> Parser:
        added = group.add_parser(
            name,
            help=about,
            description=about,
            formatter_class=Help,
        )
        added.set_defaults(run=run, needs=needs)
        return added

    one = command(
        "train",
        run_train,
        "Train a model of bytes. The same command again goes on where it was stopped.",
    )
    add = one.add_argument
    add("--out", required=True, type=Path, metavar="FOLDER", help="where the run is kept")
    add(
        "--corpus",
        default="pydocs",
        help="pydocs, stdlib, tinyshakespeare, enwik8, or the path of a file",
    )
    add("--valid-bytes", type=int, default=200_000, help="at most so much of its last tenth judges")
    add("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="where to compute")

    add = one.add_argument_group("model").add_argument
    add("--dim", type=int, default=128, help="channels")
    add("--depth", type=int, default=4, help="layers")
    add("--seq-len", type=int, default=128, help="bytes that it reads at once")
    add("--heads", type=int, default=1, help="matrices in each spatial gating unit")
    add("--ff-mult", type=int, default=4, help="inner channels, in multiples of --dim")
    add(
        "--window",
        type=windows,
        metavar="W,…",
        help="window of all layers, or of each: 128,128,2048x2 (x2: folded in two); none: no limit",
    )
    add(
        "--attn-dim",
        type=sizes,
        default="32",
        metavar="K,…",
        help="size of the attention head of all layers, or of each: 32,none,32,none",
    )
    add("--act", choices=ACTS, default="identity", help="applied to each gate")
    add("--reversible", action="store_true", help="keep no activations; adds feed-forward layers")
    add("--prob-survival", type=float, default=1.0, help="chance of a layer to take part in a step")
    add("--dropout", type=float, default=0.0, help="share of outputs set to zero in training")

    add = one.add_argument_group("training").add_argument
    add("--steps", type=int, default=1000, help="batches in all")
    add("--batch-size", type=int, default=12, help="windows of --seq-len in a batch, all processes")
    add("--peak", type=float, default=4e-3, help="highest learning rate")
    add("--warmup", type=int, default=100, help="steps until it is reached")
    add("--clip", type=float, default=1.0, help="longest gradient")
    add("--weight-decay", type=float, default=0.01, help="of AdamW")
    add("--accumulate", type=int, default=1, help="parts in which a batch is run, to save memory")
    add("--precision", choices=PRECISIONS, default="float32", help="of autocast")
    add("--compile", action="store_true", help="use torch.compile; slow to start")
    add("--eval-every", type=int, default=100, help="steps between validations")
    add("--checkpoint-every", type=int, help="steps between checkpoints (default: --eval-every)")
    add("--seed", type=seed, default=0, help="decides the weights and the batches")

    add = command("generate", run_generate, "Let a trained model go on with a text.").add_argument
    add("folder", type=Path, metavar="FOLDER", help="what was --out in training")
    add("--prompt", required=True, help="how the text begins")
    add("--length", type=int, default=400, help="bytes to write")
    add("--temperature", type=float, default=0.8, help="0 takes the likeliest byte each time")
    add("--top-k", type=int, help="choose among the K likeliest bytes only")
    add("--top-p", type=float, help="choose among the likeliest bytes that make up this share")
    add("--seed", type=seed, default=0, help="another number, another text")
    add("--stop", help=r"end after this text; \n is a new line")

    about = "Say what works on this machine, and how to mend what does not."
    add = command("doctor", run_doctor, about).add_argument
    add("--json", action="store_true", help="for programs")

    about = "Write the course's figures as pages of their own, for slides; they need no network."
    add = command("figures", run_figures, about, needs="course").add_argument
    add("--out", required=True, type=Path, metavar="FOLDER", help="where NAME.html are written")
    add("--only", metavar="NAME,…", help="these figures")

    about = "Check all exercises of a notebook. Exit code 0: all right; 1: not yet."
    add = command("check", run_check, about, needs="course").add_argument
    add("notebook", type=Path, metavar="NOTEBOOK", help="such as work/exercises/02_….ipynb")
    add("--seconds", type=float, default=60.0, help="a cell that takes longer is stopped")

    about = "Show which exercises of the course are done."
    add = command("progress", run_progress, about).add_argument
    add("--all", action="store_true", help="a line for every exercise")
    add("--json", action="store_true", help="for programs")

    about = "Bring a fresh notebook back into work/; the old one is kept under another name."
    add = command("reset", run_reset, about).add_argument
    add("lesson", metavar="NN", help="number or name of the lesson")
    add("--chapter", action="store_true", help="its chapter, not its exercises")

    about = "Grade the submissions of a lesson. Again with the same --out it goes on where it was."
    add = command("grade", run_grade, about, needs="classroom").add_argument
    add("lesson", metavar="NN", help="number or name of the lesson")
    add("submissions", type=Path, metavar="FOLDER", help="NAME.ipynb, or a folder for each student")
    add(
        "--out", required=True, type=Path, metavar="FOLDER", help="grades.csv and feedback go there"
    )
    for_grading(add)

    about = "Teach with nbgrader: its gradebook and formgrader, our sandbox."
    group = commands.add_parser("classroom", help=about, description=about).add_subparsers(
        required=True, metavar="COMMAND"
    )

    about = "Make a course directory for nbgrader, or add lessons to one. Overwrites nothing."
    add = command("init", run_classroom_init, about, group, "classroom").add_argument
    add("folder", type=Path, metavar="DIR", help="new, empty, or a course already")
    add("--lesson", nargs="+", action="extend", metavar="NN", help="these lessons; default: all")

    about = "Grade submitted/STUDENT/LESSON of a course directory into nbgrader's gradebook."
    add = command("grade", run_classroom_grade, about, group, "classroom").add_argument
    add("folder", type=Path, metavar="DIR", help="the course directory")
    add("lesson", nargs="?", metavar="LESSON", help="default: all that have submissions")
    add(
        "--keep-overrides",
        action="store_true",
        help="leave scores that a person gave to autograded cells",
    )
    for_grading(add)

    about = "Prove the exercises: every stub, solution, known mistake and alternative."
    add = command("verify", run_verify, about).add_argument
    add("lessons", nargs="*", metavar="NN", help="these lessons; none means all")
    add("--seeds", type=int, default=1, help="how many different draws of inputs")
    add("--json", action="store_true", help="for programs")
    return top


def for_grading(add: Callable[..., object]) -> None:
    """The options of the commands that grade."""
    add("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="students graded at once")
    add("--seed", type=seed, default=0, help="decides the inputs; the scores do not depend on it")
    add("--seconds", type=float, default=20.0, help="for each exercise of each student")
    add("--uncontained", action="store_true", help="grade also where there is no sandbox")


def windows(text: str) -> tuple[int | tuple[int | None, int] | None, ...]:
    def one(entry: str) -> int | tuple[int | None, int] | None:
        window, _, fold = entry.partition("x")
        w = None if window == "none" else int(window)
        return (w, int(fold)) if fold else w

    return listed(text, one, "128, none or 128,128,2048x2")


def sizes(text: str) -> tuple[int | None, ...]:
    return listed(text, lambda entry: None if entry == "none" else int(entry), "32 or 32,none")


def listed(text: str, one: Callable[[str], Any], example: str) -> tuple[Any, ...]:
    try:
        return tuple(one(entry.strip()) for entry in text.lower().split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"write it like {example}; got {text!r}") from None


def seed(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 2**32):
        raise argparse.ArgumentTypeError(f"write a number from 0 to {2**32 - 1}; got {text!r}")
    return int(text)


def run_train(arguments: argparse.Namespace) -> None:
    out: Path = arguments.out
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file; give the name of a folder")
    if arguments.valid_bytes <= arguments.seq_len:
        raise ValueError(
            f"--valid-bytes must be more than --seq-len {arguments.seq_len}; "
            f"got {arguments.valid_bytes}"
        )
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    first = os.environ.get("RANK", "0") == "0"
    device = device_for(arguments.device, several)
    shape = {name: getattr(arguments, name) for name in SHAPE}
    for name in ("window", "attn_dim"):
        if shape[name] is not None and len(shape[name]) == 1:
            shape[name] *= arguments.depth
    torch.manual_seed(arguments.seed)
    model = make_model(shape).to(device)
    corpus = load_corpus(arguments.corpus)
    data, valid = split_corpus(corpus, context=arguments.seq_len)
    valid = valid[: arguments.valid_bytes]
    checkpoint = out / CHECKPOINT
    finished = checkpoint.exists() and arguments.steps == read_notes(checkpoint, "step")["step"]
    with contextlib.ExitStack() as stack:
        if first:
            stack.enter_context(alone_in(out))
            count = sum(p.numel() for p in model.parameters())
            print(
                f"{count:,} parameters on {device.type}; {len(data):,} bytes to learn from, "
                f"{len(valid):,} to be judged by",
                flush=True,
            )
        if several:
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
            stack.callback(dist.destroy_process_group)
        history = train(
            model,
            data,
            valid,
            context=arguments.seq_len,
            about={
                **shape,
                "corpus": arguments.corpus,
                "corpus_sha256": hashlib.sha256(corpus).hexdigest()[:16],
                "valid_bytes": arguments.valid_bytes,
            },
            checkpoint=checkpoint,
            log=out / LOG,
            **{
                name: getattr(arguments, name)
                for name in (
                    "steps",
                    "batch_size",
                    "peak",
                    "warmup",
                    "clip",
                    "weight_decay",
                    "accumulate",
                    "precision",
                    "compile",
                    "eval_every",
                    "checkpoint_every",
                    "seed",
                )
            },
        )
        if first:
            settings = read_notes(checkpoint)["settings"]
            save_tensors(out / MODEL, model.state_dict(), {"settings": settings})
            last = history[-1]
            state = "was finished before" if finished else "is finished"
            print(f"{out} {state}: {last.step} steps, {last.valid_bits:.3f} bits per byte")
            plot(history, out / PLOT)
            print(f'Let it write: gmlp generate {shlex.quote(str(out))} --prompt "The "')


def device_for(name: str, several: bool) -> torch.device:
    """The device of this process; ``auto`` is the fastest that is there."""
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        name = "cuda" if cuda else "mps" if mps and not several else "cpu"
    if (name == "cuda" and not cuda) or (name == "mps" and not mps):
        raise ValueError(f"--device {name}: PyTorch finds none here; leave it out, or use cpu")
    if name != "cuda":
        return torch.device(name)
    index = int(os.environ.get("LOCAL_RANK", "0"))
    if index >= torch.cuda.device_count():
        raise ValueError(
            f"each process needs a GPU of its own, and there are {torch.cuda.device_count()}; "
            f"start no more processes than that, or use --device cpu"
        )
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def make_model(settings: Mapping[str, Any]) -> gMLPGPT:
    """The model of these settings, also if they have been a JSON text meanwhile."""
    shape = {name: settings[name] for name in SHAPE}
    return gMLPGPT(num_tokens=256, **shape | {"act": ACTS[shape["act"]]()})


def load_run(folder: Path) -> gMLPGPT:
    """The model of a run of ``gmlp train``, as far as it has come.

    Raises:
        ValueError: the folder holds no such run, or a damaged one.
    """
    # The checkpoint is never older; the model alone may have been copied from elsewhere.
    for path, prefix in ((folder / CHECKPOINT, "model."), (folder / MODEL, "")):
        if path.exists():
            settings = read_notes(path, "settings")["settings"]
            if missing := [name for name in SHAPE if name not in settings]:
                raise ValueError(f"{path} does not say its {missing[0]}: it is not of gmlp train")
            model = make_model(settings)
            load_weights(path, model, prefix)
            return model
    raise ValueError(
        f"no model in {folder}, neither {CHECKPOINT} nor {MODEL}; to make one: "
        f"gmlp train --out {shlex.quote(str(folder))}"
    )


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Two runs would write over each other's files."""
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout:
        raise ValueError(
            f"another process is training in {folder}; wait for it, or give another --out"
        ) from None


def plot(history: Sequence[Record], path: Path) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("No plot, for want of matplotlib: pip install matplotlib, then the same command")
        return
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    steps = [record.step for record in history]
    axes.plot(steps, [record.train_bits for record in history], "o-", ms=3, label="training")
    axes.plot(steps, [record.valid_bits for record in history], "s--", ms=3, label="validation")
    axes.set(xlabel="steps", ylabel="bits per byte")
    axes.legend()
    figure.savefig(path, dpi=150)


def run_generate(arguments: argparse.Namespace) -> None:
    prompt = os.fsencode(arguments.prompt)
    if not prompt:
        raise ValueError("--prompt is empty; give it at least one character to begin with")
    written = stream(
        load_run(arguments.folder),
        encode(prompt),
        arguments.length,
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        top_p=arguments.top_p,
        generator=torch.Generator().manual_seed(arguments.seed),
    )
    stop = os.fsencode(arguments.stop.replace("\\n", "\n")) if arguments.stop else None
    characters = codecs.getincrementaldecoder("utf-8")(errors="replace")
    print(characters.decode(prompt), end="", flush=True)
    text = b""
    for token in written:
        text += bytes(token.tolist())
        print(characters.decode(text[-1:]), end="", flush=True)
        if stop is not None and text.endswith(stop):
            break
    print(characters.decode(b"", final=True), flush=True)


def run_doctor(arguments: argparse.Namespace) -> int:
    from gmlp.doctor import examine, screen

    findings = examine()
    if arguments.json:
        print(json.dumps({"gmlp": __version__, "findings": findings}, indent=1))
    else:
        print(screen(findings))
    return 1 if any(finding["state"] == "problem" for finding in findings) else 0


def run_figures(arguments: argparse.Namespace) -> None:
    from gmlp.viz.gallery import FIGURES

    names = list(FIGURES) if arguments.only is None else arguments.only.split(",")
    unknown = [name for name in names if name not in FIGURES]
    if unknown:
        raise ValueError(
            f"no figure is called {', '.join(unknown)}; there are {', '.join(FIGURES)}"
        )
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in names:
        path = arguments.out / f"{name}.html"
        FIGURES[name]().save(path)
        print(path, flush=True)


def run_check(arguments: argparse.Namespace) -> int:
    from gmlp.checks.notebook import check_notebook

    if not arguments.seconds > 0:
        raise ValueError(f"--seconds must be more than 0; got {arguments.seconds:g}")
    # Its kernel takes seconds to start, and then says nothing until the first check.
    print(f"Running {arguments.notebook}, cell by cell:", file=sys.stderr, flush=True)
    verdicts = []
    for verdict in check_notebook(arguments.notebook, arguments.seconds):
        verdicts.append(verdict)
        print(verdict.text, flush=True)
    checked = [verdict for verdict in verdicts if verdict.name]
    right = sum(verdict.right for verdict in checked)
    print(f"{right} of {len(checked)} right")
    return 0 if right == len(verdicts) else 1


def run_progress(arguments: argparse.Namespace) -> None:
    from gmlp.checks import progress

    kept, trouble = progress.read()
    if arguments.json:
        print(json.dumps({"exercises": kept}, indent=1))
    else:
        print(progress.table(lessons(), kept, every=arguments.all))
    if trouble:
        print(trouble, file=sys.stderr)


def lessons() -> dict[str, list[str]]:
    """The names of each lesson's exercises."""
    from gmlp.checks.core import registry

    found: dict[str, list[str]] = {}
    for name, entry in registry().items():
        found.setdefault(entry.exercise.lesson, []).append(name)
    return found


def lesson_called(word: str, names: Sequence[str]) -> str:
    """The lesson of a number, ``07`` or ``7``, or of a name.

    Raises:
        ValueError: there is none.
    """
    for name in names:
        if word == name or word == name[3:] or (word.isdigit() and word.zfill(2) == name[:2]):
            return name
    raise ValueError(f"no lesson is called {word!r}; there are {', '.join(names)}")


def run_reset(arguments: argparse.Namespace) -> None:
    from gmlp.checks.notebook import fresh_copy
    from gmlp.checks.verify import course_folder

    root = course_folder()
    folder = "chapters" if arguments.chapter else "exercises"
    names = sorted(path.stem for path in (root / folder).glob("*.ipynb"))
    target, kept = fresh_copy(root, folder, lesson_called(arguments.lesson, names))
    print(f"{target} is as it was in the beginning.")
    if kept is not None:
        print(f"Yours is kept: {kept}")
        print("Is it open in JupyterLab? Then File, Reload Notebook from Disk; if asked, Revert.")
    print("What you have solved still counts: gmlp progress")


def run_grade(arguments: argparse.Namespace) -> None:
    from gmlp.checks.verify import course_folder
    from gmlp.grading.grade import grade_class
    from gmlp.grading.sandbox import Limits

    check_grading(arguments)
    lesson = lesson_called(arguments.lesson, list(lessons()))
    with students_bar() as show:
        found = grade_class(
            course_folder(),
            lesson,
            arguments.submissions,
            arguments.out,
            seed=arguments.seed,
            jobs=arguments.jobs,
            limits=Limits(seconds=arguments.seconds),
            on_student=show,
        )
    right = sum(states.get("right", 0) for states in found["states"].values())
    print(f"{found['students']} students, {right} exercises right: {arguments.out / 'grades.csv'}")


@contextlib.contextmanager
def students_bar() -> Iterator[Callable[[str, int], None]]:
    """A progress bar; what it gives is to be called with each student and how many are done."""
    from tqdm.auto import tqdm

    with tqdm(unit=" students", file=sys.stderr) as bar:

        def show(student: str, number: int) -> None:
            bar.n = number
            bar.refresh()

        yield show


def check_grading(arguments: argparse.Namespace) -> None:
    """Say what holds students' code here, before any of it runs.

    Raises:
        ValueError: a limit makes no sense, or nothing holds it and nobody said that this is fine.
    """
    from gmlp.grading.sandbox import containment

    if arguments.jobs < 1 or not arguments.seconds > 0:
        raise ValueError(
            f"--jobs must be 1 or more and --seconds more than 0; got {arguments.jobs} and "
            f"{arguments.seconds:g}"
        )
    held = containment()
    print(held.sentence, file=sys.stderr)
    if not held.full and not arguments.uncontained:
        raise ValueError("nothing was graded; --uncontained grades all the same")


def run_classroom_init(arguments: argparse.Namespace) -> None:
    from gmlp.checks.verify import course_folder
    from gmlp.grading.classroom import init_course

    names = list(lessons())
    chosen = [lesson_called(word, names) for word in arguments.lesson or names]
    made = init_course(course_folder(), arguments.folder, list(dict.fromkeys(chosen)))
    for path in made:
        print(path)
    print(
        "These are for your students, with gmlp-course installed for the checks. What comes next:"
    )
    print(f"1. Edit source/ if you like, then, in {arguments.folder}:")
    print("   nbgrader generate_assignment LESSON --force")
    print(f"2. Put what is handed in to {arguments.folder}/submitted/STUDENT/LESSON/LESSON.ipynb")
    print(f"3. gmlp classroom grade {shlex.quote(str(arguments.folder))}")


def run_classroom_grade(arguments: argparse.Namespace) -> int:
    from gmlp.checks.verify import course_folder
    from gmlp.grading.classroom import grade_course
    from gmlp.grading.sandbox import Limits

    check_grading(arguments)
    word = arguments.lesson
    with students_bar() as show:
        reports = grade_course(
            course_folder(),
            arguments.folder,
            lesson_called(word, list(lessons())) if word else None,
            seed=arguments.seed,
            jobs=arguments.jobs,
            limits=Limits(seconds=arguments.seconds),
            keep_overrides=arguments.keep_overrides,
            on_student=show,
        )
    for report in reports:
        for note in report.notes:
            print(f"{report.lesson}: {note}")
        for trouble in report.failed:
            print(f"gmlp: {report.lesson}: NOT in the gradebook: {trouble}", file=sys.stderr)
        print(f"{report.lesson}: {report.students} students, {report.right} exercises right")
    lesson = reports[0].lesson if len(reports) == 1 else "LESSON"
    print(f"What comes next, in {arguments.folder}:")
    print("1. jupyter lab, and in it nbgrader's Formgrader, for cells that a person grades")
    print(f"2. nbgrader generate_feedback {lesson} --force")
    print("3. nbgrader export")
    return 1 if any(report.failed for report in reports) else 0


def run_verify(arguments: argparse.Namespace) -> int:
    from tqdm.auto import tqdm

    from gmlp.checks.verify import course_folder, verify

    if arguments.seeds < 1:
        raise ValueError(f"--seeds must be at least 1; got {arguments.seeds}")
    chosen = [lesson_called(word, list(lessons())) for word in arguments.lessons]
    with tqdm(unit=" answers", disable=arguments.json or None, file=sys.stderr) as bar:
        found = verify(
            course_folder(),
            range(arguments.seeds),
            chosen,
            on_trial=lambda trial: (bar.update(), bar.set_postfix_str(trial.exercise)),
        )
    if arguments.json:
        print(json.dumps(found, indent=1))
    else:
        for trial in found["failures"]:
            line = (
                "{exercise}, {kind} {what!r}, seed {seed}: judged rightly {caught}, named {named}"
            )
            print(line.format(**trial))
        print(f"{found['exercises']} exercises, {found['code']} of them code")
        for kind in ("stub", "solution", "alternative", "misconception"):
            line = "{trials:5} answers, {caught:.1%} judged and {named:.1%} named rightly"
            print(f"{kind:13}", line.format(**found[kind]))
        print(f"in {found['seconds']} s")
    return 1 if found["failures"] else 0
