"""The codec of what is published. The scripts' side is held by tests/log/test_announcing.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midsentence import announcements
from midsentence.announcements import Wake
from midsentence.ids import EventId

SESSION = "00" + "A" * 22

numbers = st.integers(0, 999)
event_ids = st.builds(EventId, numbers, numbers, numbers)


@given(before=event_ids, last=event_ids, frames=st.binary(), state_changed=st.booleans())
def test_decode_inverts_encode_for_any_frames(
    before: EventId, last: EventId, frames: bytes, state_changed: bool
) -> None:
    payload = announcements.encode(str(before), str(last), frames, state_changed=state_changed)
    assert announcements.decode(payload) == (str(before).encode(), str(last).encode(), state_changed, frames)


@pytest.mark.parametrize("payload", [b"", b"1.1-1", b"1.1-1 1.1-2\nframes", b"1.1-1 1.1-2 - -\n"])
def test_decode_refuses_a_header_without_its_three_parts(payload: bytes) -> None:
    with pytest.raises(ValueError, match="unpack"):
        announcements.decode(payload)


def test_wake_is_a_session_or_a_stop_of_one() -> None:
    assert announcements.decode_wake(SESSION.encode()) == Wake(SESSION, is_stop=False)
    assert announcements.decode_wake(b"stop " + SESSION.encode()) == Wake(SESSION, is_stop=True)


@pytest.mark.parametrize("payload", [b"", b"\xff", b"stop ", b"00abc", b"zz" + SESSION.encode()[2:]])
def test_decode_refuses_a_wake_up_without_a_session(payload: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - a decoder's own error, or that of no session
        announcements.decode_wake(payload)
