"""An invalid preset is refused, with the place of the error and how to fix it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import METHODS

from unlearnbench import UserError
from unlearnbench.planning import presets
from unlearnbench.plugins import registry
from unlearnbench.plugins.fingerprint import CORE

MINIMAL = '[datasets.digits-8x8]\nmodel = "cnn"\n'


def read(folder: Path, text: str) -> presets.Preset:
    path = folder / "mine.toml"
    path.write_text(text)
    return presets.read(str(path))


def test_missing_values_are_those_of_the_paper(tmp_path: Path) -> None:
    preset = read(tmp_path, MINIMAL)
    assert (preset.name, preset.seeds, preset.shadows, preset.tasks) == ("mine", (0, 1, 2, 3, 4), 8, None)
    recipe = preset.datasets["digits-8x8"].recipe.values()
    assert recipe == {
        "optimizer": "adam", "lr": 1e-4, "weight_decay": 1e-4, "momentum": 0.0, "batch": 32, "epochs": 20,
        "resize": 0, "augment": [], "held_out": 0.0, "precision": "fp32",
    }  # fmt: skip


def test_a_data_set_may_have_a_recipe_of_its_own(tmp_path: Path) -> None:
    preset = read(tmp_path, f"[recipe]\nlr = 1\nepochs = 3\n{MINIMAL}[datasets.digits-8x8.recipe]\nepochs = 5\n")
    recipe = preset.datasets["digits-8x8"].recipe
    assert (recipe.lr, recipe.epochs) == (1.0, 5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[recipe\n", r"is not valid TOML: .*line 1"),
        (MINIMAL + "[recipee]\n", "unknown key 'recipee': did you mean 'recipe'"),
        (MINIMAL + "[recipe]\nepoch = 3\n", "unknown key 'recipe.epoch': did you mean 'recipe.epochs'"),
        (MINIMAL + '[recipe]\nepochs = "3"\n', "recipe.epochs must be a whole number such as 20, not '3'"),
        (MINIMAL + "[select]\nseed = 3\n", "unknown key 'select.seed': did you mean 'select.seeds'"),
        (MINIMAL + '[select]\ntasks = "all"\n', "select.tasks must be a list of names"),
        ("shadows = 7\n" + MINIMAL, "shadow models come in complementary pairs"),
        ("[datasets.digits-8x8]\n", "datasets.digits-8x8 needs a model"),
        (MINIMAL + "[published]\nlaf = 3\n", "published.laf must say where, e.g. laf = .* not 3"),
        ("", "needs at least one data set"),
    ],
)
def test_mistakes_are_refused_with_their_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path, text)


def test_a_missing_preset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown preset 'demmo': did you mean 'demo'"):
        presets.read("demmo")
    with pytest.raises(UserError, match="cannot read preset .*none.toml: No such file"):
        presets.read(str(tmp_path / "none.toml"))


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("0-4", (0, 1, 2, 3, 4)),
        ("0,2,5", (0, 2, 5)),
        ("0-1, 7", (0, 1, 7)),
        ("1,1", (1,)),
        (4, (4,)),
        ([2, 0], (2, 0)),
    ],
)
def test_seeds_are_parsed(text: str, seeds: tuple[int, ...]) -> None:
    assert presets.parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["a", "", "1-", "-1", "4-0", "1;2", "0.5", "0-99999999999"])
def test_invalid_seeds_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="seeds"):
        presets.parse_seeds(text)


def test_the_presets_of_the_suite_name_only_existing_methods_and_options() -> None:
    from unlearnbench.plugins import registry
    from unlearnbench.plugins.method import Method

    for name in presets.names():
        preset = presets.read(name)
        assert preset.title
        for method, table in preset.method_options.items():
            options = {key: value for key, value in table.items() if not isinstance(value, dict)}
            registry.get(Method, method).resolve(method, options)


@pytest.mark.parametrize(
    ("task", "model", "published"),
    [
        ("data-removal", "cnn", (8, 20, 5e-5, 1e-4, 5.0)),
        ("data-removal", "resnet18", (16, 40, 1e-5, 4e-5, 20.0)),
        ("class-removal", "cnn", (8, 20, 5e-5, 1e-4, 20.0)),
        ("class-removal", "resnet18", (16, 40, 1e-5, 5e-5, 20.0)),
        ("noisy-label-removal", "cnn", (8, 20, 5e-5, 1e-4, 20.0)),
        ("noisy-label-removal", "resnet18", (16, 40, 1e-5, 4e-5, 5.0)),
    ],
)
def test_the_paper_preset_has_lafs_published_hyperparameters(
    task: str, model: str, published: tuple[float, ...]
) -> None:
    *_, values = presets.read("paper").hyperparameters("laf", task, model)
    assert tuple(values[key] for key in ("latent", "epochs", "lr_unlearn", "lr_align", "tau")) == published


def test_the_paper_preset_has_its_recipe_and_wrong_labels() -> None:
    preset = presets.read("paper")
    assert (preset.shadows, preset.seeds) == (16, (0, 1, 2, 3, 4))
    assert preset.task_options["noisy-label-removal"] == {"wrong_labels": "released"}
    for name, training in preset.datasets.items():
        recipe = training.recipe
        assert (recipe.optimizer, recipe.lr, recipe.weight_decay, recipe.batch, recipe.epochs) == (
            "adam", 1e-4, 1e-4, 32, 20,
        )  # fmt: skip
        colour = name in ("cifar10", "svhn")
        assert training.model == ("resnet18" if colour else "cnn")
        assert recipe.augment == (("random-resized-crop", "flip") if colour else ())
        assert recipe.resize == (224 if colour else 0)


@pytest.mark.parametrize("name", presets.names())
def test_presets_of_the_suite_list_their_tasks_and_take_methods_of_other_packages(name: str) -> None:
    preset = presets.read(name)
    known = [
        {plugin for plugin, entry in registry.entries(group).items() if entry.origin == CORE}
        for group in ("tasks", "methods")
    ]
    assert set(preset.tasks or ()) <= known[0]
    assert preset.tasks
    studied = name.startswith("study-")  # of methods that are named
    assert set(preset.methods or ()) - known[1] == (set() if studied else {"third-party"})


def test_the_small_cifar10_preset_trains_on_a_fifth_of_the_images_at_their_own_size() -> None:
    preset = presets.read("cifar10-small")
    assert (preset.seeds, list(preset.datasets)) == ((0, 1, 2), ["cifar10"])
    training = preset.datasets["cifar10"]
    assert (training.model, training.recipe.held_out, training.recipe.resize) == ("resnet8", 0.8, 0)


def test_the_field_preset_has_every_method_and_the_training_of_the_demo() -> None:
    """But ablations, methods that need held-out samples, which the demo's training does not hold out, and a control."""
    from unlearnbench.plugins import registry
    from unlearnbench.plugins.method import Method

    field, demo = presets.read("field"), presets.read("demo")
    assert (field.datasets, field.shadows, field.seeds, field.tuning) == (
        demo.datasets, demo.shadows, demo.seeds, demo.tuning,
    )  # fmt: skip
    methods = {name: registry.get(Method, name) for name in METHODS}
    expected = {n for n, one in methods.items() if one.role != "ablation" and not one.access.validation}
    assert set(field.methods or ()) == {*expected - {"identify-then-ft"}, "third-party"}


