"""The page about missing GPUs is headed by the texts that the doctor's rules know."""

import re
from pathlib import Path

from flatout.hardware.doctor.causes import RULES

PAGE = (Path(__file__).parents[1] / "docs" / "no-gpu.md").read_text(encoding="utf-8")
HEADINGS = re.findall(r"^### `(.*)`$", PAGE, re.MULTILINE)
TEXTS = {text for rule in RULES for text in rule.says}


def test_every_text_a_rule_knows_heads_a_section():
    assert len(TEXTS) > 20
    for text in TEXTS:
        assert any(text in heading for heading in HEADINGS), text


def test_every_heading_is_a_text_a_rule_knows():
    assert len(HEADINGS) > 20
    for heading in HEADINGS:
        assert any(text in heading for text in TEXTS), heading
