"""Figures of lesson 00, welcome."""

import matplotlib.pyplot as plt
from matplotlib.patches import FancyBboxPatch

from gmlp.viz.plots import COLOURS, INK, STYLE, show

# The lessons in three stages, each with the question it answers.
COURSE = {
    "a model that writes": {
        "01 spatial gating": "How do tokens talk\nwithout attention?",
        "02 causal masking": "How do we stop it\nfrom cheating?",
        "03 residual blocks": "How do we\ngo deep?",
        "04 training": "How does\nit learn?",
        "05 generation": "How does it\nwrite, and fast?",
    },
    "long texts, deep models": {
        "06 tiny attention": "What does a little\nattention buy?",
        "07 local windows": "What if the\ntext is long?",
        "08 axial folding": "How do far tokens\nbecome neighbours?",
        "09 layer dropout": "Can we skip layers\nwhile training?",
        "10 reversible layers": "Can we forget\nthe activations?",
    },
    "the whole, on real hardware": {
        "11 full model": "How does it\nall fit?",
        "12 scaling up": "What changes on\nreal hardware?",
        "13 capstone": "Is it\nany good?",
    },
}


def course_map() -> None:
    """All lessons on one picture, in reading order."""
    with plt.rc_context({**STYLE, "font.size": 9}):
        figure, axes = plt.subplots(figsize=(11, 4.6))
        axes.axis("off")
        axes.set_xlim(-0.5, 4.5)
        axes.set_ylim(-2.4, 0.55)
        for row, (stage, lessons) in enumerate(COURSE.items()):
            colour = COLOURS[row]
            axes.text(-0.46, -row + 0.4, stage, color=colour, fontsize=11, weight="bold")
            for column, (lesson, question) in enumerate(lessons.items()):
                corner = (column - 0.44, -row - 0.3)
                box = FancyBboxPatch(
                    corner, 0.88, 0.6, boxstyle="round,pad=0.02", fc="white", ec=colour
                )
                axes.add_patch(box)
                axes.text(
                    column, -row + 0.18, lesson, ha="center", va="center", weight="bold", color=INK
                )
                axes.text(column, -row - 0.1, question, ha="center", va="center", color=INK)
                if column:
                    axes.text(column - 0.5, -row, "›", ha="center", va="center", fontsize=16)
        names = "; ".join(f"{stage}: {', '.join(lessons)}" for stage, lessons in COURSE.items())
        show(figure, f"The course in three rows of lessons. {names}.")
