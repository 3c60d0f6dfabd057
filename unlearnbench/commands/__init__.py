"""The commands, by what they are about: running, results, plugins."""
