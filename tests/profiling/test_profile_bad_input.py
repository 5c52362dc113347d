"""Scripts that end oddly, start processes, take output away, or catch everything."""

import signal
import subprocess
import sys
import zipfile

import pytest
from launcher import launcher

LOOP = """\
import os, signal, sys, torch

model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)


def steps(count):
    for step in range(count):
        loss = model(torch.ones(8, 4)).sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


"""


@pytest.fixture
def profile(tmp_path):
    """`flatout profile --json train.py`, with LOOP and what follows."""

    def profile(source, *options):
        (tmp_path / "train.py").write_text(LOOP + source)
        return launcher().run("profile", "--json", "--no-trials", *options, "train.py", cwd=tmp_path)

    return profile


def python(*arguments, cwd):
    return subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


def measured(done, steps=30):
    seen = done.document
    assert seen["steps"] == steps
    assert seen["us_per_step"] > 0
    return seen


def test_os_exit_is_reported_first(profile):
    done = profile("steps(30)\nprint('not flushed')\ntry:\n    os._exit(7)\nfinally:\n    print('never')\n")
    assert done.returncode == 7
    assert measured(done)["outcome"] == "exited"
    assert "never" not in done.stdout


def test_sigterm_is_reported_and_ends_the_process_as_it_does(profile):
    done = profile("steps(30)\nos.kill(os.getpid(), signal.SIGTERM)\nsteps(10**9)\n")
    assert done.returncode == -signal.SIGTERM
    assert measured(done)["outcome"] == "terminated"


def test_a_handler_of_the_script_stays(profile):
    done = profile(
        "signal.signal(signal.SIGTERM, lambda *_: print('mine'))\n"
        "steps(30)\nos.kill(os.getpid(), signal.SIGTERM)\n"
    )
    assert (done.returncode, measured(done)["outcome"]) == (0, "finished")
    assert done.stdout.startswith("mine\n")


CATCHES = """
try:
    steps(10**9)
except BaseException:
    pass
print("saved")
"""


def test_what_is_caught_around_the_loop_stops_it(profile):
    done = profile(CATCHES, "--stop", "--steps", "25")
    assert done.returncode == 0
    assert done.stdout.startswith("saved\n")
    assert measured(done, 25)["outcome"] == "stopped"


ALWAYS_CATCHES = """
import atexit
atexit.register(print, "at exit")
while True:
    try:
        steps(10)
    except:
        print("again")
"""


def test_a_script_that_always_catches_is_ended(profile):
    done = profile(ALWAYS_CATCHES, "--stop", "--steps", "25")
    assert done.returncode == 0
    assert done.stdout.splitlines()[:-1] == ["again"] * 5 + ["at exit"]
    assert measured(done, 25)["outcome"] == "stopped"


def test_training_in_a_thread_stops_too(profile):
    thread = "import threading\nthread = threading.Thread(target=steps, args=(10**9,))\nthread.start()\n"
    done = profile(thread, "--stop", "--steps", "25")
    assert (done.returncode, measured(done, 25)["outcome"]) == (0, "stopped")
    assert "Traceback" not in done.stderr


def test_threads_that_python_waits_for_are_waited_for(profile):
    done = profile("import threading\nthreading.Thread(target=steps, args=(30,)).start()\n")
    measured(done)


STARTS = """
import multiprocessing, time

def work(count):
    assert torch.nn.Module.__call__ is torch.nn.Module._wrapped_call_impl
    assert not sys.modules["torch.optim.optimizer"]._global_optimizer_post_hooks
    steps(count)
    end = time.process_time() + 0.6
    while time.process_time() < end:
        pass

if __name__ == "__main__":
    processes = [multiprocessing.get_context("fork").Process(target=work, args=(5,)) for _ in range(2)]
"""


def test_processes_of_the_script_are_left_alone_and_report_nothing(profile):
    done = profile(
        STARTS
        + "    steps(15)\n"
        + "    [one.start() for one in processes]\n    [one.join() for one in processes]\n"
        + "    assert all(one.exitcode == 0 for one in processes)\n    steps(15)\n"
        + "    child = os.fork()\n"
        + "    os.waitpid(child, 0) if child else print('child')\n"
    )
    assert done.returncode == 0, done.stderr
    assert [line[:5] for line in done.stdout.splitlines()] == ["child", '{"ver']
    assert any("those that it started used" in note for note in measured(done)["notes"])


def test_training_in_children_is_said(profile):
    done = profile(STARTS + "    [one.start() for one in processes]\n    [one.join() for one in processes]\n")
    assert done.document["steps"] == 0
    assert "No step was seen in this process, but those it started" in done.document["verdict"]


