"""``python -m bilearn``: the command line, for ``torchrun -m bilearn`` and where no script is installed."""

from bilearn.cli.main import main

if __name__ == "__main__":
    main()
