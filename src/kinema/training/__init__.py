"""Networks learn: configuration, loop, checkpoints, schedules."""
