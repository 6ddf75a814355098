"""Wording of errors: exceptions, checks of single values, and hints at what was probably meant."""
