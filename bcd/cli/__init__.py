"""The `bcd` command: one module a command."""
