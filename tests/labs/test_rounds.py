"""Rounds: every arm once in each, in orders that differ, and as many as there is time for."""

from flatout.labs.rounds import Effort, in_parts, interleaved


def test_every_arm_takes_its_turn_once_a_round_in_an_order_drawn_anew():
    log = []
    arms = {name: lambda name=name: log.append(name) or len(log) for name in "abcd"}
    seen = []
    found = interleaved(arms, Effort(rounds=12), watch=lambda done, rounds: seen.append((done, rounds)))
    rounds = [tuple(log[start : start + 4]) for start in range(4, len(log), 4)]
    assert [sorted(order) for order in rounds] == [list("abcd")] * 12
    assert len(set(rounds)) > 4
    assert len({order[0] for order in rounds}) == 4  # each begins at times
    assert seen == [(done, 12) for done in range(12)]
    # The first round is not kept, and the results lie in the order of the rounds.
    assert all(values == sorted(values) and values[0] > 4 for values in found.values())


def test_the_first_round_tells_how_many_there_is_time_for():
    now = [0.0]

    def work():
        now[0] += 1.5

    found = interleaved({"a": work, "b": work}, Effort(seconds=30.0, clock=lambda: now[0]))
    assert len(found["a"]) == 10


def test_the_arms_of_a_round_take_turns_at_every_part():
    log = []
    arms = {name: lambda part, name=name: log.append((part, name)) or (name, part) for name in "abc"}
    found = in_parts(arms, [1, 2], Effort(rounds=4))
    assert found["b"] == [[("b", 1), ("b", 2)]] * 4
    turns = [log[start : start + 3] for start in range(6, len(log), 3)]
    assert [{part for part, _ in turn} for turn in turns] == [{1}, {2}] * 4
    assert all({name for _, name in turn} == set("abc") for turn in turns)
    assert len({tuple(turn) for turn in turns}) > 4
