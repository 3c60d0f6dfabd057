"""What a worker process keeps from call to call: the cache, and the data sets in memory."""

from __future__ import annotations

from unlearnbench.artefacts.artefact import Artefact
from unlearnbench.artefacts.datasets import Datasets
from unlearnbench.artefacts.loaded import LoadedScenario
from unlearnbench.artefacts.scenario import Scenario
from unlearnbench.artefacts.splits import digests_of
from unlearnbench.artefacts.versions import check_code
from unlearnbench.plugins import registry
from unlearnbench.plugins.task import Task
from unlearnbench.runtime.arithmetic import ensure
from unlearnbench.runtime.timing import spending
from unlearnbench.storage.store import Content, Store


class WorkerContext:
    """Gives artefacts access to what they are made of.

    Args:
        store: Where artefacts are kept.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.datasets = Datasets(store)

    def get(self, artefact: Artefact) -> Content:
        """Reads an artefact, or makes it and everything that it needs."""
        return self.store.get_or_make(artefact.key, lambda: self.make(artefact))

    def make(self, artefact: Artefact) -> Content:
        """Makes an artefact, whether it is there or not."""
        ensure(artefact.scenario.arithmetic)
        check_code(artefact.key)
        self.check_data(artefact)
        with spending(artefact.work):
            return artefact.make(self)

    def load(self, scenario: Scenario) -> LoadedScenario:
        """Loads the data of a scenario."""
        return LoadedScenario.of(scenario, self.datasets)

    def check_data(self, artefact: Artefact) -> None:
        """Checks that files are still those that a key was made of; this process may have read them long ago.

        Raises:
            RuntimeError: If files of the data, of the task, or the user's training function have changed since.
        """
        scenario, key = artefact.scenario, artefact.key
        trainer = scenario.supplied.trainer
        if trainer and trainer.key != key.get("original", key)["train"]:
            raise RuntimeError(f"{trainer.path} was changed: run the same command again")
        files = key.get("task", {}).get("files", {})
        if files and files != digests_of(registry.get(Task, scenario.task), scenario.task_options):
            raise RuntimeError(f"a file of task {scenario.task} was changed: run the same command again")
        if self.datasets.load(scenario.dataset, scenario.root)[1] != artefact.dataset_checksum:
            self.datasets.clear()  # they may have changed before the plan was made
            if self.datasets.load(scenario.dataset, scenario.root)[1] != artefact.dataset_checksum:
                raise RuntimeError(f"the files of {scenario.dataset} were changed: run the same command again")
