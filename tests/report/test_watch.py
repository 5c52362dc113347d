"""What `flatout watch` says and draws, from samples made by hand."""

import csv
import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from flatout.errors import FlatoutError
from flatout.hardware.sample import CpuSample, GpuSample, ProcessSample, Sample
from flatout.report.keys import Keys, NoKeys
from flatout.report.watch import Plain, Screen, watch
from flatout.report.watch_lines import CsvFile, JsonLines, Lines
from flatout.report.watch_screen import WatchScreen, history
from flatout.report.watch_words import Summary, Warnings, verdict

GIB = 2**30
AT_REST = CpuSample(cores=(0.02,) * 8, memory_used=20 * GIB, memory_total=64 * GIB)
ONE_CORE = replace(AT_REST, cores=(1.0, *(0.02,) * 7))
TRAINING = ProcessSample(42, "python train.py", 1.0, GIB, {0: 12 * GIB}, frozenset({0}))
TRAINS = "python train.py (42)"
RESTING = replace(TRAINING, cores=0.0)
DRAWING = ProcessSample(7, "Xorg", 0.1, GIB, {0: GIB})


def gpu(busy, index=0, **values):
    return GpuSample(index, "NVIDIA H200", busy, 12 * GIB, 140 * GIB, **values)


def moments(gpus=(), cpu=AT_REST, processes=(), n=5):
    return [Sample(1000.0 + t, cpu, tuple(gpus), tuple(processes)) for t in range(n)]


@pytest.mark.parametrize(
    ("samples", "lines"),
    [
        (
            moments([gpu(0.03)], ONE_CORE, [TRAINING]),
            [f"GPU 0 waits: 3 % busy while {TRAINS} keeps a core at 100 %: the host cannot keep up"],
        ),
        (
            moments([gpu(0.0)], ONE_CORE, [TRAINING]),
            [f"GPU 0 waits: 0 % busy while {TRAINS} keeps a core at 100 %: it waits for the host"],
        ),
        (
            moments([gpu(0.03)], ONE_CORE, [replace(TRAINING, cores=None)]),
            ["GPU 0 waits: 3 % busy while a core is at 100 %: perhaps the host cannot keep up"],
        ),
        (
            moments([gpu(0.2)], AT_REST, [RESTING]),
            [
                "GPU 0 waits: 20 % busy, and no core is busy either: "
                "look at the disk, the network, or pauses in the program"
            ],
        ),
        # A core that is busy for another reason than a program that computes on the GPU says nothing.
        (moments([gpu(0.03)], ONE_CORE, [DRAWING]), ["GPU 0 is 3 % busy"]),
        (moments([gpu(0.2)], CpuSample(), [replace(TRAINING, cores=None)]), ["GPU 0 is 20 % busy"]),
        (moments([gpu(0.65)], ONE_CORE, [TRAINING]), ["GPU 0 is 65 % busy"]),
        (moments([gpu(0.97)], ONE_CORE, [TRAINING]), ["GPU 0 works: 97 % busy"]),
        (
            moments([gpu(0.0)], AT_REST, [RESTING]),
            [f"GPU 0 is idle, though {TRAINS} holds 12.0 GiB of it", "the CPU is 2 % busy"],
        ),
        (moments([gpu(None)]), ["GPU 0 does not tell how busy it is", "the CPU is 2 % busy"]),
        (
            moments([gpu(0.98), gpu(0.96, 1), gpu(1.0, 2), gpu(0.0, 3), GpuSample(4, error="GPU is lost")]),
            ["GPU 4 gives no readings: GPU is lost", "GPU 0-2 work: 98 % busy", "GPU 3 is idle"],
        ),
        (moments(cpu=ONE_CORE, processes=[replace(TRAINING, gpu_memory={}, computes_on=frozenset())]),
         ["python train.py (42) runs on one core of 8"]),
        (moments(cpu=replace(AT_REST, cores=(0.99,) * 8)), ["the CPU works: 99 % of 8 cores"]),
        (moments(cpu=CpuSample()), []),
        (moments([gpu(0.97)], n=2), []),
    ],
)  # fmt: skip
def test_the_verdict_says_what_the_last_samples_show_and_no_more(samples, lines):
    assert verdict(samples) == lines


def test_the_verdict_forgets_what_is_long_ago():
    assert verdict(moments([gpu(0.0)], n=50) + moments([gpu(0.97)])) == ["GPU 0 works: 97 % busy"]


def heated(*temperatures, every=10.0, **values):
    """The warnings at the last of samples that lie `every` seconds apart."""
    warnings, found = Warnings(), {}
    for n, degrees in enumerate(temperatures):
        found = warnings.of(Sample(n * every, AT_REST, (gpu(0.97, temperature=degrees, **values),)))
    return list(found.values())


