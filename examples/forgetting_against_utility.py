# %% [markdown]
# # Forgetting against utility
#
# Runs methods from Python, loads their records into pandas, and plots what each network still remembers of the forget
# set against its test accuracy. The cells (`# %%`) run one by one in Jupyter (with jupytext) or VS Code, or together:
#
#     pip install -e '.[plots]'
#     python examples/forgetting_against_utility.py
#
# Records go to `results/` below the folder in which you call it. After `make demo` nothing is left to compute, and the
# script draws `docs/forgetting_against_utility.svg`; without it, the run takes a few minutes on two cores.

# %%
import matplotlib.pyplot as plt

import unlearnbench

PRESET = "demo"
TASK = "noisy-label-removal"
METHODS = "neggrad boundary sisa unrolling t-s scrub neggrad-plus laf-r laf original retrain-2".split()
SEEDS = "0-2"

# %% [markdown]
# Retrain needs no mention: every number is compared with it. `retrain-2` is Retrain with other random numbers; it shows
# how far apart two networks are if only chance separates them.

# %%
summary = unlearnbench.run(PRESET, tasks=TASK, methods=METHODS, seeds=SEEDS, progress=unlearnbench.Reporter())
for outcome in summary.failed:
    print(outcome.status, outcome.name, outcome.reason)

# %% [markdown]
# One row for each cell, accuracies as fractions. The documentation of `unlearnbench.load` names the other columns.

# %%
frame = unlearnbench.load(preset=PRESET)
frame = frame[(frame["task"] == TASK) & (frame["status"] == "ok") & frame["method"].isin([*METHODS, "retrain"])]
means = 100 * frame.groupby("method_title")[["train_f", "test", "asr"]].mean()
print(means.round(2))

# %% [markdown]
# Close to Retrain is good, so what counts is the distance to its row, in points.

# %%
distances = (means - means.loc["Retrain"]).abs()
closest_first = distances.assign(mean=distances.mean(axis=1)).sort_values("mean")
print(closest_first.round(2))

# %% [markdown]
# The noise floor: the root mean square, over seeds, of the difference between two Retrains, in points.

# %%
numbers = 100 * frame.set_index(["seed", "method"])[["test", "train_f"]].unstack()
difference = numbers.xs("retrain-2", axis=1, level="method") - numbers.xs("retrain", axis=1, level="method")
floor = (difference**2).mean() ** 0.5

# %% [markdown]
# In noisy-label removal Train_f is the accuracy on the wrong labels, which Retrain never saw. A method that forgets
# moves from Original straight to the star; one that only damages the network moves down and to the left. Small dots are
# seeds, large dots their means. The colours are readable on white and on black, and the background is transparent.

# %%
INK, BLUE, GOLD = "#737b84", "#4184e4", "#d29922"
OFFSETS = {
    "NegGrad": (-12, 14),
    "Original": (14, -14),
    "Retrain": (-40, -22),
    "Retrain again": (-6, 56),
    "SISA": (-70, 6),
    "SCRUB": (-60, 10),
    "NegGrad+": (-72, 2),
}
"""Where labels stand whose default place is taken, in points from the dot."""
plt.rcParams.update({"text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "svg.hashsalt": "unlearnbench"})
plt.rcParams.update({"xtick.color": INK, "ytick.color": INK, "font.size": 11})

figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
goal = means.loc["Retrain"]
corner = goal["test"] - floor["test"], goal["train_f"] - floor["train_f"]
axes.add_patch(plt.Rectangle(corner, *(2 * floor), color=GOLD, alpha=0.35, linewidth=0))
for title, (x, y) in means[["test", "train_f"]].iterrows():
    seeds = frame[frame["method_title"] == title]
    control = (seeds["role"] == "control").all()
    color = GOLD if title == "Retrain" else INK if control else BLUE
    for _, seed in seeds.iterrows():
        axes.plot([x, 100 * seed["test"]], [y, 100 * seed["train_f"]], ".-", color=color, alpha=0.45, linewidth=0.8)
    star = {"marker": "*", "s": 320, "zorder": 3} if title == "Retrain" else {"s": 60}
    axes.scatter(x, y, color=color, **star)
    place = {"xytext": OFFSETS.get(title, (9, 5)), "textcoords": "offset points"}
    line = {"arrowstyle": "-", "color": color, "linewidth": 0.6} if title in OFFSETS else None
    axes.annotate(title, (x, y), color=color, weight="bold", arrowprops=line, **place)
axes.set(
    xlabel="Utility: accuracy on the test set, in percent",
    ylabel="Memory: accuracy on the wrong labels, in percent",
    title="Noisy-label removal: close to Retrain's star is good; the box is the noise floor",
)
axes.spines[["top", "right"]].set_visible(False)
figure.savefig("forgetting_against_utility.svg", transparent=True, metadata={"Date": None})
