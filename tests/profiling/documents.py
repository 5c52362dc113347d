"""Documents of profiles as `flatout profile --json` prints them, made up."""

from flatout.profiling.spread import spread


def document(blocks=(1000.0,) * 8, *, findings=(), data_us=400.0, **changes):
    """A profile whose steps took so many µs, block by block, each of 29 steps."""
    times = [1e-6 * us for us in blocks for _ in range(29)]
    numbers = [48 * block + i for block in range(len(blocks)) for i in range(1, 30)]
    step = sum(blocks) / len(blocks)
    parts = {
        "data": data_us,
        "forward": step - data_us - 100,
        "backward": 60.0,
        "optimizer": 40.0,
        "rest": 0.0,
    }
    return {
        "version": 1,
        "script": "train.py",
        "arguments": [],
        "outcome": "finished",
        "status": 0,
        "steps": 48 * len(blocks),
        "windows": {"bare": len(times), "lines": 17 * len(blocks)},
        "us_per_step": step,
        "step_times_us": spread(times, numbers),
        "breakdown": {name: {"us": us, "share": us / step} for name, us in parts.items()},
        "findings": list(findings),
        "abstained": {},
        "distortion": 1.02,
        "device": "cpu",
        "machine": {"system": "Linux x86_64", "cpu": "A CPU", "cores": 2.0, "threads": 1, "gpu": None},
        "versions": {"flatout": "0.1.0", "python": "3.11.7", "torch": "2.13.0", "cuda": None},
        "ended": "2025-01-02T03:04:05+00:00",
        "notes": [],
        "verdict": "A step takes 1,000 µs.",
    } | changes


def finding(kind="data", line=9, *, gain_ms=0.3, gain_low=0.2, gain_high=0.4, **changes):
    return {
        "kind": kind,
        "file": "train.py",
        "line": line,
        "what": "a DataLoader over a TensorDataset",
        "count": 1.0,
        "ms_per_step": 0.4,
        "share": 0.4,
        "fix": "index the tensors with whole batches",
        "code": "x[rows]",
        "gain_ms": gain_ms,
        "gain_low": gain_low,
        "gain_high": gain_high,
        "source": {"first": line - 1, "lines": ["before = 1", "for x, y in loader:", "    pass"]},
    } | changes
