"""Event ids, session ids, and the keys of a session."""

import base64
import hashlib
from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from midsentence import keys
from midsentence.events import Event, decode, encode
from midsentence.ids import EventId, is_session_id, new_session_id
from midsentence.settings import Settings
from tests.support.keys import KEYS

numbers = st.integers(0, 10**11)
event_ids = st.builds(EventId, numbers, st.integers(0, 999), numbers)


@given(event_ids)
def test_an_event_id_round_trips_in_both_forms(event_id: EventId) -> None:
    assert EventId.parse(str(event_id)) == event_id
    assert EventId.from_stream(event_id.stream_id) == event_id


@given(event_ids, event_ids)
def test_event_ids_and_stream_ids_sort_alike(one: EventId, other: EventId) -> None:
    def as_redis_sorts(event_id: EventId) -> tuple[int, ...]:
        return tuple(map(int, event_id.stream_id.split("-")))

    assert (one < other) == (as_redis_sorts(one) < as_redis_sorts(other))


NO_IDS = [
    *("", "1", "1.2", "1.2-", "-1.2-3", "1.2-3 ", " 1.2-3", "01.2-3", "1.1000-3", "1.2-3-4", "1.2-3\n", "1.2-3\x00"),
    *("١.2-3", "1.2-9" + "9" * 30, "a.b-c", "1,2-3", "$", "*", "0-0", "9" * 5000),
]


@pytest.mark.parametrize("text", NO_IDS)
def test_a_malformed_event_id_parses_to_none(text: str) -> None:
    assert EventId.parse(text) is None


@given(event_ids, st.sampled_from(["delta", "message", "end"]), st.text())
def test_an_event_round_trips_and_forges_no_field(event_id: EventId, kind: str, text: str) -> None:
    data = msgspec.json.encode({"text": text.encode("utf-8", "replace").decode()})
    event = Event(event_id, kind, data)
    wire = encode(*event)
    assert list(decode(wire + wire)) == [event, event]
    assert wire.count(b"\n") == 4
    assert b"\r" not in wire


def test_a_session_id_begins_with_its_partition_and_has_128_random_bits() -> None:
    made = {new_session_id(16) for _ in range(500)}
    assert len(made) == 500
    assert all(is_session_id(session_id) for session_id in made)
    assert {keys.partition_of(session_id) for session_id in made} == set(range(16))
    assert {len(base64.urlsafe_b64decode(session_id[2:] + "==")) for session_id in made} == {16}


def test_a_derived_session_id_depends_on_secret_owner_and_key() -> None:
    names = [("s", "ann", "k"), ("s", "ann", "l"), ("s", "bob", "k"), ("t", "ann", "k")]
    made = [new_session_id(16, derived_from=name) for name in names]
    assert len(set(made)) == 4
    assert new_session_id(16, derived_from=names[0]) == made[0]


@pytest.mark.parametrize(
    "text", ["", "00", "zz" + "A" * 22, "00" + "A" * 21, "00" + "A" * 23, "00" + "{" * 22, "00" + "A" * 21 + "\n"]
)
def test_a_malformed_session_id_is_not_valid(text: str) -> None:
    assert not is_session_id(text)


@pytest.mark.parametrize("partitions", [2, 4, 8, 16, 64, 256])
def test_partitions_spread_evenly_over_the_slots_of_a_cluster(partitions: int) -> None:
    slots = [key_slot(KEYS.partition(number).jobs.encode()) for number in range(partitions)]
    assert set(Counter(slot * partitions // 16384 for slot in slots).values()) == {1}


@pytest.mark.parametrize("masters", [2, 3, 4, 5, 6, 8])
def test_sessions_spread_evenly_over_the_usual_numbers_of_masters(masters: int) -> None:
    """No master has 4 % more than its share, where each has a range of slots as `--cluster create` deals them out."""
    count = Settings.model_fields["partitions"].default
    assert 256 % count == 0, "a derived id takes its partition from one byte"
    slots = [key_slot(KEYS.partition(number).jobs.encode()) for number in range(count)]
    sizes = Counter(slot * masters // 16384 for slot in slots)
    assert max(sizes.values()) <= 1.04 * count / masters


def test_tag_of_a_partition_stays_the_same() -> None:
    """Another tag would orphan the sessions of the partition."""
    tags = " ".join(KEYS.partition(number).prefix for number in range(256))
    assert hashlib.sha256(tags.encode()).hexdigest()[:16] == "0dd1051bdd71157b"


def test_all_keys_of_a_session_share_a_slot() -> None:
    session_id = new_session_id(16)
    partition = KEYS.partition(keys.partition_of(session_id))
    names = [*KEYS.session(session_id), *partition[:3], partition.prefix + session_id]
    assert len({key_slot(name.encode()) for name in names}) == 1
    assert KEYS.session(session_id).meta == partition.prefix + session_id
