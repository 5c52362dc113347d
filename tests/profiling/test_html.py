"""The page of a profile: valid, complete, and no text of the user's becomes markup."""

import io
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest
from profiling.documents import document, finding
from rich.console import Console

from flatout.report.profile_html import profile_html
from flatout.report.profile_view import profile_view

NASTY = "</code><script>alert('&amp;')</script>\x00\udc80"


def parsed(page):
    """The page, which is HTML and, read strictly, XML as well: every element closed, every `<` escaped."""
    doctype, _, rest = page.partition("\n")
    assert doctype == "<!DOCTYPE html>"
    return ET.fromstring(rest)


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen = []

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))


def text_of(page):
    return " ".join(" ".join(parsed(page).find("body").itertext()).split())


def test_all_that_matters_is_there_the_verdict_first():
    found = finding()
    page = profile_html(
        document(findings=[found], notes=["a busy machine"], abstained={"threads": "no signal"})
    )
    shown = text_of(page)
    body = parsed(page).find("body/main")
    assert [e.tag for e in body.iter() if re.fullmatch("h[1-6]", e.tag)][:2] == ["h1", "h2"]
    assert " ".join(body.find(".//h1").text.split()) == "A step takes 1,000 µs."
    for words in (
        "a step on cpu 1 ms",
        "Data wait 400 µs 40 %",
        "train.py:9",
        "400 µs, 40.0 % of a step, once a step",
        "for x, y in loader:",
        "index the tensors with whole batches",
        "x[rows]",
        "Saves about 300 µs a step (200 µs to 400 µs)",
        "232",
        "1.02 times as long",
        "a busy machine",
        "threads did not judge: no signal",
        "A CPU",
        "2.13.0",
        "2025-01-02 03:04",
    ):
        assert words in shown, words
    (here,) = [e for e in body.iter("span") if e.get("class") == "line here"]
    assert "for x, y in loader:" in "".join(here.itertext())


def test_the_page_stands_alone_and_says_its_pictures_in_words():
    page = profile_html(document(findings=[finding()]))
    tags = Tags()
    tags.feed(page)
    names = [tag for tag, _ in tags.seen]
    assert names.count("svg") >= 3
    assert not {"script", "img", "link", "iframe"} & set(names)
    assert not [value for _, a in tags.seen for key, value in a.items() if key in ("src", "href")]
    assert not re.search(r"url\(|@import|https?:", page)
    assert "prefers-color-scheme: dark" in page
    pictures = [e for e in parsed(page).iter("svg") if e.get("role") == "img"]
    assert all(len(picture.get("aria-label")) > 20 for picture in pictures)
    assert all(th.get("scope") in ("row", "col") for th in parsed(page).iter("th"))
    rows = next(e for e in parsed(page).iter("svg") if e.get("class") == "stack").findall("rect")
    widths = [float(r.get("width").rstrip("%")) for r in rows]
    assert widths == pytest.approx([40, 50, 6, 4])


def test_no_text_of_the_user_becomes_markup():
    found = finding(
        what=NASTY, file=NASTY, fix=NASTY, code=NASTY, source={"first": 8, "lines": [NASTY, NASTY]}
    )
    page = profile_html(
        document(
            findings=[found],
            script=NASTY,
            arguments=[NASTY],
            device=NASTY,
            notes=[NASTY],
            abstained={NASTY: NASTY},
            verdict=NASTY,
            machine={"cpu": NASTY},
            versions={"torch": NASTY},
        )
    )
    tags = Tags()
    tags.feed(page)
    assert "script" not in [tag for tag, _ in tags.seen]
    assert "</code><script>alert('&amp;')</script>\ufffd\ufffd" in text_of(page)
    assert page.encode("utf-8")


@pytest.mark.parametrize(
    "changes",
    [
        {"us_per_step": None, "step_times_us": None, "breakdown": None, "distortion": None, "device": None},
        {"findings": [finding(gain_ms=None, gain_low=None, gain_high=None, ms_per_step=None, share=None)]},
        {"findings": [finding(gain_ms=None, source=None, code="")]},
        {"machine": {}, "versions": {}},
    ],
)
def test_what_is_unknown_is_left_out(changes):
    page = profile_html(document(**changes))
    assert "None" not in text_of(page)
    assert "nan" not in page


