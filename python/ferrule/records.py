"""Immutable records, as `typing.NamedTuple` makes them, without what they cost a start.

`typing` and a generated class for each of two dozen records take some milliseconds before the first request is
answered. To type checkers a `Record` is a named tuple, and it behaves as one.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple as Record
else:
    from operator import itemgetter

    class Record(tuple):
        """Subclasses annotate their fields, in order; what is assigned to one is its default."""

        __slots__ = ()

        def __init_subclass__(cls):
            cls._fields = tuple(cls.__annotations__)
            cls._field_defaults = {name: cls.__dict__[name] for name in cls._fields if name in cls.__dict__}
            for position, name in enumerate(cls._fields):
                setattr(cls, name, property(itemgetter(position)))

        def __new__(cls, *values, **named):
            missing = cls._fields[len(values) :]
            if missing:
                given = {**cls._field_defaults, **named}
                try:
                    values += tuple([given[name] for name in missing])
                except KeyError as error:
                    raise TypeError(f"{cls.__name__}: missing {error.args[0]}") from None
            if len(values) != len(cls._fields) or not named.keys() <= set(missing):
                raise TypeError(f"{cls.__name__} takes {', '.join(cls._fields)}, each once")
            return tuple.__new__(cls, values)

        def __getnewargs__(self):
            return tuple(self)

        def __repr__(self):
            pairs = zip(self._fields, self, strict=True)
            return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in pairs)})"

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))

        def _replace(self, **changes):
            return type(self)(**{**self._asdict(), **changes})


__all__ = ["Record"]