def test_a_preset_in_another_encoding_and_a_title_of_several_lines_are_refused(tmp_path: Path) -> None:
    (tmp_path / "wide.toml").write_bytes(MINIMAL.encode("utf-16"))
    with pytest.raises(UserError, match=r"wide.toml is not in UTF-8: save it so"):
        presets.read(str(tmp_path / "wide.toml"))
    with pytest.raises(UserError, match=r"title has line breaks or control characters, 'A\\nB': write it in one line"):
        read(tmp_path, 'title = "A\\nB"\n' + MINIMAL)


def test_a_preset_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.encode())
    assert presets.read(str(path)) == read(tmp_path, MINIMAL)


@pytest.mark.parametrize(
    "seeds", ["0-2", range(3), [0, 1, 2], np.arange(3), [np.int64(0), "1-2"], torch.arange(3), (n for n in range(3))]
)
def test_seeds_are_text_or_whole_numbers_of_any_library(seeds: object) -> None:
    assert presets.parse_seeds(seeds) == (0, 1, 2)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [3, "3", np.int64(3), np.array(3), torch.tensor(3)])
def test_one_seed_may_stand_alone(seed: object) -> None:
    assert presets.parse_seeds(seed) == (3,)  # type: ignore[arg-type]


@pytest.mark.parametrize("seeds", [True, 1.0, -1, None, [0.5], [], np.arange(4).reshape(2, 2), {"a": 1}])
def test_other_seeds_are_refused(seeds: object) -> None:
    with pytest.raises(UserError, match="seeds must be numbers such as 0-4"):
        presets.parse_seeds(seeds)  # type: ignore[arg-type]


