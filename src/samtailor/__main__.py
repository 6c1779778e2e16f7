"""`python -m samtailor` runs the command line."""

from samtailor.cli import main

if __name__ == "__main__":
    main()
