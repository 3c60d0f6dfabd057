"""Computes the golden plan, to confirm that this machine and the present code give the published numbers."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

from unlearnbench import golden
from unlearnbench.artefacts import versions
from unlearnbench.artefacts.artefact import Artefact
from unlearnbench.artefacts.features import Features
from unlearnbench.artefacts.features_rule import FEATURES
from unlearnbench.artefacts.plugin_keys import minor
from unlearnbench.artefacts.relearning import Relearning
from unlearnbench.artefacts.relearning_rule import RELEARNING
from unlearnbench.artefacts.versions import Version
from unlearnbench.errors import UserError, counted
from unlearnbench.golden import ALONE, HERE, Golden, Output
from unlearnbench.operations.measure import measure
from unlearnbench.operations.run import Summary, carry_out
from unlearnbench.operations.work import Effort, Progress
from unlearnbench.planning.cells import planned
from unlearnbench.planning.plan import Cell
from unlearnbench.planning.selection import Selection, Workspace
from unlearnbench.plugins import registry
from unlearnbench.plugins.task import Task
from unlearnbench.runtime.arithmetic import PORTABLE
from unlearnbench.storage.records import read_record

LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn")
FAR, NEAR = 0.5, 0.01
"""The distances from golden outputs that one output may have, and that half of them may have; see `far_outputs`."""
CHANGELOG = Path(__file__).parents[2] / "CHANGELOG.md"
Name = tuple[str, str]
"""The group and the name of a version."""


@dataclass(frozen=True)
class Confirmation:
    """The result of `confirm`.

    Attributes:
        bits: True if bits were compared; otherwise values were, within a tolerance.
        why: Why bits were not compared; "" if they were.
        outputs: Number of outputs that were compared.
        different: Names of the outputs that differ from the golden ones.
        problem: Why nothing was confirmed, and what to do; "" if there is no problem.
        raised: The versions that are raised.
        confirmed: The versions that stay, because their edited source gives equal bits.
        new: The versions that are added.
        written: True if versions or golden outputs were written.
    """

    bits: bool
    why: str
    outputs: int
    different: Sequence[str]
    problem: str = ""
    raised: Sequence[str] = ()
    confirmed: Sequence[str] = ()
    new: Sequence[str] = ()
    written: bool = False


def confirm(
    bump: Collection[str] = (),
    because: str = "",
    *,
    arithmetic: str = "auto",
    jobs: int | None = None,
    check: bool = False,
    new_libraries: bool = False,
    say: Callable[[str], object] = print,
    progress: Progress | None = None,
) -> Confirmation:
    """Computes the golden plan and compares its outputs with the golden ones, bit by bit.

    In a checkout with edited code, it then writes the confirmed sources to versions.toml. If outputs differ, either the
    versions of the edited code must be raised, or the code must be fixed.

    Args:
        bump: The versions to raise, as GROUP.NAME, e.g. "methods.laf" or "kinds.original".
        because: Why numbers change, for the changelog.
        arithmetic: As in `run`.
        jobs: Number of workers; None: one for each core.
        check: Write nothing, even without a problem.
        new_libraries: Where libraries have other versions than those of the golden outputs: store these outputs as
            golden, if they are near.
        say: Receives progress lines.
        progress: Receives progress events of runs.

    Raises:
        UserError: If an argument is wrong, or a cell of the golden plan fails.
    """
    to_raise = {parsed(name) for name in bump}
    if bool(bump) != bool(because.strip()):
        raise UserError('--bump and --because need each other, e.g. --bump methods.laf --because "Equation 5 had ..."')
    stored, presets = golden.stored(), golden.presets()
    expected = {name: output for name, output in stored.outputs.items() if unchanged(name, stored.presets, presets)}
    with tempfile.TemporaryDirectory(prefix="unlearnbench-golden-") as folder:
        outputs, portable = golden_outputs(Path(folder), arithmetic, jobs, say, progress)
    compared = expected.keys() & outputs.keys()
    libraries = {library: minor(version(library)) for library in LIBRARIES}
    why = why_no_bits(portable, libraries, stored.libraries)
    confirmed, sources = versions.confirmed(), versions.sources()
    if why:
        distant = far_outputs({name: expected[name] for name in compared}, outputs)
        problem = f"{counted(len(distant), 'output')} far from the golden ones, e.g. {distant[0]}" if distant else ""
        if new_libraries:
            problem = problem or why_not_stored(portable, confirmed, sources)
        written = new_libraries and not problem
        if written:
            golden.write(Golden(libraries, presets, outputs))
        return Confirmation(False, why, len(compared), distant, problem, written=written)
    different = sorted(name for name in compared if expected[name].sha256 != outputs[name].sha256)
    edited = {name for name in confirmed.keys() & sources.keys() if confirmed[name].source != sources[name]}
    removed = confirmed.keys() - sources.keys()
    problem = unexplained({name: outputs[name] for name in different}, edited, to_raise)
    if not removed:
        problem = problem or lost(sorted(expected.keys() - outputs.keys()))
    if problem:
        return Confirmation(True, "", len(compared), different, problem)
    new = {name: Version(1, sources[name]) for name in sources.keys() - confirmed.keys()}
    written = not check and bool(edited or new or to_raise or presets != stored.presets)
    if written:
        present = {name: replace(old, source=sources[name]) for name, old in confirmed.items() if name in sources}
        raised = {name: replace(present[name], number=present[name].number + 1) for name in to_raise}
        versions.write(dict(sorted({**present, **raised, **new}.items(), key=file_order)))
        golden.write(Golden(libraries, presets, outputs))
        if raised:
            write_to_changelog(raised, because)
    lists = labels(to_raise), labels(edited - to_raise), labels(new)
    return Confirmation(True, "", len(compared), different, "", *lists, written)


def unchanged(name: str, before: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """True if the preset of the output of this name has not changed; by name of the preset, the texts of both."""
    preset = name.partition(":")[0]
    return preset in now and now[preset] == before.get(preset)


def parsed(name: str) -> Name:
    """Splits GROUP.NAME, the name of a version.

    Raises:
        UserError: If there is no such version.
    """
    group, _, rest = name.partition(".")
    if (group, rest) not in versions.confirmed():
        known = ", ".join(sorted({group for group, _ in versions.confirmed()}))
        raise UserError(f"there is no version {name!r}: versions.toml has GROUP.NAME, in groups {known}")
    return group, rest


def labels(names: Iterable[Name]) -> list[str]:
    """Names of versions as GROUP.NAME, sorted."""
    return sorted(f"{group}.{name}" for group, name in names)


def file_order(entry: tuple[Name, Version]) -> tuple[int, Name]:
    """The sort key of a version in its file: artefact kinds first, then plugins by group."""
    (group, name), _ = entry
    return (group != versions.KINDS, (group, name))


def golden_outputs(
    folder: Path, arithmetic: str, jobs: int | None, say: Callable[[str], object], progress: Progress | None
) -> tuple[dict[str, Output], bool]:
    """Computes the golden plan in a folder; returns its outputs by name, and True if arithmetic was portable."""
    workspace = Workspace.of(folder / "results", folder / "cache", device="cpu", arithmetic=arithmetic)
    selections, effort = golden_selections(), Effort(jobs)
    say("computing the golden plan, which takes about a minute on two cores")
    summaries = []
    for number, selection in enumerate(selections, start=1):
        plan = planned(selection, workspace)
        name, cells, ep = Path(selection.preset_name).stem, counted(len(plan.cells), "cell"), round(plan.ep)
        say(f"[{number}/{len(selections)} presets] {name}: {cells}, about {counted(ep, 'pass')} over the training set")
        summaries.append(carry_out(plan, selection, effort, dry_run=False, progress=progress))
    failed = [f"{outcome.name}: {outcome.reason}" for summary in summaries for outcome in summary.failed]
    if failed:
        raise UserError(f"{counted(len(failed), 'cell')} of the golden plan failed, the first is {failed[0]}")
    one_method = replace(selections[0], tasks=["class-removal"], methods=["laf"])
    say(f"[{len(selections)}/{len(selections)} presets] all attacks, unlearned shadow models, relearning and features")
    measure(
        one_method, workspace, unlearned_shadows=4, relearn=True, features=True, effort=effort, say=lambda line: None
    )
    outputs: dict[str, Output] = {}
    for selection, summary in zip(selections, summaries, strict=True):
        name = Path(selection.preset_name).stem
        outputs |= {f"{name}: {output_name}": output for output_name, output in outputs_of(summary)}
    return outputs, workspace.arithmetic == PORTABLE


def golden_selections() -> list[Selection]:
    """What is computed; presets without tasks or methods get all that need no file and are not those of `ALONE`."""
    selections = {path.stem: Selection.of(path) for path in sorted(HERE.glob("*.toml"))}
    alone = selections[ALONE].preset
    plugins = registry.usable("tasks").items()
    tasks = [name for name, task in plugins if isinstance(task, Task) and task.is_configured({})]
    tasks = [name for name in tasks if name not in (alone.tasks or ())]
    methods = [name for name in registry.usable("methods") if name not in (alone.methods or ())]
    return [
        replace(one, tasks=one.preset.tasks or tasks, methods=one.preset.methods or methods)
        for one in selections.values()
    ]


def outputs_of(summary: Summary) -> Iterator[tuple[str, Output]]:
    """The outputs of a run by name: of artefacts, of records, and of added measures."""
    artefacts: dict[str, Artefact] = {}
    for cell in summary.plan.cells:
        for artefact in (*cell.shadows, cell.outputs, Relearning.of(cell.outputs), Features.of(cell.outputs)):
            collect(artefact, artefacts)
    for artefact in artefacts.values():
        content = summary.plan.store.load(artefact.key)
        if content is not None:
            yield str(artefact), golden.of_tensors(content[0], artefact.key, artefact.scenario.task)
    for cell in summary.plan.cells:
        yield from record_outputs(cell)


def collect(artefact: Artefact, artefacts: dict[str, Artefact]) -> None:
    """Adds an artefact and its needs to a dict of artefacts by digest."""
    if artefact.digest not in artefacts:
        artefacts[artefact.digest] = artefact
        for needed in artefact.needs.values():
            collect(needed, artefacts)


def record_outputs(cell: Cell) -> Iterator[tuple[str, Output]]:
    """The metrics and added measures in a cell's record, by name."""
    record = read_record(cell.path)
    assert record is not None
    task = cell.scenario.task
    numbers = record.get("metrics") or {"n/a": record["reason"]}
    yield f"record {cell}", golden.of_numbers(numbers, record["key"], task)
    for name, entry in record.get("more", {}).items():
        key = {"outputs": record["key"]["outputs"], "shadows": record["key"]["shadows"]}
        if name in (RELEARNING, FEATURES):
            yield (
                f"{name} numbers {cell}",
                golden.of_numbers(entry["found"], {**key, "kind": name, **entry["key"]}, task),
            )
        else:
            yield f"{name} {cell}", golden.of_numbers(entry["found"], {**key, "attack": entry["key"]}, task)


