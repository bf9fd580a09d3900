"""A store moves to another one: exported into a file, imported from it."""
