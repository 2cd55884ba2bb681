"""One metric per file, each a named protocol."""
