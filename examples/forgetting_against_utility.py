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
# script draws `docs/forgetting_against_utility.svg`; without it, the run takes a minute on two cores.

# %%
import matplotlib.pyplot as plt

import unlearnbench

PRESET = "demo"
TASK = "noisy-label-removal"
METHODS = ["neggrad", "boundary", "sisa", "unrolling", "t-s", "scrub", "neggrad-plus", "laf-r", "laf", "laf-tuned"]
SHOWN = [*METHODS, "retrain", "retrain-2", "original"]
SEEDS = "0-4"

# %% [markdown]
# Every number is compared with Retrain. `retrain-2` is Retrain with other random numbers: it shows how far apart two
# networks are if only chance separates them.

# %%
summary = unlearnbench.run(PRESET, tasks=TASK, methods=SHOWN, seeds=SEEDS, progress=unlearnbench.Reporter())
for outcome in summary.failed:
    print(outcome.status, outcome.name, outcome.reason)

# %% [markdown]
# One row for each cell, accuracies as fractions. The documentation of `unlearnbench.load` names the other columns.

# %%
frame = unlearnbench.load(preset=PRESET)
frame = frame[(frame["task"] == TASK) & (frame["status"] == "ok") & frame["method"].isin(SHOWN)]
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
INK, BLUE, GOLD = "#737b84", "#4184e4", "#c9901a"
OFFSETS = {
    **{"NegGrad": (-20, 12), "Unrolling": (8, -16), "Boundary": (-26, -18), "LAF+R": (9, 7)},
    **{"Original": (-18, 12), "LAF": (10, -16), "T-S": (-32, -14), "LAF (tuned)": (9, -16)},
    **{"Retrain": (-22, 36), "SISA": (-46, -27), "Retrain again": (-48, -27)},
}
"""Where labels stand whose place is taken, in points from the dot."""


def draw(axes: plt.Axes, labelled: list[str]) -> None:
    """Draws the noise floor around Retrain, the seeds and the mean of each method, and labels some of them."""
    lowest = means.loc["Retrain", ["test", "train_f"]].to_numpy() - floor.to_numpy()
    axes.add_patch(plt.Rectangle(lowest, *(2 * floor), color=GOLD, alpha=0.25, linewidth=0))
    for title, (x, y) in means[["test", "train_f"]].iterrows():
        seeds = frame[frame["method_title"] == title]
        control = (seeds["role"] == "control").all()
        color, marker, size = (GOLD, "*", 280) if title == "Retrain" else (INK if control else BLUE, "o", 50)
        for _, seed in seeds.iterrows():
            axes.plot([x, 100 * seed["test"]], [y, 100 * seed["train_f"]], ".-", color=color, alpha=0.4, linewidth=0.8)
        axes.scatter(x, y, size, color, marker=marker, zorder=3)
        if title in labelled:
            axes.annotate(title, (x, y), OFFSETS.get(title, (9, 4)), textcoords="offset points", color=color, size=12)


plt.rcParams.update({"text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "svg.hashsalt": "unlearnbench"})
plt.rcParams.update({"xtick.color": INK, "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False})
figure, (whole, corner) = plt.subplots(1, 2, figsize=(10, 4.8), width_ratios=(3, 2), layout="constrained")
close = distances[["test", "train_f"]].max(axis=1) < 10
draw(whole, [*means.index[~close]])
draw(corner, [*means.index[close]])
goal = means.loc["Retrain"]
corner.set(xlim=(goal["test"] - 11, 100.5), ylim=(-1.5, goal["train_f"] + 11), title="Around Retrain: the noise floor")
whole.indicate_inset(corner.viewLim.bounds, edgecolor=INK)
whole.set_title("Noisy-label removal: the star is the goal")
whole.set_ylabel("Memory: accuracy on the wrong labels, in percent")
figure.supxlabel("Utility: accuracy on the test set, in percent", size="medium")
figure.savefig("forgetting_against_utility.svg", transparent=True, metadata={"Date": None})
