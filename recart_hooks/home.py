"""`/`: redirects logged-in staff to the admin, everybody else to the API's documentation."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect


def home(request: HttpRequest) -> HttpResponse:
    return redirect("admin:index" if request.user.is_staff else "api-docs")
