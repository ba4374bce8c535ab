"""Exercises, checked at once: ``check(f)`` looks at your answer, ``hint(f)`` helps a little."""

from gmlp.checks.core import check, hint

__all__ = ["check", "hint"]
