"""The commands of `bertcpp`, one module each: its options, and what it does with them.

A module declares a `COMMAND`; `cli.COMMANDS` lists them. Parsing the command line imports all of them, so what is not
needed for that is imported where it is used.
"""
