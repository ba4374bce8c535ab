"""What a teacher reads, made from the lessons.

    python tools/teaching.py [--check]

    docs/lessons/NN_name.md   per lesson: aims, questions, predictions, figures, exercises, mistakes
    docs/lessons/README.md    the list of them, with the minutes
    docs/teaching.md          plans, written by hand: only the minutes in its tables come from here

A chapter and each exercise say their own minutes. A section has the chapter's, shared out by the
number of its words, text and code. In a plan the column *minutes* is the sum of the sections and
exercises that stand in the same row; the row *in all* is the sum of the table.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SENTENCES = 8  # of an exercise's known mistakes
LIMITS = {"90 minutes": 90, "half a day": 180, "morning": 180, "afternoon": 180}  # by heading


class TeachingError(Exception):
    """A lesson or a plan that cannot be read; the text says where and why."""


@dataclass
class Cell:
    """A cell of a lesson: its text without the marks of comments, or its code."""

    text: str
    code: bool


@dataclass
class Section:
    """A section of a chapter, ``1.4`` or, at the end, ``recall`` and ``close``."""

    key: str
    title: str
    cells: list[Cell] = field(default_factory=list)
    minutes: int = 0


@dataclass
class Exercise:
    """The card of an exercise."""

    name: str
    title: str
    dots: str
    minutes: int
    kind: str


@dataclass
class Lesson:
    """A lesson as its sources tell it."""

    name: str
    title: str
    minutes: int
    needs: str
    opening: list[str]
    sections: list[Section]
    exercises: list[Exercise]
    drawn: frozenset[str] = frozenset()  # names imported from gmlp.viz

    @property
    def number(self) -> str:
        return self.name[:2]

    def section(self, key: str) -> Section:
        for section in self.sections:
            if section.key == key:
                return section
        raise TeachingError(f"{self.name} has no section {key}")


def cells_of(source: str) -> list[Cell]:
    """The cells of a lesson in the form py:percent."""
    cells = []
    for block in re.split(r"(?m)^# %%", source)[1:]:
        head, _, body = block.partition("\n")
        if "[markdown]" in head:
            body = re.sub(r"(?m)^# ?", "", body)
        cells.append(Cell(body.strip(), "[markdown]" not in head))
    return cells


def paragraphs(text: str) -> list[str]:
    """A text's paragraphs, each on one line; lists and tables keep their lines."""
    found = []
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = block.splitlines()
        listed = any(re.match(r"\s*([-*|]|\d+\.) ?", line) for line in lines)
        keep = listed or block.startswith(("$$", "<"))
        found.append("\n".join(lines) if keep else " ".join(lines))
    return found


def listed(lines: Sequence[str]) -> list[str]:
    """The items of a numbered list, of which one may go over several lines."""
    items: list[str] = []
    for line in lines:
        if match := re.match(r"\d+\. (.*)", line):
            items.append(match[1])
        elif items and line.strip():
            items[-1] += " " + line.strip()
        elif items:
            break
    return items


def share(total: int, weights: Sequence[int]) -> list[int]:
    """Whole numbers in proportion to the weights that add up to the total: largest remainders."""
    exact = [total * weight / sum(weights) for weight in weights]
    parts = [int(number) for number in exact]
    order = sorted(range(len(exact)), key=lambda i: (parts[i] - exact[i], i))
    for i in order[: total - sum(parts)]:
        parts[i] += 1
    return parts


def sections_of(cells: Sequence[Cell], number: int) -> list[Section]:
    """The chapter cut at its headings of the second order; the opening is left out."""
    sections: list[Section] = []
    for cell in cells:
        if cell.code:
            if sections:
                sections[-1].cells.append(cell)
            continue
        for part in re.split(r"(?m)^(?=## )", cell.text):
            if match := re.match(r"## (.+)\n?", part):
                title, key = match[1], ""
                if named := re.match(rf"({number}\.\d+) (.+)", title):
                    key, title = named[1], named[2]
                else:
                    last = {"Do you remember?": "recall", "What you can do now": "close"}
                    key = last.get(title, "after")
                sections.append(Section(key, title))
            text = re.sub(r"^## .+\n?", "", part).strip()
            if sections and text:
                sections[-1].cells.append(Cell(text, False))
    return sections


