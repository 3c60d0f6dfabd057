# %% [markdown]
# # Forgetting against utility
#
# Runs a few methods from Python, loads their records into pandas, and plots what they have forgotten against what they
# still know. The cells (`# %%`) run one by one in Jupyter (with jupytext) or VS Code, or all together:
#
#     pip install -e '.[plots]'
#     python examples/forgetting_against_utility.py
#
# On two cores the run takes one or two minutes, a second one no time: what is there is not computed again. Records go
# to `results/` below the folder in which you call it.

# %%
import matplotlib.pyplot as plt

import unlearnbench

PRESET = "demo"
TASK = "noisy-label-removal"
METHODS = ["neggrad", "neggrad-plus", "scrub", "laf", "original", "retrain-2"]
SEEDS = "0-1"

# %% [markdown]
# Retrain comes along unasked: every number is compared with it. `retrain-2` is Retrain once more, with other random
# numbers, and shows how far apart two networks are that differ by nothing but chance.

# %%
summary = unlearnbench.run(PRESET, tasks=TASK, methods=METHODS, seeds=SEEDS, progress=unlearnbench.Reporter())
for outcome in summary.failed:
    print(outcome.status, outcome.name, outcome.reason)

# %% [markdown]
# One row for each cell, accuracies as fractions. What else a row has is in the documentation of `unlearnbench.load`.

# %%
frame = unlearnbench.load(preset=PRESET)
frame = frame[(frame["task"] == TASK) & (frame["status"] == "ok")]
means = 100 * frame.groupby("method_title")[["train_f", "test", "asr"]].mean()
print(means.round(2))

# %% [markdown]
# Close to Retrain is good, so what counts is the distance to its row, in points.

# %%
distances = (means - means.loc["Retrain"]).abs()
closest_first = distances.assign(mean=distances.mean(axis=1)).sort_values("mean")
print(closest_first.round(2))

# %% [markdown]
# Every seed is a dot. In noisy-label removal Train_f is the accuracy against the wrong labels, which Retrain never saw:
# a method that only damages goes down *and* to the left, one that forgets goes down and to the right, to the star.

# %%
figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
for title in closest_first.index:
    seeds = 100 * frame.loc[frame["method_title"] == title, ["test", "train_f"]]
    star = {"marker": "*", "s": 250, "color": "gold", "edgecolor": "black"} if title == "Retrain" else {}
    axes.scatter(seeds["test"], seeds["train_f"], label=title, **star)
axes.legend(title="Closest first")
axes.set(
    xlabel="Test: accuracy on the test set, in percent",
    ylabel="Train_f: accuracy on what must go, in percent",
    title="Forgetting against utility: close to the star is good",
)
figure.savefig("forgetting_against_utility.svg")
