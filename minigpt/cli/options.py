"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

RecipeArgument = Annotated[
    list[str] | None, typer.Argument(metavar="CONFIG [SECTION.KEY=VALUE ...]", help="Recipe and changes to it.")
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, such as runs/stories.")]
CheckpointOption = Annotated[str, typer.Option(help="best, last, or a step that was kept.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, mps, cuda or cuda:N.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
OpenOption = Annotated[bool, typer.Option("--open/--no-open", help="Open the page where there is a desktop.")]
PortOption = Annotated[int, typer.Option(min=0, max=65_535, help="With --serve; 0 takes a free one.")]