BASE = MINIMAL + '[select]\nseeds = "0"\nmethods = ["laf"]\n[methods.laf]\nepochs = 3\ntau = 5.0\n'


def test_a_preset_extends_another_one_key_by_key(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(BASE)
    text = 'extends = "base.toml"\ntitle = "Mine"\n[select]\nseeds = "1"\n[methods.laf]\ntau = 9.0\n'
    preset = read(tmp_path, text)
    assert (preset.name, preset.title, preset.seeds, preset.methods) == ("mine", "Mine", (1,), ("laf",))
    assert preset.method_options == {"laf": {"epochs": 3, "tau": 9.0}}
    demo = read(tmp_path, 'extends = "demo"\n[select]\nseeds = "7"\n')
    assert demo.datasets == presets.read("demo").datasets
    assert demo.method_options == presets.read("demo").method_options


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('extends = "demmo"\n', "unknown preset 'demmo': did you mean 'demo'"),
        ('extends = "none.toml"\n', "cannot read preset .*none.toml"),
        ('extends = "mine.toml"\n', "presets extend each other in a circle: mine.toml -> mine.toml"),
        ("extends = 3\n", "extends must be the name or the file of a preset, not 3"),
        (MINIMAL + "[sweep.laf]\ntau = 3.0\n", "sweep.laf.tau must be a list of values, not 3.0"),
    ],
)
def test_a_base_that_cannot_be_read_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path, text)


def test_files_of_methods_are_found_from_the_folder_of_the_preset_that_names_them(tmp_path: Path) -> None:
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "base.toml").write_text(MINIMAL + '[methods."way.py:f"]\nlr = 1.0\n')
    preset = read(tmp_path, 'extends = "base/base.toml"\n[select]\nmethods = ["own.py:g", "laf"]\n')
    own, laf = preset.methods or ()
    assert (getattr(own, "place", ""), laf) == (f"{tmp_path / 'own.py'}:g", "laf")
    (way,) = preset.method_options
    assert getattr(way, "place", "") == f"{folder / 'way.py'}:f"
    assert preset.hyperparameters("way.f", "t", "m")[0] == {"lr": 1.0}


def test_a_dict_is_a_preset_whose_name_it_says(tmp_path: Path) -> None:
    preset = presets.read({"name": "quick", "extends": "demo", "select": {"seeds": [3]}})
    assert (preset.name, preset.source, preset.seeds) == ("quick", "quick", (3,))
    assert presets.read({"extends": "demo"}).name == "notebook"
    for name in ("demo", "a/b", ""):
        with pytest.raises(UserError, match="the name of a preset of your own"):
            presets.read({"name": name, "extends": "demo"})
    with pytest.raises(UserError, match="preset quick: unknown key 'selekt'"):
        presets.read({"name": "quick", "selekt": {}})


TUNED = """
[[tuned]]
method = "laf"
task = "data-removal"
model = "cnn"
values = { lr_align = 0.1, tau = 2.0 }
log = "x.csv"
sha256 = "00"
gain = 1.0
"""


def test_tuned_values_are_inherited_but_for_those_that_the_preset_sets_itself(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(BASE)
    (tmp_path / "base.tuned.toml").write_text(TUNED)
    preset = read(tmp_path, 'extends = "base.toml"\n[methods.laf.data-removal]\ntau = 9.0\n')
    assert preset.tuned["laf", "data-removal", "cnn"].values == {"lr_align": 0.1}
    assert presets.read(str(tmp_path / "base.toml")).tuned["laf", "data-removal", "cnn"].values["tau"] == 2.0
    assert presets.read({"extends": "demo"}).tuned == presets.read("demo").tuned
