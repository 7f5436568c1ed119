"""`minigpt config`: a whole recipe, and what training by it will cost."""

import json
from pathlib import Path
from typing import Annotated

import typer

from minigpt.cli.options import JsonOption, RecipeArgument
from minigpt.errors import UserError


def config(
    recipe: RecipeArgument = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of recipes, for editors.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show a whole recipe, and what training by it will cost on this machine."""
    from minigpt.config.recipe import json_schema, load_recipe, to_yaml

    if schema:
        typer.echo(json_schema(), nl=False)
        return
    if not recipe:
        raise UserError("command line: name a recipe, such as configs/stories.yaml")
    resolved = load_recipe(Path(recipe[0]), recipe[1:])
    from minigpt.experiments.forecast import planned

    resolved, costs = planned(resolved)
    if as_json:
        typer.echo(json.dumps({"config": resolved.model_dump(), "plan": costs.as_dict()}))
    else:
        typer.echo(to_yaml(resolved))
        typer.echo(costs.describe())
