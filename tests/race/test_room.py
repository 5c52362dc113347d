"""How much memory a race needs."""

import torch

from flatout.hardware.free_memory import free_memory
from flatout.racing.room import room_needed, too_little_room

CPU = torch.device("cpu")
MODEL = 4 * (4 * 6 + 6 + 6 * 2 + 2)


def test_copies_gradients_state_and_what_is_compared(make_task):
    assert room_needed(make_task(), CPU) == 2 * (MODEL + MODEL) + 2 * MODEL
    adam = make_task(optimizer=torch.optim.Adam)
    assert room_needed(adam, CPU) == 2 * 4 * MODEL + 2 * 3 * MODEL


def test_state_that_is_there_is_counted_as_it_is(make_task):
    task = make_task(optimizer=torch.optim.Adam)
    task.model(task.data[0]).sum().backward()
    task.optimizer.step()
    state = 2 * MODEL + 4 * 4  # and a step counter for each parameter
    assert room_needed(task, CPU) == 2 * (2 * MODEL + state) + 2 * (MODEL + state)


def test_data_comes_along_to_another_device(make_task):
    task = make_task()
    data = sum(t.numel() * t.element_size() for t in task.data)
    assert room_needed(task, torch.device("meta")) == 4 * MODEL + data


def test_there_is_room_for_little_and_unknown_memory_stands_in_nobodys_way(make_task):
    assert free_memory(CPU) > 1e6
    assert free_memory(torch.device("meta")) is None
    assert too_little_room(make_task(), CPU) is None
    assert too_little_room(make_task(), torch.device("meta")) is None
