"""Computes the golden plan: does this machine, and does the present code, give the numbers of the published results?"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from unlearnbench import golden
from unlearnbench.artefacts import versions
from unlearnbench.artefacts.artefact import Artefact
from unlearnbench.artefacts.plugin_keys import minor
from unlearnbench.artefacts.relearning import Relearning
from unlearnbench.artefacts.versions import Version
from unlearnbench.errors import UserError
from unlearnbench.golden import HERE, Golden, Output
from unlearnbench.operations.measure import measure
from unlearnbench.operations.run import Summary, carry_out
from unlearnbench.operations.work import Effort, Progress
from unlearnbench.planning.cells import planned
from unlearnbench.planning.plan import Cell
from unlearnbench.planning.selection import Selection, Workspace
from unlearnbench.runtime.arithmetic import PORTABLE
from unlearnbench.storage.records import read_record

LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn")
TOLERANCE = 0.1
"""How far values may lie from the golden ones where bits cannot be equal, in units of the largest of them."""
CHANGELOG = Path(__file__).parents[2] / "CHANGELOG.md"
Name = tuple[str, str]
"""The group and the name of a version."""


@dataclass(frozen=True)
class Confirmation:
    """What the golden plan showed.

    Attributes:
        bits: Whether bits were compared; otherwise values, within a tolerance.
        why: Why bits were not.
        outputs: How many outputs were compared.
        different: The names of the outputs that differ from the golden ones.
        problem: Why nothing was confirmed, and what to do; "" if all is well.
        raised: The versions that were raised.
        confirmed: The versions whose present source was confirmed.
        new: The versions that there were not.
    """

    bits: bool
    why: str
    outputs: int
    different: Sequence[str]
    problem: str = ""
    raised: Sequence[str] = ()
    confirmed: Sequence[str] = ()
    new: Sequence[str] = ()


def confirm(
    bump: Collection[str] = (),
    because: str = "",
    *,
    arithmetic: str = "auto",
    jobs: int | None = None,
    check: bool = False,
    say: Callable[[str], object] = print,
    progress: Progress | None = None,
) -> Confirmation:
    """Computes the golden plan and compares what comes out with the golden outputs, bit by bit.

    In a checkout whose code was edited, it then writes for which sources the versions hold. Where other numbers come
    out, the versions of the code that was edited must be raised, or the code be mended.

    Args:
        bump: The versions to raise, as GROUP.NAME, e.g. "methods.laf" or "kinds.original".
        because: Why numbers change, for the changelog.
        arithmetic: As in `run`.
        jobs: Workers; None: one for each core.
        check: Write nothing, even if all is well.
        say: Receives what happens, in lines.
        progress: Receives the progress of runs.

    Raises:
        UserError: If an argument is wrong, or a cell of the golden plan fails.
    """
    wanted = {parsed(name) for name in bump}
    if bool(bump) != bool(because.strip()):
        raise UserError('--bump and --because go together, e.g. --bump methods.laf --because "Equation 5 had ..."')
    there, presets = golden.stored(), golden.presets()
    before = {name: output for name, output in there.outputs.items() if unchanged(name, there.presets, presets)}
    with tempfile.TemporaryDirectory(prefix="unlearnbench-golden-") as folder:
        found, portable = computed(Path(folder), arithmetic, jobs, say, progress)
    here = {library: minor(version(library)) for library in LIBRARIES}
    why = why_no_bits(portable, here, there.libraries)
    if why:
        far_off = sorted(name for name in before.keys() & found.keys() if far(before[name], found[name]))
        problem = f"{len(far_off)} outputs are far from the golden ones, such as {far_off[0]}" if far_off else ""
        return Confirmation(False, why, len(before.keys() & found.keys()), far_off, problem)
    different = sorted(name for name in before.keys() & found.keys() if before[name].sha256 != found[name].sha256)
    known, sources = versions.confirmed(), versions.sources()
    edited = {name for name in known.keys() & sources.keys() if known[name].source != sources[name]}
    problem = unexplained({name: found[name] for name in different}, edited, wanted)
    if problem:
        return Confirmation(True, "", len(found), different, problem)
    new = {name: Version(1, sources[name]) for name in sources.keys() - known.keys()}
    if not check and (edited or new or wanted or presets != there.presets):
        kept = {name: replace(old, source=sources.get(name, old.source)) for name, old in known.items()}
        raised = {name: replace(kept[name], number=kept[name].number + 1) for name in wanted}
        versions.write(dict(sorted({**kept, **raised, **new}.items(), key=in_order)))
        golden.write(Golden(here, presets, found))
        if raised:
            note(raised, because)
    return Confirmation(True, "", len(found), different, "", labels(wanted), labels(edited - wanted), labels(new))


def unchanged(name: str, before: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Whether an output of this name is of a preset that is as it was."""
    preset = name.partition(":")[0]
    return preset in now and now[preset] == before.get(preset)


def parsed(name: str) -> Name:
    """GROUP.NAME as a name of a version.

    Raises:
        UserError: If there is none of that name.
    """
    group, _, rest = name.partition(".")
    if (group, rest) not in versions.confirmed():
        known = ", ".join(sorted({of for of, _ in versions.confirmed()}))
        raise UserError(f"there is no version {name!r}: versions.toml has GROUP.NAME, in groups {known}")
    return group, rest


def labels(names: Iterable[Name]) -> list[str]:
    """Names of versions as GROUP.NAME, in order."""
    return sorted(f"{group}.{name}" for group, name in names)


