"""What pyproject.toml cannot say: a wheel takes along the notebooks, which lie beside the package.

They are in the repository once. In a wheel they lie in `gmlp/course/`, in the same folders;
`gmlp.checks.verify.course_folder` finds them in both. All the rest is in pyproject.toml.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
FOLDERS = ("chapters", "exercises", "solutions")


def beside() -> list[str]:
    """What the installed commands read of the repository, besides the package."""
    notebooks = [path for folder in FOLDERS for path in sorted((ROOT / folder).glob("*.ipynb"))]
    return [
        path.relative_to(ROOT).as_posix()
        for path in (*notebooks, ROOT / "docs/glossary.md", ROOT / "constraints.txt")
    ]


class BuildWithNotebooks(build_py):
    def run(self) -> None:
        super().run()
        if self.editable_mode:  # then the package lies in the repository, and all is there
            return
        course = Path(self.build_lib, "gmlp/course")
        shutil.rmtree(course, ignore_errors=True)  # of an earlier build: names may have changed
        for name in beside():
            target = course / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)

    def get_source_files(self) -> list[str]:
        """What a source distribution holds, so that the same wheel can be made of it."""
        return [*super().get_source_files(), *beside()]


setup(cmdclass={"build_py": BuildWithNotebooks})
