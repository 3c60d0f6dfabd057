"""Folders are where the documentation says, and the wheel has the files of the checkout."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import sysconfig
import venv
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import pytest

import unlearnbench
from unlearnbench.plugins import registry
from unlearnbench.plugins.scaffold import TEMPLATES

ROOT = Path(__file__).parent.parent


def test_methods_and_tasks_are_real_folders_at_the_top_and_links_inside() -> None:
    for name in ("methods", "tasks"):
        assert (ROOT / name).is_dir()
        assert not (ROOT / name).is_symlink()
        link = ROOT / "unlearnbench" / name
        assert os.readlink(link) == f"../{name}"  # noqa: PTH115


def test_the_tests_test_this_checkout() -> None:
    for name in ("unlearnbench", "unlearnbench.methods", "unlearnbench.tasks"):
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        assert Path(spec.origin).resolve().is_relative_to(ROOT)


def test_nothing_but_the_package_is_importable_from_elsewhere(tmp_path: Path) -> None:
    code = (
        "from importlib.util import find_spec; print([find_spec(n) for n in ('methods', 'tasks', 'tests', 'results')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[None, None, None, None]"


@pytest.mark.parametrize("folder", ["methods", "tasks"])
def test_plugins_import_public_names_only(folder: str) -> None:
    for path in (ROOT / folder).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not any(alias.name.startswith("unlearnbench") for alias in node.names), path.name
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("unlearnbench"):
                public = node.module == "unlearnbench" and {a.name for a in node.names} <= set(unlearnbench.__all__)
                assert public or str(node.module).startswith(f"unlearnbench.{folder}."), path.name


def test_every_public_name_can_be_imported() -> None:
    assert all(getattr(unlearnbench, name) for name in unlearnbench.__all__)


def test_the_wheel_runs_from_elsewhere(tmp_path: Path) -> None:
    """Builds the wheel of a release, installs it beside the dependencies, and runs a small plan in another folder."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    source = tmp_path / "source"
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    tracked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in tracked.split("\0")[:-1]:
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_symlink():
            target.symlink_to(os.readlink(ROOT / name))  # noqa: PTH115
        else:
            target.write_bytes((ROOT / name).read_bytes())
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, source], check=True)
    (wheel,) = tmp_path.glob("unlearnbench-*.whl")
    templates = {f"unlearnbench/plugins/templates/{path.relative_to(TEMPLATES)}" for path in TEMPLATES.glob("*/*.*")}
    assert len(templates) > 10
    assert templates <= set(ZipFile(wheel).namelist())
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False)
    (site,) = environment.glob("lib/python*/site-packages")
    subprocess.run([*pip, "install", "--no-deps", "--target", site, wheel], check=True)
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    preset = tmp_path / "small.toml"
    preset.write_text(
        "shadows = 2\nselect.seeds = '0'\nrecipe.epochs = 1\nrecipe.held_out = 0.76\nselect.tasks = ['class-removal']\n"
        "select.methods = ['neggrad']\ndatasets.digits-8x8.model = 'cnn'\n"
    )
    code = (
        "import sys, unlearnbench, unlearnbench.methods.laf as laf; from pathlib import Path\n"
        f"assert all(Path(m.__file__).is_relative_to({str(site)!r}) for m in (unlearnbench, laf)), laf.__file__\n"
        "from unlearnbench.cli.main import main; main(sys.argv[1:])\n"
    )
    command = [environment / "bin/python", "-c", code, "run", "--preset", preset, "--cache", "cache", "-j", "1"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=clean)
    assert done.returncode == 0, done.stderr
    assert "**Table 2: Class removal, preset small**" in done.stdout


def test_nothing_that_is_loaded_can_run_code() -> None:
    dangerous = {"pickle", "marshal", "shelve", "dill", "yaml", "cloudpickle"}
    for path in [*(ROOT / "unlearnbench").rglob("*.py"), *(ROOT / "methods").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name.split(".")[0] for alias in node.names} | {
                    (getattr(node, "module", "") or "").split(".")[0]
                }
                if path.name != "cifar100.py":  # reads pickled arrays and nothing else, see test_taxonomies.py
                    assert not names & dangerous, path
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec", "compile"), (path, called)
                safely = {"torch.load": "weights_only=True", "np.load": "allow_pickle=False"}
                arguments = [ast.unparse(keyword) for keyword in node.keywords]
                assert called not in safely or safely[called] in arguments, (path, called)
                assert called != "numpy.load", path


@pytest.mark.parametrize("group", registry.GROUPS)
def test_the_function_of_a_built_in_plugin_stands_in_the_module_of_its_entry_point(group: str) -> None:
    """Versions are confirmed for that module, and keys contain that of the function."""
    for name, entry in registry.entries(group).items():
        if entry.origin == registry.CORE:
            assert entry.load().__module__ == entry.point.module, name
