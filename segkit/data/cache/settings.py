"""The settings of a data set as one text, which names what was kept for them."""

import json
from collections.abc import Mapping
from typing import Any


def settings_text(settings: Any) -> str:
    """The settings as a text in which the order of keys does not show; a label map mixes numbers with words."""

    def in_order(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(key): in_order(value[key]) for key in sorted(value, key=str)}
        return [in_order(item) for item in value] if isinstance(value, list | tuple) else value

    return json.dumps(in_order(settings), default=str)
