# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""benchmarks/RESULTS.md is what its command writes, and its first table finds its rows."""
import pytest

from benchmarks import results_table, summary


def test_the_page_is_made_of_the_committed_results():
    written = (results_table.FOLDER / "RESULTS.md").read_text(encoding="utf-8")
    assert results_table.results(results_table.read_records()) == written


def test_a_missing_row_is_not_passed_over():
    rows = [{"recipe": "v16", "s": 1.0}, {"recipe": "v16", "s": 2.0}, {"recipe": "light", "s": 3.0}]
    assert summary.find(rows, {"recipe": "light"}) is rows[2]
    for wanted in ({"recipe": "v16"}, {"recipe": "none"}):
        with pytest.raises(KeyError, match="rows have"):
            summary.find(rows, wanted)


def test_no_command_names_a_folder_of_one_machine():
    for name, record in results_table.read_records().items():
        assert " /" not in record["command"], name
