"""The HTTP session under the exporters: it tells why a request was not accepted.

Imported only when an HTTP exporter is built, because it loads requests.
"""

from __future__ import annotations

from typing import Any

import requests

from toolspan.export.reasons import WEB_PAGE, of_error, tell


class TellingSession(requests.Session):
    """A session that tells each refusal before the exporter above turns it into a log line."""

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send one request; raises what requests raises."""
        try:
            response = super().send(request, **kwargs)
        except requests.RequestException as error:
            tell(of_error(error))
            raise
        first = [*response.history, response][0]  # being sent elsewhere counts as success above
        if not first.ok or first.is_redirect:
            tell(f"status {first.status_code}")
        elif response.headers.get("Content-Type", "").startswith("text/html"):
            tell(WEB_PAGE)
        return response

    def merge_environment_settings(self, *args: Any, **kwargs: Any) -> Any:
        """As requests does, but REQUESTS_CA_BUNDLE does not win over the exporter's certificate."""
        settings = super().merge_environment_settings(*args, **kwargs)
        if isinstance(self.verify, str):
            settings["verify"] = self.verify
        return settings
