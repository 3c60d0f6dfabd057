"""Keys, files, artefacts and records on disk."""