def test_the_split_and_the_layers_are_shown_where_they_were_measured():
    parts = {"compute": {"us": 98.0, "share": 0.098}, "launch": {"us": 900.0, "share": 0.9}}
    parts["copy"] = {"us": 2.0, "share": 0.002}  # too little for a row
    split = {"parts": parts, "how": "by <a trace>", "distortion": 1.31}
    layer = {"name": "0.weight", "class": "Linear", "forward_us": 40.0, "backward_us": 60.0, "self_us": 90.0}
    windows = {"bare": 100, "lines": 50, "trace": 7}
    page = profile_html(document(split=split, layers=[layer] * 10, windows=windows))
    shown = text_of(page)
    assert "Launch 900 µs 90 % work was started already" in shown
    assert "Copies" not in shown
    assert "by <a trace>" in shown
    assert "0.weight 90 µs 40 µs 60 µs Linear" in shown
    assert "2 smaller ones are in --json" in shown
    assert "trace 7 1.31 times as long" in shown
    assert "not measured: too few" in text_of(profile_html(document(split=None, split_reason="too few")))


def test_a_batch_that_is_small_has_a_picture_of_sizes():
    small = finding("batch", gain_ms=None, gain_low=None, gain_high=None)
    for times in ({16: 1e-3, 64: 1.1e-3, 256: 1.5e-3}, {"16": 1e-3, "64": 1.1e-3, "256": 1.5e-3}, {16: 1e-3}):
        sizes = {"size": 16, "step_s": times, "fixed_s": 9.6e-4, "sample_s": 2e-6}
        page = parsed(profile_html(document(findings=[small], trials={"sizes": sizes})))
        (picture,) = [e for e in page.iter("svg") if e.get("class") == "sizes"]
        assert picture.get("aria-label").startswith("A step by batch size: 16 takes 1 ms")
        assert len(list(picture.iter("circle"))) == len(times)


def test_what_came_of_the_predictions_is_a_table():
    row = finding() | {"remedy": "whole batches are indexed", "predicted_ms": 0.3, "status": "within"}
    row |= {"predicted_low": 0.2, "predicted_high": 0.4, "measured_ms": 0.25, "low": 0.24, "high": 0.26}
    broken = row | {"status": "failed", "why": "TypeError: <float>", "measured_ms": None, "low": None}
    shown = text_of(
        profile_html(document(verified=[row | {"results": "same"}, broken | {"results": "other"}]))
    )
    assert "train.py:9 data whole batches are indexed 300 µs (200 to 400) 250 µs (240 to 260) as" in shown
    assert "300 µs (200 to 400) – the script fails with it: TypeError: <float>" in shown
    page = profile_html(document(findings=[finding()], verified=[row | {"results": "same"}]))
    card = next(e for e in parsed(page).iter("article"))
    assert "Measured with the fix put in (whole batches are indexed): 250 µs (240 to 260), as" in " ".join(
        "".join(card.itertext()).split()
    )
    (bar,) = list(card.iter("svg"))
    assert bar.get("aria-label").endswith("; measured 250 µs")
    assert bar.find("circle").get("cx") == "75%"


def test_the_terminal_shows_as_many_findings_as_a_screen_holds():
    long = "a sentence that says at length what is to be done about it, and then why " * 3
    for notes, least in (([], 1), ([long] * 3, 0), ([long] * 5, 0)):
        console = Console(width=110, file=io.StringIO())
        found = [finding(line=line, fix=long.strip(), what=long[:60]) for line in range(9)]
        console.print(profile_view(document(findings=found, notes=notes, verdict=long)))
        lines = console.file.getvalue().splitlines()
        assert len(lines) <= 24
        shown = sum(line.startswith("train.py:") for line in lines)
        assert shown >= least
        assert any(f"{9 - shown} others: --html" in line or "9 findings: --html" in line for line in lines)


def test_a_single_step_makes_a_page():
    assert parsed(profile_html(document(blocks=(500.0,), data_us=0.0))) is not None


def test_the_command_writes_the_page_of_a_script_with_a_nasty_name(tmp_path):
    script = tmp_path / "<script>.py"
    script.write_text("""\
import torch
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for step in range(30):
    loss = model(torch.ones(3, 2)).sum()
    loss.backward()
    optimizer.step()
    loss.item()  # <script>alert(1)</script>
import os; os.chdir("/")
""")
    command = [sys.executable, "-m", "flatout", "profile", "--html", "report.html", script.name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "loss.item() # <script>alert(1)</script>" in text_of(page)
    assert "<script" not in page


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("missing/report.html", "does not exist; make it first"),
        ("train.py", "takes the name of a page, like report.html, but got 'train.py'"),
        ("folder.html", "is a folder"),
        ("/proc/report.html", "cannot be written"),
    ],
)
def test_a_page_that_cannot_be_written_is_told_before_the_script_runs(tmp_path, target, message):
    (tmp_path / "train.py").write_text("print('ran')\n")
    (tmp_path / "folder.html").mkdir()
    command = [sys.executable, "-m", "flatout", "profile", "--html", target, "train.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in " ".join(done.stderr.split())
