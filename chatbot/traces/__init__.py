"""Traces: what the trace files hold, read back."""
