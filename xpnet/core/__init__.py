"""The mathematics: pure functions on arrays. It knows no device, no array library and no Network."""
