"""Why an answer ended, in the words of each provider.

The rule: a reason counts in any spelling and any case. What says that the answer was cut is `length`, what says that it
was withheld is `content_filter`, and what says that no answer could be written is a failure. Any other word is an end.
"""

import re
from functools import lru_cache
from typing import Literal

from midsentence_worker.models import json_documents as documents

Reason = Literal["stop", "length", "content_filter"]

# OpenAI, Gemini (SAFETY, RECITATION, BLOCKLIST, PROHIBITED_CONTENT, SPII, LANGUAGE, and IMAGE_ before some), Anthropic
# (refusal), Bedrock (guardrail_intervened, content_filtered), Zhipu (sensitive), Cohere (ERROR_TOXIC).
_WITHHELD = re.compile(
    r"filter|safety|unsafe|recitation|blocklist|blocked|prohibited|spii|refus|sensitive|moderat|guardrail|toxic|policy|flagged|censor"
    r"|^language$|^risk$"
)
# OpenAI, Gemini and Anthropic (max_tokens), Mistral (model_length), Cohere (ERROR_LIMIT), Anthropic
# (model_context_window_exceeded), Hugging Face (max_new_tokens), and `limit` of llama.cpp.
_CUT = re.compile(
    r"length|max_(\w+_)?tokens?|max_output|token_limit|context|window|^(error_)?limit$|truncat|incomplete|too_long|^cut"
)
# OpenRouter (error), Zhipu (network_error), DeepSeek (insufficient_system_resource), vLLM (abort), SGLang, Gemini
# (MALFORMED_FUNCTION_CALL, LOAD_SHEDDING).
_FAILED = re.compile(
    r"error|fail|abort|cancel|insufficient|time_?out|malformed|exception|overload|shedding|unavailable|disconnect"
    r"|interrupt|kill|crash|lost|quota|rate_limit|unexpected"
)


CALLED_A_TOOL = "It called a tool, and it was offered none."
_TOOLS = re.compile(r"tool|function_call")


def is_call(reported: str) -> bool:
    """Whether the answer ended because the model wants to call a tool."""
    return bool(_TOOLS.search(documents.word(reported)))


@lru_cache(maxsize=256)
def reason_of(reported: str) -> Reason | None:
    """The end that a provider's word stands for, or None for a failure."""
    word = documents.word(reported)
    if _WITHHELD.search(word):
        return "content_filter"
    if _CUT.search(word):
        return "length"
    return None if _FAILED.search(word) else "stop"
