"""Functions that are wrapped for a while, also where modules have imported them by name."""

import functools
from types import ModuleType

from flatout.profiling.patches import Patches


def says(word):
    return lambda original: lambda *args: (word, original(*args))


def test_who_imported_a_function_by_name_gets_the_wrapper_and_then_the_function_back():
    script, plain, own = (
        ModuleType("script"),
        functools.reduce,
        functools.wraps(functools.reduce)(lambda *a: 7),
    )
    script.reduce, script.own = plain, own
    inner, outer = Patches(), Patches()
    inner.wrap(functools, "reduce", says("inner"))
    inner.wrap_by_name([script])
    outer.wrap(functools, "reduce", says("outer"))
    outer.wrap_by_name([script])
    assert script.reduce(max, [1, 2]) == functools.reduce(max, [1, 2]) == ("outer", ("inner", 2))
    outer.restore(), inner.restore()
    assert script.reduce is functools.reduce is plain and script.own is own


def test_who_imports_a_wrapper_is_rid_of_it_with_the_next_one():
    script, plain = ModuleType("script"), functools.reduce
    early, late = Patches(), Patches()
    early.wrap(functools, "reduce", says("early"))
    script.reduce = functools.reduce  # from functools import reduce
    early.restore()
    late.wrap(functools, "reduce", says("late"))
    late.wrap_by_name([script])
    assert script.reduce(max, [1, 2]) == ("late", 2)
    late.restore()
    assert script.reduce is functools.reduce is plain
