"""Does to `scope["headers"]` what the path names, and the same to a real list, and answers with both outcomes."""

# ruff: noqa: RUF005, SIM300
# The operators are what is under test, each with the headers on either side.

import collections.abc
import copy
import gc
import json
import operator
import pickle
import sys
import weakref
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

Headers = Any
"""A list of pairs, or what the server gives in its place: the operations are there to find no difference."""

# What the client sends, and what ASGI says the application gets: known and other names, repeated ones, an empty value.
SENT = b"HOST: test\r\nX-Foo:  Bar baz \r\nAccept: */*\r\nx-foo: 2\r\nCookie: a=1\r\nX_Under: u\r\nX-Empty:\r\n"
PAIRS = [
    (b"host", b"test"),
    (b"x-foo", b"Bar baz"),
    (b"accept", b"*/*"),
    (b"x-foo", b"2"),
    (b"cookie", b"a=1"),
    (b"x_under", b"u"),
    (b"x-empty", b""),
]

OPERATIONS: dict[str, Callable[[Headers], object]] = {}


def operation(function: Callable[[Headers], object]) -> Callable[[Headers], object]:
    OPERATIONS[function.__name__] = function
    return function


def each(name: str, functions: list[Callable[[Headers], object]]) -> None:
    OPERATIONS.update({f"{name}-{number}": function for number, function in enumerate(functions)})


def extended(pairs: list[Any], headers: Headers) -> list[Any]:
    pairs += headers
    return pairs


each(
    "read",
    [
        len,
        bool,
        list,
        tuple,
        dict,
        repr,
        str,
        sorted,
        lambda h: list(iter(h)),
        lambda h: list(reversed(h)),
        lambda h: h[0],
        lambda h: h[-1],
        lambda h: h[7],
        lambda h: h[-8],
        lambda h: h["0"],
        lambda h: h[1:3],
        lambda h: h[::-2],
        lambda h: h[:],
        lambda h: (b"accept", b"*/*") in h,
        lambda h: (b"Accept", b"*/*") in h,
        lambda h: h.index((b"x-foo", b"2")),
        lambda h: h.index(0),
        lambda h: h.count((b"cookie", b"a=1")),
        lambda h: h.copy(),
        lambda h: [name for name, _ in h],
        lambda h: dict(h)[b"x-foo"],
        lambda h: (*h, None),
        operator.length_hint,
        hash,
    ],
)
each(
    "compare",
    [
        lambda h: h == PAIRS,
        lambda h: PAIRS == h,
        lambda h: h == h[:],
        lambda h: h == PAIRS[1:],
        lambda h: h != PAIRS,
        lambda h: PAIRS[1:] != h,
        lambda h: h == tuple(PAIRS),
        lambda h: h is None or h == None,  # noqa: E711
        lambda h: h < [*PAIRS, (b"z", b"")],
        lambda h: PAIRS[:-1] < h,
        lambda h: h <= PAIRS,
        lambda h: h > PAIRS,
        lambda h: PAIRS >= h,
        lambda h: h < tuple(PAIRS),
        lambda h: h < 1,
    ],
)
each(
    "combine",
    [
        lambda h: h + [1],
        lambda h: [1] + h,
        lambda h: h + h,
        lambda h: h + (1,),
        lambda h: (1,) + h,
        lambda h: h + 1,
        lambda h: operator.concat(h, [1]),
        lambda h: h * 2,
        lambda h: 2 * h,
        lambda h: h * 0,
        lambda h: h * "2",
        lambda h: [*h, 1],
        lambda h: extended([0], h),
    ],
)
each(
    "change",
    [
        lambda h: h.append((b"n", b"v")),
        lambda h: h.extend(pair for pair in PAIRS),
        lambda h: h.extend(h),
        lambda h: h.insert(1, (b"n", b"v")),
        lambda h: h.remove((b"accept", b"*/*")),
        lambda h: h.remove(0),
        lambda h: h.pop(),
        lambda h: h.pop(0),
        lambda h: h.pop(7),
        lambda h: h.clear(),
        lambda h: h.sort(),
        lambda h: h.sort(key=lambda pair: pair[1], reverse=True),
        lambda h: h.sort(key=1),
        lambda h: h.reverse(),
        lambda h: operator.setitem(h, 0, (b"n", b"v")),
        lambda h: operator.setitem(h, 7, 0),
        lambda h: operator.setitem(h, slice(1, 5), [0, 0]),
        lambda h: operator.setitem(h, slice(None), h),
        lambda h: operator.setitem(h, slice(0, 7, 2), [0]),
        lambda h: operator.delitem(h, -1),
        lambda h: operator.delitem(h, slice(0, None, 2)),
        lambda h: operator.delitem(h, 9),
        lambda h: h.nonsense,
        lambda h: h.append(1, 2),
    ],
)