def exercises_of(cells: Sequence[Cell], where: str) -> list[Exercise]:
    """The cards of an exercises' file, in order."""
    cards: list[Exercise] = []
    for cell in cells:
        if not cell.code and (heading := re.match(r"## \d+\. (.+)\n\n", cell.text)):
            card = re.search(r"(?m)^([●○]{3}) · (\d+) minutes · (\w+)", cell.text)
            if card is None:
                raise TeachingError(f"{where}: {heading[1]!r} does not say dots, minutes and kind")
            cards.append(Exercise("", heading[1], card[1], int(card[2]), card[3]))
        elif cell.code and (called := re.search(r"(?m)^check\((\w+)\)", cell.text)):
            cards[-1].name = called[1]
    return cards


def read_lesson(name: str, root: Path = ROOT) -> Lesson:
    """A lesson from its two sources.

    Raises:
        TeachingError: the chapter does not say its minutes, or an exercise lacks its card.
    """
    path = root / "lessons" / f"{name}.py"
    cells = cells_of(path.read_text("utf-8"))
    opening = cells[0].text
    said = re.search(r"(?s)^# \d\d · (.+?)\n\n\*(\d+) minutes\. (.+?)\*$", opening, re.MULTILINE)
    if said is None:
        raise TeachingError(f"{path.name} does not say its minutes below its title")
    sections = sections_of(cells, int(name[:2]))
    words = [sum(len(re.findall(r"\w+", cell.text)) for cell in s.cells) for s in sections]
    for section, minutes in zip(sections, share(int(said[2]), words), strict=True):
        section.minutes = minutes
    tasks = path.with_name(f"{name}_exercises.py")
    return Lesson(
        name,
        said[1],
        int(said[2]),
        " ".join(said[3].split()).removeprefix("You need: "),
        listed(opening.splitlines()),
        sections,
        exercises_of(cells_of(tasks.read_text("utf-8")), tasks.name),
        frozenset(
            alias.name
            for cell in cells
            for node in ast.walk(ast.parse(cell.text if cell.code else ""))
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gmlp.viz")
            for alias in node.names
        ),
    )


def read_course(root: Path = ROOT) -> dict[str, Lesson]:
    """Every lesson by its number."""
    names = sorted(p.stem for p in (root / "lessons").glob("*.py") if "_exercises" not in p.stem)
    return {name[:2]: read_lesson(name, root) for name in names}


# ---------------------------------------------------------------- a lesson's page


def relinked(text: str) -> str:
    """A chapter's text, with its links to other chapters as seen from docs/lessons/."""
    text = re.sub(r"\]\((\d\d_\w+\.ipynb)\)", r"](../../chapters/\1)", text)
    text = text.replace("](../docs/", "](../").replace("](../exercises/", "](../../exercises/")
    return " ".join(text.split())


def predictions(section: Section) -> list[str]:
    """What the class is asked to foretell, from the sentence with that word to its paragraph's end.

    Where the question goes on in a list, the list comes along.
    """
    found = []
    for cell in section.cells:
        parts = [] if cell.code else paragraphs(cell.text)
        for i, part in enumerate(parts):
            at = part.find("**Predict")
            if at < 0 or part.startswith("- "):
                continue
            starts = [0, *(match.end() for match in re.finditer(r"[.?!][)*]* ", part[:at]))]
            while len(starts) > 1:  # a question too short to stand alone takes a sentence along
                asked = part[starts[-1] :]
                if len(asked.split()) >= 10 and asked.count("(") == asked.count(")"):
                    break
                starts.pop()
            more = parts[i + 1 : i + 2] if part.endswith(":") else []
            found.append(" ".join([part[starts[-1] :], *more]))
    return found


def recall(lesson: Lesson) -> list[tuple[str, str, str]]:
    """The questions at the end: question, right answer, why."""
    text = "\n".join(cell.text for cell in lesson.section("recall").cells)
    found = []
    for part in re.split(r"(?m)^(?=\*\*\d+\. )", text)[1:]:
        question = re.match(r"(?s)\*\*\d+\. (.+?)\*\*$", part, re.MULTILINE)
        right = re.search(
            r"(?s)<summary>([^<]*(?:<(?!/summary)[^<]*)*)</summary>Right: (.+?)</d", part
        )
        if question is None or right is None:
            raise TeachingError(f"{lesson.name}: a recall question has no right answer")
        after = part.rpartition("</details>")[2].replace("<br>", "").strip()
        before = part[question.end() : part.find("<details>")].strip()
        asked = f"{question[1]} {before}{after}".strip()
        answer, why = relinked(right[1]), relinked(right[2])
        found.append((relinked(asked), answer, why[0].upper() + why[1:]))
    return found


