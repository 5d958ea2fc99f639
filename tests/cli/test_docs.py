"""The documentation is true: its Python runs, its commands exist with their options and settings, its links lead."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from deeplense_core import jobs
from deeplense_core.cli import parser
from deeplense_core.cli.arguments import settings
from deeplense_core.runs import Run, list_runs
from deeplense_core.spec import Knob, knobs
from deeplense_core.workspace import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(r"python -m deeplense_core (.+)")


def blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """Fenced blocks of a language: the line each begins in, and its text."""
    text = page.read_text()
    found = re.finditer(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [(text[: match.start(1)].count("\n"), match[1]) for match in found]


def commands(page: Path) -> Iterator[tuple[int, str]]:
    """Every ``python -m deeplense_core ...``, in blocks and within lines, without its comment."""
    for start, block in blocks(page, "sh"):
        lines = block.replace("\\\n", "  ").splitlines()
        yield from ((start + i + 1, match[1]) for i, line in enumerate(lines) if (match := COMMAND.search(line)))
    plain = re.sub(r"^```.*?^```", lambda m: "\n" * m[0].count("\n"), page.read_text(), flags=re.M | re.S)
    for match in re.finditer(r"`(?:\.venv/bin/)?python -m deeplense_core ([^`]+)`", plain):
        yield plain[: match.start()].count("\n") + 1, " ".join(match[1].split())


def _all_commands() -> list:
    return [pytest.param(text, id=f"{page.name}:{line}") for page in PAGES for line, text in commands(page)]


@pytest.mark.timeout(900)  # half a minute of work, on a machine that may have other work
def test_python_of_the_library_page(tmp_path, monkeypatch):
    """From top to bottom in one folder, each block on its own, as the page says; ten lines at most."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(jobs.LAUNCHERS, "here", in_this_process)
    page = ROOT / "docs" / "library.md"
    found = blocks(page, "python")
    assert len(found) >= 8
    for line, code in found:
        assert len(code.splitlines()) <= 10, f"line {line}"
        exec(compile("\n" * line + code, str(page), "exec"), {"__name__": "__main__"})
    assert [row.state for row in list_runs()] == ["done"]


def in_this_process(run: Run) -> None:
    """The training of the page without a process of its own, which tests/jobs has and which loads torch again."""
    from deeplense_core.carry_out import carry_out

    run.set_status(state=carry_out(run))


@pytest.mark.parametrize(("user", "shown"), [
    ({"is_logged_in": False}, ["Log in"]),
    ({"is_logged_in": True, "email": "eve@example.org", "email_verified": True}, ["Log out"]),
    ({"is_logged_in": True, "email": "ada@example.org", "email_verified": False}, ["Log out"]),
    ({"is_logged_in": True, "email": "ada@example.org", "email_verified": True}, ["inside"]),
])  # fmt: skip
def test_login_of_the_security_page(user, shown, monkeypatch):
    """Its lines before a page that is not for everybody, with its list of who may enter."""
    (_, code), = blocks(ROOT / "docs" / "security.md", "py")
    (_, secrets), = blocks(ROOT / "docs" / "security.md", "toml")
    monkeypatch.setattr("streamlit.user_info._get_user_info", lambda: user)
    app = AppTest.from_string(f"import streamlit as st\n{code}\nst.button('inside')", default_timeout=120)
    app.secrets["access"] = tomllib.loads(secrets)["access"]
    app.run()
    assert [button.label for button in app.button] == shown
    assert not app.exception


@pytest.mark.parametrize("text", _all_commands())
def test_command(text):
    """The real parser takes it; what it names is registered; every setting exists and takes its value."""
    words = shlex.split(text, comments=True)
    if "--help" in words:
        with pytest.raises(SystemExit, match="0"):
            parser().parse_args(words)
        return
    top = parser()
    args = vars(top.parse_args(words))
    (verbs,) = (action.choices for action in top._actions if action.choices)
    options = {word.partition("=")[0] for word in words if word.startswith("-")}
    assert options <= set(verbs[words[0]]._option_string_actions)  # argparse takes their beginnings too
    named(args)
    given = settings(args.get("set") or [])
    known = settings_known(words[0], args) if given else {}
    for key, value in given.items():
        assert key in known, f"there is no setting {key!r}"
        known[key].parse(value)


def named(args: dict) -> None:
    """Recipes and layouts that a command names are registered; a wrong one is a UserError."""
    from deeplense_core.ingest import LAYOUTS
    from deeplense_core.sim import RECIPES

    data = args.get("data") or ""
    recipes = [args.get("recipe"), *(word[4:] for word in ([data] if isinstance(data, str) else data)
                                     if word.startswith("sim:"))]  # fmt: skip
    for name in filter(None, recipes):
        assert name in {*RECIPES, "RECIPE"}, name
    assert args.get("layout", "auto") in {*LAYOUTS, "auto"}


def settings_known(verb: str, args: dict) -> dict[str, Knob]:
    """The settings that a command takes for what it names."""
    if verb == "train":
        from deeplense_core.train import settings_of

        return settings_of(args["task"], args["model"])
    if verb == "simulate":
        from deeplense_core.sim import RECIPES

        return knobs(RECIPES[args["recipe"]].config)
    if verb == "project":
        from deeplense_core.embeddings.project import METHODS

        return knobs(METHODS[args["method"]].config)
    from deeplense_core.bench.adapt import AdaptBenchConfig
    from deeplense_core.bench.finders import FindersBenchConfig
    from deeplense_core.bench.ssl import SslBenchConfig

    return knobs({"adapt": AdaptBenchConfig, "finders": FindersBenchConfig, "ssl": SslBenchConfig}[args["name"]])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    """Relative links name a file of the repository; their fragments a heading of it."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, fragment = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        assert there.is_relative_to(ROOT), target
        assert there.exists(), target
        if fragment:
            assert fragment in headings(there), target


def headings(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    found = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_every_page_is_reached():
    """The index names every page of the folder."""
    index = (ROOT / "docs" / "README.md").read_text()
    assert [page.name for page in PAGES[1:] if page.name != "README.md" and f"({page.name})" not in index] == []
