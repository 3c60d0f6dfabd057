"""The command line: words in, a Python function, text out. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import signal
import sys
import warnings
from typing import Any

import click

from unlearnbench.cli import plugins, results, running
from unlearnbench.errors import UserError
from unlearnbench.runtime.garbage import collect_rarely


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
            if pool := sys.modules.get("unlearnbench.engines.pool"):
                pool.POOL.dismiss()  # a thread that a method left in a worker would keep this process waiting forever


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
    collect_rarely()
    warnings.showwarning = lambda message, *_args, **_kwargs: click.echo(f"warning: {message}", err=True)


for command in (
    *(running.run, running.score, running.export, running.measure, running.tune),
    *(results.table, results.rank, results.show, results.verify, results.confirm, results.merge, results.cache),
    *(plugins.list_plugins, plugins.check, plugins.new, plugins.data_sets),
):
    main.add_command(command)
