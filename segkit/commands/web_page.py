"""What the pages of commands have in common: each is one file, with its pictures inside and nothing from elsewhere."""

import base64
import hashlib
import io
import json
from collections.abc import Sequence
from typing import Any

from PIL import Image
from torch import Tensor

from segkit.data.palette import Legend
from segkit.system.markup import escape_html as escape


def render_document(title: str, body: str, *, style: str, script: str = "") -> str:
    """The whole page. Of scripts none but `script` can run in it, and nothing is fetched from anywhere."""
    allowed = ""
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
        rules = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
        allowed = f'<meta http-equiv="Content-Security-Policy" content="{rules}">\n'
        script = f"<script>{script}</script>\n"
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{allowed}'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<title>{escape(title)}</title>\n'
        f"<style>{style}</style>\n</head>\n<body>\n{body}\n{script}</body>\n</html>\n"
    )


def render_facts(rows: Sequence[tuple[str, str]]) -> str:
    """Rows of (what, value)."""
    return f"<dl>{''.join(f'<dt>{escape(what)}</dt><dd>{escape(value)}</dd>' for what, value in rows)}</dl>"


def render_class(number: int, labels: Legend) -> str:
    """The colour, the whole name and the number of a class, an item of `ul.legend`."""
    red, green, blue = labels.palette[number]
    name = escape(labels.class_names[number])
    return f'<li><i style="background:rgb({red},{green},{blue})"></i>{name} <small>{number}</small></li>'


def render_image(picture: Tensor, alt: str, *, flat: bool = False) -> str:
    """A picture uint8 (3, H, W); `flat` for one of few colours, which PNG keeps smaller and sharp."""
    file = io.BytesIO()
    image = Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy())
    kind = "png" if flat else "jpeg"
    image.save(file, format=kind, **({"optimize": True} if flat else {"quality": 85}))
    encoded = base64.b64encode(file.getvalue()).decode("ascii")
    height, width = picture.shape[-2:]
    return (
        f'<img src="data:image/{kind};base64,{encoded}" width="{width}" height="{height}" '
        f'alt="{escape(alt)}" loading="lazy">'
    )


def render_figure(picture: Tensor, caption: str, *, flat: bool = False) -> str:
    """A picture, see `render_image`, with its caption."""
    image = render_image(picture, caption, flat=flat)
    return f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>"


def render_data(name: str, value: Any) -> str:
    """A value for the page's script, which reads it as JSON; text in it can end no element."""
    text = json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{text}</script>'
