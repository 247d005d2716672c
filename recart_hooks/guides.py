"""`/api/docs/NAME.md`: the pages of docs/ that the API's description links to."""

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

GUIDES = ("partner-guide.md", "transformations.md")


@require_safe
def guide(_request: HttpRequest, name: str) -> HttpResponse:
    """Serves the page as plain text: browsers display that, but download Markdown."""
    if name not in GUIDES:
        raise Http404
    text = (settings.BASE_DIR / "docs" / name).read_text(encoding="utf-8")
    return HttpResponse(text, content_type="text/plain; charset=utf-8")
