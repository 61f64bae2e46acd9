"""The models that answer: chat completions, OpenAI Responses, and the built-in demo.

How a provider's stream becomes the events of a turn:

1. `client` sends the request through the OpenAI SDK, again where `retry` says so. `error_messages` translates what
   fails into a `ModelError` with a code of the protocol and a sentence for the reader (`errors`).
2. `byte_stream` gives the bytes of the response as they arrive. `event_stream` splits them into events.
3. `chat_chunks` and `response_events` decode an event's JSON into typed fields. Each field may be missing, null or of
   another type.
4. `chat_answer` turns chunks into pieces (`base.Piece`): text, reasoning, and one `Finish` with the reason and the
   usage. `background_response` does the same with the events of the Responses API. It also yields marks, which are
   positions in the provider's stream, and reconnects at the last one when the connection breaks.
5. `surrogates` joins characters that a provider split between two chunks.
6. `turn.Turn` hands the pieces to its writer, which merges and numbers them.

docs/operations.md, "What a provider may send", lists the rules by kind, each with its module and its test.
"""

from midsentence.model_list import ModelSpec
from midsentence.settings import Settings
from midsentence_worker.models.base import Model
from midsentence_worker.models.demo import DemoModel


def make_models(settings: Settings) -> dict[str, Model]:
    """All models of the list by their names, in the list's order."""
    return {spec.name: make_model(spec, settings) for spec in settings.model_list.specs}


def make_model(spec: ModelSpec, settings: Settings) -> Model:
    """The model of a list's entry."""
    if spec.api == "demo":
        return DemoModel(spec=spec)
    # Importing the SDK takes a second, and the demo does not need it.
    from midsentence_worker.models.client import ModelClient  # noqa: PLC0415

    if spec.api == "responses":
        from midsentence_worker.models.responses import ResponsesModel  # noqa: PLC0415

        return ResponsesModel(ModelClient(spec, settings))
    from midsentence_worker.models.chat_completions import ChatCompletionsModel  # noqa: PLC0415

    return ChatCompletionsModel(ModelClient(spec, settings))
