"""Who does the work: processes, and the guard around one call."""
