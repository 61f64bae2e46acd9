"""The keys of a deployment that sets no namespace."""

from midsentence.keys import Keys
from midsentence.settings import Settings

KEYS = Keys(Settings.model_validate({}).namespace)
