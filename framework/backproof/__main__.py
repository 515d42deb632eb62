"""`python -m backproof` is `backproof`."""

from backproof.cli.main import run

if __name__ == "__main__":
    run()
