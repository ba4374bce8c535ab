"""What teachers read: pages and plans that agree with the lessons."""

import re
from pathlib import Path

import pytest
import teaching
from hypothesis import given
from hypothesis import strategies as st

from gmlp.checks.core import registry
from gmlp.viz.gallery import FIGURES

ROOT = Path(__file__).resolve().parents[1]
COURSE = teaching.read_course()
PLANS = (ROOT / "docs" / "teaching.md").read_text("utf-8")


def test_the_pages_and_the_minutes_of_the_plans_are_as_the_lessons_say():
    assert teaching.differences() == [], "to mend it: python tools/teaching.py"


@pytest.mark.parametrize("lesson", COURSE.values(), ids=lambda lesson: lesson.name)
def test_a_lesson_is_read_whole(lesson):
    chapter = (ROOT / "lessons" / f"{lesson.name}.py").read_text("utf-8")
    tasks = (ROOT / "lessons" / f"{lesson.name}_exercises.py").read_text("utf-8")
    assert f"*{lesson.minutes} minutes." in chapter
    assert sum(section.minutes for section in lesson.sections) == lesson.minutes
    assert len(lesson.sections) == len(re.findall(r"(?m)^# ## ", chapter))
    assert len(lesson.opening) >= 4
    assert len(teaching.recall(lesson)) == len(re.findall(r"(?m)^# \*\*\d\. ", chapter)) == 3
    predictions = [text for part in lesson.sections for text in teaching.predictions(part)]
    assert len(predictions) == len(re.findall(r"(?<!- )\*\*Predict", chapter))
    assert all(text.count("(") == text.count(")") for text in predictions)
    assert {name for _, name, _ in teaching.figures(lesson)} <= set(FIGURES)
    assert teaching.figures(lesson), "no figure to show"
    known = registry()
    here = [name for name, entry in known.items() if entry.exercise.lesson == lesson.name]
    assert sorted(card.name for card in lesson.exercises) == sorted(here)
    for card in lesson.exercises:
        assert card.kind == known[card.name].exercise.kind
    said = re.search(r"About\s+(?:#\s+)?(\d+)\s+(?:#\s+)?minutes, after", tasks)
    total = sum(card.minutes for card in lesson.exercises)
    assert said is None or int(said[1]) == total
    assert teaching.page(lesson).count("\n### ") == len(lesson.exercises)


@given(st.integers(1, 200), st.lists(st.integers(1, 500), min_size=1, max_size=20))
def test_shares_are_whole_fair_and_lose_nothing(total, weights):
    parts = teaching.share(total, weights)
    assert sum(parts) == total
    exact = [total * weight / sum(weights) for weight in weights]
    assert all(abs(part - true) < 1 for part, true in zip(parts, exact, strict=True))


def test_a_row_of_a_plan_adds_up_sections_and_exercises():
    first, second = COURSE["01"], COURSE["02"]
    assert teaching.minutes_of("01", "–", COURSE) == first.minutes
    assert teaching.minutes_of("1.1–1.3, 2.4", "–", COURSE) == sum(
        [*(first.section(f"1.{k}").minutes for k in (1, 2, 3)), second.section("2.4").minutes]
    )
    assert teaching.minutes_of("–", "all of 01", COURSE) == sum(
        card.minutes for card in first.exercises
    )
    card = first.exercises[0]
    assert teaching.minutes_of("recall 01", f"`{card.name}`", COURSE) == card.minutes + (
        first.section("recall").minutes
    )
    for sections, exercises in (("1.99", "–"), ("one", "–"), ("01", "`no_such_exercise`")):
        with pytest.raises(teaching.TeachingError):
            teaching.minutes_of(sections, exercises, COURSE)


def test_a_plan_that_takes_too_long_is_refused():
    head = "| minutes | sections | what the class does | exercises |\n|---|---|---|---|\n"
    rows = "| 0 | 01, 02 | reads | – |\n| 0 | **in all** | | |\n"
    with pytest.raises(teaching.TeachingError, match="takes 100 minutes"):
        teaching.plans(f"## 90 minutes: too much\n\n{head}{rows}", COURSE)
    text = teaching.plans(f"## A term\n\n{head}{rows}", COURSE)
    assert "| 100 | 01, 02 | reads | – |\n| **100** | **in all** |" in text


def test_the_plans_are_there_and_the_term_takes_every_lesson_and_exercise():
    headings = re.findall(r"(?m)^##+ (.+)$", PLANS)
    for plan in ("90 minutes", "Half a day", "Two days", "A term"):
        assert any(heading.startswith(plan) for heading in headings)
    assert len(re.findall(r"(?m)^\| \*\*\d+\*\* \| \*\*in all\*\*", PLANS)) == 7
    half = PLANS[PLANS.index("## Half a day") : PLANS.index("## Two days")]
    assert {found.zfill(2) for found in re.findall(r"\b(\d+)\.\d+–", half)} == (
        {"01", "02", "07", "08", "10"}
    )
    term = PLANS[PLANS.index("## A term") : PLANS.index("## Slides")]
    assert re.findall(r"(?m)^\| \d+ \| (\d\d) \|", term) == list(COURSE)
    everything = sum(
        lesson.minutes + sum(card.minutes for card in lesson.exercises)
        for lesson in COURSE.values()
    )
    assert f"| **{everything}** | **in all** |" in term
