"""The houses, by the name of their contender."""

from bench.house import House
from bench.houses.handwritten import HandwrittenHouse
from bench.houses.midsentence import MidsentenceHouse
from bench.houses.resumable import ResumableHouse

HOUSES: dict[str, type[House]] = {house.name: house for house in (MidsentenceHouse, ResumableHouse, HandwrittenHouse)}
