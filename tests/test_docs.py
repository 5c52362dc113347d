"""What the documents say is true: their Python runs, their links lead somewhere, their messages exist."""

import ast
import doctest
import importlib
import pkgutil
import re
import warnings
from pathlib import Path

import matplotlib as mpl
import pytest
from typer.main import get_command

import flatout
from flatout.cli.app import app

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
NOT_RUN = "<!-- not run -->\n"  # stands before a block that is a fragment

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def page_name(page):
    return page.name


def blocks(page, *languages):
    """(code, line on which it begins) of each fenced block in one of these languages."""
    text = page.read_text(encoding="utf-8")
    for match in _BLOCK.finditer(text):
        if match[1] in languages and not text[: match.start()].endswith(NOT_RUN):
            yield match[2], text.count("\n", 0, match.start()) + 2


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_the_python_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    with mpl.rc_context():
        for code, line in blocks(page, "python"):
            # The empty lines put the numbers of the page into a traceback.
            exec(compile("\n" * (line - 1) + code, page, "exec"), namespace)


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_the_links_lead_somewhere(page):
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path) if path else page
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked), target


def anchors(page):
    """The anchors GitHub makes of headings."""
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "index.md" or f"]({page.name})" in index


def all_commands():
    """Each command by name; those of a group with its name before theirs."""
    found = {}
    for name, command in get_command(app).commands.items():
        found[name] = command
        found |= {f"{name} {part}": one for part, one in getattr(command, "commands", {}).items()}
    return found


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_the_commands_take_their_options(page):
    commands = all_commands()
    for code, _ in blocks(page, "sh", "console"):
        for name, rest in re.findall(r"flatout (lab \w+|\w+)([^\n#]*)", code):
            known = {option for parameter in commands[name].params for option in parameter.opts}
            known |= {option for parameter in commands[name].params for option in parameter.secondary_opts}
            assert set(re.findall(r"(?<!\S)--?[a-z][\w-]*", rest)) <= known | {"--help", "-h"}


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_the_make_targets_exist(page):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    used = [
        name for code, _ in blocks(page, "sh", "console") for name in re.findall(r"^make (\S+)", code, re.M)
    ]
    assert set(used) <= set(targets)


def test_the_messages_of_the_troubleshooting_page_are_in_the_source():
    """Each heading is a message; `…` stands for what differs from time to time."""
    said = messages(ROOT / "src" / "flatout")
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    headings = re.findall(r"^### `(.*)`$", page, re.MULTILINE)
    assert len(headings) > 20
    for heading in headings:
        for part in heading.split("…"):
            assert any(part.strip() in message for message in said), part


def messages(folder):
    """The strings of the source; what an f-string fills in is cut out."""
    found = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            found.update(
                part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)
            )
    return found


def modules():
    found = (module.name for module in pkgutil.walk_packages(flatout.__path__, "flatout."))
    return [
        name for name in found if not name.endswith("__main__")
    ]  # importing that one runs the command line


@pytest.mark.parametrize("name", modules())
def test_the_examples_in_docstrings(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0
