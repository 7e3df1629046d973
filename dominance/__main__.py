"""``python -m dominance`` is the command ``dominance``."""

from dominance_cli.main import main

if __name__ == "__main__":
    main()
