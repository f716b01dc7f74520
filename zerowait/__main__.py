"""`python -m zerowait` is the command `zerowait`."""

from zerowait.experiments.commands.cli import main

if __name__ == "__main__":
    main()
