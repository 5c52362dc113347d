"""What the name of a graphics card says: generation, tier, suffix, family.

A name is read by rules, not looked up, so that a card newer than the catalogue can be read too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TIERS = {
    "90": "the flagship",
    "80": "the high end, next to the flagship",
    "70": "the upper middle",
    "60": "the middle, which most people buy",
    "50": "the entry",
    "30": "below the entry, for pictures on a screen",
}
_GEFORCE = {
    "10": ("Pascal, 2016", "without tensor cores"),
    "16": ("Turing, 2019", "without tensor cores"),
    "20": ("Turing, 2018", "the first GeForce with tensor cores"),
    "30": ("Ampere, 2020", "tensor cores with BF16 and TF32"),
    "40": ("Ada Lovelace, 2022", "tensor cores with FP8"),
    "50": ("Blackwell, 2025", "tensor cores with FP4, memory GDDR7"),
}
_SUFFIXES = {
    "Ti": "a faster version of the card without it: more cores, often faster memory",
    "SUPER": "a refresh within the generation, faster at about the same price",
    "D": "a cut-down version for sale in China",
    "Laptop": (
        "a laptop card: a smaller chip, less memory or less power than the desktop card of the same number, "
        "so it is another card"
    ),
    "Max-Q": "a laptop card held to little power, for thin machines",
    "XT": "a faster version of the card without it",
    "XTX": "the fastest version of its number",
    "GRE": "a cut-down version, first sold in China",
}
_DATA_CENTRE = {
    "P": ("Pascal, 2016", "without tensor cores"),
    "V": ("Volta, 2017", "the first with tensor cores, without BF16"),
    "T": ("Turing, 2018", "for inference, tensor cores without BF16"),
    "A": ("Ampere, 2020", "tensor cores with BF16 and TF32"),
    "L": ("Ada Lovelace, 2022", "GDDR6 memory and FP8"),
    "H": ("Hopper, 2022", "HBM and FP8"),
    "GH": ("Hopper, 2023", "a Hopper GPU joined to a Grace CPU"),
    "B": ("Blackwell, 2024", "two dies as one GPU, HBM3e and FP4"),
    "GB": ("Blackwell, 2024", "a Blackwell GPU joined to a Grace CPU"),
}
_RADEON = {
    "5": "RDNA, 2019",
    "6": "RDNA 2, 2020",
    "7": "RDNA 3, 2022, the first with matrix instructions",
    "9": "RDNA 4, 2025, matrix units with FP8",
}
_INSTINCT = {
    "0": "Vega 20, 2018",
    "1": "CDNA, 2020, the first Instinct with matrix units",
    "2": "CDNA 2, 2021, two dies that torch sees as two GPUs in the MI250 and MI250X",
    "3": "CDNA 3, 2023, HBM3 and FP8",
    "35": "CDNA 4, 2025, HBM3e, FP6 and FP4",
}
_WORKSTATION = (
    (r"RTX PRO (\d+) Blackwell", "RTX PRO Blackwell", "Blackwell, 2025"),
    (r"RTX (\d+) (?:SFF )?Ada", "RTX Ada Generation", "Ada Lovelace, 2022"),
    (r"RTX A(\d+)", "RTX A", "Ampere, 2020"),
    (r"Quadro RTX (\d+)", "Quadro RTX", "Turing, 2018"),
    (r"Quadro GV(\d+)", "Quadro GV", "Volta, 2018"),
    (r"Quadro G?P(\d+)", "Quadro P", "Pascal, 2016"),
    (r"(?:NVIDIA )?T(\d{3,4})", "NVIDIA T", "Turing, 2021"),
)
_APPLE = {
    "": "the base chip",
    "Pro": "the middle chip: about twice the GPU and bandwidth of the base chip (from M3 on somewhat less)",
    "Max": "the large chip: about twice the GPU of the Pro",
    "Ultra": "two Max chips joined into one",
}


@dataclass(frozen=True)
class Name:
    """A name taken apart.

    Attributes:
        name: the name.
        family: such as "GeForce RTX", "RTX Ada Generation", "Instinct".
        generation: its digits, such as "40"; None where the name has none.
        tier: such as "xx70"; None where the name has none.
        suffix: such as "Ti SUPER"; empty where there is none.
        meaning: what the parts mean, a sentence each.
    """

    name: str
    family: str
    generation: str | None
    tier: str | None
    suffix: str
    meaning: tuple[str, ...]


def decode(name: str) -> Name:
    """Take the name of a graphics card apart. A name that follows no rule gets an empty family.

    >>> for sentence in decode("NVIDIA GeForce RTX 4070 Ti SUPER").meaning:
    ...     print(sentence)
    40 is the generation: Ada Lovelace, 2022, tensor cores with FP8.
    xx70 is the tier: the upper middle of its generation.
    Ti: a faster version of the card without it: more cores, often faster memory.
    SUPER: a refresh within the generation, faster at about the same price.
    """
    plain = re.sub(r"\((?:R|TM)\)|[®™]", "", name)
    for reader in (_workstation, _geforce, _radeon, _instinct, _arc, _apple, _titan, _data_centre):
        found = reader(plain)
        if found is not None:
            return found
    return Name(name, "", None, None, "", ())


def _geforce(name: str) -> Name | None:
    match = re.search(r"\b(GTX|RTX)? ?(\d{2})(\d0)\b(.*)", name, re.IGNORECASE)
    if match is None or re.search(r"Radeon|\bRX\b|Quadro|\bMI\b", name, re.IGNORECASE):
        return None
    digits, tier = match[2], match[3]
    if tier not in _TIERS:
        return None
    architecture, what = _GEFORCE.get(digits, ("", ""))
    meaning = [
        f"{digits} is the generation: {architecture}, {what}." if what else f"{digits} is the generation."
    ]
    meaning.append(f"xx{tier} is the tier: {_TIERS[tier]} of its generation.")
    suffixes = _suffixes(match[4])
    brand = match[1] or ("RTX" if int(digits) >= 20 else "GTX")
    meaning += [f"{suffix}: {_SUFFIXES[suffix]}." for suffix in suffixes]
    return Name(name, f"GeForce {brand.upper()}", digits, f"xx{tier}", " ".join(suffixes), tuple(meaning))


def _suffixes(rest: str) -> list[str]:
    words = re.sub(r"(?i)max-q", "max_q", rest)
    found = {word.lower() for word in re.findall(r"[A-Za-z_]+", words)}
    return [known for known in _SUFFIXES if known.lower().replace("-", "_") in found]


def _workstation(name: str) -> Name | None:
    for pattern, family, architecture in _WORKSTATION:
        match = re.search(rf"(?<![A-Za-z]){pattern}(?!\d)", name)
        if match is not None:
            suffix = " ".join(_suffixes(name[match.end() :]))
            meaning = (
                f"{family} is a family for workstations: {architecture}; more memory than the GeForce of the "
                "same chip, often with error correction, and drivers tested with professional programs.",
                f"{match[1]} is its place in the family: a larger number is a larger card.",
            )
            return Name(name, family, None, match[1], suffix, meaning)
    return None


def _titan(name: str) -> Name | None:
    match = re.search(r"\bTITAN (RTX|V|Xp|X)\b", name, re.IGNORECASE)
    if match is None:
        return None
    what = "TITAN was the largest GeForce chip of its time with the most memory, before xx90 took its place."
    return Name(name, "TITAN", None, "flagship", "", (what,))


def _data_centre(name: str) -> Name | None:
    match = re.search(r"\b(GH|GB|[PVTALHB])(\d{1,3})(S|G)?\b(.*)", name)
    if match is None:
        return None
    letter, number = match[1], match[2]
    architecture, what = _DATA_CENTRE[letter]
    if letter == "GB" and number == "10":
        architecture, what = (
            "Blackwell, 2025",
            "a small GPU joined to a CPU, with memory that both share (DGX Spark)",
        )
    if number == "300":
        architecture = "Blackwell Ultra, 2025"
    meaning = [
        f"{letter} is the architecture: {architecture}, {what}.",
        f"{number} is its place in the family: a larger number is a larger or later card.",
    ]
    shape = next((form for form in ("SXM", "PCIe", "NVL") if form.lower() in match[4].lower()), "")
    told = {
        "SXM": "SXM: a module on a board of its own, with NVLink and more power than a card.",
        "PCIe": "PCIe: a card for an ordinary slot, with less power than the SXM module.",
        "NVL": "NVL: PCIe cards joined by an NVLink bridge.",
    }
    meaning += [told[shape]] if shape else []
    return Name(
        name, "NVIDIA data-centre", letter, number, " ".join(filter(None, (match[3], shape))), tuple(meaning)
    )


def _radeon(name: str) -> Name | None:
    match = re.search(r"\bRX (\d)(\d)(\d0)\b(.*)", name, re.IGNORECASE)
    if match is None:
        pro = re.search(r"Radeon(?: AI)? PRO [WR](\d)(\d)00", name, re.IGNORECASE)
        if pro is None:
            return None
        made = _RADEON.get(pro[1], "unknown")
        what = f"Radeon PRO is AMD's family for workstations; {pro[1]} is the generation: {made}."
        return Name(name, "Radeon PRO", f"{pro[1]}000", f"x{pro[2]}00", "", (what,))
    thousands, hundreds = match[1], match[2]
    suffixes = _suffixes(match[4])
    # From 9000 on the tens tell the tier, as GeForce has it: RX 9070.
    tier = f"xx{match[3]}" if thousands == "9" else f"x{hundreds}xx"
    place = _TIERS.get(match[3] if thousands == "9" else f"{hundreds}0", "an entry card")
    architecture = _RADEON.get(thousands)
    meaning = [
        f"{thousands}000 is the generation{': ' + architecture if architecture else ''}.",
        f"{tier} is the tier: {place} of its generation.",
        *(f"{suffix}: {_SUFFIXES[suffix]}." for suffix in suffixes),
    ]
    return Name(name, "Radeon RX", f"{thousands}000", tier, " ".join(suffixes), tuple(meaning))


def _instinct(name: str) -> Name | None:
    match = re.search(r"\bMI ?(\d{2,3})([XA]?)\b", name)
    if match is None:
        return None
    number, letter = match[1], match[2]
    key = "0" if len(number) == 2 else "35" if number.startswith("35") else number[0]
    meaning = [f"MI{number} is the generation: {_INSTINCT.get(key, 'unknown')}."]
    letters = {
        "X": "X: the GPU alone, at its fullest.",
        "A": "A: GPU and CPU in one package with one memory.",
    }
    meaning += [letters[letter]] if letter else []
    return Name(name, "Instinct", f"MI{number}", None, letter, tuple(meaning))


def _arc(name: str) -> Name | None:
    match = re.search(r"\bArc(?: Pro)? ([AB])(\d)(\d)0", name, re.IGNORECASE)
    if match is None:
        match = re.search(r"\bArc Pro ([AB])(\d)(0)", name, re.IGNORECASE)
    if match is None:
        return None
    generations = {"A": "Alchemist, 2022, Intel's first", "B": "Battlemage, 2024"}
    pro = "pro" in name.lower().split()
    meaning = (
        f"{match[1]} is the generation: {generations[match[1].upper()]}.",
        f"{match[2]} is the tier: 7 is the top of a generation, 3 its entry."
        if not pro
        else "Pro is for workstations, with more memory than the gaming card of the same chip.",
    )
    return Name(name, "Arc Pro" if pro else "Arc", match[1].upper(), f"{match[2]}xx", "", meaning)


def _apple(name: str) -> Name | None:
    match = re.search(r"^(?:Apple )?M(\d)(?: (Pro|Max|Ultra))?\b", name.strip(), re.IGNORECASE)
    if match is None:
        return None
    word = (match[2] or "").capitalize()
    meaning = (
        f"M{match[1]} is the generation.",
        f"{word or 'No word behind it'}: {_APPLE[word]}.",
        "CPU and GPU share one memory, so a GPU can use most of what the computer has.",
    )
    return Name(name, "Apple M", f"M{match[1]}", word or "base", word, meaning)