def why_no_bits(portable: bool, installed: Mapping[str, str], expected: Mapping[str, str]) -> str:
    """Why bits cannot be compared; "" if they can. Takes the minor versions of libraries, by name."""
    if not portable:
        return "arithmetic is native"
    different = [name for name in expected if installed[name] != expected[name]]
    return ", ".join(f"{name} is {installed[name]}, not {expected[name]}" for name in different)


def why_not_stored(portable: bool, confirmed: Mapping[Name, Version], sources: Mapping[Name, str]) -> str:
    """Why outputs of other library versions cannot become golden; "" if they can.

    Args:
        portable: Whether their arithmetic is portable.
        confirmed: The versions with the sources that they were confirmed for.
        sources: The present sources.
    """
    if not portable:
        return "golden outputs need portable arithmetic: run `unlearnbench confirm --new-libraries` without native"
    edited = [name for name in sources if name not in confirmed or confirmed[name].source != sources[name]]
    if edited:
        names = ", ".join(labels(edited))
        return f"code was edited, too ({names}): confirm it with the old libraries first, so that bits can be compared"
    return ""


def distance(golden_output: Output, output: Output) -> float:
    """The distance |x - g| of an output from the golden one, relative to the length |g| of the latter.

    Returns:
        0 for equal values and for outputs without values, 1 for values that are all zero, about 1.4 for values that
        have nothing in common with the golden ones; infinite if their numbers differ.
    """
    if len(golden_output.sample) != len(output.sample):
        return math.inf
    length = math.hypot(*golden_output.sample)
    return math.dist(golden_output.sample, output.sample) / length if length else 0.0


