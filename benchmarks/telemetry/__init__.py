"""What tracing costs: processor time per turn of the whole program, process by process."""
