"""Type hints say which values an option may have; others are refused before anything is computed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from click.testing import CliRunner

from unlearnbench import Access, Count, NonNegative, Positive, Problem, Range, Share, Size, UserError, method
from unlearnbench.cli.main import main
from unlearnbench.planning import presets
from unlearnbench.plugins import registry
from unlearnbench.plugins.contract import BrokenContractError
from unlearnbench.plugins.plugin import Plugin
from unlearnbench.plugins.ranges import allowed_values

METHODS = [
    (name, entry.load()) for name, entry in registry.entries("methods").items() if entry.origin == "unlearnbench"
]


def example(
    problem: Problem,
    *,
    epochs: Count = 1,
    batch: Size = 8,
    lr: Positive = 0.1,
    decay: NonNegative = 0.0,
    share: Share = 0.5,
    layers: tuple[Size, ...] = (1, 2),
    tau: Positive | None = None,
    votes: Literal["soft", "hard"] = "soft",
    odd: Annotated[float, Range(1, 2, above=True)] = 1.5,
    free: float = -1.0,
    for_checkers: Unknown = -1,  # type: ignore[name-defined] # noqa: F821 - as if imported for type checkers
) -> Any:
    """An example."""
    return problem.network()


EXAMPLE = method(title="Example", access=Access())(example)


@pytest.mark.parametrize(
    ("option", "wrong", "message"),
    [
        ("epochs", -1, "my.epochs must be at least 0, not -1"),
        ("batch", 0, "my.batch must be at least 1, not 0"),
        ("lr", 0.0, "my.lr must be more than 0, not 0"),
        ("lr", -1, "my.lr must be more than 0, not -1"),
        ("decay", -0.5, "my.decay must be at least 0, not -0.5"),
        ("share", 1.5, "my.share must be from 0 to 1, not 1.5"),
        ("layers", [1, 0], "my.layers must be at least 1, not 0"),
        ("tau", 0.0, "my.tau must be more than 0, not 0"),
        ("votes", "sotf", "unknown value of my.votes: 'sotf': did you mean 'soft'"),
        ("odd", 1, "my.odd must be more than 1, at most 2, not 1"),
    ],
)
def test_values_out_of_range_are_refused(option: str, wrong: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        EXAMPLE.resolve("my", {option: wrong})


def test_the_ends_of_ranges_and_hints_that_say_nothing_are_accepted() -> None:
    values: dict[str, Any] = {"epochs": 0, "batch": 1, "decay": 0.0, "share": 1.0, "odd": 2.0, "tau": None, "lr": 1e-9}
    values |= {"free": -7.0, "for_checkers": -7, "votes": "hard"}
    assert EXAMPLE.resolve("my", values) == {**values, "layers": (1, 2)}
    assert not {"free", "for_checkers"} & allowed_values(example).keys()


def test_a_default_out_of_range_breaks_the_contract() -> None:
    def broken(problem: Problem, *, lr: Positive = 0.0) -> Any:
        return problem.network()

    with pytest.raises(BrokenContractError, match="method my: the default of option lr must be more than 0, not 0"):
        method(title="Broken", access=Access())(broken).resolve("my")


@pytest.mark.parametrize(("name", "plugin"), METHODS, ids=[name for name, _ in METHODS])
def test_every_option_of_a_built_in_method_says_its_values(name: str, plugin: Plugin) -> None:
    free = {"strict": bool, "wrong_by": int}  # yes or no; more classes, or fewer
    assert plugin.allowed.keys() == plugin.defaults.keys() - free.keys()
    assert all(type(plugin.defaults[option]) is free[option] for option in free.keys() & plugin.defaults.keys())


def test_options_of_the_preparing_phase_are_checked_too() -> None:
    with pytest.raises(UserError, match="sisa.slices must be at least 1"):
        registry.entry("methods", "sisa").load().resolve("sisa", {"slices": 0})


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("laf.epochs=-3", "laf.epochs must be at least 0, not -3"),
        ("laf.lr_align=-1", "laf.lr_align must be at least 0, not -1"),
        ("laf.tau=0", "laf.tau must be more than 0, not 0"),
        ("laf.phi=odd", "unknown value of laf.phi: 'odd': available: exp-ratio, ratio"),
        ("noisy-label-removal.wrong_labels=odd", "unknown value of noisy-label-removal.wrong_labels: 'odd'"),
        ("released.classifier=odd", "unknown value of released.classifier: 'odd': available: scikit-learn, xgboost"),
    ],
)
def test_a_run_refuses_nonsense_before_anything_is_computed(
    option: str, message: str, tiny: Path, tmp_path: Path
) -> None:
    words = ["run", "--preset", tiny, "-m", "laf", "-p", option, "--results", tmp_path / "r", "--cache", tmp_path / "c"]
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 2
    assert message in done.stderr
    assert not (tmp_path / "r").exists()


def test_a_preset_is_checked_in_the_same_way(tmp_path: Path) -> None:
    path = tmp_path / "odd.toml"
    path.write_text("datasets.digits-8x8.model = 'cnn'\nmethods.laf.tau = -5.0\n")
    layers = presets.read(str(path)).hyperparameters("laf", "data-removal", "cnn")
    with pytest.raises(UserError, match="laf.tau must be more than 0, not -5"):
        registry.entry("methods", "laf").load().resolve("laf", *layers)
