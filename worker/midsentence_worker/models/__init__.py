"""The models that answer: chat completions, OpenAI Responses, and the built-in demo.

How a provider's stream becomes the events of a turn:

1. The OpenAI SDK reads the HTTP response as server-sent events and parses the JSON of each. It does not check the
   objects, so every field that is used here may be missing or null.
2. `chat_completions` turns chunks into pieces (`base.Piece`): text, reasoning, and one `Finish` with the reason and the
   usage. `background_response` does the same with the events of the Responses API. It also yields marks, which are
   positions in the provider's stream, and reconnects at the last one when the connection breaks.
3. `surrogates` joins characters that a provider split between two chunks.
4. `client` retries requests that have not begun to answer (`retry`); `error_messages` translates the SDK's errors into
   a `ModelError` with a code of the protocol and a sentence for the reader (`errors`).
5. `turn.Turn` hands the pieces to its writer, which merges and numbers them.
"""

from midsentence.settings import Settings
from midsentence_worker.models.base import Model
from midsentence_worker.models.demo import DemoModel


def make_model(settings: Settings) -> Model:
    """The model that the settings name."""
    if settings.is_demo:
        return DemoModel()
    # Importing the SDK takes a second, and the demo does not need it.
    from midsentence_worker.models.client import ModelClient  # noqa: PLC0415

    if settings.api == "responses":
        from midsentence_worker.models.responses import ResponsesModel  # noqa: PLC0415

        return ResponsesModel(ModelClient(settings))
    from midsentence_worker.models.chat_completions import ChatCompletionsModel  # noqa: PLC0415

    return ChatCompletionsModel(ModelClient(settings))
