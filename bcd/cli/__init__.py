"""The `bcd` command: one module a group of commands, and one a daily verb."""
