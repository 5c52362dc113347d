import multiprocessing
import pickle
import random
import sys
from pathlib import Path
from textwrap import dedent

import pytest
import torch

import flatout
from flatout.errors import TaskError
from flatout.task.python_file import load_python_file

MAKE = """
import torch
from flatout.task.task import Task

def make(width=3, **options):
    model = torch.nn.Linear(2, width)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    X, y = torch.ones(4, 2), torch.ones(4, width)
    return Task(model=model, data=(X, y), optimizer=optimizer, loss=torch.nn.MSELoss(), epochs=1, **options)
"""


@pytest.fixture(autouse=True)
def clean_imports(monkeypatch):
    """What a test imports is forgotten after it."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = dict(sys.modules)
    yield
    for name in set(sys.modules) - set(before):
        file = getattr(sys.modules[name], "__file__", None)
        if file and "pytest-of-" in file:
            del sys.modules[name]


@pytest.fixture
def write(tmp_path):
    """Write a Python file that can make tasks; returns its path."""

    def write_file(code, name="my_training.py", make=True):
        path = tmp_path / name
        path.write_text((MAKE if make else "") + dedent(code))
        return path

    return write_file


def refused(path, *words, name=None):
    with pytest.raises(TaskError) as caught:
        load_python_file(path, name)
    for word in words:
        assert word in str(caught.value)
    return str(caught.value)


# --- which task


def test_a_function_called_task(write):
    task = load_python_file(write("def task(): return make(5)\nother = make(1)"))
    assert task.model.out_features == 5


def test_a_task_called_task(write):
    assert load_python_file(write("task, other = make(4), make(5)")).model.out_features == 4


def test_the_only_task_whatever_its_name(write):
    path = write("import flatout.task.task as task\nmine = make(6)\nsame = mine")
    assert load_python_file(path).model.out_features == 6


def test_a_given_name(write):
    path = write(
        "a, b = make(1), make(2)\nmaker = lambda: make(7)\nclass Big:\n    def __new__(cls): return make(8)"
    )
    assert [load_python_file(path, n).model.out_features for n in ("b", "maker", "Big", "make")] == [
        2,
        7,
        8,
        3,
    ]


def test_the_name_of_the_task(write):
    assert load_python_file(write("task = make()")).name == "my_training"
    assert load_python_file(write("task = make(name='mine')")).name == "mine"


def test_several_tasks(write):
    refused(write("a, b = make(), make()"), "2 tasks", "    my_training.py:a\n    my_training.py:b")


def test_no_task(write):
    said = refused(write("x = 1"), "makes no task", "called `task`", "flatout.Task(", "my_training.py:NAME")
    assert "    def task():\n" in said
    refused(write("task = 3"), "makes no task")


def test_no_such_name(write):
    refused(write("small = make()"), "'smal'", "my_training.py:small", "make, small", name="smal")
    refused(write("x = 1", make=False), "has no 'y'", "no function and no Task", name="y")


def test_what_is_no_task(write):
    path = write("number = 3\ndef nothing(): make()\ndef wrong(): return 3\ndef needs(a, *, b, c=1): ...")
    refused(path, "must be a Task or a function", "got int", name="number")
    refused(path, "must return a flatout.Task", "NoneType", "is `return` missing?", name="nothing")
    refused(path, "got int", name="wrong")
    refused(path, "my_training.py:needs", "needs a, b", "default", name="needs")


# --- how the file runs


def test_the_seed_comes_first(write):
    path = write("def task(): return make()")
    first, again, other = (load_python_file(path, seed=s).model.weight for s in (1, 1, 2))
    torch.manual_seed(1)
    assert torch.equal(first, torch.nn.Linear(2, 3).weight)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_neighbours_can_be_imported(write, tmp_path):
    (tmp_path / "neighbour_a.py").write_text("WIDTH = 11")
    (tmp_path / "neighbour_b.py").write_text("WIDTH = 2")
    path = write("""
        from neighbour_a import WIDTH
        def task():
            import neighbour_b
            return make(WIDTH + neighbour_b.WIDTH)
    """)
    before = list(sys.path)
    assert load_python_file(path).model.out_features == 13
    assert sys.path == [*before, str(tmp_path)]
    load_python_file(path)
    assert sys.path == [*before, str(tmp_path)]


def test_an_edited_file_is_run_anew(write):
    assert load_python_file(write("task = make(1)")).model.out_features == 1
    assert load_python_file(write("task = make(2)")).model.out_features == 2


@pytest.mark.parametrize(
    "name", ["random.py", "json.py", "pytest.py", "flatout.py", "two words.py", "class.py"]
)
def test_a_file_takes_no_other_modules_place(write, name):
    import json

    path = write("task = make()", name=name)
    assert load_python_file(path).name == path.stem
    assert sys.modules["random"] is random
    assert sys.modules["json"] is json
    assert sys.modules["pytest"] is pytest
    assert sys.modules["flatout"] is flatout


def test_two_files_of_one_name(write, tmp_path):
    (tmp_path / "other").mkdir()
    first = load_python_file(write("class Net(torch.nn.Linear): ...\ntask = make()\ntask.model = Net(2, 3)"))
    load_python_file(write("task = make()", name="other/my_training.py"))
    assert pickle.loads(pickle.dumps(first.model)).weight.shape == (3, 2)


def test_dataclasses_and_main_guards_work(write):
    path = write("""
        from dataclasses import dataclass
        @dataclass
        class Options:
            width: "int" = 4
        task = make(Options().width)
        if __name__ == "__main__":
            raise RuntimeError("not imported")
    """)
    assert load_python_file(path).model.out_features == 4


def test_a_process_started_anew_finds_what_the_file_defines(write):
    path = write("def double(x): return 2 * x\ntask = make()", name="found_by_workers.py")
    load_python_file(path)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(sys.modules["found_by_workers"].double, [4]) == [8]


# --- errors of the file


def only_own_lines(said):
    shown = [line for line in said.splitlines() if line.lstrip().startswith("File ")]
    assert not [
        line for line in shown if "importlib" in line or "site-packages" in line or "src/flatout" in line
    ]
    return len(shown)


def test_an_error_while_importing(write):
    said = refused(
        write("def f():\n    return 1 / 0\nx = f()"), "my_training.py: ZeroDivisionError", "return 1 / 0"
    )
    assert "ZeroDivisionError: division by zero" in said
    assert only_own_lines(said) == 2
    assert not [name for name in sys.modules if "my_training" in name]


def test_an_error_in_torch_shows_the_own_line_only(write):
    said = refused(
        write("def task():\n    return torch.nn.Linear(2, 3)(torch.ones(5))"),
        "calling task()",
        "RuntimeError",
    )
    assert "torch.nn.Linear(2, 3)(torch.ones(5))" in said
    assert only_own_lines(said) == 1


def test_an_error_in_a_neighbour(write, tmp_path):
    (tmp_path / "broken_neighbour.py").write_text("\nfrom nowhere_at_all import x\n")
    said = refused(write("import broken_neighbour"), "ModuleNotFoundError", "nowhere_at_all")
    assert "broken_neighbour.py" in said
    assert only_own_lines(said) == 2


def test_a_chain_of_errors(write):
    said = refused(write("try:\n    {}['a']\nexcept KeyError as e:\n    raise ValueError('no a') from e"))
    assert "KeyError: 'a'" in said
    assert "direct cause" in said
    assert only_own_lines(said) == 2


def test_a_syntax_error(write):
    said = refused(write("x = (1,\ny = 2"), "SyntaxError", "my_training.py", "x = (1,", "^")
    assert only_own_lines(said) == 1
    refused(write("def f():\nreturn 1", make=False), "IndentationError", "line 2")


def test_a_syntax_error_in_a_neighbour(write, tmp_path):
    (tmp_path / "unreadable_neighbour.py").write_text("x = = 1\n")
    said = refused(
        write("import unreadable_neighbour"), "SyntaxError", "x = = 1", "import unreadable_neighbour"
    )
    assert only_own_lines(said) == 2


def test_a_file_that_exits(write):
    refused(write("import sys\nsys.exit(3)"), "ended the program (exit code 3)", "__main__", "sys.exit(3)")
    refused(write("def task(): raise SystemExit"), "while calling task()")


@pytest.mark.parametrize("code", ["raise KeyboardInterrupt", "def task(): raise KeyboardInterrupt"])
def test_control_c_passes(write, code):
    with pytest.raises(KeyboardInterrupt):
        load_python_file(write(code))


def test_no_such_file(write, tmp_path):
    write("task = make()")
    refused(tmp_path / "my_trainin.py", "there is no file", "did you mean", "my_training.py")
    refused(tmp_path / "zzz.py", "check the path")
    refused(tmp_path, "is a folder")


def test_a_file_of_another_kind(tmp_path):
    path = Path(tmp_path / "notes.txt")
    path.write_text("hello")
    refused(path, "notes.txt is not a Python file", ".py")
