"""`synpref filter` on a file of rewards against the campaign's own map over the same rows.

Both are processes of their own, measured by the CPU seconds that the system charges them, imports
included; decisions and reasons are compared row by row.
Run: python bench/filter_tool.py [--millions 4] [--folder /tmp]; into results/filter_tool.json.
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from pool_scale import make_scores, measure, row

RESULTS = Path(__file__).resolve().parent / "results" / "filter_tool.json"


def as_one_file(folder: Path) -> None:
    """The shards of score columns behind each other, in the order of the data set."""
    import pyarrow.parquet as pq

    from synpref_dagster.storage import iter_tables, read_manifest
    from synpref_dagster.storage.manifest import make_ref

    uri = str(folder / "scores")
    writer = None
    for table in iter_tables(make_ref(uri, read_manifest(uri))):
        writer = writer or pq.ParquetWriter(
            folder / "scores.parquet", table.schema, compression="zstd"
        )
        writer.write_table(table, row_group_size=125_000)
    assert writer is not None
    writer.close()


def same_decisions(mapped: Path, tool: Path) -> bool:
    """Whether both say the same of every row."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from synpref_dagster.storage import read_manifest, read_table
    from synpref_dagster.storage.manifest import make_ref

    uri = str(mapped / "decisions")
    ours = read_table(make_ref(uri, read_manifest(uri)))
    theirs = pq.read_table(tool / "decisions.parquet")
    return all(
        ours[name].cast(pa.string()).equals(theirs[name].cast(pa.string()))
        for name in ("decision", "reason")
    )


def main() -> None:
    """Measures both in turns and keeps the better of each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--millions", type=int, default=4)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as work:
        folder = Path(work, "scores")
        make_scores(folder, options.millions * 1_000_000)
        as_one_file(folder)
        found: dict[str, list[dict[str, Any]]] = {"filter_ours": [], "filter_tool": []}
        for _ in range(options.repeats):
            for job, measured in found.items():
                shutil.rmtree(Path(work, job), ignore_errors=True)
                measured.append(measure(job, folder, Path(work, job)))
        assert same_decisions(Path(work, "filter_ours"), Path(work, "filter_tool"))
        mapped, tool = (min(each, key=lambda one: one["cpu_seconds"]) for each in found.values())
    rows = [row(f"filter_tool_{options.millions}M_vs_map", tool, mapped)]
    rows[0]["repeats"] = options.repeats
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    print(f"{rows[0]['ratio_cpu']:.2f} times the CPU of the map, {rows[0]['exactness']}")


if __name__ == "__main__":
    main()
