"""Runs to ship and to show."""

from tests.pages.trained_run import trained, trained_home  # noqa: F401
