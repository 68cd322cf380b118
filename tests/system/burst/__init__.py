"""The real program with a burst of spans in the UI's seat."""
