import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from flatout.report import curve
from flatout.report.curve import plot_losses

SIGNATURES = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


@pytest.fixture
def figures(monkeypatch):
    """The figures that are saved."""
    saved: list[Figure] = []
    save = curve.save

    def keep(figure, path):
        saved.append(figure)
        save(figure, path)

    monkeypatch.setattr(curve, "save", keep)
    return saved


def texts(figure):
    return [text.get_text() for text in (*figure.texts, *(t for axes in figure.axes for t in axes.texts))]


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf", ".PNG"])
def test_the_suffix_chooses_the_format(tmp_path, suffix):
    path = tmp_path / "new" / f"loss{suffix}"
    assert plot_losses(path, [1.0, 0.5], title="two") == path
    assert path.read_bytes().startswith(SIGNATURES[suffix.lower()])
    assert [file.name for file in path.parent.iterdir()] == [path.name]  # nothing temporary is left


@pytest.mark.parametrize(("name", "found"), [("loss.jpg", "'.jpg'"), ("loss", "no suffix")])
def test_other_formats_are_refused(tmp_path, name, found):
    with pytest.raises(ValueError, match=rf"\.pdf, \.png, \.svg, but '{name}' has {found}"):
        plot_losses(tmp_path / name, [1.0], title="x")


def test_no_loss_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no loss to draw"):
        plot_losses(tmp_path / "loss.png", [], title="x")


def test_a_failure_leaves_the_old_picture(tmp_path, monkeypatch):
    path = tmp_path / "loss.png"
    path.write_bytes(b"old")

    def fail(self, filename, **options):
        filename.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("matplotlib.backends.backend_agg.FigureCanvasAgg.print_figure", fail)
    with pytest.raises(OSError, match="disk full"):
        plot_losses(path, [1.0], title="x")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_scale_is_logarithmic_only_for_positive_losses_over_a_decade(tmp_path, figures):
    for losses in ([1.0, 0.01], [1.0, 0.5], [1.0, 0.0], [1.0, -5.0]):
        plot_losses(tmp_path / "loss.png", losses, title="x")
    assert [figure.axes[0].get_yscale() for figure in figures] == ["log", "linear", "linear", "linear"]


def test_a_noisy_loss_gets_a_running_median_and_a_smooth_one_does_not(tmp_path, figures):
    smooth = np.exp(-np.arange(2000) / 500)
    noisy = smooth * np.exp(np.random.default_rng(0).normal(0, 0.3, 2000))
    plot_losses(tmp_path / "smooth.png", smooth, title="x")
    plot_losses(tmp_path / "noisy.png", noisy, title="x")
    assert [len(figure.axes[0].lines) for figure in figures] == [1, 2]
    assert "training\n(median of\n41 steps)" in texts(figures[1])
    median = figures[1].axes[0].lines[1].get_ydata()
    assert (
        np.median(np.abs(np.log(median / smooth[figures[1].axes[0].lines[1].get_xdata().astype(int)]))) < 0.1
    )


def test_validation_and_metrics_are_labelled_directly(tmp_path, figures):
    plot_losses(
        tmp_path / "loss.png",
        [1.0, 0.9, 0.8],
        title="t: $1 → $2",
        subtitle="s",
        validation=[(1, 0.95), (3, 0.81)],
        metrics={"accuracy": [(3, 0.967)], "empty": []},
    )
    (figure,) = figures
    assert len(figure.axes) == 2
    assert {"t: $1 → $2", "s", "training", "validation 0.81", "accuracy", "96.7 %"} <= set(texts(figure))


def test_labels_do_not_overlap_and_stay_inside(tmp_path, figures):
    plot_losses(
        tmp_path / "loss.png",
        np.random.default_rng(0).normal(1, 0.1, 5000),
        title="a title that is far too long " * 6,
        validation=[(5000, 1.0)],
    )
    (figure,) = figures
    labels = [text for text in figure.axes[0].texts if text.get_text().startswith(("training", "validation"))]
    boxes = [label.get_window_extent() for label in labels]
    assert not boxes[0].overlaps(boxes[1])
    right = figure.bbox.x1
    assert all(box.x1 < right for box in [*boxes, figure.texts[0].get_window_extent()])


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        ([1.0, np.nan, 0.5], "NaN at step 1"),
        ([1.0, np.inf, 0.5, np.nan, 0.4], "inf at step 1, 2 steps not finite in all"),
        ([1.0, 0.5, np.nan, np.nan], "not finite from step 2 on"),
        ([np.nan], "NaN at step 0"),
    ],
)
def test_the_first_loss_that_is_not_finite_is_marked(tmp_path, figures, losses, words):
    plot_losses(tmp_path / "loss.png", losses, title="x")
    assert words in texts(figures[0])


def test_an_envelope_keeps_every_extreme():
    values = np.random.default_rng(0).normal(size=1_000_003)
    values[500_000:501_000] = np.nan
    values[700_001] = 1e6
    values[-1] = -1e6
    steps, drawn = curve._envelope(values)
    assert len(steps) <= 2 * 1500
    assert np.all(np.diff(steps) >= 0)
    assert (np.nanmax(drawn), np.nanmin(drawn)) == (1e6, -1e6)
    np.testing.assert_array_equal(drawn, values[steps.astype(int)])


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(width=32), min_size=1, max_size=80))
def test_any_losses_can_be_drawn(tmp_path_factory, losses):
    plot_losses(tmp_path_factory.mktemp("any") / "loss.png", losses, title="any")


def test_matplotlib_is_imported_late_and_pyplot_never(tmp_path):
    script = f"""
import sys
import flatout.report.curve, flatout.report.progress, flatout.report.tables
assert "matplotlib" not in sys.modules
flatout.report.curve.plot_losses({str(tmp_path / "x.png")!r}, [1.0], title="x")
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)