def in_order(entry: tuple[Name, Version]) -> tuple[int, Name]:
    """Where a version stands in its file: artefact kinds first, then plugins by group."""
    (group, name), _ = entry
    return (group != versions.KINDS, (group, name))


def computed(
    folder: Path, arithmetic: str, jobs: int | None, say: Callable[[str], object], progress: Progress | None
) -> tuple[dict[str, Output], bool]:
    """Runs the golden plan in a folder; returns its outputs by name, and whether arithmetic was portable."""
    workspace = Workspace.of(folder / "results", folder / "cache", device="cpu", arithmetic=arithmetic)
    selections, effort = [Selection.of(path) for path in sorted(HERE.glob("*.toml"))], Effort(jobs)
    say("computing the golden plan, which takes about half a minute on two cores")
    summaries = [
        carry_out(planned(selection, workspace), selection, effort, dry_run=False, progress=progress)
        for selection in selections
    ]
    failed = [f"{outcome.name}: {outcome.reason}" for summary in summaries for outcome in summary.failed]
    if failed:
        raise UserError(f"{len(failed)} cells of the golden plan failed, the first is {failed[0]}")
    few = replace(selections[0], tasks=["class-removal"], methods=["laf"])
    measure(few, workspace, unlearned_shadows=4, relearn=True, effort=effort, say=lambda line: None)
    outputs: dict[str, Output] = {}
    for selection, summary in zip(selections, summaries, strict=True):
        name = Path(selection.preset_name).stem
        outputs |= {f"{name}: {output_name}": output for output_name, output in outputs_of(summary)}
    return outputs, workspace.arithmetic == PORTABLE


def outputs_of(summary: Summary) -> Iterator[tuple[str, Output]]:
    """The outputs of a run by name: of artefacts, of records, and of what was measured later."""
    artefacts: dict[str, Artefact] = {}
    for cell in summary.plan.cells:
        for artefact in (*cell.shadows, cell.outputs, Relearning.of(cell.outputs)):
            collect(artefact, artefacts)
    for artefact in artefacts.values():
        made = summary.plan.store.load(artefact.key)
        if made is not None:
            yield str(artefact), golden.of_tensors(made[0], artefact.key)
    for cell in summary.plan.cells:
        yield from measured(cell)


def collect(artefact: Artefact, artefacts: dict[str, Artefact]) -> None:
    """Adds an artefact and its needs to those that are known, by digest."""
    if artefact.digest not in artefacts:
        artefacts[artefact.digest] = artefact
        for needed in artefact.needs.values():
            collect(needed, artefacts)


def measured(cell: Cell) -> Iterator[tuple[str, Output]]:
    """What a cell's record has, by name."""
    record = read_record(cell.path)
    assert record is not None
    yield f"record {cell}", golden.of_numbers(record["metrics"], record["key"])
    for name, entry in record.get("more", {}).items():
        if name != "relearning":  # an artefact, which has an output of its own
            key = {"outputs": record["key"]["outputs"], "shadows": record["key"]["shadows"], "attack": entry["key"]}
            yield f"{name} {cell}", golden.of_numbers(entry["found"], key)


def why_no_bits(portable: bool, here: Mapping[str, str], libraries: Mapping[str, str]) -> str:
    """Why bits cannot be compared; "" if they can."""
    if not portable:
        return "arithmetic is native"
    other = [f"{name} {here[name]} instead of {libraries[name]}" for name in libraries if here[name] != libraries[name]]
    return f"there is {', '.join(other)}" if other else ""


def far(golden_output: Output, output: Output) -> bool:
    """Whether values differ by more than the tolerance; what is measured has none, and is not compared."""
    if len(golden_output.sample) != len(output.sample):
        return True
    pairs = list(zip(golden_output.sample, output.sample, strict=True))
    scale = max((abs(value) for value, _ in pairs), default=1.0)
    return any(abs(one - other) > TOLERANCE * scale for one, other in pairs)


def unexplained(different: Mapping[str, Output], edited: Collection[Name], wanted: Collection[Name]) -> str:
    """What is wrong unless every difference is explained by versions that are to be raised; "" if nothing is."""
    needed: set[Name] = set()
    strange = []
    for name, output in different.items():
        own, whole = output.made_by & set(edited), output.made_by | output.made_of
        needed |= own
        if not own and not whole & {*edited, *wanted}:
            strange.append(name)
    lacking = needed - set(wanted)
    if lacking:
        flags = " ".join(f"--bump {name}" for name in labels(lacking))
        return (
            f"{len(different)} outputs of the golden plan changed, such as {next(iter(different))}. If they should "
            f'not, mend the code. If they should, raise the versions: unlearnbench confirm {flags} --because "..."'
        )
    if strange:
        return (
            f"{len(strange)} outputs of the golden plan differ though no code in their keys was edited, such as "
            f"{strange[0]}: this machine or a library computes otherwise, or CODE in versions.py lacks a module"
        )
    return ""


def note(raised: Mapping[Name, Version], because: str) -> None:
    """Adds why numbers changed to the changelog, if this is a checkout."""
    if not CHANGELOG.exists():
        return
    text = CHANGELOG.read_text(encoding="utf-8")
    names = ", ".join(f"`{label}` ({raised[parsed(label)]})" for label in labels(raised))
    head, mark, rest = text.partition("\n## ")
    title, _, body = rest.partition("\n")
    today = datetime.now(UTC).date()
    line = f"- {today}, **numbers**: {names}. {because.strip().rstrip('.')}."
    CHANGELOG.write_text(f"{head}{mark}{title}\n\n{line}\n{body.lstrip()}" if mark else text + line, encoding="utf-8")
