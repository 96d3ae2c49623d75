"""`python -m motionpatches`: the console command."""

from .training.cli import main


if __name__ == "__main__":
    main()
