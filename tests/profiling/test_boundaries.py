"""Where a step ends: told by optimizers, backward or models, and by the better of them."""

import threading

import pytest
import torch

import flatout
from flatout.profiling.recorder import Recorder
from flatout.profiling.step_words import step_notes

X, Y = torch.randn(8, 4), torch.randn(8, 1)


class Optimizer(torch.optim.SGD):
    """One whose step calls that of its base class."""

    def step(self, closure=None):
        return super().step(closure)


class ByHand:
    """An optimizer that torch does not know."""

    def __init__(self, parameters):
        self.parameters = list(parameters)

    def step(self):
        with torch.no_grad():
            for parameter in self.parameters:
                parameter.sub_(0.01 * parameter.grad)
                parameter.grad = None


@pytest.fixture
def model():
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))


def backward(model):
    torch.nn.functional.mse_loss(model(X), Y).backward()


def profiled(loop):
    with flatout.profile() as seen:
        loop()
    return seen.document


def check(seen, ends_with, steps, backwards):
    assert (seen["step_ends_with"], seen["steps"]) == (ends_with, steps)
    assert seen["backwards_per_step"] == (None if backwards is None else pytest.approx(backwards))


def test_an_optimizer_ends_a_step(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def loop():
        for _ in range(20):
            backward(model)
            optimizer.step()

    seen = profiled(loop)
    check(seen, "optimizer", 20, 1)
    # Twenty steps are enough for both windows.
    assert seen["windows"]["bare"] > 0
    assert seen["windows"]["lines"] > 0


def test_gradients_that_are_accumulated_are_said(model):
    optimizer = torch.optim.AdamW(model.parameters())

    def loop():
        for micro in range(32 * 9):
            backward(model)
            if micro % 32 == 31:
                optimizer.step()

    seen = profiled(loop)
    # The backward calls before the first update were taken for steps until then.
    check(seen, "optimizer", 9, 32)
    assert "gradients are accumulated: 32 calls of backward a step" in seen["notes"]
    assert seen["breakdown"]["backward"]["us"] > 0


def test_an_optimizer_takes_over_from_a_warm_up(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def loop():
        with torch.no_grad():
            for _ in range(60):
                model(X)
        for _ in range(10):
            backward(model)
            optimizer.step()

    check(profiled(loop), "optimizer", 10, 1)


def test_it_takes_over_when_all_windows_have_closed(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with flatout.profile(steps=5) as seen:
        for _ in range(8):
            model(X)
        assert torch.nn.Module.__call__ is torch.nn.Module._wrapped_call_impl
        for _ in range(8):
            backward(model)
        for _ in range(8):
            backward(model)
            optimizer.step()
    check(seen.document, "optimizer", 5, 1)


def test_an_optimizer_by_hand_ends_its_steps_with_backward(model):
    by_hand = ByHand(model.parameters())

    def loop():
        for _ in range(20):
            backward(model)
            by_hand.step()

    seen = profiled(loop)
    check(seen, "backward", 20, 1)
    assert "no optimizer of torch.optim: a step ends with each backward" in seen["notes"]
    assert seen["breakdown"]["backward"]["us"] > 0
    assert seen["windows"]["lines"] > 0


def test_gradients_taken_by_torch_autograd_grad(model):
    def loop():
        for _ in range(20):
            torch.autograd.grad(model(X).sum(), list(model.parameters()))

    check(profiled(loop), "backward", 20, None)


def test_inference_makes_a_step_of_each_call(model):
    @torch.no_grad()
    def loop():
        for _ in range(20):
            torch.nn.MSELoss()(model(X), Y).item()

    seen = profiled(loop)
    check(seen, "forward", 20, None)
    assert "no optimizer: a step is a call of Sequential" in seen["notes"]
    assert seen["device"] == "cpu"
    assert seen["breakdown"]["forward"]["us"] > 0
    assert [one["kind"] for one in seen["findings"]] == ["item"]


def test_a_step_within_a_step_is_one(model):
    torch.optim.SGD(model.parameters(), lr=0.01)  # now the step of the base class is hooked, too
    optimizer = Optimizer(model.parameters(), lr=0.01)

    def loop():
        for turn in range(12):
            backward(model)
            if turn == 5:
                with pytest.raises(ZeroDivisionError):
                    optimizer.step(lambda: 1 / 0)
            optimizer.step()

    check(profiled(loop), "optimizer", 12, 1)


def test_one_optimizer_for_each_parameter(model):
    optimizers = [torch.optim.SGD([parameter], lr=0.01) for _ in range(6) for parameter in model.parameters()]

    def loop():
        for _ in range(10):
            backward(model)
            for optimizer in optimizers:
                optimizer.step()

    seen = profiled(loop)
    check(seen, "optimizer", 10, 1)
    assert f"{len(optimizers)} optimizers ({len(optimizers)} SGD)" in " ".join(seen["notes"])


def test_another_optimizer_leads_when_the_first_is_silent(model):
    first, second = (torch.optim.SGD(model.parameters(), lr=0.01) for _ in range(2))

    def loop():
        for optimizer in (first, second):
            for _ in range(20):
                backward(model)
                optimizer.step()

    check(profiled(loop), "optimizer", 32, 1)


def test_a_closure_is_called_many_times(model):
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4, tolerance_grad=0, tolerance_change=-1)

    def closure():
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(X), Y)
        loss.backward()
        return loss

    def loop():
        for _ in range(8):
            optimizer.step(closure)

    seen = profiled(loop)
    check(seen, "optimizer", 8, 4)
    assert "LBFGS calls its closure with backward 4 times a step" in seen["notes"]


def test_updates_that_a_gradscaler_leaves_out_are_steps(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu")

    def loop():
        for turn in range(12):
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(model(X), Y) * (float("inf") if turn in (0, 6) else 1.0)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()

    seen = profiled(loop)
    check(seen, "optimizer", 12, 1)
    assert any("left out the update of 2 of 12 steps" in note for note in seen["notes"])


def test_training_in_another_thread(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    model(X)

    def train():
        for _ in range(12):
            backward(model)
            optimizer.step()

    def loop():
        for _ in range(2):  # a thread an epoch
            thread = threading.Thread(target=train)
            thread.start()
            thread.join()

    seen = profiled(loop)
    assert seen["step_ends_with"] == "optimizer"
    assert 16 <= seen["steps"] <= 24  # the second thread leads when the first is silent
    assert seen["breakdown"]["forward"]["us"] > 0
    assert seen["windows"]["lines"] > 0


def test_other_profilers_are_said(model):
    import cProfile

    other = cProfile.Profile()

    def loop():
        other.enable()
        for _ in range(20):
            model(X)
        other.disable()

    seen = profiled(loop)
    assert seen["steps"] == 20
    assert "another profiler ran as well (sys.setprofile)" in " ".join(seen["notes"])


def test_nothing_is_compiled_anew_when_the_windows_have_closed(model):
    from torch._dynamo.testing import CompileCounter

    count = CompileCounter()
    compiled = torch.compile(model, backend=count)
    with flatout.profile(steps=20):
        for _ in range(25):
            compiled(X)
    compiled(X)
    assert count.frame_count == 1


def test_what_is_not_known_is_none():
    recorder = Recorder(10)
    assert step_notes(recorder, 0.0) == []
    with flatout.profile() as seen:
        pass
    check(seen.document, None, 0, None)
