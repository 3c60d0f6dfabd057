"""What the pages tell people to type works: every block of the tutorial and of the how-to pages is run, in order.

A block of `sh` is typed into a shell. A block that begins with a comment such as `# quick.toml` is saved as that file;
other `python` is run. A block of `text` is what is printed. A comment right above a block says why it is not run.
"""

from __future__ import annotations

import os
import re
import shlex
import site
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner
from conftest import METHODS

import unlearnbench
from unlearnbench.cli.main import main
from unlearnbench.plugins import registry
from unlearnbench.plugins.method import Method

ROOT = Path(__file__).parent.parent
TUTORIAL = ROOT / "docs" / "tutorial.md"
NOTEBOOK = ROOT / "docs" / "notebook.md"
PAGES = [TUTORIAL, *sorted((ROOT / "docs" / "howto").glob("*.md"))]
BLOCK = re.compile(r"^(?:<!-- not run: ([^\n]+) -->\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A block of a page: the file that it is, if it is one, and why it is not run, if it is not."""

    language: str
    code: str
    file: str
    excuse: str


def blocks(page: Path) -> Iterator[Block]:
    for excuse, language, code in BLOCK.findall(page.read_text(encoding="utf-8")):
        named = re.match(r"(?:#!.*\n)?# ([\w/.-]+\.\w+)\n", code)
        yield Block(language, code, named[1] if named else "", excuse)


@pytest.fixture
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment of its own, in which everything that is installed here can be imported."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    (folder / "bin" / "unlearnbench").write_text(
        f"#!{folder}/bin/python\nfrom unlearnbench.cli.main import main\nmain()\n"
    )
    (folder / "bin" / "unlearnbench").chmod(0o755)
    here = [f"import site; site.addsitedir({path!r})\n" for path in site.getsitepackages()]
    (packages_of(folder) / "here.pth").write_text("".join(here))
    return folder


def packages_of(environment: Path) -> Path:
    (found,) = environment.glob("lib/python*/site-packages")
    return found


@pytest.fixture
def shell(
    environment: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_this_process: None
) -> Callable[[str], str]:
    """Does what a line in a shell does; returns what is wrong.

    The suite's own command is called in this process, and does its work there, because each process takes seconds to
    import everything. `test_run.py` has the real ones.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("UNLEARNBENCH_CACHE", str(cache))
    monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "false")  # which is how pip wants to hear that there is none
    monkeypatch.setenv("PIP_NO_INDEX", "true")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])

    def do(line: str) -> str:
        if line.startswith("unlearnbench "):
            site.addsitedir(str(packages_of(environment)))  # for what was installed there meanwhile
            registry._entries.cache_clear()
            registry._points.cache_clear()
            called = CliRunner().invoke(main, shlex.split(line)[1:])
            return called.output if called.exit_code else ""
        done = subprocess.run(["bash", "-euc", line], capture_output=True, text=True)
        return f"{done.stdout}\n{done.stderr}" if done.returncode else ""

    return do


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_tells_people_to_type_works(page: Path, shell: Callable[[str], str], tmp_path: Path) -> None:
    if page != TUTORIAL:  # the other pages use its preset
        (quick,) = (block for block in blocks(TUTORIAL) if block.file == "quick.toml")
        (tmp_path / quick.file).write_text(quick.code)
    for block in blocks(page):
        if block.excuse:
            continue
        if block.file:
            (tmp_path / block.file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / block.file).write_text(block.code)
        elif block.language == "sh":
            for line in block.code.splitlines():
                assert not (wrong := shell(line)), f"{line}\n{wrong}"
        elif block.language == "python":
            assert not (wrong := shell(f"python -c {shlex.quote(block.code)}")), f"{block.code}\n{wrong}"


@pytest.mark.usefixtures("shell")
def test_the_example_runs_and_draws(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "agg")
    source = (ROOT / "examples" / "forgetting_against_utility.py").read_text(encoding="utf-8")
    small = {"PRESET": str(tiny), "METHODS": ["neggrad"], "SEEDS": "0"}
    for name, value in small.items():
        source, count = re.subn(rf"^{name} = .*$", f"{name} = {value!r}", source, flags=re.MULTILINE)
        assert count == 1
    found = run_code(source)
    assert list(found["closest_first"].iloc[0]) == [0, 0, 0, 0]
    assert set(found["means"].index) == {"Retrain", "Retrain again", "NegGrad", "Original"}
    drawn = (tmp_path / "forgetting_against_utility.svg").read_text(encoding="utf-8")
    assert all(f"<!-- {title} -->" in drawn for title in found["means"].index)


def test_the_notebook_runs_from_its_first_cell_to_its_last(
    notebook: Callable[[str], dict[str, Any]],
    in_this_process: None,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setenv("UNLEARNBENCH_CACHE", str(cache))
    cells = re.findall(r"^```{code-cell} python\n(.*?)^```$", NOTEBOOK.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert len(cells) > 5
    for cell in cells:
        names = notebook(cell)
    assert not names["summary"].failed
    assert "<table>" in names["summary"]._repr_html_()
    assert len(repr(names["summary"])) < 100
    assert sorted(names["frame"]["notebook_relabel.relabel.lr"].dropna()) == [1e-5, 1e-4, 1e-3]
    assert "Relabel (notebook_relabel.py)" in unlearnbench.table(1, names["quick"])
    again = unlearnbench.run("results/quick-notebook/quick-notebook.json", dry_run=True)
    assert again.plan.results.name == "quick-notebook"
    assert not again.plan.to_run


def run_code(source: str) -> dict[str, Any]:
    """The names that a script has when it is through."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, "example", "exec"), names)
    return names