def test_heat_counts_after_a_minute_without_a_break():
    hot = ["GPU 0 has been at 80 °C or more for a minute (now 84 °C)"]
    assert heated(*[84.0] * 7) == hot
    assert heated(*[84.0] * 6) == []
    assert heated(84.0, 84.0, 84.0, 79.0, 84.0, 84.0, 84.0) == []
    assert heated(84.0, 84.0, 84.0, None, 84.0, 84.0, 84.0) == []


def test_the_slowdown_of_the_card_counts_at_once():
    assert heated(91.0, slowdown_temperature=90.0) == ["GPU 0 is at 91 °C; from 90 °C on it slows down"]
    assert heated(89.0, slowdown_temperature=90.0) == []


def test_what_slows_a_card_at_work_is_told():
    reason = ["GPU 0 runs below its highest clock: heat and power limit"]
    assert heated(50.0, slowed_by=("heat", "power limit")) == reason
    idle = Sample(0.0, AT_REST, (gpu(0.0, slowed_by=("heat",)),))
    assert Warnings().of(idle) == {}
    full = Sample(0.0, replace(AT_REST, memory_used=63 * GIB))
    assert list(Warnings().of(full).values()) == ["the machine's memory is 98 % full"]


BUSY_MACHINE = moments(
    [
        gpu(0.03, temperature=41.0, power=118.3, power_limit=700.0, clock=1980.0),
        GpuSample(1, "NVIDIA H200", error="GPU is lost"),
    ],
    replace(ONE_CORE, temperature=62.0, clock=3400.0),
    [TRAINING, ProcessSample(9, None, gpu_memory={1: None}), ProcessSample(10, "[bold]", 0.02, 2**25)],
    n=90,
)


def drawn(width, samples=BUSY_MACHINE):
    console = Console(width=width, file=io.StringIO(), highlight=False, force_terminal=False)
    console.print(WatchScreen(samples, ["a warning"], ["a note"], "q ends"))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_screen_fits_and_leaves_nothing_out(width):
    lines = drawn(width)
    assert max(map(len, lines)) <= width
    assert lines[0] == "GPU 1 gives no readings: GPU is lost"
    assert lines[1].startswith("GPU 0 waits: 3 % busy while python train.py (42)")
    device = next(line for line in lines if line.startswith("GPU 0  "))
    assert "…" not in device
    assert "12.0/140.0 GiB" in device
    assert ("1980 MHz" in device) == (width >= 80)
    lost = next(line for line in lines if line.startswith("GPU 1  "))
    assert set(lost.removeprefix("GPU 1").replace(" ", "")) == {"–", "·"}
    assert any(line.startswith("[bold]") and "32 MiB" in line for line in lines)  # no markup in a name
    assert lines[-3:] == ["", "a note", "q ends"]


def test_the_history_shows_the_newest_on_the_right():
    assert history([0.0, 0.1, 0.5, 0.99, 1.0, None], 5) == "▁▅██·"


def test_unknown_is_never_zero():
    text = "\n".join(drawn(80, [Sample(0.0)]))
    assert "0" not in text
    out = io.StringIO()
    Lines(out).show(Sample(0.0, gpus=(GpuSample(0),)))
    assert out.getvalue().splitlines()[1].split()[1:] == ["–"] * 8


def test_lines_are_columns_that_stay_in_place():
    out = io.StringIO()
    lines = Lines(out)
    for sample in (BUSY_MACHINE[0], replace(BUSY_MACHINE[0], gpus=(gpu(1.0), gpu(None, 1)))):
        lines.show(sample)
    header, *rows = out.getvalue().splitlines()
    assert len({len(line) for line in (header, *rows)}) == 1
    assert header.split()[:5] == ["time", "CPU", "core", "GiB", "°C"]
    end = header.index("GPU 0") + len("GPU 0")
    assert [row[:end].split()[-2:] for row in rows] == [["3", "%"], ["100", "%"]]


def test_json_has_a_line_a_sample_with_null_for_unknown():
    out = io.StringIO()
    JsonLines(out).show(BUSY_MACHINE[0])
    document = json.loads(out.getvalue())
    assert document["cpu"]["busiest_core_percent"] == 100.0
    assert document["gpus"][0]["memory_used_bytes"] == 12 * GIB
    assert document["gpus"][1]["percent"] is None
    assert document["processes"][0]["gpu_memory_bytes"] == {"0": 12 * GIB}


