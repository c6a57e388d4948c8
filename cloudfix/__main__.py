"""`python -m cloudfix`, the same as `cloudfix`."""

from cloudfix.cli import main

main()
