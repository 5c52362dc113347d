"""The plans by name."""

from __future__ import annotations

from difflib import get_close_matches

from flatout.errors import PlanRefusedError
from flatout.plans.base import Plan
from flatout.plans.compiled import CompiledPlan
from flatout.plans.eager import EagerPlan
from flatout.plans.native import NativePlan

PLANS: dict[str, type[Plan]] = {plan.name: plan for plan in (EagerPlan, NativePlan, CompiledPlan)}


def find_plan(name: str) -> Plan:
    """The plan of that name; "auto" is the one that fits most.

    Raises:
        PlanRefusedError: there is no such plan.
    """
    if name == "auto":
        return EagerPlan()
    if name not in PLANS:
        near = get_close_matches(name, PLANS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise PlanRefusedError(f"there is no plan {name!r}{hint} (plans: auto, {', '.join(PLANS)})")
    return PLANS[name]()
