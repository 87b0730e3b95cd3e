"""The HTTP session under the exporters: it tells why a request was not accepted.

Imported only when an HTTP exporter is built, because it loads requests.
"""

from __future__ import annotations

from typing import Any

import requests

from toolspan.export.reasons import of_error, tell


class TellingSession(requests.Session):
    """A session that tells each refusal before the exporter above turns it into a log line."""

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send one request; raises what requests raises."""
        try:
            response = super().send(request, **kwargs)
        except requests.RequestException as error:
            tell(of_error(error))
            raise
        if not response.ok:
            tell(f"status {response.status_code}")
        return response
