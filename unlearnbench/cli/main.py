"""The command `unlearnbench`. Heavy packages are imported only by the commands that need them."""

from __future__ import annotations

import errno
import signal
import sys
import warnings
from contextlib import suppress
from typing import Any

import click

from unlearnbench.cli import plugins, results, running
from unlearnbench.cli.echo import echo, fitted
from unlearnbench.cli.streams import open_closed_streams, os_error_message
from unlearnbench.errors import EngineLostError, UserError
from unlearnbench.runtime.garbage import collect_rarely

ERROR = len("Error: ")
"""The columns that click writes in front of a message."""
CONTINUED = ("run", "score", "measure", "tune")
"""Commands that keep finished work: started again, they continue where they were."""


class TerminatedError(BaseException):
    """The process received SIGTERM, e.g. from a batch system."""


def terminated(*_: object) -> None:
    """Ends a run like Ctrl-C: no file is left incomplete, and no process is left behind."""
    raise TerminatedError


def wrong_use(message: str) -> click.UsageError:
    """An error whose message fits into the terminal."""
    return click.UsageError(fitted(message, err=True, start=ERROR))


class Commands(click.Group):
    """Commands that turn a `UserError`, or an error of the operating system, into a message and exit code 2."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Runs the program; if not even a message can be printed, the exit code is 2."""
        open_closed_streams()
        try:
            return super().main(*arguments, **options)
        except OSError as error:  # of click's own texts, such as --help, or of a message
            with suppress(OSError):
                click.echo(f"Error: {os_error_message(error, is_kept=False)}", err=True)
            sys.exit(2)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, TerminatedError) as error:
            kept = ": finished work is kept, and the same command continues from here"
            echo(f"interrupted{kept if ctx.invoked_subcommand in CONTINUED else ''}", err=True)
            sys.exit(143 if isinstance(error, TerminatedError) else 130)
        except EngineLostError as error:
            raise click.ClickException(fitted(str(error), err=True, start=ERROR)) from error
        except UserError as error:
            raise wrong_use(str(error)) from error
        except PermissionError as error:
            raise wrong_use(f"no permission to use {error.filename}: choose another folder") from error
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader, such as `head`, has seen enough
                raise
            raise wrong_use(os_error_message(error, ctx.invoked_subcommand in CONTINUED)) from error
        finally:
            if pool := sys.modules.get("unlearnbench.engines.pool"):
                pool.POOL.dismiss()  # threads that methods leave in workers would block the exit of this process


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="unlearnbench")
def main() -> None:
    """Which machine-unlearning methods really forget?

    \b
    unlearnbench run --all           run all cells of the preset demo
    unlearnbench table 1             print a table of the results
    unlearnbench report              write the report: one HTML file
    unlearnbench reproduce ...       compute a recorded cell again, and compare
    unlearnbench list methods        list methods, and what data each uses
    unlearnbench new method NAME     create a package with a method of your own
    unlearnbench check NAME          check that a plugin keeps its contract
    """  # noqa: D301 - \b tells click not to wrap these lines
    signal.signal(signal.SIGTERM, terminated)
    collect_rarely()
    warnings.showwarning = lambda message, *_args, **_kwargs: echo(f"warning: {message}", err=True)


for command in (
    *(running.run, running.score, running.export, running.measure, running.tune, running.reproduce),
    *(results.table, results.rank, results.report, results.figure, results.show, results.verify),
    *(results.check_results, results.confirm, results.merge, results.remove, results.cache),
    *(plugins.list_plugins, plugins.check, plugins.new, plugins.data_sets),
):
    main.add_command(command)
