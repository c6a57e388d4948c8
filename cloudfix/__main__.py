"""`python -m cloudfix`, the same as `cloudfix`."""

from cloudfix.cli import main

# Worker processes import this module, too.
if __name__ == "__main__":
    main()
