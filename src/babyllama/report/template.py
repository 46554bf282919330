"""The templates of the report's pages, which share their head and their style."""

import base64

from jinja2 import Environment, PackageLoader, StrictUndefined

from babyllama.report import tables
from babyllama.report.differences import marked


def filled(name: str, **values: object) -> str:
    """Fill a template of this folder; every value that is not ours is escaped."""
    environment = Environment(
        loader=PackageLoader("babyllama.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {"table": tables.to_html, "data_uri": _data_uri, "marked": marked}
    return environment.get_template(name).render(values)


def _data_uri(svg: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode("ascii")
