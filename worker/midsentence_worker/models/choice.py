"""Which model answers."""

from midsentence.settings import Settings
from midsentence_worker.models.base import Model
from midsentence_worker.models.demo import DemoModel


def model(settings: Settings) -> Model:
    if settings.is_demo:
        return DemoModel()
    # The SDK takes a second to import, and the demo need not wait for it.
    if settings.api == "responses":
        from midsentence_worker.models.responses import ResponsesModel  # noqa: PLC0415

        return ResponsesModel(settings)
    from midsentence_worker.models.chat_completions import OpenAIModel  # noqa: PLC0415

    return OpenAIModel(settings)
