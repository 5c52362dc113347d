"""Reads the machine descriptions in cpus/; its README says how they are written."""

import re
import struct
from functools import partial
from pathlib import Path

from flatout.hardware.machine import Recorded

FOLDER = Path(__file__).parent / "cpus"
NAMES = sorted(path.stem for path in FOLDER.glob("*.txt"))


def answers_of(name):
    """(system, answers by name) of a description."""
    short, *sections = (FOLDER / f"{name}.txt").read_text(encoding="utf-8").split("\n=== ")
    lines = (line.split(" = ", 1) for line in short.splitlines() if line and not line.startswith("#"))
    answers = {path: text for line in lines for path, text in each_cpu(*line)}
    for section in sections:
        title, _, text = section.partition("\n")
        answers[title] = text.rstrip("\n")
    if "processors" in answers:
        answers["processors"] = processor_information(answers["processors"]).hex()
    return answers.pop("system"), answers


def recorded(name, **changes):
    """The machine of a description, with other answers where told; None takes an answer away."""
    system, answers = answers_of(name)
    answers.update(changes)
    return Recorded(system, {key: text for key, text in answers.items() if text is not None})


def each_cpu(path, text):
    """`cpu{0-3}` stands for four paths; `{2}` in the text for the aligned pair a CPU belongs to."""
    numbers = re.search(r"\{(\d+)-(\d+)\}", path)
    if numbers is None:
        yield path, text
        return
    for cpu in range(int(numbers[1]), int(numbers[2]) + 1):
        own = re.sub(r"\{(\d+)(?:\+(\d+))?\}", partial(group, cpu), text)
        yield path.replace(numbers[0], str(cpu)), own


def group(cpu, match):
    """`{8}`: the aligned eight; `{8+16}`: an aligned eight of the first 16, and those 16 further."""
    size, apart = int(match[1]), int(match[2] or 0)
    first = (cpu % apart if apart else cpu) // size * size
    return ",".join(f"{start}-{start + size - 1}" for start in ([first, first + apart] if apart else [first]))


def processor_information(text):
    """What GetLogicalProcessorInformationEx returns, in bytes."""
    records = []
    for line in text.splitlines():
        kind, *fields = line.split()
        value = {name: int(number, 0) for name, _, number in (field.partition("=") for field in fields)}
        if kind == "core":
            smt = int(value["mask"].bit_count() > 1)
            body = struct.pack("<BB20xHQH6x", smt, value["class"], 1, value["mask"], 0)
            records.append(struct.pack("<II", 0, 8 + len(body)) + body)
        elif kind == "cache":
            body = struct.pack("<BBHII18xHQH6x", value["level"], 8, 64, value["size"], value["kind"], 1, 1, 0)
            records.append(struct.pack("<II", 2, 8 + len(body)) + body)
        else:
            body = struct.pack("<I18xHQH6x", 0, 1, 1, 0)
            records.append(struct.pack("<II", 1, 8 + len(body)) + body)
    return b"".join(records)
