"""The commands: each parses, calls, prints. Heavy packages are imported inside, so that help comes at once."""

import gc
import os
import sys
from typing import Annotated, Any

import typer

from minigpt.cli import compare, config, embeddings, evaluate, explain, export, import_, sample, sweep, tokenize, train
from minigpt.cli.examples import epilog
from minigpt.cli.streams import prepare_streams
from minigpt.errors import UserError, plain
from minigpt.storage.version import installed_version
from minigpt.training.interruption import Interrupted

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog=epilog(""),
)
for command in (
    train.train,
    sample.sample,
    evaluate.evaluate,
    explain.explain,
    tokenize.tokenize,
    embeddings.embeddings,
    compare.compare,
    sweep.sweep,
    config.config,
    export.export,
):
    app.command(epilog=epilog(command.__name__))(command)
app.command("import", epilog=epilog("import"))(import_.import_model)

CommandLineError: Any = typer.BadParameter.mro()[2]
"""What typer raises for a wrong option or argument; it exports only this descendant of it."""


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"minigpt {installed_version()}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", callback=_tell_version, is_eager=True)
    ] = False,
) -> None:
    """Train a small GPT, sample from it, look inside, take it with you."""


def main() -> None:
    """Run a command; exit status 2 and one `error:` line for what a user can mend."""
    prepare_streams()
    gc.disable()  # there is no garbage among modules, and to look for it takes 0.2 s of every start
    try:
        status = app(standalone_mode=False)
    except UserError as error:
        status = _fail(str(error))
    except CommandLineError as error:
        status = _fail(f"command line: {error.format_message()}")
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)  # noqa: T201
        status = 130
    except SystemExit:  # how typer ends where nobody reads any more what is printed
        status = 0
    except OSError as error:
        status = _fail(f"{error.filename or 'files'}: {error.strerror or error}; mend that, and run the command again")
    except Interrupted as error:
        print(f"interrupted: {error}", file=sys.stderr)  # noqa: T201
        status = 130
    sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str) -> int:
    if "TORCHELASTIC_USE_AGENT_STORE" in os.environ:
        from minigpt.training.distributed import first_to_tell

        if not first_to_tell(message):
            return 2
    print(f"error: {plain(message)}\n", end="", file=sys.stderr)  # noqa: T201 - a line of its own, whole
    return 2
