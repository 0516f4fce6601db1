"""Applications that servers under test run."""
