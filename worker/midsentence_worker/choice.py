"""Which model answers."""

from midsentence.settings import Settings
from midsentence_worker.demo import DemoModel
from midsentence_worker.model import Model


def model(settings: Settings) -> Model:
    if settings.is_demo:
        return DemoModel()
    # The SDK takes a second to import, and the demo need not wait for it.
    if settings.api == "responses":
        from midsentence_worker.responses_model import ResponsesModel  # noqa: PLC0415

        return ResponsesModel(settings)
    from midsentence_worker.openai_model import OpenAIModel  # noqa: PLC0415

    return OpenAIModel(settings)
