"""A profile as one HTML file that stands alone: no script, no network, its pictures inline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

from flatout.report import text
from flatout.report.batch_picture import batch_picture
from flatout.report.finding_card import finding_card
from flatout.report.markup import Markup, element
from flatout.report.page_parts import fact, row, section, table
from flatout.report.profile_pictures import times_over_the_run
from flatout.report.step_section import step_section
from flatout.report.verify_words import HEADS, cells
from flatout.report.words import glued


def profile_html(seen: Mapping[str, Any]) -> str:
    """The page of one profile.

    Args:
        seen: the document that `flatout profile --json` prints.

    >>> page = profile_html({"version": 1, "script": "train.py", "arguments": [], "outcome": "finished",
    ...     "status": 0, "verdict": "No step was seen.", "notes": [], "steps": 0,
    ...     "windows": {"bare": 0, "lines": 0}, "us_per_step": None, "step_times_us": None, "breakdown": None,
    ...     "findings": [], "abstained": {}, "distortion": None, "device": None,
    ...     "machine": {}, "versions": {}, "ended": "2025-01-01T00:00:00+00:00"})
    >>> "<h1>No step was seen.</h1>" in page
    True
    """
    style = files("flatout.report").joinpath("profile.css").read_text(encoding="utf-8")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{seen['script']}: {seen['verdict']}"),
        element("style", Markup(style)),
    )
    body = element("body", element("main", *_sections(seen)), _footer(seen))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _sections(seen: Mapping[str, Any]) -> Iterator[Markup]:
    yield _top(seen)
    if seen["breakdown"] is not None:
        yield step_section(seen)
    if seen["step_times_us"] is not None:
        yield _times(seen["step_times_us"])
    if seen["us_per_step"] is not None:
        yield _findings(seen)
    if seen.get("verified"):
        yield _verified(seen["verified"])
    yield _how(seen)
    yield _surroundings(seen)


def _top(seen: Mapping[str, Any]) -> Markup:
    command = " ".join(["flatout profile", seen["script"], *seen["arguments"]])
    facts = []
    if seen["us_per_step"] is not None:
        step = seen["us_per_step"]
        facts = [
            fact(text.seconds(1e-6 * step), f"a step on {seen['device'] or 'a device unknown'}"),
            fact(f"{1e6 / step:,.0f}" if step < 1e5 else f"{1e6 / step:.3g}", "steps a second"),
            *_can_go(seen),
        ]
    notes = [element("p", glued(note), class_="note") for note in seen["notes"]]
    return element(
        "header",
        element("p", element("code", command), class_="command"),
        element("h1", glued(seen["verdict"])),
        element("dl", *facts, class_="facts") if facts else None,
        *notes,
    )


def _can_go(seen: Mapping[str, Any]) -> Iterator[Markup]:
    gains = [one for one in seen["findings"] if one["gain_ms"]]
    if gains:
        best = max(gains, key=lambda one: float(one["gain_ms"]))
        left = max(0.0, 1e-6 * seen["us_per_step"] - 1e-3 * best["gain_ms"])
        yield fact(text.seconds(left), f"predicted once {best['file']}:{best['line']} is fixed")


def _times(spread: Mapping[str, Any]) -> Markup:
    low, middle, high = (text.seconds(1e-6 * us) for us in spread["quartiles"])
    words = (
        f"Half of the steps took {low} to {high}, the median {middle}, and the slowest of all "
        f"{text.seconds(1e-6 * spread['most'])}."
    )
    return section(
        "Step times over the run",
        times_over_the_run(spread, f"The times of the steps over the run. {words}"),
        element(
            "p",
            glued(words),
            " Each point of the line is a step,"
            if all(first == last for first, last, *_ in spread["over_the_run"])
            else " The line is the median, the band holds four steps of five,",
            " and the bars on the right count the steps of each time.",
        ),
    )


def _findings(seen: Mapping[str, Any]) -> Markup:
    found = seen["findings"]
    if not found:
        return section("What costs time", element("p", "No line was found that costs time."))
    sizes = (seen.get("trials") or {}).get("sizes")
    came = {_place(one): one for one in seen.get("verified") or ()}
    cards = [
        finding_card(
            one,
            1e-3 * seen["us_per_step"],
            came=came.get(_place(one)),
            picture=batch_picture(sizes) if one["kind"] == "batch" and sizes else None,
        )
        for one in found
    ]
    return section("What costs time, and the fix", *cards)


def _place(one: Mapping[str, Any]) -> tuple[str, str, int]:
    return one["kind"], one["file"], one["line"]


def _verified(rows: Sequence[Mapping[str, Any]]) -> Markup:
    shown = []
    for one in rows:
        name, remedy, predicted, measured, came = cells(one)
        style = {"within": "good", "manual": "aside"}.get(one["status"], "warn")
        shown.append(
            element(
                "tr",
                element("th", name, scope="row"),
                element("td", remedy),
                element("td", predicted, class_="figure"),
                element("td", measured, class_="figure"),
                element("td", came, f": {one['why']}" if one.get("why") else None, class_=style),
            )
        )
    return section(
        "Did it come true?",
        element(
            "p",
            "The script ran again, as it is and with each fix that flatout can put in, in turn. Gains are "
            "those of a step, the measured ones with what the runs span.",
        ),
        element(
            "div",
            table((*HEADS[:-1], "came true?"), shown),
            class_="wide",
            tabindex="0",
            role="group",
            aria_label="Predicted and measured gains",
        ),
    )


def _how(seen: Mapping[str, Any]) -> Markup:
    windows = seen["windows"]
    rows = [
        row("plain", f"{windows.get('plain', 0):,}", "as long as it takes", "nothing"),
        row(
            "bare",
            f"{windows['bare']:,}",
            _times_as_long(seen.get("stamps", 1.0)),
            "time stamps: all times of this page, less what the stamps take",
        ),
        row("lines", f"{windows['lines']:,}", _times_as_long(seen["distortion"]), "what each line does"),
    ]
    if seen.get("split") is not None:
        longer = _times_as_long(seen["split"]["distortion"])
        rows.append(
            row("trace", f"{windows['trace']:,}", longer, "what a step does, by the profiler of torch")
        )
    abstained = [
        element("li", element("b", rule), f" did not judge: {why}") for rule, why in seen["abstained"].items()
    ]
    return section(
        "How it was measured",
        element(
            "p",
            f"The script was run unchanged and {_OUTCOMES.get(seen['outcome'], seen['outcome'])}; "
            f"{seen['steps']:,} of its steps were seen. Windows followed each other, never two at once.",
        ),
        table(("window", "steps", "a step took", "what it sees"), rows),
        element("ul", *abstained) if abstained else None,
    )


_OUTCOMES: Final = {
    "finished": "ran to its end",
    "stopped": "was stopped after the steps that were asked for",
    "failed": "failed",
    "interrupted": "was interrupted",
}


def _times_as_long(distortion: float | None) -> str:
    return text.UNKNOWN if distortion is None else f"{distortion:.2f} times as long"


def _surroundings(seen: Mapping[str, Any]) -> Markup:
    machine, versions = seen["machine"], seen["versions"]
    facts = {
        "CPU": machine.get("cpu"),
        "CPUs it may use": machine.get("cores"),
        "threads of torch": machine.get("threads"),
        "GPU": machine.get("gpu"),
        "system": machine.get("system"),
        "PyTorch": versions.get("torch"),
        "CUDA": versions.get("cuda"),
        "Python": versions.get("python"),
        "flatout": versions.get("flatout"),
    }
    shown = (
        fact(f"{value:g}" if isinstance(value, float) else str(value), name)
        for name, value in facts.items()
        if value is not None
    )
    return section("Where it ran", element("dl", *shown, class_="surroundings"))


def _footer(seen: Mapping[str, Any]) -> Markup:
    when = str(seen["ended"]).replace("T", " ")[:16]
    return element("footer", element("p", f"Made by flatout profile, {when}."))
