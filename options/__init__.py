"""Command-line options; presets/ holds named recipes (YAML, the command line wins over them)."""
