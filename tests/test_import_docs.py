"""`docs/import.md` is right as it stands."""

from __future__ import annotations

import re
from pathlib import Path

from cli.driving import Cli
from keymw.tokens import generate

PAGE = (Path(__file__).parents[1] / "docs" / "import.md").read_text()


def test_the_code_runs_as_it_stands(keys, migrated_url, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write, from_file, from_mappings = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names = {"keys": keys, "tokens": [generate("pha_")]}
    exec(write, names)
    names["write"]("keys.csv", {("2", "flags"): generate("phs_"), ("3", "flags"): generate("phs_")})
    command = re.search(r"\$ keymw (import keys\.csv .*)", PAGE)[1]
    assert "2 keys stored" in Cli(migrated_url).done(*command.split()).stdout
    exec(from_file, names)
    assert (names["report"].known, names["report"].rejected) == (2, 0)
    exec(from_mappings, names)
    assert (names["report"].stored, names["report"].new) == (True, 1)
    (issued,) = keys.list(user_id="user-7")
    assert issued.label == "laptop"
    names["tokens"] = [names["tokens"][0], generate("pha_"), names["tokens"][0]]
    exec(from_mappings, names)
    assert capsys.readouterr().out == "3 digest line 1 has the same one.\n"


def test_the_example_of_a_file_has_the_columns_that_are_told(keys):
    header, row = re.search(r"```csv\n(.*)\n(.*)\n```", PAGE).groups()
    told = set(re.findall(r"^\| `(\w+)`", PAGE, re.MULTILINE))
    assert set(header.split(",")) <= told
    assert len(row.split(",")) == len(header.split(","))