def far_outputs(expected: Mapping[str, Output], outputs: Mapping[str, Output]) -> list[str]:
    """The names of outputs that another rounding does not explain, where bits cannot be compared.

    Rounding differs, and training amplifies it: by little in most methods, but without bound at the edge of stability,
    where a network falls to one side or the other. So no small tolerance on every value separates another rounding
    from another computation. Two conditions do: an output is far if its `distance` is nearer to that of unrelated
    values than to 0; and if the machine as a whole computes differently, half of all outputs leave a narrow tolerance,
    whatever a few unstable ones do. With AVX-512, the median of all distances is 2e-6, and all are below 0.003 but
    those of LAF None_L1, from 0.07 to 0.23.

    Args:
        expected: Golden outputs by name.
        outputs: Outputs of the same names.
    """
    distances = {name: distance(output, outputs[name]) for name, output in expected.items() if output.sample}
    limit = NEAR if distances and median(distances.values()) > NEAR else FAR
    return sorted(name for name, value in distances.items() if value > limit)


def lost(names: Sequence[str]) -> str:
    """The problem if the golden plan no longer has outputs of these names; "" if there are none."""
    if not names:
        return ""
    return (
        f"{counted(len(names), 'golden output')} cannot be compared, because the golden plan no longer has them, e.g. "
        f"{names[0]}: the names of artefacts and cells must stay as they are"
    )


