"""The state of a process: random numbers, arithmetic, global settings, time limits and timing."""
