"""The models that answer: chat completions, OpenAI Responses, and the built-in demo."""
