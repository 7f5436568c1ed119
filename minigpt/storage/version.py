"""By which version a file was written."""

from importlib import metadata


def installed_version() -> str:
    """The version of minigpt that is installed; `unknown` where it runs out of a folder without being installed."""
    try:
        return metadata.version("minigpt")
    except metadata.PackageNotFoundError:
        return "unknown"
