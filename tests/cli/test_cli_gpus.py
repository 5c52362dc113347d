"""`flatout gpus` and `flatout advise`."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from flatout.cli.app import app


def run(*arguments, code=0):
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "110"})
    assert result.exit_code == code, result.output
    return result


def table(text):
    """The cells of each row by its label; columns are two blanks or more apart."""
    rows = [line.split("  ") for line in text.splitlines()]
    return {
        row[0].strip(): [cell.strip() for cell in row[1:] if cell.strip()] for row in rows if len(row) > 1
    }


def test_five_cards_side_by_side():
    output = run("gpus", "RTX 3090 Ti", "3080", "3070ti", "3070", "4070").stdout
    rows = table(output)
    assert rows[""] == [
        *("RTX 3090 Ti", "RTX 3080 12GB", "RTX 3080 10GB", "RTX 4070", "RTX 3070 Ti", "RTX 3070")
    ]
    assert rows["bandwidth"] == [*("1,008 GB/s", "912 GB/s", "760 GB/s", "504 GB/s", "608 GB/s", "448 GB/s")]
    assert rows["bus"] == ["384 bit", "384 bit", "320 bit", "192 bit", "256 bit", "256 bit"]
    assert rows["launch price"] == ["$1,999", "unknown", "$699", "$599", "$599", "$499"]
    assert rows["FP8"] == ["none", "none", "none", "117 TFLOPS", "none", "none"]
    words = " ".join(output.split())
    assert "RTX 3090 Ti comes first for training" in words and "does not fit does not run" in words
    assert "'3080' is the name of 2 cards, and all are shown" in words
    for part in ("30 is the generation: Ampere", "xx90 is the tier: the flagship", "Ti: a faster version"):
        assert part in words


def test_a_narrow_terminal_gets_the_figures_in_several_tables():
    result = CliRunner().invoke(app, ["gpus", "3090", "4090", "5090", "H100 SXM"], env={"COLUMNS": "60"})
    assert result.stdout.count("bandwidth  ") == 2
    assert "…" not in result.stdout
    assert all(len(line) <= 60 for line in result.stdout.splitlines())


def test_a_picture(tmp_path):
    path = tmp_path / "new" / "cards.png"
    output = run("gpus", "RTX 3090 Ti", "M4 Pro", "GTX 1080", "--plot", "--picture", str(path)).stdout
    assert path.read_bytes().startswith(b"\x89PNG")
    assert f"picture  {path}" in output


def test_a_list():
    output = run("gpus", "--min-memory", "24", "--sort", "bandwidth", "--segment", "consumer").stdout
    lines = [line for line in output.splitlines() if "GB/s" in line]
    assert lines[0].startswith("RTX 5090 D") or lines[0].startswith("RTX 5090")
    bandwidths = [float(line.split(" GB/s")[0].split()[-1].replace(",", "")) for line in lines]
    assert bandwidths == sorted(bandwidths, reverse=True) and len(lines) > 5


@pytest.mark.parametrize("order", ["training", "memory", "fp16", "fp32", "power", "price", "released"])
def test_the_unknown_come_last_in_every_order(order):
    document = json.loads(run("gpus", "--vendor", "apple", "--sort", order, "--json").stdout)
    column = {
        "training": "training_speed",
        "memory": "memory_gb",
        "fp16": "fp16_tflops",
        "fp32": "fp32_tflops",
        "power": "power_w",
        "price": "price_usd",
        "released": "release",
    }[order]
    values = [card[column] for card in document["cards"]]
    known = [value for value in values if value is not None]
    assert values == known + [None] * (len(values) - len(known))
    assert known == sorted(known, reverse=order != "price")


def test_json_of_a_comparison():
    document = json.loads(run("gpus", "4090", "RTX 3080 10GB", "--json").stdout)
    assert [card["name"] for card in document["cards"]] == ["GeForce RTX 4090", "GeForce RTX 3080 10GB"]
    assert document["cards"][1]["fp8_tflops"] is None
    assert document["cards"][0]["tier"] == "xx90" and document["cards"][0]["source"]
    assert "RTX 4090 comes first" in document["verdict"]


def test_alone_it_shows_the_families():
    output = run("gpus").stdout
    assert "GeForce 50" in output and "Instinct MI350" in output and "Apple M5" in output
    assert len(json.loads(run("gpus", "--json").stdout)["cards"]) >= 150


def test_neither_command_imports_torch_or_numpy():
    code = (
        "import sys\nfrom flatout.cli.app import app\n"
        "for words in (['gpus'], ['gpus', '3090', '3080'], ['gpus', '--min-memory', '24'], ['advise']):\n"
        "    app(words, standalone_mode=False)\n"
        "import flatout\nflatout.gpus.compare('3090', '4090')\n"
        "heavy = {'torch', 'numpy', 'matplotlib', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_buy_or_rent():
    arguments = [
        "--memory",
        "20",
        "--hours",
        "4",
        "--price",
        "1600",
        "--rent",
        "0.40",
        "--electricity",
        "0.30",
    ]
    words = " ".join(run("advise", *arguments).stdout.split())
    assert "after 6,038 hours: 50 months (4.1 years) at 4 hours a day" in words
    assert "RTX 3090 24 GB GDDR6X" in words
    assert "Unified memory" in words and "Bandwidth is how fast" in words
    document = json.loads(run("advise", *arguments, "--json").stdout)
    assert document["break_even"]["hours"] == pytest.approx(1600 / (0.40 - 0.45 * 0.30))
    assert document["cards"] and document["electricity"]["source"] == "you"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["gpus", "RTX 4095"],
            "there is no card 'RTX 4095' in the catalogue; the nearest names: GeForce RTX 4090",
        ),
        (["gpus", "--min-memory", "-1"], "--min-memory must be 0 GB or more, got -1"),
        (["gpus", "--min-memory", "9999"], "no card of the catalogue is like that"),
        (["gpus", "3080", "--sort", "memory"], "not both"),
        (["gpus", "--plot"], "--plot draws cards that are named"),
        (["gpus", "4090", "--plot", "--picture", "cards.bmp"], "must end in .pdf, .png, .svg"),
        (["advise", "--price", "-5", "--rent", "1"], "price must be 0 or more (dollars), got -5"),
        (["advise", "--card", "A100"], "is the name of 4 cards; say which one"),
    ],
)
def test_bad_input_is_one_message_and_exit_status_2(arguments, said):
    result = subprocess.run(
        [sys.executable, "-m", "flatout", *arguments], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert said in " ".join(result.stderr.replace("│", " ").split())
    assert "Traceback" not in result.stderr and not result.stdout
