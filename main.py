"""The command line's entry point: `python main.py …` is `tandem …`."""

from orchestrator.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
