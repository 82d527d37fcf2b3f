"""Lessons: percent-format modules to read, run, and step through in a debugger."""
