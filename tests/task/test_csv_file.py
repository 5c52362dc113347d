import random
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from flatout.errors import DataError, TaskError
from flatout.task.csv_file import load_csv


@pytest.fixture
def write(tmp_path):
    """Write lines to a CSV file; returns its path."""

    def write_lines(*lines, name="table.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes("\n".join(lines).encode(encoding) + b"\n")
        return path

    return write_lines


def colours(rows=40, separator=","):
    """Points whose colour follows from x; y is noise."""
    draw = random.Random(0)
    lines = [separator.join(["x", "y", "colour"])]
    for i in range(rows):
        x = i * 10 / rows
        lines.append(separator.join([f"{x}", f"{draw.random():.3f}", "red" if x < 5 else "blue"]))
    return lines


def note(task, *words):
    """The one note that holds all words."""
    found = [n for n in task.notes if all(word in n for word in words)]
    assert len(found) == 1, task.notes
    return found[0]


def refused(path, *words, kind=DataError, **options):
    with pytest.raises(kind) as caught:
        load_csv(path, **options)
    for word in words:
        assert word in str(caught.value)
    return str(caught.value)


# --- what is read


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_a_classification(write, separator):
    path = write(*colours(separator=separator))
    task = load_csv(path, target="colour")
    (X, y), (X_test, y_test) = task.data, task.validation
    assert (X.shape, X_test.shape) == ((32, 2), (8, 2))
    assert (X.dtype, y.dtype, y.shape) == (torch.float32, torch.int64, (32,))
    assert y_test.dtype == torch.int64
    assert X.mean(0).abs().max() < 1e-5
    assert (X.std(0, correction=0) - 1).abs().max() < 1e-5
    assert isinstance(task.loss, nn.CrossEntropyLoss)
    assert isinstance(task.optimizer, torch.optim.Adam)
    assert (task.batch_size, task.epochs, task.name, task.seed) == (32, 100, "table", 0)
    assert task.model(X).shape == (32, 2)
    note(task, "0 = blue, 1 = red")
    note(task, "2 inputs: x, y", "standardised")
    note(task, "40 rows of 3 columns")


def test_it_learns(write):
    task = load_csv(write(*colours(200)), target="colour", lr=1e-2)
    loader = DataLoader(TensorDataset(*task.data), task.batch_size, shuffle=True)
    for _ in range(40):
        for X, y in loader:
            task.optimizer.zero_grad()
            task.loss(task.model(X), y).backward()
            task.optimizer.step()
    X, y = task.validation
    assert (task.model(X).argmax(1) == y).float().mean() > 0.9


def test_a_regression_is_standardised_and_says_so(write):
    path = write("x,price", *[f"{i},{100 + 3 * i}.5" for i in range(50)])
    task = load_csv(path, target="price")
    y = task.data[1]
    assert y.shape == (40, 1)
    assert y.dtype == torch.float32
    assert y.mean().abs() < 1e-5
    assert (y.std(correction=0) - 1).abs() < 1e-5
    assert isinstance(task.loss, nn.MSELoss)
    assert task.model(task.data[0]).shape == (40, 1)
    said = note(task, "regression", "standardised", "mean").split("mean ")[1]
    mean = float(said.split(",")[0])
    prices = [100 + 3 * i + 0.5 for i in range(50)]
    assert min(prices) < mean < max(prices)


@pytest.mark.parametrize(
    ("values", "regression", "outputs"),
    [
        ([0, 1, 2], None, 3),
        ([True, False], None, 2),
        ([10, 20], None, 2),
        (range(11), None, 1),
        ([0.5, 1.5], None, 1),
        ([0, 1, 2], True, 1),
        (range(11), False, 11),
        ([0.5, 1.5], False, 2),
    ],
)
def test_classes_or_a_number(write, values, regression, outputs):
    values = list(values)
    path = write("x,t", *[f"{i},{values[i % len(values)]}" for i in range(44)])
    task = load_csv(path, target="t", regression=regression)
    assert task.model(task.data[0]).shape[1] == outputs
    assert isinstance(task.loss, nn.MSELoss) == (outputs == 1)


def test_few_rows_of_different_integers_are_numbers(write):
    path = write("x,t", "1,1", "2,2", "3,3", "4,4", "5,5", "6,5")
    assert isinstance(load_csv(path, target="t").loss, nn.MSELoss)


def test_number_classes_keep_their_order(write):
    path = write("x,t", *[f"{i},{[10, 9, 2][i % 3]}" for i in range(30)])
    note(load_csv(path, target="t"), "0 = 2, 1 = 9, 2 = 10")


def test_text_becomes_one_input_a_category(write):
    path = write("city,t", *[f"{['Bern', 'Basel', ''][i % 3]},{i % 2}" for i in range(30)])
    task = load_csv(path, target="t")
    X = torch.cat([task.data[0], task.validation[0]])
    assert X.shape == (30, 3)
    assert set(X.flatten().tolist()) == {0, 1}
    assert (X.sum(1) == 1).all()
    note(task, "text column 'city'", "(missing), Basel, Bern")


def test_a_category_of_held_out_rows_only_is_all_zeros(write):
    names = ["a", "b"] * 10
    held_out = torch.randperm(20, generator=torch.Generator().manual_seed(0))[0]
    names[held_out] = "rare"
    task = load_csv(write("c,t", *[f"{n},{i % 2}" for i, n in enumerate(names)]), target="t")
    sums = torch.cat([task.data[0], task.validation[0]]).sum(1)
    assert sorted(sums.tolist()) == [0.0] + [1.0] * 19
    assert (task.data[0].sum(1) == 1).all()
    note(task, "1 held-out row with a value unseen in training")


def test_text_columns_are_treated_as_text(write):
    path = write("code,t", *[f"{i % 4},{i % 2}" for i in range(40)])
    assert load_csv(path, target="t").data[0].shape == (32, 1)
    assert load_csv(path, target="t", text_columns=["code"]).data[0].shape == (32, 4)
    as_classes = load_csv(path, target="code", text_columns=["code"])
    note(as_classes, "classification, 4 classes")


@pytest.mark.parametrize("nothing", ["", "NA", "N/A", "NaN", "nan", "null", "None", "?", "  "])
def test_missing_numbers_are_filled_with_the_median_of_training_rows(write, nothing):
    held_out = torch.randperm(20, generator=torch.Generator().manual_seed(0))[:4].tolist()
    values = [1000.0 if i in held_out else float(i) for i in range(20)]
    gone = next(i for i in range(20) if i not in held_out)
    known = [v for i, v in enumerate(values) if i not in held_out and i != gone]
    cells = [nothing if i == gone else f"{v}" for i, v in enumerate(values)]
    task = load_csv(write("x,t", *[f"{c},{i % 2}" for i, c in enumerate(cells)]), target="t")
    note(task, "column 'x': 1 missing value filled with", f"{np.median(known):g}", "median")
    filled = np.array([np.median(known), *known])
    expected = (np.median(known) - filled.mean()) / filled.std()
    assert task.data[0][0].item() == pytest.approx(expected, abs=1e-5)
    assert task.data[0].isfinite().all()


def test_rows_without_target_are_left_out(write):
    lines = colours()
    lines[3] = "1,1,"
    lines[5] = "1,1,?"
    task = load_csv(write(*lines), target="colour")
    assert len(task.data[0]) + len(task.validation[0]) == 38
    note(task, "2 rows left out", "'colour'", "line 4")


def test_constant_and_empty_and_identifying_columns_are_left_out(write):
    lines = ["id,same,void,word,x,t"]
    lines += [f"person {i},7,,yes,{i},{i % 2}" for i in range(60)]
    task = load_csv(write(*lines), target="t")
    assert task.data[0].shape == (48, 1)
    note(task, "'id' was left out", "60 different values")
    note(task, "'same' was left out", "constant (7)")
    note(task, "'void' was left out", "no value")
    note(task, "'word' was left out", "constant (yes)")


def test_text_with_too_many_categories_is_left_out(write):
    lines = ["who,x,t"] + [f"p{i % 1100},{i},{i % 2}" for i in range(2600)]
    note(load_csv(write(*lines), target="t"), "'who' was left out", "1100 different values")


def test_quotes_blank_lines_spaces_and_byte_order_mark(write):
    lines = ['"x", "na,me",t ', *[f'{i} , "a, {i % 2}", {i % 2} ' for i in range(20)]]
    lines.insert(4, "")
    lines.insert(8, "   ")
    task = load_csv(write(*lines, encoding="utf-8-sig"), target="t")
    assert task.data[0].shape == (16, 3)
    note(task, "text column 'na,me'", "a, 0, a, 1")


@pytest.mark.parametrize("end", [b"\r\n", b"\r"])
def test_line_ends_of_other_systems(tmp_path, end):
    path = tmp_path / "t.csv"
    path.write_bytes(end.join(line.encode() for line in colours()))
    assert load_csv(path, target="colour").data[0].shape == (32, 2)


def test_a_file_of_semicolons_may_hold_commas_in_text(write):
    path = write("note;t", *[f"one, two, {i % 3};{i % 2}" for i in range(20)])
    assert load_csv(path, target="t").data[0].shape == (16, 3)


# --- options


def test_options(write):
    path = write(*colours())
    task = load_csv(path, target="colour", hidden=(5, 7), lr=0.5, batch_size=None, epochs=3, seed=4)
    assert [p.shape[0] for p in task.model.parameters()] == [5, 5, 7, 7, 2, 2]
    assert task.optimizer.param_groups[0]["lr"] == 0.5
    assert (task.batch_size, task.epochs, task.seed) == (None, 3, 4)
    linear = load_csv(path, target="colour", hidden=())
    assert [type(layer) for layer in linear.model] == [nn.Linear]


def test_large_files_get_batches_of_64(write):
    assert load_csv(write(*colours(200)), target="colour").batch_size == 64


def test_the_seed_fixes_rows_and_weights(write):
    path = write(*colours())
    first, again, other = (load_csv(path, target="colour", seed=s) for s in (1, 1, 2))
    assert torch.equal(first.data[0], again.data[0])
    assert torch.equal(first.model[0].weight, again.model[0].weight)
    assert not torch.equal(first.data[0], other.data[0])
    torch.manual_seed(1)
    assert torch.equal(first.model[0].weight, nn.Linear(2, 32).weight)


# --- what is refused


def test_no_such_file(write, tmp_path):
    write(*colours())
    refused(tmp_path / "tabel.csv", "there is no file", "tabel.csv", "did you mean", "table.csv")
    refused(tmp_path / "zzzzzzzz.csv", "check the path")


def test_a_folder(tmp_path):
    refused(tmp_path, str(tmp_path), "is a folder")


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_an_empty_file(tmp_path, content):
    path = tmp_path / "empty.csv"
    path.write_bytes(content)
    refused(path, "empty.csv is empty", "5 rows", target="x")


def test_a_header_only(write):
    refused(write("a,b"), "no rows", "at least 5", target="b")


def test_too_few_rows(write):
    path = write("a,b", "1,x", "2,y", "3,", "4,NA", "5,x", "6,y")
    refused(path, "at least 5 rows", "'b'", "got 4", "2 more have no value", target="b")


def test_one_column(write):
    refused(write("a", "1", "2"), "line 1", "one column name 'a'", "comma, semicolon, tab, bar", target="a")


def test_target_not_given(write):
    refused(write(*colours()), "--target", "x, y, colour")


def test_no_such_target(write):
    refused(write(*colours()), "'Color'", "did you mean 'colour'?", "x, y, colour", target="Color")
    path = write("5.1,3.5,1", "4.9,3.0,0")
    refused(path, "first line must hold the column names", target="species")


def test_no_such_text_column(write):
    refused(write(*colours()), "'z'", "text column", "x, y", target="colour", text_columns=["z"])


@pytest.mark.parametrize("regression", [None, False, True])
def test_a_target_with_one_value(write, regression):
    path = write("a,t", *[f"{i},3" for i in range(10)])
    words = ["'t'", "3", "nothing to learn"] + ([] if regression else ["one class only"])
    refused(path, *words, target="t", regression=regression)


@pytest.mark.parametrize(("row", "got"), [("1,2", "got 2"), ("1,2,red,4", "got 4")])
def test_a_row_of_another_length(write, row, got):
    lines = colours()
    lines[6] = row
    refused(write(*lines), "line 7", "expected 3 values", got, target="colour")


def test_line_numbers_count_blank_lines_and_lines_in_quotes(write):
    lines = ["a,b,t", "", '"one\ntwo",1,0', *[f"{i},2,{i % 2}" for i in range(8)], "1,2"]
    refused(write(*lines), "line 13", "got 2", target="t")


def test_an_open_quote(write):
    lines = colours()
    lines[10] = '"5,1,red'
    refused(write(*lines), "line 11", "quotes", target="colour")


def test_column_names(write):
    refused(write("a,b,a", "1,2,3"), "line 1", "'a' stands twice", "1 and 3", target="b")
    refused(write(",b,t", "0,2,3"), "line 1", "column 1 of 3 has no name", "index=False", target="b")
    refused(write(",,", "0,2,3"), "column 1 of 3 has no name", target="b")


def test_text_among_numbers(write):
    lines = colours()
    lines[8] = "about 2,0.5,red"
    path = write(*lines)
    refused(path, "line 9, column 'x'", "'about 2'", "correct it", "--text x", target="colour")
    assert load_csv(path, target="colour", text_columns=["x"])
    refused(path, "line 9, column 'x'", "'about 2'", target="x")


def test_decimal_commas(write):
    path = write("a;t", *[f"{i},5;{i % 2}" for i in range(20)])
    refused(path, "line 2, column 'a'", "'0,5'", "decimal point", target="t")


def test_mostly_text_is_text(write):
    path = write("a,t", *[f"{['1', 'x', 'y'][i % 3]},{i % 2}" for i in range(30)])
    assert load_csv(path, target="t").data[0].shape == (24, 3)


def test_not_utf_8(write):
    path = write("a,t", *[f"{w},1" for w in ("Rot", "Gelb", "Grün")], encoding="latin-1")
    refused(path, "line 4", "'Gr'", "0xfc", "UTF-8", target="t")


def test_classes_that_do_not_repeat(write):
    path = write("a,t", *[f"{i},name{i}" for i in range(12)])
    said = refused(path, "'t'", "classes that repeat", "12 rows", target="t")
    assert "regression" not in said
    path = write("a,t", *[f"{i},{i}.5" for i in range(12)])
    refused(path, "classes that repeat", "or regression", target="t", regression=False)


def test_regression_of_text(write):
    refused(write(*colours()), "'colour'", "text", "'red'", target="colour", regression=True)


@pytest.mark.parametrize("value", ["inf", "-Infinity", "1e400", "1e39"])
def test_infinite_values(write, value):
    lines = colours()
    lines[8] = f"{value},0.5,red"
    refused(write(*lines), "line 9, column 'x'", repr(value), "finite", target="colour")


def test_nothing_to_learn_from(write):
    refused(write("a,t", *[f"1,{i % 2}" for i in range(10)]), "no column is left", "constant", target="t")


@pytest.mark.parametrize("hidden", [(0,), (8, -1)])
def test_hidden_widths(write, hidden):
    said = refused(write(*colours()), "at least 1", target="colour", hidden=hidden, kind=TaskError)
    assert str(hidden) in said


def test_missing_pandas_says_how_to_install_it(write, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    refused(write(*colours()), 'pip install "flatout[tasks]"', target="colour", kind=TaskError)


def test_classes_without_a_training_row_are_said(write):
    names = ["a", "b"] * 10
    names[torch.randperm(20, generator=torch.Generator().manual_seed(0))[0]] = "rare"
    task = load_csv(write("x,t", *[f"{i},{n}" for i, n in enumerate(names)]), target="t")
    note(task, "no training row is of class rare")


# --- any table

numbers = st.one_of(st.just(""), st.integers(-1000, 1000), st.floats(-1e6, 1e6).map(lambda v: round(v, 3)))


@settings(deadline=None, max_examples=60)
@given(data=st.data(), rows=st.integers(10, 40), columns=st.integers(1, 4), seed=st.integers(0, 99))
def test_any_table_of_numbers_becomes_standardised_features(tmp_path_factory, data, rows, columns, seed):
    table = [[data.draw(numbers) for _ in range(columns)] for _ in range(rows)]
    path = tmp_path_factory.mktemp("any") / "any.csv"
    header = ",".join([f"c{j}" for j in range(columns)] + ["useful", "t"])
    lines = [",".join(map(str, [*row, i, "ab"[i % 2]])) for i, row in enumerate(table)]
    path.write_text("\n".join([header, *lines]))
    before = torch.get_rng_state()
    task = load_csv(path, target="t", seed=seed)
    torch.set_rng_state(before)

    X, X_test = task.data[0], task.validation[0]
    left_out = sum("was left out" in n for n in task.notes)
    assert X.shape[1] == columns + 1 - left_out
    assert len(X) + len(X_test) == rows
    assert X.isfinite().all()
    assert X_test.isfinite().all()
    assert X.mean(0).abs().max() < 1e-3
    assert (X.std(0, correction=0) - 1).abs().max() < 1e-3
    filled = sum(n.split(": ")[0].startswith("column 'c") and "filled" in n for n in task.notes)
    with_holes = sum(any(row[j] == "" for row in table) for j in range(columns))
    assert filled <= with_holes <= filled + left_out
