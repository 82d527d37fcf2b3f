"""Questions put to the rules, each a program that writes a table and a figure."""