class FakeTime:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class FakeKeys(Keys):
    """Time passes only here; q is pressed at the wait of this number."""

    def __init__(self, clock, q_at=None, stop_at=None):
        self.clock, self.q_at, self.stop_at = clock, q_at, stop_at
        self.waits = []

    def wait(self, seconds):
        self.waits.append(seconds)
        self.clock.now += seconds
        if len(self.waits) == self.stop_at:
            raise KeyboardInterrupt
        return len(self.waits) == self.q_at


class FakeSampler:
    """Every sample takes 0.3 s."""

    def __init__(self, clock, *notes):
        self.clock, self.notes, self.taken = clock, list(notes), 0

    def sample(self):
        self.clock.now += 0.3
        self.taken += 1
        return Sample(self.clock.now, ONE_CORE, (gpu(0.5),), notes=(self.notes.pop(),) if self.notes else ())


def watched(keys_options, *notes, record=None, **options):
    clock = FakeTime()
    keys, sampler = FakeKeys(clock, **keys_options), FakeSampler(clock, *notes)
    out, err = io.StringIO(), io.StringIO()
    summary = watch(
        sampler, Plain(JsonLines(out), err), keys, every=1.0, clock=clock, record=record, **options
    )
    assert len(out.getvalue().splitlines()) == sampler.taken
    return sampler.taken, keys.waits, summary, err.getvalue()


def test_count_time_q_and_ctrl_c_end_it():
    assert watched({}, count=4)[0] == 4
    assert watched({}, during=5.0)[0] == 5
    assert watched({"q_at": 3})[0] == 2
    assert watched({"stop_at": 3})[0] == 2


def test_the_time_of_a_sample_does_not_shift_the_next():
    _, waits, _, _ = watched({}, count=4)
    assert waits == pytest.approx([0.25, 0.7, 0.7, 0.7])


def test_notes_and_warnings_go_to_standard_error():
    _, _, _, err = watched({}, "GPU 0 does not tell: power", count=3)
    assert err == "GPU 0 does not tell: power\n"


def test_the_summary_is_a_line_with_means_and_highest_values():
    summary = Summary()
    for busy, degrees in ((0.1, 50.0), (None, None), (0.5, 61.0)):
        summary.add(Sample(10.0 if busy == 0.1 else 12.0, AT_REST, (gpu(busy, temperature=degrees),)))
    assert summary.words() == (
        "watched 3 samples in 2 s: CPU mean 2 %, most 2 %, 20.0 GiB; "
        "GPU 0 mean 30 %, most 50 %, 12.0 GiB, 61 °C"
    )
    assert Summary().words() == "watched nothing: no sample was taken"


def test_the_screen_is_taken_away_and_the_cursor_comes_back():
    out = io.StringIO()
    clock = FakeTime()
    screen = Screen(Console(file=out, force_terminal=True, width=80), "q ends")
    watch(FakeSampler(clock), screen, FakeKeys(clock, q_at=3), every=1.0, clock=clock)
    assert "GPU 0" in out.getvalue()
    assert out.getvalue().rindex("\x1b[?25h") > out.getvalue().rindex("\x1b[?25l")


def test_a_recording_grows_and_unknown_is_an_empty_cell(tmp_path):
    path = tmp_path / "watch.csv"
    for _ in range(2):
        record = CsvFile(path)
        watched({}, count=2, record=record)
        record.close()
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert len(rows) == 4
    assert (rows[3]["gpu0_percent"], rows[3]["gpu0_power_w"], rows[3]["cpu_busiest_core_percent"]) == (
        "50.0",
        "",
        "100.0",
    )
    assert rows[0]["time"] == "1970-01-01T00:01:40.550+00:00"


def test_a_file_with_other_columns_is_left_alone(tmp_path):
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n")
    record = CsvFile(path)
    with pytest.raises(FlatoutError, match="holds other columns: name another file"):
        record.show(BUSY_MACHINE[0])
    record.close()
    assert path.read_text() == "a,b\n1,2\n"


def test_a_disk_that_is_full_ends_the_recording_only(tmp_path, monkeypatch):
    record = CsvFile(tmp_path / "watch.csv")
    written = []

    class Full(io.StringIO):
        def flush(self):
            written.append(1)
            if len(written) > 2:
                raise OSError(28, "No space left on device")

    record._file.close()
    record._file = Full()
    taken, _, _, err = watched({}, count=5, record=record)
    assert taken == 5
    assert err == f"recording to {tmp_path / 'watch.csv'} stopped: No space left on device\n"


def test_no_keys_just_waits():
    with NoKeys() as keys:
        assert keys.wait(0.0) is False
