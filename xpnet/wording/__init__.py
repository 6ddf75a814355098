"""Wording: what users may give, and what they are told: errors, checks of single values, hints at what was meant."""
