"""The catalogue: every row well formed, its figures in agreement with each other and with the makers'."""

from dataclasses import fields

import pytest

import flatout
from flatout.gpus.card import Card
from flatout.gpus.catalogue import FOLDER, cards, problems, read

FILES = sorted(FOLDER.glob("*.csv"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_row_is_malformed(path):
    assert problems(path) == []


def test_what_it_holds():
    names = [card.name for card in cards()]
    assert len(names) == len(set(names)) >= 150
    generations = {card.generation for card in cards()}
    assert {f"GeForce {digits}" for digits in (10, 16, 20, 30, 40, 50)} <= generations
    assert {f"Apple M{number}" for number in range(1, 6)} <= generations
    assert {card.vendor for card in cards()} == {"NVIDIA", "AMD", "Intel", "Apple"}
    for name in ("Tesla P100 SXM2 16GB", "B300", "GB300", "Instinct MI100", "Instinct MI355X", "Arc B580"):
        assert name in names


# From the makers' pages, typed once more: memory in GB, bus, bandwidth in GB/s, FP32 TFLOPS, W, dollars.
PUBLISHED = {
    "RTX 3090 Ti": (24, 384, 1008, 40.0, 450, 1999),
    "RTX 3080 10GB": (10, 320, 760, 29.8, 320, 699),
    "RTX 3070 Ti": (8, 256, 608, 21.7, 290, 599),
    "RTX 3070": (8, 256, 448, 20.3, 220, 499),
    "RTX 4070": (12, 192, 504, 29.1, 200, 599),
    "RTX 4090": (24, 384, 1008, 82.6, 450, 1599),
    "RTX 5090": (32, 512, 1792, 104.8, 575, 1999),
    "H100 SXM": (80, 5120, 3350, 67, 700, None),
    "Instinct MI300X": (192, 8192, 5300, 163.4, 750, None),
    "RX 7900 XTX": (24, 384, 960, 61.4, 355, 999),
    "Arc B580": (12, 192, 456, 13.7, 190, 249),
}
# Dense, sums in FP32; from the makers' whitepapers and data sheets.
TENSOR = {
    "RTX 3090": {"fp16_tflops": 71, "tf32_tflops": 35.6, "int8_tops": 284},
    "RTX 4090": {"fp16_tflops": 165.2, "tf32_tflops": 82.6, "fp8_tflops": 330.3, "int8_tops": 660.6},
    "RTX 5090": {"fp16_tflops": 209.5, "tf32_tflops": 104.8, "fp8_tflops": 419, "int8_tops": 838},
    "TITAN RTX": {"fp16_tflops": 130.5},
    "RTX A6000": {"fp16_tflops": 154.8, "tf32_tflops": 77.4, "int8_tops": 309.7},
    "RTX 6000 Ada": {"fp16_tflops": 364.2, "fp8_tflops": 728.5},
    "A100 SXM 80GB": {"fp16_tflops": 312, "tf32_tflops": 156, "int8_tops": 624},
    "H100 SXM": {"fp16_tflops": 989.4, "fp8_tflops": 1978.9},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_figures_are_the_published_ones(name):
    card = flatout.gpus.find(name)
    seen = (card.memory_gb, card.bus_bits, card.bandwidth_gbs, card.fp32_tflops, card.power_w)
    assert seen == pytest.approx(PUBLISHED[name][:5], rel=0.005)
    assert card.price_usd == PUBLISHED[name][5]


@pytest.mark.parametrize("name", TENSOR)
def test_the_tensor_rates_are_the_published_dense_ones(name):
    card = flatout.gpus.find(name)
    for column, published in TENSOR[name].items():
        assert getattr(card, column) == pytest.approx(published, rel=0.01), column


def broken(tmp_path, **changed):
    """A file whose third line is a good row with some cells changed."""
    lines = (FOLDER / "geforce.csv").read_text(encoding="utf-8").splitlines()
    header = lines[0].split(",")
    cells = lines[2].split(",", len(header) - 3)  # the source is quoted and holds commas
    for column, value in changed.items():
        cells[header.index(column)] = value
    path = tmp_path / "broken.csv"
    path.write_text("\n".join([lines[0], lines[1], ",".join(cells)]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"memory_gb": "0"}, "memory_gb must be a positive number or empty, got '0'"),
        ({"memory_gb": "-4"}, "memory_gb must be a positive number"),
        ({"memory_gb": "nan"}, "memory_gb must be a positive number"),
        ({"bus_bits": "12.5"}, "bus_bits must be a positive whole number or empty, got '12.5'"),
        ({"release": "May 2016"}, "release must be a date such as 2022-03-29, got 'May 2016'"),
        ({"vendor": "Nvidia"}, "vendor must be one of NVIDIA, AMD, Intel, Apple, got 'Nvidia'"),
        ({"name": ""}, "name is empty"),
        ({"memory_type": "GDDR9"}, "memory_type must be one of"),
        ({"bandwidth_gbs": "128"}, "bandwidth_gbs is 128, but 128 bits at 7 Gbit/s make 112"),
        ({"fp32_tflops": "2.5"}, "fp32_tflops is 2.5, but 768 cores at 1392 MHz make 2.138"),
        ({"name": "GeForce GTX 1050"}, "GeForce GTX 1050 is there already, on line 2"),
        ({"name": "A,B"}, "a row must have 25 cells"),
    ],
)
def test_a_malformed_row_is_told_with_its_line(tmp_path, changed, said):
    (problem,) = problems(broken(tmp_path, **changed))
    assert problem.startswith("broken.csv:3: ")
    assert said in problem


def test_reading_a_malformed_row_is_an_error_with_its_line(tmp_path):
    with pytest.raises(flatout.CardError, match=r"broken\.csv:3: cores must be"):
        read(broken(tmp_path, cores="many"))


def test_what_is_unknown_is_none_and_never_zero():
    numbers = [field.name for field in fields(Card) if "float" in field.type or "int" in field.type]
    assert "fp32_tflops" in numbers
    for card in cards():
        for column in numbers:
            value = getattr(card, column)
            assert value is None or value > 0
    assert flatout.gpus.find("M4 Pro").fp32_tflops is None
