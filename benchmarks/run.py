"""All speeds that the docs show, measured on this machine, one process after the other.

python benchmarks/run.py                            prints the tables
python benchmarks/run.py --into docs                and puts them where its pages have marks for them
python benchmarks/run.py peers_table --quick        this part only, fewer and shorter rounds

Prints Markdown, and ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

# The page that shows each part, and what is called for it; the peers on one thread, and on all cores.
PARTS = {
    "peers_table": ("benchmarks.md", ["peers_table.py"]),
    "peers_on_all_cores": ("benchmarks.md", ["peers_table.py", "--threads", str(os.cpu_count())]),
    "whole_training": ("benchmarks.md", ["whole_training.py"]),
    "eager_plan": ("benchmarks.md", ["eager_plan.py"]),
    "profile_overhead": ("profiling.md", ["profile_overhead.py"]),
    "profile_gains": ("profiling.md", ["profile_gains.py"]),
}


def main() -> None:
    """Run the parts, each in a process of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; none: all")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, for a look")
    parser.add_argument("--into", type=Path, help="the folder of the pages, with a mark for each part")
    asked = parser.parse_args()
    if unknown := [part for part in asked.parts if part not in PARTS]:
        parser.error(f"no such part: {unknown}; there are {', '.join(PARTS)}")
    if asked.quick and asked.into:
        parser.error("--quick is for a look: its numbers go into no page")
    documents = {}
    for part in asked.parts or PARTS:
        tables, documents[part] = measured(part, asked.quick)
        print(f"{tables}\n", flush=True)
        if asked.into:
            page = asked.into / PARTS[part][0]
            page.write_text(replaced(page.read_text(), part, tables))
    print(json.dumps(documents))


def measured(part: str, quick: bool) -> tuple[str, object]:
    """The tables of a part in Markdown, and its JSON."""
    _, (script, *options) = PARTS[part]
    call = [sys.executable, str(Path(__file__).with_name(script)), *options, *["--quick"][:quick]]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    text = subprocess.run(call, stdout=subprocess.PIPE, text=True, check=True, env=environment).stdout
    tables, _, document = text.strip().rpartition("\n")
    return tables.strip(), json.loads(document)


def replaced(page: str, part: str, tables: str) -> str:
    """The page with new tables between the marks of a part."""
    begin, end = f"<!-- {part} -->\n", f"<!-- end of {part} -->"
    if begin not in page or end not in page:
        raise ValueError(f"the page has no {begin.strip()} … {end}")
    before, _, rest = page.partition(begin)
    return f"{before}{begin}\n{tables}\n\n{end}{rest.partition(end)[2]}"


if __name__ == "__main__":
    main()
