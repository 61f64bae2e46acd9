"""All contenders."""

from bench.contender import Contender
from bench.contenders.handwritten import Handwritten
from bench.contenders.midsentence import Midsentence
from bench.contenders.nchan import Nchan
from bench.contenders.resumable import ResumableStream

CONTENDERS: dict[str, type[Contender]] = {
    contender.name: contender for contender in (Midsentence, Nchan, ResumableStream, Handwritten)
}