@cache
def figure_names() -> frozenset[str]:
    from gmlp.viz.gallery import FIGURES

    return frozenset(FIGURES)


def figures(lesson: Lesson) -> list[tuple[Section, str, str]]:
    """The figures to be touched: section, name, and what the chapter says just below."""
    found = []
    for section in lesson.sections:
        for i, cell in enumerate(section.cells):
            for node in ast.walk(ast.parse(cell.text if cell.code else "")):
                name = ""
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    name = node.func.attr if ast.unparse(node.func.value) == "viz" else ""
                elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    name = node.func.id if node.func.id in lesson.drawn else ""
                if name in figure_names():
                    below = [cell.text for cell in section.cells[i + 1 :] if not cell.code]
                    near = relinked(paragraphs(below[0])[0]) if below else ""
                    near = re.sub(r"<details><summary>(.+?)</summary>", r"*\1:* ", near)
                    near = near.replace("</details>", "")
                    found.append((section, name, near))
    return found


def page(lesson: Lesson) -> str:
    """docs/lessons/NN_name.md."""
    from gmlp.checks.core import find

    name, number = lesson.name, lesson.number
    chapter = f"../../chapters/{name}.ipynb"
    total = sum(exercise.minutes for exercise in lesson.exercises)
    out = [
        "<!-- Made by tools/teaching.py from lessons/; change it there. -->",
        f"# {number} · {relinked(lesson.title)}",
        f"[Chapter]({chapter}), {lesson.minutes} minutes. "
        f"[Exercises](../../exercises/{name}.ipynb), {total} minutes, "
        f"with [solutions](../../solutions/{name}.ipynb). "
        f"Slides: `python tools/slides.py {number}`.",
        f"Needs: {relinked(lesson.needs)}",
        "## Aims\n\nAfterwards the class can",
        "\n".join(f"{i}. {relinked(aim)}" for i, aim in enumerate(lesson.opening, 1)),
        "## Sections, and what to have predicted",
        "The minutes are the chapter's, shared out by length. "
        "The answer to a prediction is the output below it in the chapter.",
    ]
    for section in lesson.sections:
        mark = f"{section.key} " if "." in section.key else ""
        minutes = f"{section.minutes} minute{'s' * (section.minutes != 1)}"
        out.append(f"**{mark}{relinked(section.title)}** · {minutes}")
        if foretold := predictions(section):
            out.append("\n".join(f"- {relinked(text)}" for text in foretold))
    out.append("## Figures to show")
    out.append(
        "\n".join(
            f"- `gmlp figures --only {figure}` (section {section.key})" + f": {near}" * bool(near)
            for section, figure, near in figures(lesson)
        )
    )
    out.append("## Questions to ask")
    for i, (question, answer, why) in enumerate(recall(lesson), 1):
        end = "" if answer[-1] in ".?!" else "."
        out.append(f"{i}. {question}\n   - **{answer}{end}** {why}")
    out.append("## Exercises, and what goes wrong in them")
    for i, card in enumerate(lesson.exercises, 1):
        known = find(card.name).exercise
        out.append(f"### {i}. {card.title}")
        out.append(f"`{card.name}` · {card.dots} · {card.minutes} minutes · {card.kind}")
        out.append(f"To one who is stuck: {known.hints[0]}")
        said = list(dict.fromkeys(wrong.what_it_means for wrong in known.misconceptions))
        known_mistakes = f"`check` knows {len(known.misconceptions)} mistakes"
        out.append(known_mistakes + (", among them" if len(said) > SENTENCES else "") + ":")
        out.append("\n".join(f"- {text}" for text in said[:SENTENCES]))
    return "\n\n".join(out) + "\n"


def index(course: dict[str, Lesson]) -> str:
    """docs/lessons/README.md."""
    rows = [
        f"| [{lesson.number} {lesson.title.partition(':')[0]}]({lesson.name}.md) | "
        f"{lesson.minutes} | {sum(e.minutes for e in lesson.exercises)} | "
        f"{len(lesson.exercises)} |"
        for lesson in course.values()
    ]
    reading = sum(lesson.minutes for lesson in course.values())
    tasks = [e for lesson in course.values() for e in lesson.exercises]
    practice = sum(e.minutes for e in tasks)
    return (
        "<!-- Made by tools/teaching.py from lessons/; change it there. -->\n\n"
        "# The lessons, for teachers\n\n"
        "Aims, predictions, figures, questions with answers, exercises and their mistakes. "
        "How to put lessons together stands in [Teaching with this course](../teaching.md).\n\n"
        "| lesson | minutes to read | minutes to practise | exercises |\n|---|---|---|---|\n"
        + "\n".join(rows)
        + f"\n| **in all** | **{reading}** | **{practice}** | **{len(tasks)}** |\n"
    )


