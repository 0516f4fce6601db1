"""The test suite; `tests.support` holds what its parts share."""