def test_a_spawned_process_finds_its_script(tmp_path):
    (tmp_path / "train.py").write_text(
        "import multiprocessing, sys\n"
        "def work():\n    print(__name__, sys.argv[1:], flush=True)\n"
        "if __name__ == '__main__':\n"
        "    process = multiprocessing.get_context('spawn').Process(target=work)\n"
        "    process.start()\n    process.join()\n    print(process.exitcode)\n"
    )
    done = launcher().run("profile", "train.py", "--lr", "1", cwd=tmp_path)
    assert done.stdout.splitlines()[:2] == ["__mp_main__ ['--lr', '1']", "0"]


def test_workers_of_a_loader(profile):
    done = profile(
        "from torch.utils.data import DataLoader, TensorDataset\n"
        "data = TensorDataset(torch.ones(120, 4))\n"
        "for (x,) in DataLoader(data, batch_size=4, num_workers=1):\n"
        "    model(x).sum().backward()\n    optimizer.step()\n"
    )
    assert done.returncode == 0, done.stderr
    assert {one["kind"] for one in measured(done)["findings"]} <= {"data", "launch-bound"}
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize(
    "taken",
    [
        "sys.stdout.close()",
        "os.close(1)",
        "os.dup2(os.open('log.txt', os.O_WRONLY | os.O_CREAT), 1); print('hello')",
        "sys.stdout = sys.stderr = open('log.txt', 'w')",
        "sys.stdout = None",
    ],
)
def test_output_that_the_script_takes_away(profile, taken):
    done = profile(f"steps(30)\n{taken}\n")
    assert "Traceback" not in done.stderr
    measured(done)


def test_a_change_of_directory(profile, tmp_path):
    done = profile(
        "os.makedirs('sub')\nos.chdir('sub')\nfor _ in range(30):\n    steps(1)\n    float(model.bias)\n"
    )
    found = next(one for one in measured(done)["findings"] if one["kind"] == "float")
    assert found["file"] == "train.py"
    assert "float(model.bias)" in str(found["source"])


def test_a_profiler_of_the_script(profile):
    done = profile(
        "import cProfile\nfrom torch.profiler import profile\n"
        "other = cProfile.Profile()\n"
        "other.enable()\nsteps(16)\nother.disable()\n"
        "with profile() as seen:\n    steps(34)\n"
        "assert any(row.key == 'aten::addmm' for row in seen.key_averages())\n"
    )
    assert done.returncode == 0, done.stderr
    notes = " ".join(measured(done, 50)["notes"])
    assert "another profiler ran as well (sys.setprofile and torch.profiler)" in notes


def test_an_excepthook_of_the_script(profile):
    done = profile(
        "sys.excepthook = lambda kind, error, trace: print('hook', kind.__name__)\nsteps(30)\n1 / 0\n"
    )
    assert done.returncode == 1
    assert done.stdout.startswith("hook ZeroDivisionError\n")
    measured(done)


def test_an_excepthook_that_fails(tmp_path):
    (tmp_path / "train.py").write_text("import sys\nsys.excepthook = lambda *_: {}['hook']\n1 / 0\n")
    done, plain = both(tmp_path, "train.py")
    assert done.stderr.startswith(plain.stderr.rstrip())
    assert "Error in sys.excepthook" in plain.stderr


def both(folder, script):
    plain = python(script, "--lr", "1", cwd=folder)
    done = launcher().run("profile", script, "--lr", "1", cwd=folder)
    assert done.returncode == plain.returncode
    return done, plain


@pytest.mark.parametrize("script", ["app", "app.zip"])
def test_a_folder_or_a_zip_file(tmp_path, script):
    main = "import helper, sys\nprint(helper.__name__, sys.argv, __name__, sys.path[0])\n"
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__main__.py").write_text(main)
    (tmp_path / "app" / "helper.py").touch()
    with zipfile.ZipFile(tmp_path / "app.zip", "w") as packed:
        packed.writestr("__main__.py", main)
        packed.writestr("helper.py", "")
    done, plain = both(tmp_path, script)
    assert plain.stdout.startswith("helper ")
    assert done.stdout.startswith(plain.stdout)


@pytest.mark.parametrize(
    "source", [b"def f(:\n", b"# latin-1\nx = '\xe9'\n", b"x = 1\0\n", b"# coding: latin-1\nprint('\xe9')\n"]
)
def test_what_cannot_be_compiled_is_pythons_to_tell(tmp_path, source):
    (tmp_path / "train.py").write_bytes(source)
    done, plain = both(tmp_path, "train.py")
    if plain.returncode:
        assert "SyntaxError" in plain.stderr.splitlines()[-1]
        assert "SyntaxError" in done.stderr
        assert "flatout" not in done.stderr
    assert done.stdout.startswith(plain.stdout)


def test_a_folder_without_a_main_is_no_script(tmp_path):
    done = launcher().run("profile", ".", cwd=tmp_path)
    assert done.returncode == 2
    assert "is run by its __main__.py" in done.stderr
