"""The learner's way, in the real JupyterLab and a real browser. Slow: `course.py test --all`."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from browser import chromium, needs_browser

from gmlp.viz.gallery import FIGURES

ROOT = Path(__file__).resolve().parents[1]

pytestmark = [
    pytest.mark.skipif(not os.environ.get("GMLP_TEST_ALL"), reason="slow: course.py test --all"),
    needs_browser,
]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clean clone of what is committed, so that nobody's own work/ is touched."""
    folder = tmp_path_factory.mktemp("lab") / "the course"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    return folder


@pytest.fixture(scope="module")
def lab(clone):
    """Address and token of a Lab on the clone, with the learner's copies of the notebooks, signed.

    Not by `course.py lab`, which would install the clone into the environment of the tests;
    test_course.py sees to that command.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    env = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    env |= {"JUPYTER_PREFER_ENV_PATH": "1", "JUPYTER_CONFIG_DIR": str(clone.parent / "config")}
    env |= {"JUPYTER_DATA_DIR": str(clone.parent / "data")}  # the signatures
    prepare = "course.copy_notebooks(); course.sign_notebooks(course.choose_environment())"
    prepare = [sys.executable, "-c", f"import course; {prepare}"]
    subprocess.run(prepare, cwd=clone, env=env, check=True)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += ["--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--LabApp.news_url=None"]
    command += ["--IdentityProvider.token=for-the-test", "--LabApp.expose_app_in_browser=True"]
    with (clone.parent / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=clone, env=env, stdout=log, stderr=log)
    try:
        for _ in range(120):
            assert server.poll() is None, (clone.parent / "log").read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}", "for-the-test"
    finally:
        server.terminate()
        server.wait(20)


def show(page, address):
    """Open a notebook and wait until its kernel is there."""
    page.goto(address)
    name = address.split("/")[-1].split("?")[0]
    page.wait_for_function(
        "name => window.jupyterapp?.shell.currentWidget?.context?.path.endsWith(name)", arg=name
    )
    page.evaluate(
        """async () => {
            const notebook = jupyterapp.shell.currentWidget;
            await notebook.context.ready;
            await notebook.sessionContext.ready;
        }"""
    )


def run_all(page):
    """Run every cell, wait for the last, or for one that fails, and save."""
    page.click("text=Run >> nth=0")
    page.click("text=Run All Cells")
    page.wait_for_function(
        """() => {
            const notebook = jupyterapp.shell.currentWidget;
            const code = notebook.content.widgets.filter(w => w.model.type == "code");
            const idle = notebook.sessionContext.session.kernel.status == "idle";
            const failed = code.some(w => w.model.outputs.toJSON().some(
                output => output.output_type == "error"
            ));
            return idle && (failed || code.every(w => w.model.executionCount));
        }""",
        polling=1000,
    )
    page.evaluate("jupyterapp.commands.execute('docmanager:save')")


def test_every_notebook_runs_in_the_real_lab_and_leaves_the_checkout_clean(clone, lab):
    address, token = lab
    # Exercises are left out: an untouched one stops at `raise NotImplementedError`, as it should.
    chapters = sorted(path.name for path in (clone / "work" / "chapters").glob("*.ipynb"))
    assert chapters
    with chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(300_000)
        for name in chapters:
            show(page, f"{address}/lab/tree/work/chapters/{name}?token={token}&reset")
            run_all(page)
            path = clone / "work" / "chapters" / name
            assert path.read_bytes() != (clone / "chapters" / name).read_bytes()
            saved = nbformat.read(path, as_version=4)
            code = [cell for cell in saved.cells if cell.cell_type == "code"]
            errors = [o for cell in code for o in cell.outputs if o.output_type == "error"]
            assert not errors, f"{name}: {errors[0].evalue}"
            assert sum(cell.execution_count is not None for cell in code) == len(code), name
    status = ["git", "status", "--porcelain"]
    assert subprocess.run(status, cwd=clone, capture_output=True, check=True).stdout == b""
    build = [sys.executable, "tools/build.py", "--check"]
    assert subprocess.run(build, cwd=clone, check=False).returncode == 0


def test_a_contributor_opens_a_lesson_as_a_notebook_and_saves_it(clone, lab):
    address, token = lab
    path = clone / "lessons" / "03_residual_blocks.py"
    before = path.read_text("utf-8")
    with chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(60_000)
        page.goto(f"{address}/lab?token={token}&reset")
        page.wait_for_function("window.jupyterapp?.shell.currentWidget")
        page.evaluate(  # what "Open With > Notebook" does
            """path => void jupyterapp.commands.execute(
                "docmanager:open", {path, factory: "Notebook"}
            )""",
            f"lessons/{path.name}",
        )
        page.click("button:has-text('Select')")  # of the kernel: a source names none
        page.wait_for_function("jupyterapp.shell.currentWidget.content.widgets?.length > 20")
        page.evaluate(
            """async () => {
                const notebook = jupyterapp.shell.currentWidget;
                await notebook.context.ready;
                const first = notebook.content.widgets[0].model.sharedModel;
                first.setSource(first.source + "\\nOne more line.");
                await jupyterapp.commands.execute("docmanager:save");
            }"""
        )
    head, rest = before.split("\n\n", 1)
    assert path.read_text("utf-8") == f"{head}\n# One more line.\n\n{rest}"
    path.write_text(before, "utf-8")


def wait_alive(page, count):
    """Wait until so many figures have been drawn, and no other is there."""
    page.wait_for_function(
        """count => {
            const figures = [...document.querySelectorAll(".gmlp-viz")];
            return figures.length == count && figures.every(one => one.querySelector("canvas"));
        }""",
        arg=count,
    )


def assert_sliders_follow_the_arrow_keys(page):
    """JupyterLab has other plans with them: it would select the next cell."""
    for slider in page.locator(".gmlp-viz input[type=range]:enabled").all():
        before = int(slider.input_value())
        key, step = ("ArrowLeft", -1) if before else ("ArrowRight", 1)
        slider.press(key)
        assert int(slider.input_value()) == before + step


def test_figures_live_from_a_fresh_kernel_and_in_the_saved_notebook(clone, lab):
    address, token = lab
    code = "from gmlp.viz.gallery import FIGURES\n\nFIGURES[{!r}]()"
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)"}
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
    notebook.cells = [nbformat.v4.new_code_cell(code.format(name)) for name in FIGURES]
    nbformat.write(notebook, clone / "figures.ipynb")
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1200, "height": 20_000})  # all in sight
        page.set_default_timeout(300_000)
        show(page, f"{address}/lab/tree/figures.ipynb?token={token}&reset")
        run_all(page)
        wait_alive(page, len(FIGURES))
        assert_sliders_follow_the_arrow_keys(page)
        # Opened again as it was saved, and not run.
        saved = nbformat.read(clone / "figures.ipynb", as_version=4)
        assert all(cell.outputs for cell in saved.cells)
        page = browser.new_page(viewport={"width": 1200, "height": 20_000})
        page.goto(f"{address}/lab/tree/figures.ipynb?token={token}&reset")
        page.wait_for_selector(".gmlp-viz")
        wait_alive(page, len(FIGURES))
    (clone / "figures.ipynb").unlink()


def test_unrun_figures_live_and_a_changed_notebook_shows_their_picture(clone, lab):
    address, token = lab
    name = "02_causal_masking.ipynb"
    count = (clone / "chapters" / name).read_text("utf-8").count('class=\\"gmlp-viz\\"')
    assert count
    # Another test may have run the copy: begin with that of a fresh clone.
    (clone / "work" / "chapters" / name).write_bytes((clone / "chapters" / name).read_bytes())
    changed = nbformat.read(clone / "chapters" / name, as_version=4)
    changed.cells[0].source += " (changed by who knows whom)"
    nbformat.write(changed, clone / "changed.ipynb")
    with chromium() as browser:
        for path, living in ((f"work/chapters/{name}", count), ("changed.ipynb", 0)):
            page = browser.new_page(viewport={"width": 1200, "height": 20_000})
            page.set_default_timeout(300_000)
            show(page, f"{address}/lab/tree/{path}?token={token}&reset")
            picture = page.locator("img[alt*='changed in turn']")
            picture.first.wait_for(state="attached")
            if living:
                wait_alive(page, living)
            assert page.locator(".gmlp-viz canvas").count() >= living
            assert picture.first.is_visible() != bool(living)
    (clone / "changed.ipynb").unlink()