@operation
def add_in_place(headers: Headers) -> object:
    before = headers
    headers += [(b"n", b"v")]
    headers += (pair for pair in PAIRS)
    headers += headers
    return headers is before


@operation
def add_a_number_in_place(headers: Headers) -> object:
    headers += 1
    return None


@operation
def multiply_in_place(headers: Headers) -> object:
    before = headers
    headers *= 2
    return headers is before


@operation
def change_what_was_made_from_it(headers: Headers) -> object:
    for made in (headers[:], headers.copy(), headers + [], copy.copy(headers), list(headers)):
        made.clear()
    return len(headers)


@operation
def change_while_iterating(headers: Headers) -> object:
    seen = []
    for pair in headers:
        seen.append(pair)
        if pair == (b"accept", b"*/*"):
            headers.remove(pair)
    return seen


def with_types(made: Iterable[object]) -> list[tuple[str, object]]:
    return [(type(each).__name__, each) for each in made]


@operation
def pickles(headers: Headers) -> object:
    protocols = range(pickle.HIGHEST_PROTOCOL + 1)
    return with_types(pickle.loads(pickle.dumps(headers, protocol)) for protocol in protocols)


@operation
def copies(headers: Headers) -> object:
    return with_types([copy.copy(headers), copy.deepcopy(headers), copy.deepcopy({"headers": headers})["headers"]])


@operation
def is_a_mutable_sequence(headers: Headers) -> object:
    return [
        isinstance(headers, abstract)
        for abstract in (
            collections.abc.MutableSequence,
            collections.abc.Sequence,
            collections.abc.Iterable,
            collections.abc.Hashable,
            collections.abc.Mapping,
        )
    ]


@operation
def matches_a_sequence_pattern(headers: Headers) -> object:
    match headers:
        case [first, *_, last]:
            return first, last
        case _:
            return "no match"


def outcome(function: Callable[[Headers], object], headers: Headers) -> list[str]:
    """What an operation gave (with its types) or raised, and what it left behind."""
    try:
        given = function(headers)
    except Exception as error:
        result = type(error).__name__
    else:
        result = f"{type(given).__name__} {given!r}"
    return [result, repr(list(headers))]


def cost_of_looking(headers: Headers) -> dict[str, int]:
    """Memory blocks taken by the questions that need no list, a hundred times over, and by the first that does."""

    def ask() -> int:
        return len(headers) + bool(headers) + hasattr(headers, "nonsense")

    for _ in range(100):
        ask()  # what is allocated once and kept for reuse does not count
    gc.disable()
    try:
        start = sys.getallocatedblocks()
        for _ in range(100):
            ask()
        asked = sys.getallocatedblocks()
        pair = headers[0]
        looked = sys.getallocatedblocks()
    finally:
        gc.enable()
    assert isinstance(pair, tuple)
    return {"length": len(headers), "asked": asked - start, "looked": looked - asked}


class Marker:
    """Something whose life a weak reference can follow."""


class Kept:
    """What outlives its request."""

    def __init__(self) -> None:
        self.marker: weakref.ref[Marker] | None = None
        self.headers: list[Headers] = []


KEPT = Kept()


def leave_cycle(headers: Headers) -> bool | None:
    """Put the headers into themselves; whether the garbage collector has freed those of the last call."""
    gc.collect()
    freed = None if KEPT.marker is None else KEPT.marker() is None
    marker = Marker()
    headers.append((marker, headers))
    KEPT.marker = weakref.ref(marker)
    return freed


def keep(headers: Headers) -> None:
    KEPT.headers.append(headers)


def kept(_: Headers) -> list[str]:
    return [repr(headers) for headers in KEPT.headers]


def compare(function: Callable[[Headers], object]) -> Callable[[Headers], object]:
    return lambda headers: {"headers": outcome(function, headers), "list": outcome(function, list(PAIRS))}


ANSWERS: dict[str, Callable[[Headers], object]] = {
    "cost": cost_of_looking,
    "cycle": leave_cycle,
    "keep": keep,
    "kept": kept,
    **{name: compare(function) for name, function in OPERATIONS.items()},
}


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    answer = ANSWERS[scope["path"].removeprefix("/")](scope["headers"])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})
