"""`/`: the admin for staff who are logged in, the API's documentation for everybody else."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect


def home(request: HttpRequest) -> HttpResponse:
    return redirect("admin:index" if request.user.is_staff else "api-docs")
