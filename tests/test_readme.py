"""The README does what it says: its files are made, its commands run, its output compared."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from conftest import eventually

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
_BLOCK = re.compile(
    r"(?:<!-- (?P<mark>[^>]+) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```", re.DOTALL
)
_PORT = re.compile(r"(?<=[: ])80\d\d\b")
#: Stands between two commands' outputs.
_CUT = "~~~ cut ~~~"


@dataclass
class Block:
    mark: str
    language: str
    text: str


BLOCKS = [Block(m["mark"] or "", m["language"], m["text"]) for m in _BLOCK.finditer(TEXT)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Reader:
    """Somebody who follows the README in an empty folder, by copy and paste."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.folder = folder
        self.stack = stack
        self.ports: dict[str, int] = {}
        self.environ = {
            name: value for name, value in os.environ.items() if not name.startswith("KEYMW_")
        }
        self.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environ["KEYMW_DATABASE_URL"] = "sqlite:///keymw.db"

    def on_free_ports(self, text: str) -> str:
        def swap(match: re.Match[str]) -> str:
            return str(self.ports.setdefault(match[0], free_port()))

        return _PORT.sub(swap, text)

    def serve(self, block: Block) -> None:
        command = self.on_free_ports(block.text.removeprefix("$ ").strip())
        log = (self.folder / "server.log").open("ab")
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=self.folder,
            env=self.environ,
            stdout=log,
            stderr=log,
        )
        self.stack.callback(log.close)
        self.stack.callback(process.wait)
        self.stack.callback(process.terminate)
        port = int(command.split()[-1])

        def is_up() -> bool:
            assert process.poll() is None, (self.folder / "server.log").read_text()
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        eventually(is_up, 30)

    def type(self, block: Block) -> None:
        """Run the commands of a console block; the shell's variables live on to the next."""
        commands = re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]
        typed = [command.partition("\n") for command in commands]
        script = "[ -e .shell ] && . ./.shell\n" + "".join(
            f"{self.on_free_ports(command)}\necho; echo '{_CUT}'\n" for command, _, _ in typed
        )
        done = subprocess.run(
            ["bash", "-c", script + "declare -p KEY > .shell 2>/dev/null || rm -f .shell\n"],
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        outputs = done.stdout.split(_CUT)
        assert len(outputs) == len(typed) + 1, done.stdout
        for (command, _, expected), output in zip(typed, outputs, strict=False):
            assert_alike(command, expected, output)


def assert_alike(command: str, expected: str, output: str) -> None:
    """Compare as doctest does: dots stand for anything, white space for white space."""
    shown = " ".join(output.split())
    parts = [re.escape(part) for part in " ".join(expected.split()).split("...")]
    assert re.fullmatch(".*".join(parts), shown), f"$ {command}\n{output}\nnot:\n{expected}"


@pytest.mark.parametrize("program", ["bash", "curl"])
def test_what_the_readme_needs_is_installed(program):
    assert shutil.which(program), f"install {program}: the README is tested with it"


def test_the_readme_from_top_to_bottom(tmp_path):
    with contextlib.ExitStack() as stack:
        reader = Reader(tmp_path, stack)
        for before, block in zip([None, *BLOCKS], BLOCKS, strict=False):
            kind, _, name = block.mark.partition(": ")
            if kind == "file":
                (tmp_path / name).write_text(block.text)
            elif kind == "server":
                reader.serve(block)
            elif kind == "run":
                (tmp_path / "block.py").write_text(block.text)
            elif block.language == "text":
                assert before is not None
                assert before.mark == "run"
                assert_alike("python block.py", block.text, run_python(reader, "block.py"))
            elif "pip install" not in block.text:
                reader.type(block)
        assert run_python(reader, "cors.py") == ""
    log = (tmp_path / "server.log").read_text()
    assert "ERROR" not in log
    assert "Traceback" not in log


def run_python(reader: Reader, name: str) -> str:
    return subprocess.run(
        [sys.executable, "-W", "error", name],
        cwd=reader.folder,
        env=reader.environ,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    ).stdout


def test_every_block_of_the_readme_is_of_a_kind_that_is_tested():
    marks = [block.mark.partition(":")[0] for block in BLOCKS if block.language == "python"]
    assert set(marks) == {"file", "run"}
    assert {block.language for block in BLOCKS} == {"python", "console", "text"}
    assert [block.mark for block in BLOCKS].count("server") == 2


def test_the_installed_extras_exist():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (extras,) = re.findall(r'pip install "keymw\[([a-z,]+)\]"', TEXT)
    there = set(project["optional-dependencies"])
    assert set(extras.split(",")) <= there
    told = TEXT.split("Without extras", 1)[1].split("## ", 1)[0]
    assert there <= set(re.findall(r"`([a-z-]+)`", told)) | set(extras.split(","))


@pytest.mark.parametrize("page", ["README.md", "docs/decisions/README.md"])
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", text):
        assert ((ROOT / page).parent / target).exists(), target
