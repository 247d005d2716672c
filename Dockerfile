# One image for all processes; docker-compose.yml says which one a container runs.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app

RUN useradd --system --uid 10001 --home-dir /app --shell /usr/sbin/nologin recart \
    && install --directory --owner recart /var/lib/recart-hooks

COPY requirements.txt ./
RUN pip install -r requirements.txt

COPY manage.py ./
COPY recart_hooks recart_hooks
COPY delivery delivery
COPY partners partners
COPY docs/partner-guide.md docs/transformations.md docs/
RUN DEBUG=true python manage.py collectstatic --no-input --verbosity 0

USER recart
EXPOSE 8000
CMD ["gunicorn", "--config", "python:recart_hooks.gunicorn_config", "recart_hooks.wsgi"]
