"""The causes, one small rule each, in the order in which they are asked: the first that fits is the root."""

from __future__ import annotations

from typing import Final

from flatout.hardware.doctor.causes import access, build, driver, hardware, speed, use, visibility
from flatout.hardware.doctor.finding import Rule

RULES: Final[tuple[Rule, ...]] = (
    *hardware.RULES,
    *driver.RULES,
    *access.RULES,
    *build.RULES,
    *visibility.RULES,
    *use.RULES,
    *driver.LAST_RULES,
    *use.LAST_RULES,
    *speed.RULES,
)
