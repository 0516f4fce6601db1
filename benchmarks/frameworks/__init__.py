"""The same small JSON answer by each framework, as its documentation writes it."""