def test_every_block_is_run_or_says_why_not() -> None:
    for page in PAGES:
        found = list(blocks(page))
        assert len(found) == page.read_text(encoding="utf-8").count("\n```") // 2, page.name
        assert any(block.language == "sh" and not block.excuse for block in found), page.name
        for block in found:
            assert block.language in ("sh", "python", "text") or block.file or block.excuse, (page.name, block.code)


def test_other_pages_have_no_commands_that_nobody_runs() -> None:
    for page in set((ROOT / "docs").rglob("*.md")) - set(PAGES):
        assert all(block.language not in ("sh", "python") for block in blocks(page)), page.name


def test_the_readme_leads_to_files_that_are_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(links) > 5
    assert all((ROOT / link).is_file() for link in links)


def test_the_method_of_the_readme_is_that_of_the_tutorial() -> None:
    (method,) = (block.code for block in blocks(TUTORIAL) if block.file == "my_method.py")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "".join(f"    {line}\n" if line else "\n" for line in method.splitlines()) in readme


@pytest.mark.parametrize("name", METHODS)
def test_the_list_of_methods_says_what_each_sees_and_where_it_comes_from(name: str) -> None:
    """Each has one row, whose fields are the declared access and, in short, the declared reference."""
    page = (ROOT / "docs" / "explanation" / "methods.md").read_text(encoding="utf-8")
    ((_, idea, access, _, source),) = (
        fields for line in page.splitlines() if (fields := line[2:-2].split(" | "))[0] == f"`{name}`"
    )
    method = registry.get(Method, name)
    assert access == str(method.access)
    assert idea.endswith(".")
    if method.role != "control":
        assert source.removeprefix("Ours, after ").partition(" et al.")[0] in method.reference
        assert set(re.findall(r"\d{4}", source)) <= set(re.findall(r"\d{4}", method.reference))


def test_every_promise_names_tests_that_exist() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    promises = re.split(r"^(?=\*\*)", page.partition("## The same numbers where?")[0], flags=re.MULTILINE)[1:]
    assert len(promises) > 10
    for promise in promises:
        tests = re.findall(r"^- `(test_\w+\.py)::(test_\w+)`$", promise, flags=re.MULTILINE)
        assert tests, promise
        for file, name in tests:
            (path,) = (ROOT / "tests").rglob(file)
            assert f"def {name}(" in path.read_text(encoding="utf-8"), name


def test_a_network_of_ones_own_needs_fewer_than_forty_lines() -> None:
    """All that is written for the suite: the preset, the function that builds the network, and the calls."""
    found = list(blocks(ROOT / "docs" / "howto" / "own.md"))
    written = [
        b for b in found if b.file in ("for_suite.py", "product.toml") or (b.language == "python" and not b.file)
    ]
    assert len(written) == 3
    assert sum(len(block.code.splitlines()) for block in written) < 40
    (product,) = (block.code for block in found if block.file == "product.py")
    assert "unlearnbench" not in product
