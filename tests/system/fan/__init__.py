"""The real program with questions asked at once in the UI's seat."""
