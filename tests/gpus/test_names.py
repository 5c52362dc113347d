"""What the parts of a name mean."""

import pytest

from flatout.gpus import cards, decode


@pytest.mark.parametrize(
    ("name", "family", "generation", "tier", "suffix"),
    [
        ("NVIDIA GeForce RTX 3090 Ti", "GeForce RTX", "30", "xx90", "Ti"),
        ("RTX 4070 Ti SUPER", "GeForce RTX", "40", "xx70", "Ti SUPER"),
        ("NVIDIA GeForce RTX 4070 Laptop GPU", "GeForce RTX", "40", "xx70", "Laptop"),
        ("GeForce RTX 2080 with Max-Q Design", "GeForce RTX", "20", "xx80", "Max-Q"),
        ("GeForce RTX 4090 D", "GeForce RTX", "40", "xx90", "D"),
        ("GeForce RTX 6090", "GeForce RTX", "60", "xx90", ""),  # newer than the catalogue
        ("GeForce GTX 1650", "GeForce GTX", "16", "xx50", ""),
        ("NVIDIA RTX 6000 Ada Generation", "RTX Ada Generation", None, "6000", ""),
        ("NVIDIA RTX A6000", "RTX A", None, "6000", ""),
        ("Quadro RTX 8000", "Quadro RTX", None, "8000", ""),
        ("Tesla V100-SXM2-32GB", "NVIDIA data-centre", "V", "100", "SXM"),
        ("NVIDIA H100 PCIe", "NVIDIA data-centre", "H", "100", "PCIe"),
        ("AMD Radeon RX 7900 XTX", "Radeon RX", "7000", "x9xx", "XTX"),
        ("AMD Radeon RX 9070 XT", "Radeon RX", "9000", "xx70", "XT"),
        ("AMD Instinct MI300X", "Instinct", "MI300", None, "X"),
        ("Intel(R) Arc(TM) A770 Graphics", "Arc", "A", "7xx", ""),
        ("Apple M3 Max", "Apple M", "M3", "Max", "Max"),
        ("Voodoo 2", "", None, None, ""),
    ],
)
def test_a_name_taken_apart(name, family, generation, tier, suffix):
    found = decode(name)
    assert (found.family, found.generation, found.tier, found.suffix) == (family, generation, tier, suffix)
    assert bool(found.meaning) == bool(family)


def test_a_laptop_card_is_told_to_be_another_card():
    assert any("another card" in sentence for sentence in decode("RTX 4070 Laptop GPU").meaning)
    assert not any("another card" in sentence for sentence in decode("RTX 4070").meaning)


def test_all_names_of_the_catalogue_can_be_read():
    unread = {card.name for card in cards() if not card.decoded.meaning}
    assert unread == {"Radeon 8060S", "Radeon VII"}  # names that follow no rule


def test_the_name_says_the_generation_that_the_catalogue_has():
    for card in cards():
        if card.generation.startswith("GeForce") and "TITAN" not in card.name:
            assert card.decoded.generation == card.generation.removeprefix("GeForce ")
