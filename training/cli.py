"""The console command `motionpatches`."""

from . import commands_training, commands_evaluation, commands_use, commands_data, commands_sharing  # noqa: F401, I001 (help lists commands in this order)
from .commands import app


def main() -> None:
    """Entry point of the console command."""
    app()
