import pytest

from flatout.errors import TaskError
from flatout.task import python_file
from flatout.task.builtin import BUILTIN
from flatout.task.source import load_task
from flatout.task.task import Task

MAKES_TASKS = """
import torch
from flatout.task.task import Task

def make(width=3):
    model = torch.nn.Linear(2, width)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    X, y = torch.ones(4, 2), torch.ones(4, width)
    return Task(model=model, data=(X, y), optimizer=optimizer, loss=torch.nn.MSELoss(), epochs=1)

small, large = make(1), make(9)
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("x,t\n" + "".join(f"{i},{i % 2}\n" for i in range(20)))
    return path


@pytest.mark.parametrize("name", BUILTIN)
def test_built_in_names(name):
    task = load_task(name, seed=3)
    assert (task.name, task.seed) == (name, 3)
    assert load_task(f" {name} ").seed == 0


def test_csv_files(table):
    task = load_task(str(table), target="t", hidden=[4], regression=True, text_columns=["x"], seed=2)
    assert task.seed == 2
    assert [p.shape for p in task.model.parameters()][::2] == [(4, 16), (1, 4)]
    assert load_task(str(table), target="t").model[0].weight.shape == (32, 1)


@pytest.mark.parametrize("suffix", [".tsv", ".CSV"])
def test_other_endings_of_tables(table, suffix):
    path = table.rename(table.with_suffix(suffix))
    assert load_task(str(path), target="t").name == "table"


def test_python_files(tmp_path):
    path = tmp_path / "source_tasks.py"
    path.write_text(MAKES_TASKS)
    assert load_task(f"{path}:large").model.out_features == 9
    assert load_task(f"{path}:make").model.out_features == 3
    with pytest.raises(TaskError, match=r"source_tasks\.py:small"):
        load_task(str(path))
    with pytest.raises(TaskError, match=r"a name must follow the colon.*source_tasks\.py:NAME"):
        load_task(f"{path}:")


@pytest.mark.parametrize(
    ("spec", "path", "name"),
    [
        (r"C:\work\train.py", r"C:\work\train.py", None),
        (r"C:\work\train.py:small", r"C:\work\train.py", "small"),
        ("a.py/train.py:small", "a.py/train.py", "small"),
        ("train.PY", "train.PY", None),
    ],
)
def test_the_colon_of_a_drive_is_no_name(monkeypatch, spec, path, name):
    seen = []
    monkeypatch.setattr(python_file, "load_python_file", lambda *args, **kwargs: seen.append((args, kwargs)))
    load_task(spec, seed=1)
    assert seen == [((path,), {"name": name, "seed": 1})]


@pytest.mark.parametrize(
    ("spec", "near"), [("irsi", "iris"), ("Iris", "iris"), ("breast_cancer", "breast-cancer")]
)
def test_unknown_names(spec, near):
    with pytest.raises(TaskError) as caught:
        load_task(spec)
    said = str(caught.value)
    assert f"there is no task '{spec}'; did you mean '{near}'?" in said
    for word in [*BUILTIN, "table.csv", "train.py:NAME"]:
        assert word in said


def test_other_files_and_folders(tmp_path):
    (tmp_path / "values.data").write_text("x,t\n1,2\n")
    with pytest.raises(TaskError, match=r"there is such a file.*\.csv, \.tsv, \.py: rename it"):
        load_task(str(tmp_path / "values.data"))
    with pytest.raises(TaskError, match="there is such a folder"):
        load_task(str(tmp_path))
    with pytest.raises(TaskError, match="there is no task 'zzz'; Give a built-in task"):
        load_task("zzz")


@pytest.mark.parametrize("spec", ["iris", "train.py", "train.py:small"])
@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"target": "x"}, "--target"),
        ({"hidden": (3,)}, "--hidden"),
        ({"regression": False}, "--regression"),
        ({"text_columns": ["x"]}, "--text"),
    ],
)
def test_options_of_csv_files_do_not_fit_others(spec, options, flag):
    with pytest.raises(TaskError) as caught:
        load_task(spec, **options)
    assert flag in str(caught.value)
    assert "CSV files only" in str(caught.value)
    assert spec in str(caught.value)


def test_the_result_is_a_task():
    assert isinstance(load_task("wine"), Task)
