"""The command line: words in, a Python function, text out. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import atexit
import gc
import signal
import sys
import warnings
from typing import Any

import click

from unlearnbench.cli import plugins, results, running
from unlearnbench.errors import UserError


class TerminatedError(BaseException):
    """A batch system, or whoever, has sent SIGTERM."""


def terminated(*_: object) -> None:
    """Ends a run as Ctrl-C does, so that nothing is left half-way and no process stays behind."""
    raise TerminatedError


class Commands(click.Group):
    """Commands whose `UserError` becomes one message and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, TerminatedError) as error:
            click.echo("interrupted: what is finished is kept, and the same command goes on from here", err=True)
            sys.exit(143 if isinstance(error, TerminatedError) else 130)
        except UserError as error:
            raise click.UsageError(str(error)) from error
        except PermissionError as error:
            raise click.UsageError(f"no permission to use {error.filename}: choose another folder") from error
        finally:
            if workers := sys.modules.get("unlearnbench.engines.processes"):
                workers.dismiss()  # a thread that some method left in one would keep this process waiting for ever


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="unlearnbench")
def main() -> None:
    """Which machine-unlearning methods really forget?

    \b
    unlearnbench run --all             everything that the preset selects
    unlearnbench table 1               Tables 1-6 from the records
    unlearnbench export DIR, score     for networks that are made elsewhere
    unlearnbench list methods          what is there, and what each may see
    unlearnbench new method NAME       a package for a method of your own
    unlearnbench check NAME            whether it keeps the contract
    """  # noqa: D301 - click looks for this very character
    signal.signal(signal.SIGTERM, terminated)
    gc.set_threshold(1_000_000)  # plans and records are small objects that stay: to look for garbage there takes long
    atexit.register(gc.freeze)  # the interpreter would look through all of them once more before it ends
    warnings.showwarning = lambda message, *_args, **_kwargs: click.echo(f"warning: {message}", err=True)


for command in (
    *(running.run, running.score, running.export, running.measure, running.tune),
    *(results.table, results.rank, results.show, results.verify, results.confirm, results.merge, results.cache),
    *(plugins.list_plugins, plugins.check, plugins.new, plugins.data_sets),
):
    main.add_command(command)
