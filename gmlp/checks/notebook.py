"""A learner's notebook from the terminal: check all of it, or begin it anew."""

import hashlib
import json
import os
import queue
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from gmlp.checks.progress import write_whole
from gmlp.checks.verify import PACKAGED, checked_name, code_cells

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass(frozen=True)
class Verdict:
    """What one cell of a notebook came to: a checked exercise, or a cell that raised an error."""

    name: str  # of the exercise; empty for another cell
    right: bool
    text: str


def check_notebook(path: Path, seconds: float) -> Iterator[Verdict]:
    """Run a notebook in a kernel of its own, top to bottom, and give its verdicts as they come.

    A cell that takes longer than ``seconds`` is interrupted; if it does not even heed that, the
    kernel is ended and the rest of the notebook is not run.

    Raises:
        ValueError: the file is not a notebook, or no cell of it checks anything.
    """
    cells = code_cells(path)
    if not any(map(checked_name, cells)):
        raise ValueError(
            f"no cell of {path} starts with check(...): is it a notebook of exercises/?"
        )
    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_client.manager import KernelManager

    class ThisPython(KernelSpecManager):  # the kernel called python3 may be another interpreter's
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            return KernelSpec(**get_kernel_dict())

    manager = KernelManager(kernel_name="python3", kernel_spec_manager=ThisPython())
    manager.start_kernel(
        cwd=str(path.resolve().parent),
        extra_arguments=["--log-level=40"],
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        for number, cell in enumerate(cells, 1):
            name = checked_name(cell) or ""
            trouble, outputs = _run_cell(manager, client, cell, seconds)
            if trouble:
                text = f"Code cell {number} {trouble}; the cells after it were not run."
                yield Verdict(name, False, text)
                return
            if (verdict := _verdict(name, number, outputs)) is not None:
                yield verdict
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def _run_cell(
    manager: Any, client: Any, source: str, seconds: float
) -> tuple[str, list[dict[str, Any]]]:
    """Run a cell; why the kernel is of no use any more ("" if it is), and results and errors."""
    message = client.execute(source, allow_stdin=False, stop_on_error=False)
    outputs: list[dict[str, Any]] = []
    deadline, interrupted = time.monotonic() + seconds, False
    while True:
        if time.monotonic() > deadline:
            if interrupted:
                return f"did not end within {seconds:g} s, and did not heed an interrupt", []
            manager.interrupt_kernel()
            deadline, interrupted = time.monotonic() + 5, True
        try:
            reply = client.get_iopub_msg(timeout=0.2)
        except queue.Empty:
            if not manager.is_alive():
                return "ended its Python process", []
            continue
        if reply["parent_header"].get("msg_id") != message:
            continue
        if reply["msg_type"] in ("execute_result", "error"):
            outputs.append(reply["content"])
        elif reply["msg_type"] == "status" and reply["content"]["execution_state"] == "idle":
            return "", outputs


def _verdict(name: str, number: int, outputs: list[dict[str, Any]]) -> Verdict | None:
    for output in outputs:
        text = output.get("data", {}).get("text/plain", "")
        if name and text.startswith(f"{name}: "):
            return Verdict(name, text.split("\n")[0] == f"{name}: right", text)
        if "ename" in output:
            lines = [_ANSI.sub("", line) for line in output["traceback"]]
            found = re.search(r"Cell In\[\d+\], line (\d+)", "\n".join(lines))
            at = f"Code cell {number}" + (f", line {found[1]}" if found else "")
            what = _ANSI.sub("", f"{output['ename']}: {output['evalue']}")
            what = re.sub(r" \(\d+\.py, line \d+\)$", "", what)
            return Verdict(name, False, f"{name + ': ' if name else ''}{at}: {what}")
    return Verdict(name, False, f"{name}: code cell {number} shows no verdict") if name else None


def workplace(root: Path) -> Path:
    """The learner's folder ``work``: in the repository; without one, here or above, where there is
    one with exercises, or else a new one here.

    Args:
        root: what :func:`gmlp.checks.verify.course_folder` gives.
    """
    if root != PACKAGED:
        return root / "work"
    here = Path.cwd()
    found = [one / "work" for one in (here, *here.parents) if (one / "work/exercises").is_dir()]
    return found[0] if found else here / "work"


def fresh_copy(root: Path, folder: str, lesson: str) -> tuple[Path, Path | None]:
    """Put a new notebook of a lesson into ``work/``; an older one there is renamed, never lost.

    Returns:
        The new notebook, and what the older one is called now, if there was one.

    Raises:
        FileNotFoundError: the course has no such notebook.
    """
    source = root / folder / f"{lesson}.ipynb"
    if not source.exists():
        raise FileNotFoundError(f"lesson {lesson} has no notebook in {folder}/")
    content = source.read_bytes()
    work = workplace(root)
    target = work / folder / source.name
    kept = None
    if target.exists() and target.read_bytes() != content:
        kept = target.with_name(f"{lesson}-until-{datetime.now():%Y%m%d-%H%M%S}.ipynb")
        os.replace(target, kept)
    write_whole(target, content)
    glossary = root / "docs/glossary.md"  # chapters link to it
    if glossary.exists() and not (work / "docs/glossary.md").exists():
        write_whole(work / "docs/glossary.md", glossary.read_bytes())
    # `course.py lab` signs the copies that are still as they were made.
    made_from = work / ".copied.json"
    try:
        digests = json.loads(made_from.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        digests = {}
    digests[f"{folder}/{source.name}"] = hashlib.sha256(content).hexdigest()
    write_whole(made_from, json.dumps(digests, indent=1).encode())
    return target, kept