# ---------------------------------------------------------------- the plans


def minutes_of(sections: str, exercises: str, course: dict[str, Lesson]) -> int:
    """The minutes of sections and of exercises.

    Sections are written ``1.1–1.4, 1.6, recall 01`` or, for a whole chapter, ``01``; exercises by
    their names, or ``all of 01``.
    """
    total = 0
    for word in re.split(r",\s*", sections.strip(" –")):
        if not word:
            continue
        if re.fullmatch(r"\d\d", word):
            total += course[word].minutes
        elif match := re.fullmatch(r"(\d+)\.(\d+)(?:–\1\.(\d+))?|recall (\d\d)", word):
            if match[4]:
                total += course[match[4]].section("recall").minutes
                continue
            lesson = course[match[1].zfill(2)]
            for k in range(int(match[2]), int(match[3] or match[2]) + 1):
                total += lesson.section(f"{match[1]}.{k}").minutes
        else:
            raise TeachingError(f"docs/teaching.md: what sections are {word!r}?")
    cards = {e.name: e for lesson in course.values() for e in lesson.exercises}
    for word in re.split(r",\s*", exercises.strip(" –")):
        if not word:
            continue
        if match := re.fullmatch(r"all of (\d\d)", word):
            total += sum(e.minutes for e in course[match[1]].exercises)
        elif word.strip("`") in cards:
            total += cards[word.strip("`")].minutes
        else:
            raise TeachingError(f"docs/teaching.md: there is no exercise {word}")
    return total


def plans(text: str, course: dict[str, Lesson]) -> str:
    """docs/teaching.md with the minutes in its tables.

    Raises:
        TeachingError: a plan takes longer than its heading says, or names what there is not.
    """
    lines, heading, total = text.splitlines(), "", 0
    for i, line in enumerate(lines):
        if line.startswith("#"):
            heading = line.strip("# ")
        if line.startswith("| minutes |"):
            total = 0
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|") or len(cells) != 4 or cells[0] in ("minutes", "---"):
            continue
        if cells[1] == "**in all**":
            minutes = f"**{total}**"
            limit = next((m for name, m in LIMITS.items() if name in heading.lower()), None)
            if limit is not None and total > limit:
                raise TeachingError(f"docs/teaching.md: {heading!r} takes {total} minutes")
        else:
            own = minutes_of(cells[1], cells[3], course)
            total += own
            minutes = str(own)
        lines[i] = f"| {' | '.join([minutes, *cells[1:]])} |"
    return "\n".join(lines) + "\n"


# ---------------------------------------------------------------- write and check


def made(root: Path = ROOT) -> dict[Path, str]:
    """What the files should hold."""
    course = read_course(root)
    folder = root / "docs" / "lessons"
    texts = {folder / f"{lesson.name}.md": page(lesson) for lesson in course.values()}
    texts[folder / "README.md"] = index(course)
    teaching = root / "docs" / "teaching.md"
    texts[teaching] = plans(teaching.read_text("utf-8"), course)
    return texts


def differences(root: Path = ROOT) -> list[str]:
    """The files that are not as the lessons say."""
    texts = made(root)
    found = [
        path.relative_to(root).as_posix()
        for path, text in texts.items()
        if not path.exists() or path.read_text("utf-8") != text
    ]
    extra = set((root / "docs" / "lessons").glob("*.md")) - set(texts)
    return sorted([*found, *(path.relative_to(root).as_posix() for path in extra)])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="teaching.py", description="pages for teachers")
    parser.add_argument("--check", action="store_true", help="compare only; write nothing")
    options = parser.parse_args(arguments)
    try:
        if options.check:
            found = differences()
            print(
                "\n".join(f"{path} is not as the lessons say" for path in found) or "All as it is."
            )
            if found:
                print("To mend it: python tools/teaching.py (and delete pages without a lesson)")
            return int(bool(found))
        for path, text in made().items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8", newline="\n")
    except TeachingError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
