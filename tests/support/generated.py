"""Hypothesis strategies for messages, and the settings of properties that are checked over a socket."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

TCHAR = "!#$%&'*+-.^`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
LOWER_TCHAR = TCHAR[: TCHAR.index("A")]

_COMMON = [
    "accept",
    "accept-encoding",
    "authorization",
    "cache-control",
    "etag",
    "range",
    "referer",
    "user-agent",
    "via",
]
HTTP2_FIELD_NAMES = st.one_of(
    st.sampled_from(_COMMON), st.text(LOWER_TCHAR, min_size=1, max_size=12).map(lambda name: f"x-{name}")
)
"""Names of which none has a meaning to the server."""

_characters = st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f", include_characters="\t")
FIELD_VALUES = st.one_of(
    st.text(_characters, max_size=20),
    st.builds(lambda text, times: text * times, st.text(_characters, min_size=1, max_size=4), st.integers(100, 1000)),
).map(lambda value: value.strip(" \t"))
"""Values as they mean the same in every version: without white space around them."""

over_the_wire = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
