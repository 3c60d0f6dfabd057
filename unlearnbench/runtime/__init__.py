"""What a process has once: random numbers, arithmetic, global state, time."""