def unexplained(different: Mapping[str, Output], edited: Collection[Name], to_raise: Collection[Name]) -> str:
    """The problem if `to_raise` does not explain every different output; "" if it does."""
    required: set[Name] = set()
    unrelated = []
    for name, output in different.items():
        edited_makers, all_code = output.made_by & set(edited), output.made_by | output.made_of
        required |= edited_makers
        if not edited_makers and not all_code & set(to_raise):
            unrelated.append(name)
    missing = required - set(to_raise)
    if missing:
        flags = " ".join(f"--bump {name}" for name in labels(missing))
        return (
            f"{counted(len(different), 'output')} of the golden plan changed, e.g. {next(iter(different))}. If this is "
            "a mistake, fix the code. If it is intended, raise the versions: "
            f'unlearnbench confirm {flags} --because "..."'
        )
    if unrelated:
        return (
            f"{counted(len(unrelated), 'output')} of the golden plan changed although no code in their keys was "
            f"edited, e.g. {unrelated[0]}: this machine or a library computes differently, or CODE in versions.py "
            "lacks a module"
        )
    return ""


def write_to_changelog(raised: Mapping[Name, Version], because: str) -> None:
    """Adds the reason for raised versions to the changelog, if this is a checkout."""
    if not CHANGELOG.exists():
        return
    text = CHANGELOG.read_text(encoding="utf-8")
    names = ", ".join(f"`{label}` ({raised[parsed(label)]})" for label in labels(raised))
    head, mark, rest = text.partition("\n## ")
    title, _, body = rest.partition("\n")
    today = datetime.now(UTC).date()
    line = f"- {today}, **numbers**: {names}. {because.strip().rstrip('.')}."
    CHANGELOG.write_text(f"{head}{mark}{title}\n\n{line}\n{body.lstrip()}" if mark else text + line, encoding="utf-8")
