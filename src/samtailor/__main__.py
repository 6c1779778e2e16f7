"""`python -m samtailor` is the command line."""

from samtailor.cli import main

if __name__ == "__main__":
    main()
